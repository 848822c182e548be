"""What readers of vectors return, and what they share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Vectors that another program made.

    Attributes
    ----------
    path
        What was read, for messages.
    recordings
        The recording of each vector, as the program wrote it.
    start_s, length_s
        Start of each vector's sound after the start of its recording, and its length, seconds, shape (n,). Lengths are
        ``None`` if the program did not write them.
    vectors
        Shape (n, n_features).
    where
        Returns where vector i stands, for messages.
    notes
        What there is to say of the reading.
    """

    path: Path
    recordings: Sequence[str]
    start_s: Floats
    length_s: Floats | None
    vectors: NDArray[Any]
    where: Callable[[int], str]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.recordings)


@dataclass(frozen=True)
class Part:
    """Vectors of one recording: the columns of :class:`Source`, and a name for each for messages."""

    recording: str
    start_s: Floats
    length_s: Floats
    vectors: NDArray[Any]
    where: Callable[[int], str]


def joined(path: Path, parts: Sequence[Part], notes: list[str]) -> Source:
    """Return the vectors of all recordings as one source.

    Raises
    ------
    InputError
        If there is none, or some have another number of features.
    """
    if not sum(map(len, (part.vectors for part in parts))):
        raise InputError(f"{path}: expected vectors, found none.")
    sizes = np.array([part.vectors.shape[1] for part in parts])
    usual = int(np.bincount(sizes).argmax())
    if (sizes != usual).any():
        odd = parts[int(np.flatnonzero(sizes != usual)[0])]
        raise InputError(
            f"{path}: expected vectors of {usual} features, as most have, found {odd.vectors.shape[1]} in "
            f"{odd.where(0)}. Vectors of one run come from one model: remove the others."
        )
    edges = np.cumsum([0, *(len(part.vectors) for part in parts)])

    def where(i: int) -> str:
        number = int(np.searchsorted(edges, i, side="right")) - 1
        return parts[number].where(i - int(edges[number]))

    return Source(
        path,
        [part.recording for part in parts for _ in range(len(part.vectors))],
        np.concatenate([part.start_s for part in parts]),
        np.concatenate([part.length_s for part in parts]),
        np.concatenate([part.vectors for part in parts]),
        where,
        notes,
    )


def files_below(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files below a folder, sorted; ``InputError`` for a link that leads out of it."""
    root = folder.resolve()
    for path in sorted(folder.rglob(pattern)):
        if not path.resolve().is_relative_to(root):
            raise InputError(f"{path}: is a link that leads out of {folder}. Put the file itself there.")
        if path.is_file():
            yield path


def load_array(path: Path) -> NDArray[Any]:
    """Return an array in NumPy's format as it lies on disk; ``InputError`` if it is none. Nothing is unpickled."""
    if not path.is_file():
        raise InputError(f"{path}: expected vectors in NumPy's format (.npy), found no file.")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: expected vectors in NumPy's format (.npy): {error}.") from error
