"""The state of a training, and one step of it.

Each process takes its share of the samples. Gradients, centres and the loss are means over all processes; what
follows from them is then the same in each.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jobs.common.network.card import ModelCard
from jobs.common.training import group
from jobs.common.training.optim import build_optimizer, clip_gradients
from jobs.common.training.progress import Progress
from jobs.dino.config import Config
from jobs.dino.loss import dino_loss, mean_over_processes, moved_center, spread_loss, teacher_probabilities
from jobs.dino.model import Pair, build_pair, follow
from jobs.dino.patches import Masks, moved_patch_center, patch_loss, patch_masks
from jobs.dino.quick import views_of
from jobs.dino.schedule import pace
from jobs.dino.views import Views


@dataclass(kw_only=True)
class State(Progress):
    """The state that a step changes.

    Attributes
    ----------
    pair
        Student and teacher.
    engine
        What the student is called through: itself, or what averages its gradients over the processes.
    center, patch_center
        Running means of the teacher's logits, of views and of masked patches; fp32, shape (n_prototypes,).
    """

    pair: Pair
    engine: nn.Module
    center: Tensor
    patch_center: Tensor


@dataclass(frozen=True)
class Seen:
    """Measures of one step, on the device.

    Attributes
    ----------
    loss, gradient_norm
        Scalars, of all processes; the norm is that before clipping.
    teacher, features
        The teacher's probabilities and features of this process's windows, shape (n_global, B, ...).
    """

    loss: Tensor
    gradient_norm: Tensor
    teacher: Tensor
    features: Tensor


@dataclass(frozen=True)
class _Forward:
    """Outputs of the networks for some windows; logits and features are the teacher's."""

    loss: Tensor
    teacher: Tensor
    logits: Tensor
    features: Tensor
    patch_logits: Tensor | None


def new_state(card: ModelCard, config: Config, device: torch.device, *, compiled: bool = False) -> State:
    """Return the state before the first step; its weights follow from ``config.seed``.

    Parameters
    ----------
    card, config, device
        The networks' shape, and where they are.
    compiled
        Whether the backbones are compiled by ``torch.compile``, once for each size of view.
    """
    pair = build_pair(card, config)
    pair.student.to(device)
    pair.teacher.to(device)
    if compiled:
        for network in (pair.student, pair.teacher):
            forward = torch.compile(network.backbone.forward_features, dynamic=False)
            network.backbone.forward_features = forward  # type: ignore[method-assign]  # its names stay as they are
    return State(
        optimizer=build_optimizer(pair.student),
        is_sound=torch.tensor(data=True, device=device),
        pair=pair,
        engine=_wrapped(pair.student, device),
        center=torch.zeros(config.n_prototypes, device=device),
        patch_center=torch.zeros(config.n_prototypes, device=device),
    )


def _wrapped(student: nn.Module, device: torch.device) -> nn.Module:
    if group.n_ranks() == 1:
        return student
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(
        student, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=False
    )


def advance(
    state: State,
    codes: Tensor,
    samples: NDArray[np.int64],
    *,
    card: ModelCard,
    config: Config,
    n_steps: int,
    recorder: Sequence[str] | None = None,
    has_gap: NDArray[np.bool_] | None = None,
    n_micro: int = 1,
) -> Seen:
    """Do one step; the state is changed in place.

    Parameters
    ----------
    state
        Before the step.
    codes, samples
        This process's share of a batch on the state's device, uint8, shape (B, n_mels, n_frames), and its
        samples' numbers.
    card, config, n_steps
        Statistics, settings, and length of the training.
    recorder
        Name of each window's recorder; needed where the card has backgrounds.
    has_gap
        As for :func:`~jobs.common.network.inputs.prepare`: where it is given, the device is not waited for.
    n_micro
        Equal parts that the share goes through the networks in, one after the other, to need less memory.
    """
    share = len(samples) // n_micro

    def parts() -> Iterator[tuple[Views, Masks | None]]:
        for i in range(n_micro):
            rows = slice(i * share, (i + 1) * share)
            masks = patch_masks(samples[rows], config, codes.device) if config.ibot_weight else None
            own = None if recorder is None else recorder[rows]
            gaps = None if has_gap is None else has_gap[rows]
            yield views_of(codes[rows], samples[rows], card, config, recorder=own, has_gap=gaps), masks

    return learn(state, parts(), n_micro, n_steps, config)


def learn(
    state: State, parts: Iterator[tuple[Views, Masks | None]], n_micro: int, n_steps: int, config: Config
) -> Seen:
    """Do one step with views that are there; the state is changed in place.

    Parameters
    ----------
    state
        Before the step.
    parts, n_micro
        Views of equal parts of this process's share, with the patches that are masked, and their number.
    n_steps, config
        Length of the training, and settings.
    """
    now = pace(state.step, n_steps, config)
    state.optimizer.zero_grad(set_to_none=True)
    done = []
    for i, (views, masks) in enumerate(parts):
        with nullcontext() if i == n_micro - 1 else _not_yet(state.engine):
            forward = _losses(state, views, masks, now.teacher_temperature, config)
            torch.autograd.backward(forward.loss / n_micro)
        done.append(forward)
    return _moved(state, done, n_steps, config)


def _moved(state: State, done: Sequence[_Forward], n_steps: int, config: Config) -> Seen:
    """Take the optimiser's step, move the centres, and let the teacher follow."""
    now = pace(state.step, n_steps, config)
    if now.is_frozen:
        state.pair.student.head.prototypes.grad = None
    gradient_norm = clip_gradients(state.pair.student.parameters(), config)
    loss = mean_over_processes(torch.stack([each.loss.detach() for each in done]).mean())
    state.update(loss, gradient_norm, lr=now.lr, weight_decay=now.weight_decay)
    moved = moved_center(state.center, _joined([each.logits for each in done]), config.center_momentum)
    state.center = torch.where(state.is_sound, moved, state.center)
    of_patches = [each.patch_logits for each in done if each.patch_logits is not None]
    if of_patches:
        moved = moved_patch_center(state.patch_center, torch.cat(of_patches), config.center_momentum)
        state.patch_center = torch.where(state.is_sound, moved, state.patch_center)
    follow(state.pair.teacher, state.pair.student, (1.0 - now.teacher_momentum) * state.is_sound)
    return Seen(
        loss, gradient_norm, _joined([each.teacher for each in done]), _joined([each.features for each in done])
    )


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Put together what parts of a batch gave, shape (views, B, ...)."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def _not_yet(engine: nn.Module) -> Any:  # noqa: ANN401 (a context of torch's)
    """Return a context in which gradients are not yet averaged over the processes."""
    return engine.no_sync() if isinstance(engine, DistributedDataParallel) else nullcontext()


def _losses(state: State, views: Views, masks: Masks | None, teacher_temperature: float, config: Config) -> _Forward:
    """Send views through both networks."""
    device = state.center.device.type
    index = None if masks is None else masks.index
    student_views = views.student if masks is None else (views.student[0] * masks.shown, *views.student[1:])
    with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
        with torch.no_grad():
            features, logits, patch_logits = state.pair.teacher([views.teacher], index)
        student_features, student_logits, student_patches = state.engine(student_views, index)
    teacher = teacher_probabilities(logits, state.center, teacher_temperature)
    loss = dino_loss(student_logits, teacher, config.student_temperature)
    if masks is not None:
        there = teacher_probabilities(patch_logits, state.patch_center, teacher_temperature)
        guessed = patch_loss(student_patches, there, masks.weight, config.student_temperature)
        loss = loss + config.ibot_weight * guessed
    if config.koleo_weight:
        loss = loss + config.koleo_weight * spread_loss(student_features[: config.n_global])
    return _Forward(loss, teacher, logits, features, patch_logits)


def packed(state: State, device: torch.device) -> dict[str, Any]:
    """Return everything that the next step depends on, as tensors, numbers and lists of names.

    Every process must call it; each has generators of its own.
    """
    generators = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        generators["cuda"] = torch.cuda.get_rng_state(device)
    random = [[each["cpu"], each.get("cuda")] for each in group.tensors_of_all(generators)]
    return {
        **state.packed(state.pair.student),
        "student": state.pair.student.state_dict(),
        "teacher": state.pair.teacher.state_dict(),
        "center": state.center,
        "patch_center": state.patch_center,
        "random": random[0][0],
        "random_cuda": random[0][1],
        "random_of_others": random[1:],
    }


def restore(state: State, content: dict[str, Any], device: torch.device) -> None:
    """Put a fresh state, and torch's generators, where :func:`packed` found them.

    A process that there was none of then keeps its generators as they are.

    Raises
    ------
    RuntimeError, ValueError
        If the content is another network's.
    """
    state.restore(content, state.pair.student)
    state.pair.student.load_state_dict(content["student"], strict=True)
    state.pair.teacher.load_state_dict(content["teacher"], strict=True)
    state.center = content["center"].to(device)
    state.patch_center = content.get("patch_center", torch.zeros_like(content["center"])).to(device)
    random = [[content["random"], content["random_cuda"]], *content.get("random_of_others", [])]
    if group.rank() >= len(random):
        return
    own, own_cuda = random[group.rank()]
    torch.set_rng_state(own)
    if device.type == "cuda" and own_cuda is not None:
        torch.cuda.set_rng_state(own_cuda, device)
