"""Vector sets opened for many searches: the nearest windows to a window or to a vector, exactly."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lake.errors import InputError, UsageError
from lake.grid import iso
from lake.heard import speech_note
from lake.query.across import cells_of_speech
from lake.query.index import index_of
from lake.query.nearest import Comparison, Metric
from lake.query.select import Instant, cell_of, open_any, resolve_recorder
from lake.scaling import Scaling, Vectors, scaled_and_lengths
from lake.threads import in_threads
from lake.vectors import Span, VectorSets, by_day, read_span
from lake.whitening import keep_lengths, kept_lengths, study_whitening, whitening_notes

Normalise = Literal["auto", "whiten", "none"]
Say = Callable[[str], None]
Advance = Callable[[int], None]
ROWS_OF_BLOCK = 1024
"""Windows that are coded together at least, where a day has so many."""
MENTIONED_BYTES = 100 * 10**6
"""What is kept in the lake is mentioned from this size on."""


@dataclass(frozen=True)
class _Found:
    """Windows that may be among the nearest: number among all windows, and least and largest distance, shape (n,)."""

    row: NDArray[np.int64]
    least: NDArray[np.float64]
    largest: NDArray[np.float64]

    def take(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> "_Found":
        """Return some of them."""
        return _Found(self.row[which], self.least[which], self.largest[which])

    def possible(self, n: int) -> "_Found":
        """Return those that may be among the n nearest: no n others are certainly nearer."""
        return self.take(self.least <= np.partition(self.largest, n - 1)[n - 1]) if len(self.row) > n else self


def _joined(parts: Iterable[_Found]) -> _Found:
    none = _Found(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
    each = zip(*((part.row, part.least, part.largest) for part in (none, *parts)), strict=True)
    return _Found(*map(np.concatenate, each))


class Search:
    """Vector sets that were opened for searches.

    Parameters
    ----------
    sets
        From :func:`lake.vectors.open_vectors`.
    normalise
        See :func:`lake.query.similar.similar`.
    index
        Whether the index is used.
    keep
        Whether what the first search computes (index, whitening, lengths) is kept in the lake's ``caches``.
    threads
        That read and compare; they change no result.
    say
        Called with notes.

    Notes
    -----
    The first search compares all windows in full. On the way it codes the vectors in 8 bits and keeps the codes in
    the lake (:mod:`lake.query.index`), and with whitening the length of each whitened vector. From codes later
    searches know the least and the largest distance that each window can have
    (:meth:`lake.query.codes.Codes.products` has the proof). Let D be the n-th smallest of the largest distances. Then
    n windows are as near as D, so the n nearest, and all that are as near as the n-th of them, have a least distance
    of D at most. Only windows of which that holds are compared in full: first the n with the smallest largest
    distance, which gives a smaller D, then those that are left. The distance of a window that is compared in full
    does not depend on other windows, so the result is that of comparing all in full, to the last bit. Days without
    codes, such as those by which recordings grew, are compared in full and coded.
    """

    def __init__(
        self, sets: VectorSets, *, normalise: Normalise = "auto", index: bool = True, keep: bool = True,
        threads: int = 2, say: Say | None = None,
    ) -> None:  # fmt: skip
        if normalise not in get_args(Normalise):
            raise UsageError(f"normalise {normalise!r}: expected one of {', '.join(get_args(Normalise))}.")
        self.sets, self.threads, self._say = sets, threads, say or (lambda _: None)
        self._keeps = keep
        self.scaling: Scaling | None = None
        self._lengths: Vectors | None = None
        if normalise == "whiten" or (normalise == "auto" and sets.is_own):
            self.scaling = study_whitening(sets, threads=threads, keep=keep)
            self._lengths = kept_lengths(sets)
            for note in whitening_notes(sets, self.scaling):
                self._say(note)
        sizes = [len(span.cells) for span in sets.spans]
        self._cell = np.concatenate([np.empty(0, dtype=np.int64), *(span.cells for span in sets.spans)])
        self._recorder = np.repeat(np.array([span.recorder for span in sets.spans], dtype=np.int32), sizes)
        self._has_complained = False
        self._days = by_day(sets.spans)
        self._indexes = [index_of(url, sets, i) for i, url in enumerate(sets.urls)] if index else []
        for each in self._indexes:
            for day in self._days:
                each.open(day)

    @property
    def n_windows(self) -> int:
        """Number of windows that are searched."""
        return len(self._cell)

    def near_window(
        self, recorder: str, time: Instant, *, n: int = 20, metric: Metric = "cosine", apart_s: float | None = None,
        advance: Advance | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Return the windows nearest to one; see :func:`lake.query.similar.similar`."""
        grid, row = self.sets.grid, self._row_of(recorder, time)
        number, cell = int(self._recorder[row]), int(self._cell[row])
        wanted = np.concatenate([np.asarray(array[number, cell]) for array in self.sets.arrays])
        seconds = grid.window_ms / 1000 if apart_s is None else apart_s
        apart = max(1, -(-round(seconds * 1000) // grid.hop_ms))
        beside = (self._recorder == number) & (np.abs(self._cell - cell) < apart)
        return self._nearest(wanted, ~beside, n, metric, advance)

    def window_at(self, recorder: str, time: Instant) -> pd.DataFrame:
        """Return recorder and time of the window that an instant falls into, a table of one row."""
        return self._table(np.array([self._row_of(recorder, time)]), np.zeros(1))[["recorder", "time"]]

    def near_vector(
        self, vector: NDArray[np.floating], *, n: int = 20, metric: Metric = "cosine", advance: Advance | None = None
    ) -> pd.DataFrame:
        """Return the windows nearest to a vector, shape (n_features,); see :func:`lake.query.similar.similar_to`."""
        vector, n_features = np.asarray(vector), sum(self.sets.n_features)
        if vector.shape != (n_features,) or not np.isfinite(vector).all():
            raise InputError(
                f"{' and '.join(self.sets.urls)}: expected a finite vector of {n_features} features, found one of "
                f"shape {vector.shape}. Make it with the runs that made the stores."
            )
        return self._nearest(vector, np.ones(self.n_windows, dtype=np.bool_), n, metric, advance)

    def _nearest(
        self, vector: NDArray[np.floating], allowed: NDArray[np.bool_], n: int, metric: Metric, advance: Advance | None
    ) -> pd.DataFrame:
        """Return the nearest of the windows that count."""
        if metric not in get_args(Metric) or n < 1:
            raise UsageError(f"n {n}, metric {metric!r}: expected 1 or more, and one of {', '.join(get_args(Metric))}.")
        compare = Comparison(self.sets.n_features, vector.astype(np.float32), self.scaling, metric)
        allowed &= ~self._is_speech()
        gathered = None
        if self.scaling is not None and self._lengths is None:
            gathered = np.zeros((self.n_windows, len(self.sets.arrays)), dtype=np.float32)

        def look(day: tuple[Span, ...]) -> tuple[_Found, bool, int]:
            rows = _rows(day)
            codes = [index.codes(day) for index in self._indexes]
            is_coded = gathered is None and bool(codes) and all(codes)
            if is_coded:
                least, largest = compare.bounds([each or [] for each in codes], self._lengths_of(rows))
            else:
                least = largest = self._in_full(day, compare, gathered)
            every = np.arange(rows.start, rows.stop)
            return _Found(every, least, largest).take(allowed[rows]).possible(n), is_coded, len(every)

        known, others = _joined([]), _joined([])
        with threadpool_limits(1):  # the days are read in threads already; those of BLAS would wait for each other
            for found, is_coded, n_compared in in_threads(look, self._days, self.threads):
                if is_coded:
                    others = _joined([others, found]).possible(n)
                else:
                    known = _joined([known, found]).possible(n)
                if advance is not None:
                    advance(n_compared)
            surest = np.argsort(others.largest, kind="stable")[:n]
            is_first = np.isin(np.arange(len(others.row)), surest)
            known = _joined([known, self._compared(others.take(is_first), compare)]).possible(n)
            limit = known.least.max() if len(known.row) >= n else np.inf
            rest = others.take(~is_first & (others.least <= limit))
            known = _joined([known, self._compared(rest, compare)])
        self._keep(gathered)
        best = np.lexsort((known.row, known.least))[:n]
        return self._table(known.row[best], known.least[best])

    def _in_full(self, day: tuple[Span, ...], compare: Comparison, gathered: Vectors | None) -> NDArray[np.float64]:
        """Return the distances of all windows of a recorder's day; code them for the indexes that lack the day."""
        distances = []
        for block in _blocks(day):
            rows = _rows(block)
            vectors = np.concatenate([read_span(self.sets, span) for span in block])
            lengths = self._lengths_of(rows)
            if self.scaling is not None and lengths is None:
                _, lengths = scaled_and_lengths(vectors, self.scaling)
                if gathered is not None:
                    gathered[rows] = lengths
            distances.append(compare.distances(vectors, lengths))
            for index in self._indexes if self._keeps else ():
                index.add(day, vectors)
        for index in self._indexes if self._keeps else ():
            index.keep(day)
        return np.concatenate(distances)

    def _compared(self, found: _Found, compare: Comparison) -> _Found:
        """Return windows with their distances."""
        cells_per_chunk = int(np.lcm.reduce([array.chunks[1] for array in self.sets.arrays]))
        rows = np.sort(found.row)
        chunk = np.stack([self._recorder[rows], self._cell[rows] // cells_per_chunk])
        groups = np.split(rows, np.flatnonzero(np.diff(chunk, axis=1).any(axis=0)) + 1) if len(rows) else []

        def look(rows: NDArray[np.int64]) -> _Found:
            recorder, cells = int(self._recorder[rows[0]]), self._cell[rows]
            vectors = read_span(self.sets, Span(recorder, int(cells[0] // self.sets.grid.cells_per_day), cells, 0))
            distance = compare.distances(vectors, self._lengths_of(rows))
            return _Found(rows, distance, distance)

        return _joined(in_threads(look, groups, self.threads))

    def _keep(self, gathered: Vectors | None) -> None:
        """Keep what a search of all windows gathered, and say so."""
        problems = [index.problem for index in self._indexes if index.problem]
        if gathered is not None:
            self._lengths = gathered
        if not self._keeps:
            return
        if gathered is not None:
            problems += filter(None, [keep_lengths(self.sets, gathered)])
        for index in self._indexes:
            n_bytes = index.settle()
            if n_bytes >= MENTIONED_BYTES:
                self._say(
                    f"{index.folder}: {n_bytes / 1e6:.0f} MB of codes were kept, with which searches are faster; the "
                    "folder may be removed at any time."
                )
        if problems and not self._has_complained:
            self._has_complained = True
            reason = problems[0].partition(". ")[0].rstrip(".")
            self._say(f"the index could not be kept ({reason}): later searches are as slow as this one.")

    def _lengths_of(self, rows: slice | NDArray[np.int64]) -> Vectors | None:
        return None if self._lengths is None else self._lengths[rows]

    def _row_of(self, recorder: str, time: Instant) -> int:
        """Return the number of the window that an instant falls into; ``InputError`` with the nearest if none does."""
        known = list(self.sets.recorders)
        number, cell = known.index(resolve_recorder(recorder, known)), cell_of(self.sets.grid, time)
        found = np.flatnonzero((self._recorder == number) & (self._cell == cell))
        if not len(found):
            raise InputError(self._nothing_at(number, cell, time))
        return int(found[0])

    def _is_speech(self) -> NDArray[np.bool_]:
        """Return which windows share time with what people marked as speech; say how many."""
        grid = self.sets.grid
        with open_any(self.sets.urls[0]) as dataset:
            found = cells_of_speech(self.sets.urls[0], dataset)
        if found.empty:
            return np.zeros(self.n_windows, dtype=np.bool_)
        self._say(speech_note(len(found)))
        keys = found["i_recorder"].to_numpy(dtype=np.int64) * grid.n_cells + found["cell"].to_numpy(dtype=np.int64)
        return np.isin(self._recorder.astype(np.int64) * grid.n_cells + self._cell, keys)

    def _nothing_at(self, recorder: int, cell: int, time: Instant) -> str:
        """Return what to say where a recorder has no vector, with the nearest that it has."""
        grid, name = self.sets.grid, self.sets.recorders[recorder]
        start = f"{self.sets.urls[0]}: recorder {name!r} has no vector at {iso(grid.start_ms(cell))}"
        if not 0 <= cell < grid.n_cells:
            start = f"--time {str(time)!r}: the store goes from {iso(grid.origin_ms)} to {iso(grid.end_ms)}"
        cells = self._cell[self._recorder == recorder]
        if not len(cells):
            return f"{start}; recorder {name!r} has no vectors. Name another."
        near = int(cells[np.argmin(np.abs(cells - cell))])
        where = f"the nearest window that has one begins at {iso(grid.start_ms(near))}"
        if near // grid.cells_per_day != cell // grid.cells_per_day:
            where = f"it has none on that day; the nearest day of {name!r} is {grid.day_of(near)}, and {where}"
        return f"{start}; {where}."

    def _table(self, rows: NDArray[np.int64], distance: NDArray[np.float64]) -> pd.DataFrame:
        grid = self.sets.grid
        times = (grid.origin_ms + self._cell[rows] * grid.hop_ms).astype("datetime64[ms]")
        names = [self.sets.recorders[int(i)] for i in self._recorder[rows]]
        return pd.DataFrame({"recorder": names, "time": times, "distance": distance})


def _rows(spans: Sequence[Span]) -> slice:
    """Return the numbers of the windows of neighbouring spans among all windows."""
    return slice(spans[0].first_row, spans[-1].first_row + len(spans[-1].cells))


def _blocks(day: Sequence[Span]) -> list[list[Span]]:
    """Return the spans of a day in groups that end once they have enough windows."""
    blocks: list[list[Span]] = [[]]
    for span in day:
        if sum(len(one.cells) for one in blocks[-1]) >= ROWS_OF_BLOCK:
            blocks.append([])
        blocks[-1].append(span)
    return blocks
