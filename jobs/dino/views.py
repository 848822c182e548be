"""Views of windows, made in batches on the device that trains.

What a view looks like is a function of the run's seed, the sample's number in the training and the
view's number (and, where another window is mixed in, of that window): not of workers, batches in
flight, restarts or the number of processes.

Axes: V views, B windows, M mel bands, F frames, H and W a view's height and width.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jobs.common.backbone import resize
from jobs.dino.config import Config
from jobs.dino.shrink import shrunk_size

DRAWS: Final = (
    "duration", "is_active", "centre", "height", "shift", "is_mixed", "partner", "ratio", "gain", "tilt",
    "loses_frames", "n_lost_frames", "first_lost_frame", "loses_bands", "n_lost_bands", "first_lost_band",
)  # fmt: skip
"""What is drawn for each view."""

FIRST_PATCH_DRAW: Final = 1024
"""Place, among the numbers drawn for a view, from which those for its patches stand."""

MIX_GROUP: Final = 8
"""Windows are mixed within groups of so many neighbours in the training's order, so that a share of the
batch that is a multiple of it holds all it needs."""

Draws = dict[str, Tensor]


@dataclass(frozen=True)
class Views:
    """The views of one batch, normalised levels, fp32.

    Attributes
    ----------
    teacher
        Shape (n_global, B, H, W).
    student
        The same views (with masks), then the local ones if there are any, of their own size.
    """

    teacher: Tensor
    student: tuple[Tensor, ...]


def make_views(x: Tensor, samples: NDArray[np.int64], deviation_db: float, config: Config) -> Views:
    """Make all views of a batch.

    Parameters
    ----------
    x
        Prepared windows, shape (B, 1, M, F); large ones are shrunk first.
    samples
        Number of each window's turn in the training, counted from 0 over all passes, shape (B,).
    deviation_db
        One unit of ``x``, dB.
    config
        How views are made, and the seed.
    """
    draws = _drawn(config.seed, samples, config.n_global + config.n_local, x.device)
    x = resize(x, shrunk_size((int(x.shape[2]), int(x.shape[3])), config.global_size))
    cdf = _loudness(x).cumsum(dim=1)
    first = {name: value[: config.n_global] for name, value in draws.items()}
    clean, masked = _make_group(x, cdf, first, deviation_db, config, is_global=True)
    teacher = masked if config.mask_teacher else clean
    if not config.n_local:
        return Views(teacher, (masked,))
    rest = {name: value[config.n_global :] for name, value in draws.items()}
    local = _make_group(x, cdf, rest, deviation_db, config, is_global=False)[1]
    return Views(teacher, (masked, local))


def uniforms(
    seed: int, samples: NDArray[np.int64], n_views: int, places: range = range(len(DRAWS))
) -> NDArray[np.float32]:
    """Return numbers in [0, 1), each a hash of seed, sample, view and its own place.

    Parameters
    ----------
    seed, samples, n_views
        The run's seed, the samples' numbers, shape (B,), and the views of each.
    places
        Which of a view's numbers; those of :data:`DRAWS` come first.

    Returns
    -------
    NDArray
        Shape (n_views, B, len(places)). The hash is SplitMix64's finaliser (Steele et al. 2014), chained.
    """
    key = _scrambled(np.array([[[seed]]], dtype=np.uint64))
    key = _scrambled(key ^ samples.astype(np.uint64)[None, :, None])
    key = _scrambled(key ^ np.arange(n_views, dtype=np.uint64)[:, None, None])
    key = _scrambled(key ^ np.asarray(places, dtype=np.uint64))
    return (key >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _scrambled(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def _drawn(seed: int, samples: NDArray[np.int64], n_views: int, device: torch.device) -> Draws:
    numbers = torch.from_numpy(uniforms(seed, samples, n_views)).to(device, non_blocking=True)
    return dict(zip(DRAWS, numbers.unbind(dim=-1), strict=True))


def _make_group(
    x: Tensor, cdf: Tensor, draws: Draws, deviation_db: float, config: Config, *, is_global: bool
) -> tuple[Tensor, Tensor]:
    """Return the views of one size, shape (V, B, H, W), without and with masks."""
    size = config.global_size if is_global else config.local_size
    durations = config.global_time_span if is_global else config.local_time_span
    heights = config.global_mel_span if is_global else config.local_mel_span
    duration = _between(durations, draws["duration"])
    height = _between(heights, draws["height"])
    centre = torch.where(draws["is_active"] < config.active_share, _loud_place(cdf, draws["centre"]), draws["centre"])
    reach = torch.clamp((1.0 - height) / 2, min=config.mel_shift)
    mel_centre = 0.5 + (2 * draws["shift"] - 1) * reach
    views = crop(x, centre=centre, duration=duration, mel_centre=mel_centre, height=height, size=size)
    if config.mix_share > 0:
        views = _mixed(views, draws, deviation_db, config)
    gain = (2 * draws["gain"] - 1) * (config.gain_db / deviation_db)
    tilt = (2 * draws["tilt"] - 1) * (config.tilt_db / deviation_db)
    edge_to_edge = torch.linspace(-1.0, 1.0, size[0], device=x.device)
    views += (gain[..., None] + tilt[..., None] * edge_to_edge)[..., None]
    return views, _masked(views, draws, config)


def _between(span: tuple[float, float], u: Tensor) -> Tensor:
    return span[0] + (span[1] - span[0]) * u


def _loudness(x: Tensor) -> Tensor:
    """Return how far each frame's mean level is above the window's lowest, shape (B, F), never all 0."""
    level = x.mean(dim=(1, 2))
    return level - level.amin(dim=1, keepdim=True) + 1e-3


def _loud_place(cdf: Tensor, u: Tensor) -> Tensor:
    """Return places in the window, drawn in proportion to its loudness, as shares of its duration."""
    target = u.T.contiguous() * cdf[:, -1:]
    frame = torch.searchsorted(cdf, target).clamp_(max=cdf.shape[1] - 1).T
    return (frame + 0.5) / cdf.shape[1]


def crop(
    x: Tensor,
    *,
    centre: Tensor,
    duration: Tensor,
    mel_centre: Tensor,
    height: Tensor,
    size: tuple[int, int],
) -> Tensor:
    """Cut rectangles out of windows and resize them, bilinearly, all in one call.

    Parameters
    ----------
    x
        Windows, shape (B, 1, M, F).
    centre, duration
        Of each view, as shares of the window's duration, shape (V, B). Time wraps around.
    mel_centre, height
        Of each view, as shares of the band; beyond the band is 0.
    size
        Height and width of the views, (H, W).

    Returns
    -------
    Tensor
        Shape (V, B, H, W).
    """
    n_views, n_windows = centre.shape
    n_mels, n_frames = x.shape[2:]
    across = (torch.arange(size[1], device=x.device) + 0.5) / size[1] - 0.5
    up = (torch.arange(size[0], device=x.device) + 0.5) / size[0] - 0.5
    frame = torch.remainder((centre[..., None] + across * duration[..., None]) * n_frames - 0.5, n_frames)
    mel = (mel_centre[..., None] + up * height[..., None]) * n_mels - 0.5
    # One more column, equal to the first, lets the last frame run into it; views lie side by side.
    wrapped = torch.cat([x, x[..., :1]], dim=3)
    grid = torch.empty(n_windows, size[0], n_views, size[1], 2, device=x.device)
    grid[..., 0] = ((2 * frame + 1) / (n_frames + 1) - 1).transpose(0, 1)[:, None]
    grid[..., 1] = ((2 * mel + 1) / n_mels - 1).permute(1, 2, 0)[..., None]
    out = functional.grid_sample(wrapped, grid.flatten(2, 3), align_corners=False)
    return out.reshape(n_windows, size[0], n_views, size[1]).permute(2, 0, 1, 3).contiguous()


def _mixed(views: Tensor, draws: Draws, deviation_db: float, config: Config) -> Tensor:
    """Add the power of another window's view of the same number to some of the views."""
    n_windows = views.shape[1]
    place = torch.arange(n_windows, device=views.device)
    base = place - place % MIX_GROUP
    n_group = torch.clamp(n_windows - base, max=MIX_GROUP)
    ahead = 1 + (draws["partner"] * (n_group - 1)).long()
    partner = base + (place - base + ahead) % n_group
    exponent = deviation_db * math.log2(10.0) / 10.0
    power = torch.exp2(views * exponent)
    mean = power.mean(dim=(2, 3))
    other = power[torch.arange(len(views), device=views.device)[:, None], partner]
    ratio_db = _between(config.mix_snr_db, draws["ratio"])
    gain = torch.clamp(10.0 ** (-ratio_db / 10) * mean / mean.gather(1, partner), max=1.0)
    both = torch.log2(torch.addcmul(power, other, gain[..., None, None])).div_(exponent)
    return torch.where((draws["is_mixed"] < config.mix_share)[..., None, None], both, views)


def _masked(views: Tensor, draws: Draws, config: Config) -> Tensor:
    """Return views without a stretch of frames, and without one of bands, here and there."""
    height, width = views.shape[2:]
    share, width_share = config.mask_share, config.mask_width
    frames = _stretch(width, draws["n_lost_frames"], draws["first_lost_frame"], width_share)
    bands = _stretch(height, draws["n_lost_bands"], draws["first_lost_band"], width_share)
    frames &= (draws["loses_frames"] < share)[..., None]
    bands &= (draws["loses_bands"] < share)[..., None]
    return (views * (~bands)[..., :, None].float()).mul_((~frames)[..., None, :].float())


def _stretch(length: int, how_long: Tensor, where: Tensor, width_share: float) -> Tensor:
    """Return which of a view's frames (or bands) lie in a stretch, shape (V, B, length)."""
    n_lost = torch.floor(how_long * math.floor(width_share * length + 1))
    first = torch.floor(where * (length - n_lost + 1))
    place = torch.arange(length, device=where.device)
    return (place >= first[..., None]) & (place < (first + n_lost)[..., None])
