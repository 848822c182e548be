import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.cluster.exemplars import Candidates, exemplars, joined, narrowed, span_of


def candidates(rows: list[tuple[int, float, int, int, int]]) -> Candidates:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return Candidates(
        columns[0].astype(np.int16), columns[1].astype(np.float32), columns[2].astype(np.int32),
        columns[3].astype(np.int64), columns[4].astype(np.int64),
    )  # fmt: skip


def chosen_slowly(rows: list[tuple[int, float, int, int, int]], cluster: int, n: int) -> list[tuple[int, int]]:
    """Say again, window by window, which exemplars a cluster has."""
    mine = sorted((distance, recorder, cell, span) for c, distance, recorder, cell, span in rows if c == cluster)
    spans: set[tuple[int, int]] = set()
    first: list[tuple[float, int, int, int]] = []
    rest: list[tuple[float, int, int, int]] = []
    for row in mine:
        (rest if (row[1], row[3]) in spans else first).append(row)
        spans.add((row[1], row[3]))
    return [(recorder, cell) for _, recorder, cell, _ in sorted([*first, *rest][:n])]


def as_lists(found: NDArray[np.int64], cluster: int) -> list[tuple[int, int]]:
    pairs = [(int(recorder), int(cell)) for recorder, cell in found[:, cluster].T]
    return [pair for pair in pairs if pair != (-1, -1)]


def test_one_of_a_bout_while_there_are_others() -> None:
    bout = [(0, 0.1 + i / 100, 0, i, 0) for i in range(5)]
    others = [(0, 0.5, 0, 90, 1), (0, 0.9, 1, 3, 0)]
    found = exemplars(candidates([*bout, *others]), 2, 3)
    assert as_lists(found, 0) == [(0, 0), (0, 90), (1, 3)]
    assert as_lists(found, 1) == []
    assert as_lists(exemplars(candidates(bout), 1, 3), 0) == [(0, 0), (0, 1), (0, 2)]


def test_ties_go_to_the_lower_position() -> None:
    rows = [(0, 0.5, recorder, cell, cell) for recorder in (1, 0) for cell in (7, 2)]
    assert as_lists(exemplars(candidates(rows), 1, 3), 0) == [(0, 2), (0, 7), (1, 2)]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 5), st.integers(1, 4))
def test_days_narrowed_apart_give_what_the_whole_gives(seed: int, n_windows: int, n: int, n_clusters: int) -> None:
    random = np.random.default_rng(seed)
    positions = sorted(divmod(int(i), 50) for i in random.choice(100, n_windows, replace=False))
    rows = [
        (int(random.integers(n_clusters)), float(random.integers(6)) / 4, recorder, cell, cell // 5)
        for recorder, cell in positions
    ]
    days = [[row for row in rows if (row[2], row[3] // 25) == key] for key in np.ndindex(2, 2)]
    found = exemplars(joined([narrowed(candidates(day), n) for day in days]), n_clusters, n)
    for cluster in range(n_clusters):
        assert as_lists(found, cluster) == chosen_slowly(rows, cluster, n)


def test_spans_begin_anew_at_midnight() -> None:
    hours = np.arange(0, 48, 5)
    spans = span_of(hours, hop_ms=3_600_000, cells_per_day=24, span_ms=7 * 3_600_000)
    assert spans.tolist() == [0, 0, 1, 2, 2, 4, 4, 5, 6, 7]
