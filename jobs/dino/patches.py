"""Masked patches (iBOT, Zhou et al. 2022, arXiv:2111.07832): the student guesses what the teacher sees there.

A masked patch shows the student 0, the mean of all windows, which the patch embedding turns into one learnt
vector, its bias: that is the mask token. Which patches are masked is a function of seed, sample and view.

Axes: V global views, B windows, N patches of a view.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.training.group import n_ranks
from jobs.common.training.hashed import uniforms
from jobs.dino.config import Config
from jobs.dino.draws import FIRST_PATCH_DRAW
from jobs.dino.loss import at_least_fp32


@dataclass(frozen=True)
class Masks:
    """Which patches of the global views the student does not see.

    Attributes
    ----------
    shown
        1 where a pixel is shown and 0 where it is masked, fp32, shape (V, B, H, W).
    index
        Numbers of the masked patches among all V * B * N, int64, shape (n_masked,).
    weight
        Share of each in the loss, fp32, shape (n_masked,): every view with masked patches counts alike.
    """

    shown: Tensor
    index: Tensor
    weight: Tensor


def patch_masks(samples: NDArray[np.int64], config: Config, device: torch.device) -> Masks:
    """Draw masks: a share of the views loses a share of its patches.

    Parameters
    ----------
    samples
        Their numbers, shape (B,).
    config
        ``ibot_share``, ``ibot_mask``, sizes and seed.
    device
        Where the views are. The drawing itself is done on the host, so that nothing waits for the device.
    """
    rows, columns = (size // patch for size, patch in zip(config.global_size, config.patch_size, strict=True))
    n_patches = rows * columns
    places = range(FIRST_PATCH_DRAW, FIRST_PATCH_DRAW + 2 + n_patches)
    drawn = uniforms(config.seed, samples, config.n_global, places)
    low, high = config.ibot_mask
    share = np.where(drawn[..., 0] < config.ibot_share, low + (high - low) * drawn[..., 1], 0.0)
    n_masked = np.round(share * n_patches).astype(np.int64)
    place_in_order = drawn[..., 2:].argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")
    masked = place_in_order < n_masked[..., None]
    weight = 1.0 / np.maximum(n_masked, 1) / n_masked.size
    index = np.flatnonzero(masked)
    shown = torch.from_numpy(~masked).to(device, non_blocking=True).float().reshape(*masked.shape[:2], rows, columns)
    height, width = config.patch_size
    return Masks(
        shown.repeat_interleave(height, dim=2).repeat_interleave(width, dim=3),
        torch.from_numpy(index).to(device, non_blocking=True),
        torch.from_numpy(np.repeat(weight.ravel(), n_masked.ravel()).astype(np.float32)).to(device, non_blocking=True),
    )


def patch_loss(student: Tensor, teacher: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of the student's guesses with the teacher's view of the same patches, nats.

    Parameters
    ----------
    student
        Logits of the masked patches, shape (n_masked, n_prototypes).
    teacher
        The teacher's probabilities there, same shape.
    weight
        From :class:`Masks`. No masked patch at all makes 0.
    temperature
        Of the student's softmax.
    """
    log_student = torch.log_softmax(at_least_fp32(student) / temperature, dim=-1)
    return -((teacher * log_student).sum(dim=-1) * weight).sum()


def moved_patch_center(center: Tensor, logits: Tensor, momentum: float) -> Tensor:
    """Return the patches' centre after a step: the running mean over all processes' masked patches.

    Parameters
    ----------
    center
        Before, shape (n_prototypes,).
    logits
        The teacher's logits of the step's masked patches, shape (n_masked, n_prototypes). Processes may have
        masked different numbers; each patch counts alike. Where there is none the centre stays.
    momentum
        Share of the old centre that stays.
    """
    count = torch.full((1,), float(len(logits)), device=logits.device)
    total = torch.cat([at_least_fp32(logits).sum(dim=0), count])
    if n_ranks() > 1:
        torch.distributed.all_reduce(total)
    mean = total[:-1] / total[-1].clamp(min=1.0)
    return torch.where(total[-1] > 0, center * momentum + mean * (1.0 - momentum), center)
