"""Vectors in 8 bits a feature, and a bound on how far a product with them is from that with the vectors."""

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from lake.scaling import Vectors

HIGHEST: Final = 127
"""Codes go from -127 to 127."""
SLACK: Final = 5e-5
"""More than three roundings to float32 change a quotient of 254: one element of the error of a vector."""
_TINY: Final = float(np.finfo(np.float32).tiny)
_UNIT: Final = 2.0**-24
"""Half of the distance from 1 to the next float32."""
_MAGIC: Final = b"dawncod1"
_HEADER: Final = struct.Struct("<8sIII")
_DIGEST_BYTES: Final = 8


@dataclass(frozen=True)
class Codes:
    """Vectors of neighbouring windows, coded: feature j of window i is about ``middle[j] + step[j] * codes[i, j]``.

    Attributes
    ----------
    middle, step
        float32, shape (n_features,); the step of a feature that does not vary is 0.
    codes
        int8, shape (n_windows, n_features).
    error
        At least the Euclidean length of the difference between vector and code, each feature divided by its step;
        float32, shape (n_windows,).
    length
        Euclidean length of each vector, float32, shape (n_windows,).
    """

    middle: Vectors
    step: Vectors
    codes: NDArray[np.int8]
    error: Vectors
    length: Vectors

    def __len__(self) -> int:
        return len(self.codes)

    @np.errstate(over="ignore", invalid="ignore")  # a bound is infinite then
    def products(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the product of each vector with weights, by its code, and how far that may be off.

        Parameters
        ----------
        weights
            Shape (n_features,).

        Returns
        -------
        about, bound
            Shape (n_windows,). The product of the vector itself is between ``about - bound`` and ``about + bound``.
            A bound is infinite where nothing can be said.

        Notes
        -----
        Let x be a vector, m the middles, s the steps, c its code, w the weights, r = x - m - s c. Then
        x·w = m·w + c·(s w) + r·w. Where s is 0 all vectors equal m, and r is 0. Elsewhere, by the inequality of Cauchy
        and Schwarz, |r·w| = |(r / s)·(s w)| ≤ ‖r / s‖ ‖s w‖, and ``error`` is at least ‖r / s‖. The rest is
        rounding: a sum of n products in float32, in any order, is off by less than 2 n u times the sum of their
        magnitudes (u = 2⁻²⁴, n u < 1/2; Higham 2002, "Accuracy and Stability of Numerical Algorithms", 3.1), which is
        at most 127 times the sum of |s w|; rounding s w to float32 adds u times that. The sum m·w in float64 is
        off by less than 2 n 2⁻⁵³ times the sum of |m w|.
        """
        n = len(weights)
        steps = self.step.astype(np.float64) * weights
        largest = float(np.abs(steps).max(initial=0.0))
        whole = float(self.middle.astype(np.float64) @ weights)
        magnitude = HIGHEST * float(np.abs(steps).sum())
        rounding = 2 * (n + 1) * _UNIT * magnitude
        rounding += 4 * n * 2.0**-53 * (float(np.abs(self.middle.astype(np.float64) * weights).sum()) + magnitude)
        about = np.full(len(self), whole)
        if largest > 0:  # scaled to 1, so that nothing is too small or too large for float32
            about += (self.codes.astype(np.float32) @ (steps / largest).astype(np.float32)).astype(np.float64) * largest
        bound = self.error.astype(np.float64) * float(np.sqrt(steps @ steps)) * (1 + 1e-9) + rounding
        unknown = ~(np.isfinite(about) & np.isfinite(bound))
        if unknown.any():
            about[unknown], bound[unknown] = 0, np.inf
        return about, bound


def encode(vectors: Vectors) -> Codes:
    """Return the codes of the vectors of neighbouring windows, float32, finite, shape (n_windows, n_features).

    Notes
    -----
    The steps divide the range of each feature among these windows, so that no value is cut off. The difference between
    vector and code is computed in float32: (x - m) / s is at most 254 and off by three roundings, less than ``SLACK``;
    what is subtracted next is so near that the rest is exact. The sum of n squares is off by less than n roundings.
    """
    lowest, highest = vectors.min(axis=0).astype(np.float64), vectors.max(axis=0).astype(np.float64)
    middle = (lowest + (highest - lowest) / 2).astype(np.float32)
    step = np.where(highest > lowest, np.maximum((highest - lowest) / (2 * HIGHEST), _TINY), 0).astype(np.float32)
    inverse = np.zeros_like(step)
    np.divide(1, step, out=inverse, where=step > 0)
    with np.errstate(over="ignore", invalid="ignore"):  # the error of such a vector is infinite, and says nothing
        rest = vectors - middle
        rest *= inverse
        rounded = np.rint(rest).clip(-HIGHEST, HIGHEST)
        rest -= rounded
        n = vectors.shape[1]
        error = np.sqrt(np.einsum("ij,ij->i", rest, rest).astype(np.float64)) * (1 + 2 * n * _UNIT) + SLACK * np.sqrt(n)
        codes = np.nan_to_num(rounded).astype(np.int8)
    wide = vectors.astype(np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    with np.errstate(over="ignore"):
        error = np.where(np.isfinite(error), error, np.inf) * (1 + 2 * _UNIT)
        return Codes(middle, step, codes, error.astype(np.float32), length.astype(np.float32))


def pack(blocks: list[Codes]) -> bytes:
    """Return blocks of codes as bytes that end with their digest; :func:`unpack` reads them."""
    n_features = len(blocks[0].middle)
    sizes = np.array([len(block) for block in blocks], dtype="<u4")
    parts: list[Any] = [_HEADER.pack(_MAGIC, len(blocks), n_features, int(sizes.sum())), sizes.tobytes()]
    for name, dtype in (("middle", "<f4"), ("step", "<f4"), ("error", "<f4"), ("length", "<f4"), ("codes", "i1")):
        parts += [np.ascontiguousarray(getattr(block, name), dtype=dtype).tobytes() for block in blocks]
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(part)
    return b"".join([*parts, digest.digest()])


def unpack(data: bytes | NDArray[np.uint8], n_windows: int, n_features: int) -> list[Codes] | None:
    """Return the blocks of codes of some windows, or ``None`` if the bytes are damaged or of other windows."""
    view = memoryview(data) if isinstance(data, bytes) else data.data
    if len(view) < _HEADER.size + _DIGEST_BYTES:
        return None
    magic, n_blocks, n, n_all = _HEADER.unpack(view[: _HEADER.size])
    expected = _HEADER.size + 4 * n_blocks + n_blocks * n * 8 + n_all * (8 + n) + _DIGEST_BYTES
    if (magic, n, n_all, len(view)) != (_MAGIC, n_features, n_windows, expected):
        return None
    if xxhash.xxh3_64(view[:-_DIGEST_BYTES]).digest() != view[-_DIGEST_BYTES:]:
        return None
    place = _HEADER.size

    def take(dtype: str, count: int) -> NDArray[Any]:
        nonlocal place
        found = np.frombuffer(view, dtype=dtype, count=count, offset=place)
        place += found.nbytes
        return found

    sizes = take("<u4", n_blocks)
    if int(sizes.sum()) != n_all:
        return None
    middle, step = (take("<f4", n_blocks * n).reshape(n_blocks, n) for _ in range(2))
    error, length = take("<f4", n_all), take("<f4", n_all)
    codes = take("i1", n_all * n).reshape(n_all, n)
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    return [
        Codes(middle[i], step[i], codes[first:end], error[first:end], length[first:end])
        for i, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]
