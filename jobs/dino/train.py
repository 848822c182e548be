"""The state of a training, and one step of it.

Written for one process. For more, each takes its share of the samples and wraps the student for the
reduction of its gradients; the centre is the mean over all processes already, and everything else
follows from the reduced gradients.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.backbone import ModelCard, prepare
from jobs.dino.config import Config
from jobs.dino.loss import dino_loss, moved_center, teacher_probabilities
from jobs.dino.model import Pair, build_pair, follow
from jobs.dino.optim import build_optimizer, clip_gradients, parameter_groups, set_rates
from jobs.dino.schedule import pace
from jobs.dino.views import Views, make_views


@dataclass
class State:
    """All that a step changes.

    Attributes
    ----------
    pair
        Student and teacher.
    optimizer
        Of the student.
    center
        Running mean of the teacher's logits, fp32, shape (n_prototypes,).
    step
        Number of steps done.
    is_sound
        False, for good, from the first step on whose loss or gradient was no finite number; nothing
        is changed by that step nor by any after it. On the device, so that no step waits to know.
    """

    pair: Pair
    optimizer: torch.optim.AdamW
    center: Tensor
    step: int
    is_sound: Tensor


@dataclass(frozen=True)
class Seen:
    """What one step saw, on the device.

    Attributes
    ----------
    loss, gradient_norm
        Scalars; the norm is that before clipping.
    teacher, features
        The teacher's probabilities and features, shape (n_global, B, ...).
    """

    loss: Tensor
    gradient_norm: Tensor
    teacher: Tensor
    features: Tensor


def new_state(card: ModelCard, config: Config, device: torch.device) -> State:
    """Return the state before the first step; its weights follow from ``config.seed``."""
    pair = build_pair(card, config)
    pair.student.to(device)
    pair.teacher.to(device)
    return State(
        pair=pair,
        optimizer=build_optimizer(pair.student),
        center=torch.zeros(config.n_prototypes, device=device),
        step=0,
        is_sound=torch.tensor(data=True, device=device),
    )


def advance(
    state: State,
    codes: Tensor,
    samples: NDArray[np.int64],
    *,
    card: ModelCard,
    config: Config,
    n_steps: int,
) -> Seen:
    """Do one step; the state is changed in place.

    Parameters
    ----------
    state
        Before the step.
    codes, samples
        A batch on the state's device, uint8, shape (B, n_mels, n_frames), and its samples' numbers.
    card, config, n_steps
        Statistics, settings, and length of the training.
    """
    now = pace(state.step, n_steps, config)
    views = make_views(prepare(codes, card), samples, card.deviation_db, config)
    loss, teacher, logits, features = _losses(state, views, now.teacher_temperature, config)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    if now.is_frozen:
        state.pair.student.head.prototypes.grad = None
    gradient_norm = clip_gradients(state.pair.student.parameters(), config)
    state.is_sound = state.is_sound & loss.isfinite() & gradient_norm.isfinite()
    set_rates(state.optimizer, lr=now.lr, weight_decay=now.weight_decay)
    _step_if(state.is_sound, state.optimizer)
    moved = moved_center(state.center, logits, config.center_momentum)
    state.center = torch.where(state.is_sound, moved, state.center)
    follow(state.pair.teacher, state.pair.student, (1.0 - now.teacher_momentum) * state.is_sound)
    state.step += 1
    return Seen(loss.detach(), gradient_norm, teacher, features)


def _losses(
    state: State, views: Views, teacher_temperature: float, config: Config
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss, and the teacher's probabilities, logits and features."""
    device = state.center.device.type
    with torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16"):
        with torch.no_grad():
            features, logits = state.pair.teacher([views.teacher])
        student_logits = state.pair.student(views.student)[1]
    teacher = teacher_probabilities(logits, state.center, teacher_temperature)
    return dino_loss(student_logits, teacher, config.student_temperature), teacher, logits, features


def _step_if(condition: Tensor, optimizer: torch.optim.AdamW) -> None:
    """Take the optimiser's step if a tensor on the device says so, without reading it here.

    ``found_inf`` is how ``torch.amp.GradScaler`` tells a fused optimiser to leave out a step.
    """
    optimizer.found_inf = (~condition).float()  # type: ignore[attr-defined]  # set by GradScaler the same way
    optimizer.step()


def packed(state: State, device: torch.device) -> dict[str, Any]:
    """Return everything that the next step depends on, as tensors, numbers and lists of names."""
    decayed, others = parameter_groups(state.pair.student)
    return {
        "step": state.step,
        "student": state.pair.student.state_dict(),
        "teacher": state.pair.teacher.state_dict(),
        "center": state.center,
        "optimizer": state.optimizer.state_dict(),
        "parameters": [*decayed, *others],
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore(state: State, content: dict[str, Any], device: torch.device) -> None:
    """Put a fresh state, and torch's generators, where :func:`packed` found them.

    Raises
    ------
    RuntimeError, ValueError
        If the content is another network's.
    """
    decayed, others = parameter_groups(state.pair.student)
    if content["parameters"] != [*decayed, *others]:
        raise ValueError("its parameters have other names")
    state.pair.student.load_state_dict(content["student"], strict=True)
    state.pair.teacher.load_state_dict(content["teacher"], strict=True)
    state.optimizer.load_state_dict(content["optimizer"])
    state.center = content["center"].to(device)
    state.step = content["step"]
    torch.set_rng_state(content["random"])
    if device.type == "cuda" and content["random_cuda"] is not None:
        torch.cuda.set_rng_state(content["random_cuda"], device)
