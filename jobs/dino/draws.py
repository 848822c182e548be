"""Draw the numbers of each view by a hash of the run's seed, the sample's number and the view's.

Axes: V views, B windows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.training.hashed import uniforms
from jobs.dino.config import Config

DRAWS: Final = (
    "duration", "is_active", "centre", "height", "shift", "is_mixed", "partner", "ratio", "gain", "tilt",
    "loses_frames", "n_lost_frames", "first_lost_frame", "loses_bands", "n_lost_bands", "first_lost_band",
)  # fmt: skip
"""Names of the numbers that are drawn for each view."""

FIRST_PATCH_DRAW: Final = 1024
"""Place, among the numbers drawn for a view, from which those for its patches stand."""

MIX_GROUP: Final = 8
"""Windows are mixed within groups of so many neighbours in the training's order, so that a share of the
batch that is a multiple of it holds all it needs."""

Draws = dict[str, Tensor]


@dataclass(frozen=True)
class Plan:
    """The alterations of windows for their views of one size; tensors of shape (V, B).

    Attributes
    ----------
    size
        Height and width of the views.
    duration, height
        Of the rectangle that is cut out, as shares of the window's.
    mel_centre, centre
        Of the rectangle, as shares; ``centre`` is a share of the window's loudness where ``is_active``.
    is_active
        Whether the view lies where the window is loud.
    is_mixed, partner, ratio
        Whether another window of the batch is mixed in, which, and how many times as powerful it is at most.
    gain, tilt
        In deviations.
    n_lost_frames, first_lost_frame, n_lost_bands, first_lost_band
        The stretches that are masked; whole numbers, as floats.
    """

    size: tuple[int, int]
    duration: Tensor
    height: Tensor
    mel_centre: Tensor
    centre: Tensor
    is_active: Tensor
    is_mixed: Tensor
    partner: Tensor
    ratio: Tensor
    gain: Tensor
    tilt: Tensor
    n_lost_frames: Tensor
    first_lost_frame: Tensor
    n_lost_bands: Tensor
    first_lost_band: Tensor


def plans(samples: NDArray[np.int64], deviation_db: float, config: Config, device: torch.device) -> tuple[Plan, Plan]:
    """Return what is done for the global views, and for the local ones.

    Parameters
    ----------
    samples
        Number of each window's turn in the training, shape (B,).
    deviation_db
        One unit of the windows, dB.
    config, device
        How views are made, and where.
    """
    numbers = torch.from_numpy(uniforms(config.seed, samples, config.n_global + config.n_local, range(len(DRAWS))))
    draws = dict(zip(DRAWS, numbers.to(device, non_blocking=True).unbind(dim=-1), strict=True))
    first = {name: value[: config.n_global] for name, value in draws.items()}
    rest = {name: value[config.n_global :] for name, value in draws.items()}
    return (
        _plan(
            first,
            deviation_db,
            config,
            size=config.global_size,
            durations=config.global_time_span,
            heights=config.global_mel_span,
        ),
        _plan(
            rest,
            deviation_db,
            config,
            size=config.local_size,
            durations=config.local_time_span,
            heights=config.local_mel_span,
        ),
    )


def _plan(
    draws: Draws,
    deviation_db: float,
    config: Config,
    *,
    size: tuple[int, int],
    durations: tuple[float, float],
    heights: tuple[float, float],
) -> Plan:
    height = _between(heights, draws["height"])
    reach = torch.clamp((1.0 - height) / 2, min=config.mel_shift)
    share, width_share = config.mask_share, config.mask_width
    n_lost_frames, first_lost_frame = _stretch(
        size[1], draws["n_lost_frames"], draws["first_lost_frame"], draws["loses_frames"] < share, width_share
    )
    n_lost_bands, first_lost_band = _stretch(
        size[0], draws["n_lost_bands"], draws["first_lost_band"], draws["loses_bands"] < share, width_share
    )
    return Plan(
        size=size,
        duration=_between(durations, draws["duration"]),
        height=height,
        mel_centre=0.5 + (2 * draws["shift"] - 1) * reach,
        centre=draws["centre"],
        is_active=draws["is_active"] < config.active_share,
        is_mixed=draws["is_mixed"] < config.mix_share,
        partner=_partner(draws["partner"]),
        ratio=10.0 ** (-_between(config.mix_snr_db, draws["ratio"]) / 10),
        gain=(2 * draws["gain"] - 1) * (config.gain_db / deviation_db),
        tilt=(2 * draws["tilt"] - 1) * (config.tilt_db / deviation_db),
        n_lost_frames=n_lost_frames,
        first_lost_frame=first_lost_frame,
        n_lost_bands=n_lost_bands,
        first_lost_band=first_lost_band,
    )


def _between(span: tuple[float, float], u: Tensor) -> Tensor:
    return span[0] + (span[1] - span[0]) * u


def _partner(u: Tensor) -> Tensor:
    """Return another window of each one's group, itself where it is alone."""
    n_windows = u.shape[1]
    place = torch.arange(n_windows, device=u.device)
    base = place - place % MIX_GROUP
    n_group = torch.clamp(n_windows - base, max=MIX_GROUP)
    ahead = 1 + (u * (n_group - 1)).long()
    return base + (place - base + ahead) % n_group


def _stretch(
    length: int, how_long: Tensor, where: Tensor, is_lost: Tensor, width_share: float
) -> tuple[Tensor, Tensor]:
    """Return how many of a view's frames (or bands) are lost, and the first of them."""
    n_lost = torch.floor(how_long * int(width_share * length + 1))
    return n_lost * is_lost, torch.floor(where * (length - n_lost + 1))
