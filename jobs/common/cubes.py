"""Windows of a cube that a model is made from: all, a seeded sample, and their codes in batches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.common.run import Run
from lake.errors import InputError
from lake.read import Windows, grid_of, open_cube, usable_windows
from lake.shards import open_codes

WINDOWS_AT_ONCE: Final = 16


@dataclass(frozen=True)
class Cube:
    """The parts of a cube that a model is made from.

    Attributes
    ----------
    url
        The store.
    windows
        Its usable windows, or a sample of them.
    mel_hz
        Centre of each mel band, Hz, shape (n_mels,).
    n_frames
        Frames of a window.
    window_s
        Length of a window in seconds.
    """

    url: str
    windows: Windows
    mel_hz: NDArray[np.float64]
    n_frames: int
    window_s: float

    @property
    def shape(self) -> tuple[int, int]:
        """Bands and frames of a window."""
        return len(self.mel_hz), self.n_frames


def cube_of(run: Run, *, partial: bool = True) -> Cube:
    """Return the cube that a run reads, with its windows with gaps or without.

    Raises
    ------
    InputError
        If it has no usable window.
    """
    cube = run.inputs["spectrograms"]
    with open_cube(cube.output.url) as dataset:
        windows, mel_hz = usable_windows(dataset, partial=partial), dataset["mel"].to_numpy()
        n_frames, window_s = dataset.sizes["frame"], grid_of(dataset).window_ms / 1000
    if not len(windows):
        raise InputError(f"run {run.name!r}: the cube {cube.name!r} has no usable window.")
    return Cube(cube.output.url, windows, mel_hz, n_frames, window_s)


def drawn(cube: Cube, n_most: int, seed: int) -> Cube:
    """Return a cube with a seeded sample of its windows, in order; all of them if there are no more."""
    some = np.random.default_rng([seed, 0]).permutation(len(cube.windows))[:n_most]
    return replace(cube, windows=cube.windows.take(np.sort(some)))


def batches(cube: Cube) -> Iterator[NDArray[np.uint8]]:
    """Yield the codes of the windows in order, a few windows at once, uint8, shape (n, n_mels, n_frames)."""
    read_codes = open_codes(cube.url)
    for first in range(0, len(cube.windows), WINDOWS_AT_ONCE):
        part = cube.windows.take(slice(first, first + WINDOWS_AT_ONCE))
        yield read_codes(part.recorder, part.cell)
