"""Signs of a training's health, and what their absence is called."""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from jobs.dino.loss import entropy

LEAST_INFORMATION: Final = 0.05
"""Nats; below this the teacher says the same of every window. A healthy training has 0.5 to 2."""

LEAST_FEATURE_STD: Final = 0.15
"""Of features of length one times the root of their number; 1 when they point everywhere."""


def signals(loss: Tensor, teacher: Tensor, features: Tensor) -> dict[str, float]:
    """Return the signs that separate a healthy training from a collapsed one.

    Parameters
    ----------
    loss
        Of the step, a scalar.
    teacher
        The teacher's probabilities, shape (n_global, B, n_prototypes).
    features
        The teacher's features, shape (n_global, B, width).

    Returns
    -------
    dict
        ``teacher_entropy``: mean over the windows; ``batch_entropy``: of their mean; ``information``:
        the difference, which is how well the teacher separates windows; ``divergence``: of the
        student from the teacher, all in nats; ``feature_std``.
    """
    each = entropy(teacher).mean()
    whole = entropy(teacher.flatten(0, 1).mean(dim=0))
    spread = functional.normalize(features[0].float(), dim=-1).std(dim=0, correction=0).mean()
    values = torch.stack([loss.detach(), each, whole, spread * features.shape[-1] ** 0.5])
    own, mean_entropy, batch_entropy, feature_std = values.tolist()
    return {
        "loss": own,
        "teacher_entropy": mean_entropy,
        "batch_entropy": batch_entropy,
        "information": batch_entropy - mean_entropy,
        "divergence": own - mean_entropy,
        "feature_std": feature_std,
    }


def diagnosis(seen: dict[str, float], n_prototypes: int) -> str | None:
    """Return what is wrong with a training that shows such signals, or ``None``."""
    if seen["information"] >= LEAST_INFORMATION and seen["feature_std"] >= LEAST_FEATURE_STD:
        return None
    found = f"information {seen['information']:.3f} nats, feature deviation {seen['feature_std']:.2f}"
    if seen["teacher_entropy"] > 0.9 * math.log(n_prototypes):
        return (
            f"uniform collapse: the teacher gives every prototype the same share ({found})."
            " Lower teacher_temperature or lr"
        )
    if seen["batch_entropy"] < 0.1 * math.log(n_prototypes):
        return (
            f"constant collapse: the teacher gives every window the same prototype ({found})."
            " Lower center_momentum or lr, or raise teacher_temperature"
        )
    return f"the network hardly separates windows ({found}). Lower lr, or see whether the windows differ"
