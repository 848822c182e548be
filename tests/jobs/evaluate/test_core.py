import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.common.labels.intervals import Intervals
from jobs.evaluate import core
from jobs.evaluate.core import NONE, agreement, confusion, dominant_labels
from lake.grid import Grid

DAY_MS = 86_400_000


def intervals(rows: list[tuple[int, int, int, float]]) -> Intervals:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    start, end, label = (np.array(column, dtype=np.int64) for column in columns[:3])
    return Intervals(start, end, label, np.array(columns[3], dtype=np.float64))


def labels_slowly(
    rows: list[tuple[int, int, int, float]], cells: NDArray[np.int64], grid: Grid, min_overlap_ms: int
) -> list[int]:
    """Say again, window by window and millisecond by millisecond, which label each has."""
    out = []
    for cell in cells.tolist():
        first = grid.start_ms(cell)
        window = range(first, first + grid.window_ms)
        ranks = []
        for label in {row[2] for row in rows}:
            mine = [row for row in rows if row[2] == label]
            covered = sum(any(start <= t < end for start, end, _, _ in mine) for t in window)
            if covered >= min_overlap_ms:
                ranks.append((-covered, -max(row[3] for row in mine), label))
        out.append(min(ranks)[2] if ranks else NONE)
    return out


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.sampled_from([4, 10, 16]), st.sampled_from([1, 3, 6]))
def test_dominant_labels_equal_a_slow_twin(seed: int, n: int, window_ms: int, min_overlap_ms: int) -> None:
    """One level a label, for the level of joined intervals is that of the loudest."""
    random = np.random.default_rng(seed)
    grid = Grid(DAY_MS, 2 * DAY_MS, window_ms, 10)
    level = random.choice([-np.inf, -5.0, -3.0], 4)
    rows = []
    for _ in range(n):
        start, label = DAY_MS + int(random.integers(-20, 140)), int(random.integers(4))
        rows.append((start, start + int(random.integers(1, 40)), label, float(level[label])))
    cells = np.sort(random.choice(14, 9, replace=False)).astype(np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "WINDOWS_AT_ONCE", int(random.integers(1, 12)))
        found = dominant_labels(intervals(rows), cells, grid, min_overlap_ms=min_overlap_ms)
    assert found.tolist() == labels_slowly(rows, cells, grid, min_overlap_ms)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 600, 0, -9.0), (600, 1000, 1, 0.0)], 0),  # the most seconds, however loud
        ([(0, 500, 0, -9.0), (500, 1000, 1, -3.0)], 1),  # as long: the louder
        ([(0, 500, 1, -3.0), (500, 1000, 0, -3.0)], 0),  # as loud: the first in the alphabet
        ([(0, 500, 0, np.nan), (500, 1000, 1, -90.0)], 1),  # a known level is louder than an unknown one
        ([(0, 300, 0, -3.0), (200, 400, 0, -3.0), (500, 950, 1, -3.0)], 1),  # no instant counts twice
        ([(0, 200, 0, -3.0), (300, 500, 0, -3.0), (600, 950, 1, -3.0)], 0),  # pieces of a label add up
        ([(0, 199, 0, -3.0)], NONE),
        ([(-5000, 200, 0, -3.0)], 0),
        ([(1000, 2000, 0, -3.0)], NONE),
        ([], NONE),
    ],
)
def test_rules(rows: list[tuple[int, int, int, float]], expected: int) -> None:
    grid = Grid(0, DAY_MS, 1000, 1000)
    assert dominant_labels(intervals(rows), np.array([0]), grid, min_overlap_ms=200).tolist() == [expected]


def test_windows_that_overlap_each_have_their_label() -> None:
    grid = Grid(0, DAY_MS, 6000, 3000)
    found = dominant_labels(intervals([(7000, 11_000, 0, 0.0)]), np.arange(6), grid, min_overlap_ms=2000)
    assert found.tolist() == [NONE, 0, 0, 0, NONE, NONE]


def test_a_month_of_windows_is_labelled_at_once() -> None:
    random = np.random.default_rng(0)
    grid = Grid(0, 30 * DAY_MS, 6000, 6000)
    start = random.integers(0, 30 * DAY_MS, 20_000)
    rows = Intervals(
        start, start + random.integers(200, 60_000, 20_000), random.integers(0, 12, 20_000), np.zeros(20_000)
    )
    cells = np.arange(grid.n_cells)
    found = dominant_labels(rows, cells, grid, min_overlap_ms=500)
    assert found.shape == cells.shape
    some = random.choice(cells, 200, replace=False)
    for cell in some:
        begin, end = cell * 6000, cell * 6000 + 6000
        near = np.flatnonzero((rows.start_ms < end) & (rows.end_ms > begin))
        milliseconds: dict[int, set[int]] = {}
        for i in near:
            inside = range(max(rows.start_ms[i], begin), min(rows.end_ms[i], end))
            milliseconds.setdefault(int(rows.label[i]), set()).update(inside)
        covered_ms = {label: len(covered) for label, covered in milliseconds.items()}
        best = [label for label, ms in covered_ms.items() if ms == max(covered_ms.values()) and ms >= 500]
        assert found[cell] == (min(best) if best else NONE)


def test_agreement_in_closed_form() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert agreement(np.array([5, 5, 3, 3, 0, 0]), labels).ami == pytest.approx(1)
    lumped = agreement(np.array([0, 0, 0, 0, 1, 1]), labels)
    entropy, joint = np.log(3), -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert lumped.nmi == pytest.approx(2 * joint / (entropy + joint))
    assert 0 < lumped.ami < lumped.nmi
    random = np.random.default_rng(0)
    chance = agreement(random.integers(0, 20, 500), random.integers(0, 10, 500))
    assert abs(chance.ami) < 0.03 < chance.nmi


def test_confusion_counts_every_window_once() -> None:
    clusters, labels = np.array([0, 2, 2, 0], dtype=np.int16), np.array([1, 0, 0, 1])
    assert confusion(clusters, labels, 3, 2).tolist() == [[0, 2], [0, 0], [2, 0]]


def test_many_clusters_do_not_overflow() -> None:
    clusters = np.array([30_000], dtype=np.int16)
    assert confusion(clusters, np.array([7]), 30_001, 8)[30_000, 7] == 1
