"""Windows of a cube at the bands and the frame rate of a network of frames, as codes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.common.frames.card import FrameCard
from lake.errors import InputError

Codes = NDArray[np.uint8]
Weights = NDArray[np.float32]
Floats = NDArray[np.float64]

ROWS: Final = 16
"""The network halves the bands four times."""
MOST_STRETCH: Final = 2.0
"""Finer than the cube by this factor at most: what is in between was never measured."""
MOST_BEYOND: Final = 2.0
"""Bands of the network that may lie beyond those of the cube at each end; they take the nearest one's level."""
SAME: Final = 1e-3


@dataclass(frozen=True)
class Shape:
    """The bands and frames of windows.

    Attributes
    ----------
    mel_hz
        Centre of each mel band, Hz, shape (n_bands,).
    n_frames, window_s
        Frames of a window, and its duration, s.
    """

    mel_hz: Floats
    n_frames: int
    window_s: float

    @property
    def seconds_per_frame(self) -> float:
        """Duration of a frame, s."""
        return self.window_s / self.n_frames


def own_input(cube: Shape, n_bands: int, frame_s: float) -> tuple[Floats, float]:
    """Return the bands and the duration of a frame that a network takes that is trained on a cube from the start.

    Parameters
    ----------
    cube
        The windows.
    n_bands
        Bands at most, a multiple of 16.
    frame_s
        A cube's frames that are shorter are averaged, as many as fit into this.

    Returns
    -------
    mel_hz
        Centre of each band, Hz: the cube's, the middle of those that are averaged, or for a cube of fewer than 16
        places in between.
    seconds_per_frame
        Duration of a frame, s.

    Raises
    ------
    InputError
        If the cube has fewer than 8 bands.
    """
    n_mels = len(cube.mel_hz)
    if n_mels * MOST_STRETCH < ROWS:
        raise InputError(
            f"expected a cube of {ROWS // 2} mel bands or more, found {n_mels}: the network halves them four times. "
            "Make one with n_mels = 128."
        )
    n = min(n_bands, max(1, n_mels // ROWS) * ROWS)
    places = (np.arange(n) + 0.5) * (n_mels / n) - 0.5
    together = max(1, int(frame_s / cube.seconds_per_frame * (1 + SAME)))
    n_frames = max(1, cube.n_frames // together)
    return np.interp(places, np.arange(n_mels), cube.mel_hz), cube.window_s / n_frames


def resampler(cube: Shape, card_hz: Floats, seconds_per_frame: float) -> tuple[Callable[[Codes], Codes], int]:
    """Return the function that brings a cube's windows to the bands and frames of a network.

    Parameters
    ----------
    cube
        The windows.
    card_hz, seconds_per_frame
        Bands and duration of a frame of the network's input.

    Returns
    -------
    function
        From uint8 codes, shape (n, n_mels, n_frames), to those at other bands and frames: the mean level of what falls
        into each, without what is missing, to the nearest half decibel; between the cube's where it is coarser. Windows
        that are right as they are stay the same array.
    n_frames
        Frames of a window then.

    Raises
    ------
    InputError
        If the cube's bands or frames are much coarser than the network's, or its bands do not reach as far; with the
        settings of a cube that fits.
    """
    bands = _places(cube, card_hz)
    n_out = max(1, round(cube.window_s / seconds_per_frame))
    stretch = n_out / cube.n_frames
    if stretch > MOST_STRETCH * (1 + SAME):
        raise _unfit(
            cube, card_hz, seconds_per_frame,
            f"its frames last {1000 * cube.seconds_per_frame:.3g} ms, those of the network"
            f" {1000 * seconds_per_frame:.3g} ms",
        )  # fmt: skip
    same_bands = len(bands) == len(cube.mel_hz) and np.allclose(card_hz, cube.mel_hz, rtol=SAME)
    if same_bands and n_out == cube.n_frames:
        return (lambda codes: codes), cube.n_frames
    across = None if same_bands else _shares(bands, len(cube.mel_hz))
    along = (
        None if n_out == cube.n_frames else _shares(np.asarray((np.arange(n_out) + 0.5) / stretch - 0.5), cube.n_frames)
    )

    def resample(codes: Codes) -> Codes:
        known = (codes != 0).astype(np.float32)
        total = codes.astype(np.float32)
        for shares, axis in ((across, 1), (along, 2)):
            if shares is not None:
                total, known = _applied(shares, total, axis), _applied(shares, known, axis)
        mean = np.divide(total, known, out=np.zeros_like(total), where=known > SAME)
        return np.asarray(np.rint(mean), dtype=np.uint8)

    return resample, n_out


def require_fit(card: FrameCard, cube: Shape) -> None:
    """Refuse a cube whose windows cannot be brought to a network's bands and frames.

    Raises
    ------
    InputError
        As :func:`resampler`.
    """
    resampler(cube, np.array(card.mel_hz), card.seconds_per_frame)


def _places(cube: Shape, card_hz: Floats) -> Floats:
    """Return where the network's bands lie among the cube's, as numbers of bands, shape (n_bands,)."""
    own = np.arange(len(cube.mel_hz), dtype=np.float64)
    if len(own) < 2:
        raise _unfit(cube, card_hz, None, f"it has {len(own)} mel band")
    spacing = np.diff(card_hz)
    low, high = (cube.mel_hz[0] - card_hz[0]) / spacing[0], (card_hz[-1] - cube.mel_hz[-1]) / spacing[-1]
    if low > MOST_BEYOND or high > MOST_BEYOND:
        raise _unfit(
            cube, card_hz, None,
            f"its bands reach from {cube.mel_hz[0]:.0f} to {cube.mel_hz[-1]:.0f} Hz, those of the network from"
            f" {card_hz[0]:.0f} to {card_hz[-1]:.0f} Hz",
        )  # fmt: skip
    places = np.interp(card_hz, cube.mel_hz, own)
    inner = np.diff(places)[1:-1]
    if len(inner) and np.median(inner) < (1 - SAME) / MOST_STRETCH:
        raise _unfit(
            cube, card_hz, None,
            f"it has {len(own)} mel bands from {cube.mel_hz[0]:.0f} to {cube.mel_hz[-1]:.0f} Hz, the network"
            f" {len(card_hz)} from {card_hz[0]:.0f} to {card_hz[-1]:.0f} Hz",
        )  # fmt: skip
    return places


def _unfit(cube: Shape, card_hz: Floats, seconds_per_frame: float | None, why: str) -> InputError:
    """Return the refusal of a cube, with the settings of one that fits."""
    settings = [
        f"n_mels = {len(card_hz)}",
        f"f_min_hz = {max(0.0, 2 * card_hz[0] - card_hz[1]):.0f}",
        f"f_max_hz = {2 * card_hz[-1] - card_hz[-2]:.0f}",
    ]
    if seconds_per_frame is not None:
        settings.append(f"n_frames = {round(cube.window_s / seconds_per_frame)} for window_s = {cube.window_s:g}")
    return InputError(f"the cube does not fit the network: {why}. Make a cube with {', '.join(settings)}.")


def _shares(places: NDArray[np.floating], n: int) -> Weights:
    """Return how much of each of ``n`` equal parts counts in each new one, shape (n_new, n); rows sum to 1.

    Parameters
    ----------
    places
        Centres of the new parts, in numbers of old ones. A new part that is as wide as an old one or wider takes the
        mean of what falls into it; a narrower one lies on the line between two old ones.
    n
        Number of old parts.
    """
    middles = (places[1:] + places[:-1]) / 2
    first = 2 * places[0] - middles[0] if len(middles) else places[0] - 0.5
    last = 2 * places[-1] - middles[-1] if len(middles) else places[-1] + 0.5
    edges = np.concatenate([[first], middles, [last]])
    old = np.arange(n)
    out = np.zeros((len(places), n))
    for i, place in enumerate(places):
        low, high = edges[i], edges[i + 1]
        if high - low >= 1 - SAME:
            out[i] = np.clip(np.minimum(high, old + 0.5) - np.maximum(low, old - 0.5), 0, None)
        else:
            out[i] = np.clip(1 - np.abs(np.clip(place, 0, n - 1) - old), 0, None)
        if out[i].sum() < SAME:
            out[i, int(np.clip(round(place), 0, n - 1))] = 1
    return np.asarray(out / out.sum(axis=1, keepdims=True), dtype=np.float32)


def _applied(shares: Weights, values: Weights, axis: int) -> Weights:
    return np.asarray(shares @ values if axis == 1 else values @ shares.T, dtype=np.float32)
