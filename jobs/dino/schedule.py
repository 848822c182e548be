"""What changes from step to step: pure functions of the step.

The formulas are those of facebookresearch/dino (``utils.cosine_scheduler`` and ``main_dino.py``), with
warm-ups given as shares of the steps, so that they fit a training of any length.
"""

import math
from dataclasses import dataclass

from jobs.dino.config import Config


@dataclass(frozen=True)
class Pace:
    """The values of one step.

    Attributes
    ----------
    lr, weight_decay
        Of the optimiser.
    teacher_momentum
        Share of the teacher's weights that stays.
    teacher_temperature
        Of the teacher's softmax.
    is_frozen
        Whether the prototypes stay as they are.
    """

    lr: float
    weight_decay: float
    teacher_momentum: float
    teacher_temperature: float
    is_frozen: bool


def pace(step: int, n_steps: int, config: Config) -> Pace:
    """Return the values of a step, of ``n_steps`` counted from 0."""
    return Pace(
        lr=cosine(
            step,
            n_steps,
            start=config.lr * config.batch_size / 256,
            end=config.final_lr,
            n_warmup=round(config.lr_warmup * n_steps),
        ),
        weight_decay=cosine(step, n_steps, start=config.weight_decay, end=config.final_weight_decay),
        teacher_momentum=cosine(step, n_steps, start=config.teacher_momentum, end=1.0),
        teacher_temperature=ramp(
            step,
            round(config.teacher_temperature_warmup * n_steps),
            start=config.teacher_temperature_start,
            end=config.teacher_temperature,
        ),
        is_frozen=step < round(config.freeze_last_layer * n_steps),
    )


def cosine(step: int, n_steps: int, *, start: float, end: float, n_warmup: int = 0) -> float:
    """Return a half cosine from ``start`` to ``end``, after a linear rise from 0 to ``start``.

    The rise takes ``n_warmup`` steps, of which the first is 0 and the last is ``start``; ``end`` is
    what step ``n_steps`` would have.
    """
    if step < n_warmup:
        return ramp(step, n_warmup, start=0.0, end=start)
    done = (step - n_warmup) / max(n_steps - n_warmup, 1)
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * done))


def ramp(step: int, n_warmup: int, *, start: float, end: float) -> float:
    """Return a straight line from ``start`` at step 0 to ``end`` at step ``n_warmup - 1``, then ``end``."""
    if step >= n_warmup:
        return end
    return start + (end - start) * step / max(n_warmup - 1, 1)


def n_steps(n_windows: int, config: Config) -> int:
    """Return the number of steps of a training on so many windows."""
    if config.steps is not None:
        return config.steps
    return max(1, round(config.epochs * n_windows / config.batch_size))
