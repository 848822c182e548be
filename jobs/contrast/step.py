"""The state of a training by contrast, and one step of it, whose bits do not depend on how a batch is shared out.

A batch is made of groups of :data:`GROUP` neighbours in the training's order. Views of a group are normalised together;
the loss is of all views of the batch, gathered from all processes, and each process computes the same one; gradients
are those of the groups, added up as a tree over the batch. So one process, several, and parts of a share that are
computed one after the other take the same step: to the bit where the groups of a process are 1, 2, 4, 8 … and all
processes are of one kind, otherwise but for rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from jobs.common.frames.network import GROUP, FrameNet
from jobs.common.training import group
from jobs.common.training.optim import build_optimizer, clip_gradients
from jobs.common.training.progress import Progress
from jobs.common.training.schedule import cosine
from jobs.contrast.config import Config
from jobs.contrast.loss import nt_xent, partners_of, similarities
from jobs.contrast.projection import Projection

MakeViews = Callable[[slice], Tensor]
"""From a range of this process's windows to their views, fp32, shape (2, n, 1, n_bands, view_frames)."""
DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Model(nn.Module):
    """The network and its projection head.

    Parameters
    ----------
    n_bands
        Bands of the network's input.
    """

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.net = FrameNet(n_bands)
        self.head = Projection()

    def forward(self, views: Tensor) -> Tensor:
        """Return vectors of length 1, shape (2, n, 128), of the views of one group, shape (2, n, 1, M, W)."""
        return torch.stack([self.head(self.net(each)[0]) for each in views])


@dataclass(kw_only=True)
class State(Progress):
    """All that a step changes.

    Attributes
    ----------
    model
        The network and its head.
    precision
        Number format of the network's products.
    """

    model: Model
    precision: Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Seen:
    """Values of one step over all processes, on the device.

    Attributes
    ----------
    loss, gradient_norm
        Scalars; the norm is that before clipping.
    vectors, windows
        Of all views: vectors of length 1, shape (2 B, 128), and the windows' numbers, shape (2 B,).
    """

    loss: Tensor
    gradient_norm: Tensor
    vectors: Tensor
    windows: Tensor


def new_state(n_bands: int, seed: int, device: torch.device, precision: Literal["fp32", "bf16"]) -> State:
    """Return the state before the first step; weights are drawn from a generator of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = Model(n_bands)
    model.to(device).train()
    is_sound = torch.tensor(data=True, device=device)
    return State(optimizer=build_optimizer(model), is_sound=is_sound, model=model, precision=precision)


def advance(
    state: State, make_views: MakeViews, windows: Tensor, config: Config, *, n_steps: int, n_micro: int = 1
) -> Seen:
    """Do one step; the state is changed in place.

    Parameters
    ----------
    state
        Before the step.
    make_views, windows
        Views of this process's share of the batch, and the windows' numbers, int64 on the device, shape (n,).
    config, n_steps
        Settings, and length of the training.
    n_micro
        With more than 1, the groups are forgotten and computed again for their gradients, which takes less memory.
    """
    parts = [slice(first, min(first + GROUP, len(windows))) for first in range(0, len(windows), GROUP)]
    keep = n_micro == 1
    with torch.set_grad_enabled(keep):
        own = [_forward(state, make_views(part)) for part in parts]
    loss, gradient, vectors, everyone = _contrast(torch.cat([each.detach() for each in own], dim=1), windows, config)
    parameters = [*state.model.parameters()]
    gradients = []
    for i, part in enumerate(parts):
        out = own[i] if keep else _forward(state, make_views(part))
        own[i] = out.detach()
        found = torch.autograd.grad(out, parameters, gradient[:, part])
        gradients.append(torch.cat([each.flatten() for each in found]))
    total = tree_sum(group.gathered(tree_sum(gradients)))
    for parameter, each in zip(parameters, torch.split(total, [p.numel() for p in parameters]), strict=True):
        parameter.grad = each.reshape(parameter.shape)
    norm = clip_gradients(parameters, config)
    state.update(loss, norm, lr=rate(state.step, n_steps, config), weight_decay=config.weight_decay)
    return Seen(loss, norm, vectors, everyone)


def _forward(state: State, views: Tensor) -> Tensor:
    with torch.autocast(views.device.type, torch.bfloat16, enabled=state.precision == "bf16"):
        vectors: Tensor = state.model(views)
    return vectors


def _contrast(own: Tensor, windows: Tensor, config: Config) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss of the whole batch, its gradient at this process's vectors, all vectors, and their windows.

    Parameters
    ----------
    own
        This process's vectors, shape (2, n, D).
    windows
        Their windows, shape (n,).
    config
        Settings.
    """
    vectors = torch.cat(group.gathered(own), dim=1).flatten(0, 1).requires_grad_()
    everyone = torch.cat(group.gathered(windows)).repeat(2)
    with torch.enable_grad():
        loss = nt_xent(vectors, everyone, config.temperature)
        (gradient,) = torch.autograd.grad(loss, vectors)
    first, n = group.rank() * len(windows), len(windows)
    mine = gradient.reshape(2, -1, gradient.shape[1])[:, first : first + n]
    return loss.detach(), mine, vectors.detach(), everyone


def tree_sum(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of tensors, neighbours first, then pairs of neighbours: shares of 1, 2, 4 … give the same bits."""
    level = list(parts)
    while len(level) > 1:
        pairs = [level[i] + level[i + 1] for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


def rate(step: int, n_steps: int, config: Config) -> float:
    """Return the learning rate of a step, of ``n_steps`` counted from 0."""
    n_warmup = round(config.lr_warmup * n_steps)
    return cosine(step, n_steps, start=config.lr, end=config.lr * config.final_lr_share, n_warmup=n_warmup)


def signals(seen: Seen) -> dict[str, float]:
    """Return measures that separate a healthy training from a collapsed one.

    Returns
    -------
    dict
        ``loss``, nats; ``information``: how far it is below that of guessing (a lower bound of what one view says of
        the other, van den Oord et al. 2018, arXiv:1807.03748); ``found``: share of views whose nearest other view is
        the one of their window; ``feature_std``: deviation of the vectors, 1 when they point everywhere.
    """
    cosines = similarities(seen.vectors, seen.windows)
    others = (cosines > -torch.inf).sum(dim=1).float()
    found = (cosines.argmax(dim=1) == partners_of(len(cosines), cosines.device)).float().mean()
    spread = seen.vectors.std(dim=0, correction=0).mean() * seen.vectors.shape[1] ** 0.5
    values = torch.stack([seen.loss, others.log().mean() - seen.loss, found, spread])
    return dict(zip(("loss", "information", "found", "feature_std"), values.tolist(), strict=True))


def packed(state: State) -> dict[str, Any]:
    """Return everything that the next step depends on, as tensors, numbers and lists of names."""
    return {**state.packed(state.model), "model": state.model.state_dict(), "precision": state.precision}


def restore(state: State, content: dict[str, Any]) -> None:
    """Put a fresh state where :func:`packed` found it.

    Raises
    ------
    RuntimeError, ValueError
        If the content is another network's.
    """
    state.restore(content, state.model)
    state.model.load_state_dict(content["model"], strict=True)
    state.precision = content["precision"]
