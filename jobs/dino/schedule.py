"""Values of each step, as in facebookresearch/dino (``main_dino.py``): a pure function of the step."""

from dataclasses import dataclass

from jobs.common.training.schedule import cosine, ramp
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
