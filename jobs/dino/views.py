"""Views of windows, made in batches on the device that trains.

What a view looks like is a function of the run's seed, the sample's number in the training and the
view's number (and, where another window is mixed in, of that window): not of workers, batches in
flight, restarts or the number of processes.

Axes: V views, B windows, M mel bands, F frames, H and W a view's height and width.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jobs.common.network.inputs import resize
from jobs.dino.config import Config
from jobs.dino.draws import Plan, plans


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
    of_global, of_local = plans(samples, deviation_db, config, x.device)
    x = resize(x, shrunk_size((int(x.shape[2]), int(x.shape[3])), config.global_size))
    cdf = _loudness(x).cumsum(dim=1)
    clean, masked = _make_group(x, cdf, of_global, deviation_db, mixes=config.mix_share > 0)
    teacher = masked if config.mask_teacher else clean
    if not config.n_local:
        return Views(teacher, (masked,))
    local = _make_group(x, cdf, of_local, deviation_db, mixes=config.mix_share > 0)[1]
    return Views(teacher, (masked, local))


def _make_group(x: Tensor, cdf: Tensor, plan: Plan, deviation_db: float, *, mixes: bool) -> tuple[Tensor, Tensor]:
    """Return the views of one size, shape (V, B, H, W), without and with masks."""
    centre = torch.where(plan.is_active, _loud_place(cdf, plan.centre), plan.centre)
    views = crop(
        x, centre=centre, duration=plan.duration, mel_centre=plan.mel_centre, height=plan.height, size=plan.size
    )
    if mixes:
        views = _mixed(views, plan, deviation_db)
    edge_to_edge = torch.linspace(-1.0, 1.0, plan.size[0], device=x.device)
    views += (plan.gain[..., None] + plan.tilt[..., None] * edge_to_edge)[..., None]
    return views, _masked(views, plan)


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


def _mixed(views: Tensor, plan: Plan, deviation_db: float) -> Tensor:
    """Add the power of another window's view of the same number to some of the views."""
    exponent = deviation_db * math.log2(10.0) / 10.0
    power = torch.exp2(views * exponent)
    mean = power.mean(dim=(2, 3))
    other = power[torch.arange(len(views), device=views.device)[:, None], plan.partner]
    gain = torch.clamp(plan.ratio * mean / mean.gather(1, plan.partner), max=1.0)
    both = torch.log2(torch.addcmul(power, other, gain[..., None, None])).div_(exponent)
    return torch.where(plan.is_mixed[..., None, None], both, views)


def _masked(views: Tensor, plan: Plan) -> Tensor:
    """Return views in which some have a span of frames, and of bands, masked."""
    height, width = views.shape[2:]
    frames = _stretch(width, plan.n_lost_frames, plan.first_lost_frame)
    bands = _stretch(height, plan.n_lost_bands, plan.first_lost_band)
    return (views * (~bands)[..., :, None].float()).mul_((~frames)[..., None, :].float())


def _stretch(length: int, n_lost: Tensor, first: Tensor) -> Tensor:
    """Return which of a view's frames (or bands) lie in a span, shape (V, B, length)."""
    place = torch.arange(length, device=n_lost.device)
    return (place >= first[..., None]) & (place < (first + n_lost)[..., None])


def shrunk_size(now: tuple[int, int], view: tuple[int, int]) -> tuple[int, int]:
    """Return the size that windows are shrunk to before views are cut: by whole factors, never below twice a view's."""
    rows, columns = (max(1, n // (2 * wanted)) for n, wanted in zip(now, view, strict=True))
    return now[0] // rows, now[1] // columns
