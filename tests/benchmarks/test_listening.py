"""The loop of hearing and learning: every window once, half of kinds apart by closed form, and calibration by hand."""

import numpy as np
import pytest
from stores import ORIGIN_MS

from benchmarks.listening import AFTER, ORDERS, PLAIN, Study, calibration_error, play
from jobs.review.orders import Population
from lake.grid import Grid
from lake.read import Windows


def make_study() -> Study:
    """Return 200 windows of two kinds that lie apart, and 100 more of which none is heard."""
    random = np.random.default_rng(0)
    truth = random.random((300, 2)) < 0.3
    vectors = (truth @ np.array([[4.0, 0.0], [0.0, 4.0]]) + random.normal(size=(300, 2)) * 0.1).astype(np.float32)
    n = 200
    grid = Grid(origin_ms=ORIGIN_MS, hop_ms=5_000, window_ms=5_000, end_ms=ORIGIN_MS + 5 * 86_400_000)
    cells = np.tile(np.arange(100, dtype=np.int64) * 720, 2)
    population = Population(Windows(np.repeat(np.arange(2, dtype=np.int32), 100), cells), grid)
    hours = cells // 720
    cluster = np.arange(n) % 10
    exemplars = np.arange(n).reshape(20, 10).T[:, :5]
    return Study(population, vectors[:n], truth[:n], hours // 24, hours, exemplars, cluster, vectors[n:], truth[n:])


@pytest.mark.parametrize("order", [*ORDERS, *PLAIN])
def test_kinds_that_lie_apart_are_found_by_every_order(order: str) -> None:
    found = play(make_study(), order, 1)
    assert len(np.unique(found.heard)) == len(found.heard) == AFTER[-1]
    assert found.average_precision[-1] == pytest.approx(1, abs=0.01)


def test_calibration_by_hand() -> None:
    probability = np.array([[0.05, 0.2], [0.25, 0.95]])
    truth = np.array([[True, False], [True, True]])
    # .05 is left out; in the third tenth .2 and .25, one of them true: |.45 - 1| = .55; in the last |.95 - 1|
    assert calibration_error(probability, truth) == pytest.approx((0.55 + 0.05) / 3)
    assert calibration_error(np.zeros((3, 1)), np.zeros((3, 1), dtype=np.bool_)) == 0
