"""Views of windows for a training by contrast: short crops, at full frame rate, as another recorder may have made them.

What a view looks like is a function of the run's seed, the sample's number in the training and the view's number (and,
where another window is mixed in, of that window): not of processes, parts of a batch or restarts.

Axes: V views, B windows, M mel bands, F frames of a window, W frames of a view.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.training.alterations import Equaliser, Floor, Gain, Mask, Mix, Tilt, by_kind
from jobs.common.training.hashed import uniforms
from jobs.contrast.config import Config

N_KNOTS: Final = 6
DRAWS: Final = (
    "is_loud", "centre", "height", "shift", "is_mixed", "partner", "mix_snr", "has_floor", "floor_snr", "gain",
    "tilt", "loses_frames", "n_lost_frames", "first_lost_frames", "loses_bands", "n_lost_bands", "first_lost_bands",
    *(f"knot_{i}" for i in range(N_KNOTS)),
)  # fmt: skip
"""Random numbers of each view, uniform in [0, 1)."""
MIX_GROUP: Final = 8
"""Windows are mixed within groups of so many neighbours, so that a share of a batch that is a multiple of it holds
all it needs."""

Draws = dict[str, Tensor]
Span = tuple[float, float]


@dataclass(frozen=True)
class ViewSettings:
    """How views are made.

    Attributes
    ----------
    n_frames
        Frames of a view, at the cube's frame rate. Time wraps.
    loud_share
        Share of views that lie where the window is loud, drawn in proportion to loudness; the others lie anywhere.
    mel_span, mel_shift
        Range of a view's bands as a share of the window's, and how far its centre is shifted at most, as such a share.
    mix_share, mix_snr_db
        Share of views that another window is mixed into, and range of how far below the view its mean power lies, dB.
    floor_share, floor_snr_db
        Share of views that a noise floor is added to, and range of how far below the view's mean power it lies, dB.
    gain_db
        Gain, drawn from minus to plus this, dB.
    tilt_db
        Change of the highest band against the middle, drawn from minus to plus this, dB; the lowest changes as much the
        other way.
    eq_db
        Deviation of the gains at :data:`N_KNOTS` places from the lowest to the highest band, linear in between, dB.
    mask_share, mask_width
        Share of views with masked frames, and of those with masked bands; a mask's greatest width as a share.
    own_median
        Share of a window's own median per band that is taken off.
    """

    n_frames: int = 96
    loud_share: float = 0.7
    mel_span: Span = (0.9, 1.1)
    mel_shift: float = 0.04
    mix_share: float = 0.5
    mix_snr_db: Span = (3.0, 25.0)
    floor_share: float = 0.5
    floor_snr_db: Span = (5.0, 25.0)
    gain_db: float = 6.0
    tilt_db: float = 0.0
    eq_db: float = 3.0
    mask_share: float = 0.5
    mask_width: float = 0.15
    own_median: float = 0.5


def settings_of(config: Config) -> ViewSettings:
    """Return how a run makes its views; a kind that its list lacks changes nothing."""
    found = by_kind(config.views)
    none = Mix(share=0.0), Floor(share=0.0), Gain(db=0.0), Tilt(db=0.0), Equaliser(db=0.0), Mask(share=0.0)
    mix, floor, gain, tilt, eq, mask = (found.get(each.kind, each) for each in none)
    return ViewSettings(
        n_frames=config.view_frames, loud_share=config.active_share, mel_span=config.mel_span,
        mel_shift=config.mel_shift, mix_share=mix.share, mix_snr_db=mix.snr_db, floor_share=floor.share,
        floor_snr_db=floor.snr_db, gain_db=gain.db, tilt_db=tilt.db, eq_db=eq.db, mask_share=mask.share,
        mask_width=mask.width,
    )  # fmt: skip


def draws_of(seed: int, samples: NDArray[np.int64], n_views: int = 2) -> Draws:
    """Return what is drawn for each view of each sample, by name, each of shape (V, B)."""
    numbers = torch.from_numpy(uniforms(seed, samples, n_views, range(len(DRAWS))))
    return dict(zip(DRAWS, numbers.unbind(dim=-1), strict=True))


def make_views(x: Tensor, draws: Draws, deviation_db: float, how: ViewSettings) -> Tensor:
    """Return views of windows.

    Parameters
    ----------
    x
        Standardised windows, shape (B, 1, M, F), neighbours in the training's order (:data:`MIX_GROUP`).
    draws
        From :func:`draws_of`, on the device of ``x``.
    deviation_db
        One unit of ``x``, dB.
    how
        How views are made.

    Returns
    -------
    Tensor
        float32, shape (V, B, 1, M, W).
    """
    views = cropped(x, draws, how)
    views = with_others(views, draws, deviation_db, how)
    views += equaliser(draws, deviation_db, how, x.shape[2])[..., None]
    return masked(views, draws, how)[:, :, None]


def cropped(x: Tensor, draws: Draws, how: ViewSettings) -> Tensor:
    """Return crops of all bands, stretched and shifted along frequency, shape (V, B, M, W); beyond the band is 0."""
    n_windows, _, n_mels, n_frames = x.shape
    level = x.mean(dim=(1, 2))
    loudness = (level - level.amin(dim=1, keepdim=True) + 1e-3).cumsum(dim=1)
    loud = torch.searchsorted(loudness, draws["centre"].T.contiguous() * loudness[:, -1:]).T
    anywhere = (draws["centre"] * n_frames).long()
    centre = torch.where(draws["is_loud"] < how.loud_share, loud, anywhere).clamp_(max=n_frames - 1)
    first = torch.remainder(centre - how.n_frames // 2, n_frames)

    height = _between(how.mel_span, draws["height"])
    shift = (2 * draws["shift"] - 1) * how.mel_shift
    up = (torch.arange(n_mels, device=x.device) + 0.5) / n_mels - 0.5
    mel = ((0.5 + shift[..., None] + up * height[..., None]) * n_mels - 0.5).clamp_(-1, n_mels)
    below = mel.floor().clamp_(max=n_mels - 1)

    repeats = -(-how.n_frames // n_frames)
    wrapped = torch.cat([x[:, 0], *[x[:, 0]] * repeats], dim=2)[..., : n_frames + how.n_frames]
    wrapped = torch.nn.functional.pad(wrapped, (0, 0, 1, 1)).unfold(2, how.n_frames, 1)
    window = torch.arange(n_windows, device=x.device)[:, None]
    row = below.long() + 1
    lower, upper = wrapped[window, row, first[..., None]], wrapped[window, row + 1, first[..., None]]
    return lower.lerp_(upper, (mel - below)[..., None])


def with_others(views: Tensor, draws: Draws, deviation_db: float, how: ViewSettings) -> Tensor:
    """Return views with the power of another window, and of a noise floor, added to some of them."""
    if not how.mix_share and not how.floor_share:
        return views
    exponent = deviation_db * math.log2(10.0) / 10.0
    power = torch.exp2(views * exponent)
    mean = power.mean(dim=(2, 3))
    added = torch.zeros_like(power)
    if how.mix_share:
        partner = partners(draws["partner"])
        share = _ratio(how.mix_snr_db, draws["mix_snr"]) * mean / mean.gather(1, partner)
        share = share.clamp_(max=1.0) * (draws["is_mixed"] < how.mix_share)
        other = power[torch.arange(len(views), device=views.device)[:, None], partner]
        added = other.mul_(share[..., None, None])
    if how.floor_share:
        floor = _ratio(how.floor_snr_db, draws["floor_snr"]) * mean * (draws["has_floor"] < how.floor_share)
        added += floor[..., None, None]
    changed = (draws["is_mixed"] < how.mix_share) | (draws["has_floor"] < how.floor_share)
    return torch.where(changed[..., None, None], torch.log2(added.add_(power)).div_(exponent), views)


def equaliser(draws: Draws, deviation_db: float, how: ViewSettings, n_mels: int) -> Tensor:
    """Return the gain of each band in deviations, shape (V, B, M): one gain for all, and an equaliser's."""
    gain = (2 * draws["gain"] - 1) * (how.gain_db / deviation_db)
    knots = torch.stack([draws[f"knot_{i}"] for i in range(N_KNOTS)], dim=-1)
    normal = math.sqrt(2.0) * torch.erfinv((2 * knots - 1).clamp_(-1 + 2.0**-23, 1 - 2.0**-23))
    place = torch.linspace(0.0, N_KNOTS - 1.0, n_mels, device=knots.device)
    hats = (1 - (place - torch.arange(N_KNOTS, device=knots.device)[:, None]).abs()).clamp_(min=0)
    tilt = (2 * draws["tilt"] - 1) * (how.tilt_db / deviation_db)
    gain = gain[..., None] + tilt[..., None] * torch.linspace(-1.0, 1.0, n_mels, device=knots.device)
    return gain + (normal * (how.eq_db / deviation_db)) @ hats


def masked(views: Tensor, draws: Draws, how: ViewSettings) -> Tensor:
    """Return views of which some have a run of frames masked, and some a run of bands: 0 there."""
    for part, length in (("bands", views.shape[2]), ("frames", views.shape[3])):
        n_lost = torch.floor(draws[f"n_lost_{part}"] * int(how.mask_width * length + 1))
        n_lost *= draws[f"loses_{part}"] < how.mask_share
        first = torch.floor(draws[f"first_lost_{part}"] * (length - n_lost + 1))
        place = torch.arange(length, device=views.device)
        is_lost = (place >= first[..., None]) & (place < (first + n_lost)[..., None])
        views = views.masked_fill_(is_lost[..., :, None] if part == "bands" else is_lost[..., None, :], 0.0)
    return views


def partners(u: Tensor) -> Tensor:
    """Return another window of each one's group, itself where it is alone, shape (V, B)."""
    n_windows = u.shape[1]
    place = torch.arange(n_windows, device=u.device)
    base = place - place % MIX_GROUP
    n_group = torch.clamp(n_windows - base, max=MIX_GROUP)
    ahead = 1 + (u * (n_group - 1)).long()
    return base + (place - base + ahead) % n_group


def _between(span: Span, u: Tensor) -> Tensor:
    return span[0] + (span[1] - span[0]) * u


def _ratio(snr_db: Span, u: Tensor) -> Tensor:
    return torch.pow(10.0, -_between(snr_db, u) / 10)
