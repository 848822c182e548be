"""Windows as a network takes them: compared with what it was trained on, decoded, filled and resized."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jobs.common.network.card import ModelCard
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB
from lake.errors import InputError


def check_scale(card: ModelCard, *, window_s: float, mel_hz: NDArray[np.floating]) -> None:
    """Refuse windows whose bands or time scale are not those that a model was trained on.

    Parameters
    ----------
    card
        The model's card.
    window_s
        Duration of a window, s.
    mel_hz
        Band centres of the cube, Hz, shape (n_mels,).

    Raises
    ------
    InputError
        If the mel bands differ, or one input pixel lasts more than twice or less than half as long.
    """
    wanted = (card.n_mels, card.mel_first_hz, card.mel_last_hz)
    found = (len(mel_hz), float(mel_hz[0]), float(mel_hz[-1]))
    if not np.allclose(wanted, found, rtol=1e-3):
        raise InputError(
            "the model was trained on {} mel bands from {:.1f} to {:.1f} Hz, the cube has {} from {:.1f} to"
            " {:.1f} Hz. Train on this cube, or make one with the model's bands.".format(*wanted, *found)
        )
    seconds = window_s / card.input_size[1]
    if not 0.5 <= seconds / card.seconds_per_frame <= 2.0:
        raise InputError(
            f"the model was trained at {card.seconds_per_frame:.4g} s per pixel, this cube's windows give"
            f" {seconds:.4g} s (at most a factor of two is allowed). Train on this cube, or change window_s."
        )


def prepare(
    codes: Tensor,
    card: ModelCard,
    recorder: Sequence[str] | None = None,
    has_gap: NDArray[np.bool_] | None = None,
) -> Tensor:
    """Turn codes into what the network takes: gaps filled, dataset mean removed, deviation one.

    Parameters
    ----------
    codes
        uint8 codes, shape (n_windows, n_mels, n_frames), on any device; 0 is missing.
    card
        Statistics of the training windows.
    recorder
        Name of each window's recorder; needed where the card has the recorders' backgrounds, which are then
        taken off instead of the mean of all windows.
    has_gap
        Which windows have bands that are missing in part (:func:`gaps_of`), shape (n_windows,), where that is known:
        the device is then not waited for.

    Returns
    -------
    Tensor
        float32, shape (n_windows, 1, n_mels, n_frames), finite. Frames that no sample covered take the
        median of their band over the window's other frames; bands that the source does not have take
        the dataset's mean, which is 0 here.

    Raises
    ------
    InputError
        If the number of bands is not the card's, or a recorder is not among those of the card.
    """
    if codes.shape[1] != card.n_mels:
        raise InputError(
            f"expected windows of {card.n_mels} mel bands, as the model was trained on, found"
            f" {codes.shape[1]}. Use a cube with the model's bands, or train on this one."
        )
    mean = levels_taken_off(card, recorder, len(codes)).to(codes.device, non_blocking=True)
    levels = codes.to(torch.float32).mul_(CODE_STEP_DB / card.deviation_db)
    levels += (CODE_OFFSET_DB - mean) / card.deviation_db
    missing = codes == 0
    if has_gap is not None:
        levels.masked_fill_(missing, 0.0)
        if has_gap.any():
            some = torch.from_numpy(np.flatnonzero(has_gap)).to(codes.device, non_blocking=True)
            levels[some] = _filled(levels[some], missing[some])
    elif missing.any():
        levels.masked_fill_(missing, 0.0)
        gaps = missing & ~missing.all(dim=2, keepdim=True)
        rows = gaps.any(dim=2).nonzero()
        if len(rows):
            band, gap = levels[rows[:, 0], rows[:, 1]], gaps[rows[:, 0], rows[:, 1]]
            levels[rows[:, 0], rows[:, 1]] = torch.where(gap, _median(band, ~gap)[:, None], band)
    return levels[:, None]


def gaps_of(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which windows have bands that are missing in part, shape (n_windows,); for codes in memory."""
    has_gap: NDArray[np.bool_] = codes.min(axis=(1, 2)) == 0
    for i in np.flatnonzero(has_gap):
        missing = codes[i] == 0
        has_gap[i] = (missing.any(axis=1) & ~missing.all(axis=1)).any()
    return has_gap


def _filled(levels: Tensor, missing: Tensor) -> Tensor:
    """Return whole windows with each band's median where it is missing in part: no shape depends on the values."""
    absent = missing.all(dim=2, keepdim=True)
    median = _median(levels.flatten(0, 1), (~missing | absent).flatten(0, 1)).reshape(absent.shape)
    return torch.where(missing & ~absent, median, levels)


def levels_taken_off(card: ModelCard, recorder: Sequence[str] | None, n_windows: int) -> Tensor:
    """Return the level of each band that stands for 0, dBFS, shape (1 or n_windows, n_mels, 1).

    Parameters
    ----------
    card, recorder
        As for :func:`prepare`.
    n_windows
        Number of windows.

    Raises
    ------
    InputError
        If the card has backgrounds, and a recorder is not named or not among them.
    """
    if card.background_db is None:
        return torch.tensor(card.mean_db, dtype=torch.float32)[None, :, None]
    if recorder is None or len(recorder) != n_windows:
        raise InputError(
            f"the model {card.run!r} was trained with each recorder's background taken off: the recorder of each of the"
            f" {n_windows} windows is needed, found {'none' if recorder is None else len(recorder)}."
        )
    unknown = sorted(set(recorder) - set(card.background_db))
    if unknown:
        raise InputError(
            f"the model {card.run!r} was trained with each recorder's background taken off and does not know"
            f" {', '.join(unknown)}; it knows {', '.join(sorted(card.background_db))}. Train again with recordings of"
            ' all of them, or with background = "none".'
        )
    return torch.tensor([card.background_db[name] for name in recorder], dtype=torch.float32)[..., None]


def _median(values: Tensor, known: Tensor) -> Tensor:
    """Return the median of each row's known values, the mean of the middle two when they are even."""
    ordered = values.masked_fill(~known, math.inf).sort(dim=1).values
    n_known = known.sum(dim=1, keepdim=True)
    middle = ordered.gather(1, (n_known - 1) // 2) + ordered.gather(1, n_known // 2)
    return middle[:, 0] / 2


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize along each axis: means of what falls into a pixel where it shrinks, linear where it grows.

    Parameters
    ----------
    x
        Shape (n_windows, 1, n_mels, n_frames).
    size
        Mel bands and frames wanted.
    """
    now = (int(x.shape[2]), int(x.shape[3]))
    shrunk = (min(now[0], size[0]), min(now[1], size[1]))
    if shrunk != now:
        x = functional.interpolate(x, size=shrunk, mode="area")
    if shrunk != size:
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    return x
