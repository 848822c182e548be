"""DINO's loss and centre (Caron et al. 2021, arXiv:2104.14294), in fp32 whatever the network computes in.

Axes: T teacher's views, S student's views, B windows, K prototypes. The first T of the student's views
are the teacher's views.
"""

from typing import Final

import torch
from torch import Tensor, distributed

SPREAD_GROUP: Final = 64
"""Windows among which the nearest other one is looked for."""


def teacher_probabilities(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """Return the teacher's distribution over prototypes, centred and sharpened.

    Parameters
    ----------
    logits
        Shape (T, B, K).
    center
        Running mean of the teacher's logits, shape (K,).
    temperature
        Lower is sharper.
    """
    return torch.softmax((at_least_fp32(logits) - center) / temperature, dim=-1)


def dino_loss(student_logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy over all pairs of a teacher's and another student's view.

    Parameters
    ----------
    student_logits
        Shape (S, B, K).
    teacher
        Teacher's probabilities, shape (T, B, K), with T <= S.
    temperature
        Of the student's softmax.

    Returns
    -------
    Tensor
        Scalar, nats. A pair of the same view does not count.
    """
    log_student = torch.log_softmax(at_least_fp32(student_logits) / temperature, dim=-1)
    pairs = -torch.einsum("tbk,sbk->ts", teacher, log_student)
    n_teacher, n_student = pairs.shape
    same = torch.eye(n_teacher, n_student, dtype=torch.bool, device=pairs.device)
    n_pairs = n_teacher * n_student - n_teacher
    return pairs.masked_fill(same, 0.0).sum() / (n_pairs * teacher.shape[1])


def moved_center(center: Tensor, logits: Tensor, momentum: float) -> Tensor:
    """Return the centre after a step: the running mean over all processes' teacher logits.

    Parameters
    ----------
    center
        Before, shape (K,).
    logits
        The teacher's logits of this step, shape (T, B, K).
    momentum
        Share of the old centre that stays.
    """
    return center * momentum + mean_over_processes(at_least_fp32(logits).mean(dim=(0, 1))) * (1.0 - momentum)


def spread_loss(features: Tensor) -> Tensor:
    """Return KoLeo (Sablayrolles et al. 2019, arXiv:1806.03198): less the farther apart the windows' features lie.

    Parameters
    ----------
    features
        Shape (V, B, width). Of each window's features of length one the distance to the nearest other window of
        its group counts; groups are :data:`SPREAD_GROUP` neighbours in the training's order, whatever the number
        of processes.

    Returns
    -------
    Tensor
        Mean of ``-log(distance)``, a scalar. Distances below 1e-4, as of duplicates, count as 1e-4 and pull nowhere.
    """
    direction = torch.nn.functional.normalize(at_least_fp32(features), dim=-1, eps=1e-6)
    total = direction.new_zeros(())
    for part in torch.split(direction, SPREAD_GROUP, dim=1):
        cosine = part @ part.transpose(1, 2)
        itself = torch.eye(part.shape[1], dtype=torch.bool, device=part.device)
        nearest = cosine.masked_fill(itself, -1.0).amax(dim=2)
        total = total - 0.5 * torch.log((2.0 - 2.0 * nearest).clamp(min=1e-8)).sum()
    return total / (features.shape[0] * features.shape[1])


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes of the training; itself while there is only one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def at_least_fp32(value: Tensor) -> Tensor:
    """Return a tensor in fp32 if it is in less."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of distributions over the last axis, nats."""
    total: Tensor = torch.special.entr(probabilities).sum(dim=-1)
    return total
