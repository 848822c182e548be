"""The loops that make views of large windows on a CPU, compiled.

They say what :mod:`jobs.dino.views` says with tensors, in fewer passes; a test compares the two.

Axes: V views, B windows, R rows (mel bands) and C columns (frames) of a shrunk window, H and W a view's height and
width.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.common.compiled import compiled

Float32Array = NDArray[np.float32]

MOST_ROWS: Final = 257
"""So many codes are summed in 16 bits at most."""


class Where(NamedTuple):
    """Which rectangles are cut out: fields of :class:`~jobs.dino.draws.Plan`, shape (V, B)."""

    centre: Float32Array
    is_active: NDArray[np.bool_]
    duration: Float32Array
    mel_centre: Float32Array
    height: Float32Array


class How(NamedTuple):
    """The alterations of views.

    Attributes
    ----------
    is_mixed, partner, ratio, gain, tilt
        Fields of :class:`~jobs.dino.draws.Plan`, shape (V, B).
    lost
        First band that is lost, and the one after the last; the same for frames; shape (4, V, B).
    """

    is_mixed: NDArray[np.bool_]
    partner: NDArray[np.int64]
    ratio: Float32Array
    gain: Float32Array
    tilt: Float32Array
    lost: NDArray[np.int64]


_LOG: Final = tuple(
    np.float32(c)
    for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
_EXP: Final = tuple(
    np.float32(c)
    for c in (
        1.535336188319500e-4, 1.339887440266574e-3, 9.618437357674640e-3, 5.550332471162809e-2,
        2.402264791363012e-1, 6.931472028550421e-1,
    )
)  # fmt: skip
"""Coefficients of logf and exp2f in the Cephes library (S. Moshier)."""
_SQRT_HALF_BITS: Final = np.int32(np.float32(np.sqrt(0.5)).view(np.int32))
_LOG2_E: Final = np.float32(np.log2(np.e))
_HALF: Final = np.float32(0.5)
_ONE: Final = np.float32(1.0)
_ONE_BITS: Final = np.int32(127)
_BITS: Final = np.int32(23)
_LARGEST: Final = np.float32(126.0)


@compiled
def exp2(x: np.float32) -> np.float32:
    """Return 2 to the power of a number, which is taken as at most 126 and at least -126."""
    x = min(max(x, -_LARGEST), _LARGEST)
    whole = np.floor(x + _HALF)
    f = x - whole
    p = ((((_EXP[0] * f + _EXP[1]) * f + _EXP[2]) * f + _EXP[3]) * f + _EXP[4]) * f + _EXP[5]
    scale = np.int32((np.int32(whole) + _ONE_BITS) << _BITS).view(np.float32)
    return np.float32((p * f + _ONE) * scale)


@compiled
def log2(x: np.float32) -> np.float32:
    """Return the logarithm to base 2 of a normal number above 0."""
    bits = np.int32(np.float32(x).view(np.int32) - _SQRT_HALF_BITS)
    exponent = np.int32(bits >> _BITS)
    f = np.int32(np.float32(x).view(np.int32) - np.int32(exponent << _BITS)).view(np.float32) - _ONE
    p = _LOG[0]
    p = p * f + _LOG[1]
    p = p * f + _LOG[2]
    p = p * f + _LOG[3]
    p = p * f + _LOG[4]
    p = p * f + _LOG[5]
    p = p * f + _LOG[6]
    p = p * f + _LOG[7]
    p = p * f + _LOG[8]
    return np.float32((f + f * f * (f * p - _HALF)) * _LOG2_E + np.float32(exponent))


@compiled
def shrink(codes: NDArray[np.uint8], scale: np.float32, offset: Float32Array, out: Float32Array) -> bool:
    """Sum a window's codes over blocks and make levels of them.

    Parameters
    ----------
    codes
        Shape (n_mels, n_frames), whole multiples of that of ``out``; at most :data:`MOST_ROWS` times as many rows.
    scale, offset
        A block's level is ``scale`` times its sum, plus the ``offset`` of its row, shape (R,).
    out
        Shape (R, C).

    Returns
    -------
    bool
        Whether any code was 0, which is missing; ``out`` is then without meaning.
    """
    n_rows, n_columns = out.shape
    rows, columns = codes.shape[0] // n_rows, codes.shape[1] // n_columns
    total = np.empty(codes.shape[1], dtype=np.uint16)
    lowest = np.full(codes.shape[1], 255, dtype=np.uint8)
    for i in range(n_rows):
        total[:] = 0
        for row in range(i * rows, (i + 1) * rows):
            line = codes[row]
            for j in range(total.size):
                total[j] += np.uint16(line[j])
                lowest[j] = min(lowest[j], line[j])
        if columns == 2:  # known to the compiler, so that it can be done in vectors
            for j in range(n_columns):
                out[i, j] = np.float32(np.uint32(total[2 * j]) + np.uint32(total[2 * j + 1])) * scale + offset[i]
            continue
        for j in range(n_columns):
            of_block = np.uint32(0)
            for column in range(j * columns, (j + 1) * columns):
                of_block += np.uint32(total[column])
            out[i, j] = np.float32(of_block) * scale + offset[i]
    return bool(lowest.min() == 0)


@compiled
def loudness(x: Float32Array) -> Float32Array:
    """Return the running sum of how far each frame's mean level is above the lowest, shape (C,)."""
    level = np.zeros(x.shape[1], dtype=np.float32)
    for row in x:
        for j in range(level.size):
            level[j] += row[j]
    level /= np.float32(x.shape[0])
    level += np.float32(1e-3) - level.min()
    return np.cumsum(level)


@compiled
def crop(x: Float32Array, cdf: Float32Array, window: int, where: Where, out: Float32Array) -> None:
    """Cut all views of one size out of one window and resize them, linearly between neighbours.

    Parameters
    ----------
    x, cdf
        The window, shape (R, C), and what :func:`loudness` says of it.
    window
        Its place in the batch.
    where
        The rectangles.
    out
        Views, shape (V, B, H, W).
    """
    n_rows, n_columns = x.shape
    n_high, n_wide = out.shape[2:]
    column = np.empty(n_wide, dtype=np.int64)
    share = np.empty(n_wide, dtype=np.float32)
    line = np.empty(n_columns + 3, dtype=np.float32)
    for v in range(out.shape[0]):
        middle = float(where.centre[v, window])
        if where.is_active[v, window]:
            loud = np.searchsorted(cdf, np.float32(where.centre[v, window] * cdf[-1]))
            middle = (min(loud, n_columns - 1) + 0.5) / n_columns
        length = float(where.duration[v, window])
        first = int(np.floor((middle + (0.5 / n_wide - 0.5) * length) * n_columns - 0.5))
        for j in range(n_wide):
            place = (middle + ((j + 0.5) / n_wide - 0.5) * length) * n_columns - 0.5 - first
            column[j] = int(place)
            share[j] = np.float32(place - column[j])
        n_needed = column[n_wide - 1] + 2
        start = first % n_columns
        for i in range(n_high):
            place = (where.mel_centre[v, window] + ((i + 0.5) / n_high - 0.5) * where.height[v, window]) * n_rows - 0.5
            lower = int(np.floor(place))
            upper_share = np.float32(place - lower)
            lower_share = _ONE - upper_share
            if lower < 0 or lower >= n_rows:
                lower_share = np.float32(0.0)
            if lower + 1 < 0 or lower + 1 >= n_rows:
                upper_share = np.float32(0.0)
            below, above = x[min(max(lower, 0), n_rows - 1)], x[min(max(lower + 1, 0), n_rows - 1)]
            done, at = 0, start
            while done < n_needed:
                n = min(n_needed - done, n_columns - at)
                for k in range(n):
                    line[done + k] = lower_share * below[at + k] + upper_share * above[at + k]
                done, at = done + n, 0
            view = out[v, window, i]
            for j in range(n_wide):
                left = line[column[j]]
                view[j] = left + share[j] * (line[column[j] + 1] - left)


@compiled
def _to_power(levels: Float32Array, exponent: np.float32, out: Float32Array, sums: Float32Array) -> None:
    for w in range(levels.size):
        out[w] = exp2(levels[w] * exponent)
    for w in range(levels.size):
        sums[w] += out[w]


@compiled
def _to_level(
    own: Float32Array, added: Float32Array, factor: np.float32, exponent: np.float32, out: Float32Array
) -> None:
    per_octave = _ONE / exponent
    for w in range(own.size):
        out[w] = log2(own[w] + factor * added[w]) * per_octave


@compiled
def _change(own: Float32Array, at: tuple[int, int], how: How) -> None:
    """Give a view gain and tilt."""
    n_high = own.shape[0]
    for h in range(n_high):
        change = how.gain[at] + how.tilt[at] * np.float32(2.0 * h / max(n_high - 1, 1) - 1.0)
        line = own[h]
        for w in range(line.size):
            line[w] += change


@compiled
def _mask(view: Float32Array, at: tuple[int, int], lost: NDArray[np.int64], out: Float32Array) -> None:
    v, i = at
    for h in range(view.shape[0]):
        if lost[0, v, i] <= h < lost[1, v, i]:
            out[h] = 0
        else:
            out[h] = view[h]
            out[h, lost[2, v, i] : lost[3, v, i]] = 0


@compiled
def finish(views: Float32Array, masked: Float32Array, group: tuple[int, int], exponent: np.float32, how: How) -> None:
    """Mix the views of neighbours, change their levels, and mask some of them.

    Parameters
    ----------
    views
        Of one size, shape (V, B, H, W); changed in place.
    masked
        The same with masks; may be the same memory.
    group
        Places in the batch of the windows that are mixed among themselves: the first, and the one after the last.
    exponent
        A level of 1 is a power of 2 to this.
    how
        What is done.
    """
    first, n_windows = group[0], group[1] - group[0]
    n_high, n_wide = views.shape[2:]
    power = np.empty((n_windows, n_high, n_wide), dtype=np.float32)
    sums = np.empty(n_wide, dtype=np.float32)
    mean = np.empty(n_windows, dtype=np.float32)
    for v in range(views.shape[0]):
        is_needed = how.is_mixed[v, first : group[1]].copy()
        for i in range(n_windows):
            is_needed[how.partner[v, first + i] - first] |= how.is_mixed[v, first + i]
        for i in range(n_windows):
            if not is_needed[i]:
                continue
            sums[:] = 0
            for h in range(n_high):
                _to_power(views[v, first + i, h], exponent, power[i, h], sums)
            mean[i] = sums.sum() / np.float32(n_high * n_wide)
        for i in range(n_windows):
            at = (v, first + i)
            if how.is_mixed[at]:
                other = how.partner[at] - first
                factor = min(how.ratio[at] * mean[i] / mean[other], _ONE)
                for h in range(n_high):
                    _to_level(power[i, h], power[other, h], factor, exponent, views[v, first + i, h])
            _change(views[at], at, how)
            _mask(views[at], at, how.lost, masked[at])
