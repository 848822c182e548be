"""The soft whitening of a study: moments of all windows of its vector sets, gathered in one bounded pass and kept."""

import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lake.chain import made_by
from lake.errors import DawnchorusError, InputError
from lake.identity import short_hash
from lake.layout import Lake
from lake.ledger import Ledger
from lake.scaling import (
    N_AXES,
    SHRINKAGE,
    UNIT_LENGTH,
    Moments,
    Normalise,
    Scale,
    Scaling,
    Vectors,
    merge,
    moments,
    packed_scaling,
    scale_of,
    unpacked_scaling,
    whitening,
)
from lake.storage import ABANDONED_S
from lake.threads import in_threads
from lake.vectors import VectorSets, read_span

ROWS_OF_PRODUCTS = 4096
"""Windows whose products are summed at once: with fewer, most of the time goes into new memory."""
FOLDER = "caches/whitening"
NAME = re.compile(r"(?:(?P<sets>[0-9a-f]{12})-(?P<content>[0-9a-f]{12})-)?[0-9a-f]{12}(?:\.lengths)?\.npz")
"""Names of files there; earlier releases had the last part alone."""


@dataclass(frozen=True)
class _Key:
    """Key of a cached whitening: digests of its vector sets, of their content, and of the settings."""

    lake: Lake = field(compare=False)
    sets: str
    content: str
    settings: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.sets}-{self.content}-{self.settings}.npz"

    @property
    def lengths_file(self) -> str:
        """The name of the file of the lengths of its windows."""
        return f"{self.sets}-{self.content}-{self.settings}.lengths.npz"


def study_whitening(
    sets: VectorSets, *, shrinkage: float = SHRINKAGE, n_axes: int = N_AXES, partial: bool = True, threads: int = 2,
    keep: bool = True, advance: Callable[[int], None] = lambda _: None,
) -> Scaling:  # fmt: skip
    """Return the whitening of vector sets over all of their windows.

    Parameters
    ----------
    sets
        From :func:`lake.vectors.open_vectors`.
    shrinkage, n_axes
        See :func:`lake.scaling.whitening`.
    partial
        As the sets were opened.
    threads
        That read and sum; they change no bit.
    keep
        Whether it is kept in the lake.
    advance
        Called with the number of windows that were read.

    Returns
    -------
    Scaling
        That of the ``cluster`` job on the same sets. Inside a lake it is kept in ``caches/`` and read from there as
        long as the sets stay as they are; the folder may be removed at any time.
    """
    key = _key(sets, shrinkage, n_axes, partial=partial)
    if key is not None and (found := _kept(key, sets)) is not None:
        return found
    with threadpool_limits(1):  # as in the `cluster` job: the number of BLAS threads may change the last bits
        over_all = _over_all(sets, threads, advance, products=True)
        scaling = whitening(over_all, shrinkage=shrinkage, n_axes=n_axes)
    if key is not None and keep:
        with suppress(DawnchorusError, OSError):  # somebody else's lake, or a full one: it is computed again next time
            _keep(key, key.file, packed_scaling(scaling), is_now=_key(sets, shrinkage, n_axes, partial=partial) == key)
    return scaling


def kept_lengths(sets: VectorSets) -> Vectors | None:
    """Return the lengths of all windows once whitened, as :func:`keep_lengths` left them for these sets.

    Returns
    -------
    NDArray or None
        float32, shape (n_windows, n_sets), as :func:`lake.scaling.scaled_and_lengths` gives them; ``None`` if nothing
        is kept, or it is damaged.
    """
    key = _key(sets, SHRINKAGE, N_AXES, partial=True)
    data = None if key is None else key.lake.storage.below(FOLDER).read_or_none(key.lengths_file)
    if data is None:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = arrays["lengths"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if found.dtype != np.float32 or found.shape != (sets.n_windows, len(sets.arrays)):
        return None
    return np.asarray(found) if np.isfinite(found).all() and (found >= 0).all() else None


def keep_lengths(sets: VectorSets, lengths: Vectors) -> str:
    """Keep the lengths of all windows once whitened, if the sets stand in a lake; return why that was not possible."""
    key = _key(sets, SHRINKAGE, N_AXES, partial=True)
    if key is None:
        return ""
    try:
        _keep(key, key.lengths_file, {"lengths": lengths}, is_now=True)
    except (DawnchorusError, OSError) as error:  # as in `study_whitening`
        return str(error)
    return ""


def study_scaling(
    sets: VectorSets, normalise: Normalise, *, shrinkage: float = SHRINKAGE, n_axes: int = N_AXES,
    partial: bool = True, threads: int = 2, advance: Callable[[int], None] = lambda _: None,
) -> Scaling:  # fmt: skip
    """Return how vector sets are scaled by a normalisation, over all of their windows; see :func:`study_whitening`."""
    if normalise == "whiten":
        return study_whitening(
            sets, shrinkage=shrinkage, n_axes=n_axes, partial=partial, threads=threads, advance=advance
        )
    if not normalise.startswith("zscore"):  # nothing depends on the windows
        unit = normalise in UNIT_LENGTH
        return Scaling(tuple(Scale(np.zeros(n), np.ones(n), unit) for n in sets.n_features))
    return Scaling(tuple(scale_of(each, normalise) for each in _over_all(sets, threads, advance, products=False)))


def _over_all(sets: VectorSets, threads: int, advance: Callable[[int], None], *, products: bool) -> list[Moments]:
    """Return the moments of each set over all windows."""

    def look(group: list[int]) -> tuple[int, list[Moments]]:
        parts = [read_span(sets, sets.spans[i]) for i in group]
        vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return len(vectors), set_moments(vectors, sets.n_features, products=products)

    over_all: list[Moments] = []
    for n_windows, found in in_threads(look, groups_of(sets, ROWS_OF_PRODUCTS), threads, ahead=threads + 1):
        over_all = [*map(merge, over_all, found)] if over_all else found
        advance(n_windows)
    return over_all


def groups_of(sets: VectorSets, n_windows: int) -> list[list[int]]:
    """Return the numbers of all spans, in order, in groups that end once they have so many windows."""
    groups: list[list[int]] = []
    n = n_windows
    for i, span in enumerate(sets.spans):
        if n >= n_windows:
            groups.append([])
            n = 0
        groups[-1].append(i)
        n += len(span.cells)
    return groups


def set_moments(vectors: Vectors, n_features: Sequence[int], *, products: bool) -> list[Moments]:
    """Return the moments of each set of vectors that stand side by side, shape (n_windows, n_features of all)."""
    parts = np.split(vectors, np.cumsum(n_features)[:-1], axis=1)
    return [moments(each, products=products) for each in parts]


def whitening_notes(sets: VectorSets, scaling: Scaling, shrinkage: float = SHRINKAGE) -> list[str]:
    """Return a line for each set that says nothing, or was shrunk further than wanted: it has few windows."""
    if not scaling.shrinkage:
        return []
    notes = []
    names = [url.rstrip("/").rpartition("/")[2] for url in sets.urls]
    for name, n_features, scale, applied in zip(names, sets.n_features, scaling.scales, scaling.shrinkage, strict=True):
        if scale.components is not None and len(scale.components) and not scale.components.any():
            notes.append(
                f"{name}: its vectors (windows: {sets.n_windows}) are all the same and tell none from another. Look "
                "at the recordings, or leave the set out."
            )
        elif applied > shrinkage:
            notes.append(
                f"{name}: {sets.n_windows} windows of {n_features} features are few to whiten; shrinkage {applied:.3g} "
                f"was used in place of {shrinkage:.3g}. More recordings make it better."
            )
    return notes


def _key(sets: VectorSets, shrinkage: float, n_axes: int, *, partial: bool) -> _Key | None:
    """Return what a whitening is kept as, as the sets are now; ``None`` outside of a lake."""
    try:
        made = [made_by(url) for url in sets.urls]
    except InputError:
        return None
    contents = []
    for one in made:
        committed = Ledger(one.lake.ledger(one.name)).committed()
        if committed is None:
            return None
        contents.append(committed[0])
    urls = [one.lake.storage.url for one in made]
    names = [[one.name, "" if url == urls[0] else url] for one, url in zip(made, urls, strict=True)]
    return _Key(made[0].lake, short_hash(names), short_hash(contents), short_hash([2, shrinkage, n_axes, partial]))


def _keep(key: _Key, name: str, arrays: Mapping[str, Any], *, is_now: bool) -> None:
    """Write arrays into the cache, and remove what nobody will read there any more.

    Files of an earlier content of the same sets, if this is that which they have now; those that earlier releases
    named; and what killed processes left half-written. A reader takes a file whole, so it loses nothing.
    """
    out, cache = io.BytesIO(), key.lake.storage.below(FOLDER)
    np.savez(out, **arrays)
    cache.write(name, out.getvalue())
    for other in cache.list_keys() if is_now else []:
        found = NAME.fullmatch(other)
        if found and (found["sets"] is None or (found["sets"] == key.sets and found["content"] != key.content)):
            cache.remove(other)
    cache.remove_unfinished(least_age_s=ABANDONED_S)


def _kept(key: _Key, sets: VectorSets) -> Scaling | None:
    """Return what was kept, or ``None`` if there is nothing, or it is damaged or of other sets."""
    data = key.lake.storage.read_or_none(f"{FOLDER}/{key.file}")
    if data is None:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = unpacked_scaling(arrays, len(sets.arrays))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = [scale.n_features for scale in found.scales] == list(sets.n_features)
    return found if fits else None
