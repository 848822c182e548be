"""Windows heard until every kind was: the closed form against orders drawn at random, and orders done by hand."""

from itertools import permutations

import numpy as np
import pytest

from benchmarks.heard import mean_in_random_order, mean_until_all


@pytest.mark.parametrize(
    ("n_windows", "n_of_kind", "expected"),
    [
        (1, [1], 1),
        (5, [5], 1),
        (9, [1], 5),  # the only one is in the middle on average
        (2, [1, 1], 2),
        (4, [2, 2], 1 + 5 / 3 - 1 / 3),  # 5/3 + 5/3 - 1
    ],
)
def test_cases_that_one_can_count(n_windows: int, n_of_kind: list[int], expected: float) -> None:
    assert mean_in_random_order(n_windows, n_of_kind) == pytest.approx(expected, rel=1e-9)


def until_all(labels: list[int]) -> int:
    return max(labels.index(kind) for kind in set(labels) - {-1}) + 1


def test_all_orders_of_a_few_windows() -> None:
    labels = [0, 0, 1, 2, -1, -1, 2]
    expected = np.mean([until_all(list(order)) for order in permutations(labels)])
    assert mean_until_all(np.array(labels), []) == pytest.approx(expected, rel=1e-9)
    rest = [labels[i] for i in (0, 2, 3, 4, 6)]  # windows 5 and 1 come first
    expected = np.mean([until_all([-1, 0, *order]) for order in permutations(rest)])
    assert mean_until_all(np.array(labels), [5, 1]) == pytest.approx(expected, rel=1e-9)


def test_many_windows_and_kinds_agree_with_orders_drawn_at_random() -> None:
    random = np.random.default_rng(0)
    counts = [1, 3, 16, 16, 40, 200, 2]
    label = np.repeat(np.arange(-1, len(counts)), [721, *counts])
    places = np.argsort(random.random((4000, len(label))), axis=1).argsort(axis=1)
    first = np.stack([places[:, label == kind].min(axis=1) for kind in range(len(counts))])
    heard = first.max(axis=0) + 1
    assert mean_until_all(label, []) == pytest.approx(heard.mean(), abs=4 * heard.std() / np.sqrt(len(heard)))


def test_a_study_of_a_million_windows_is_no_sum_over_sets() -> None:
    counts = [10] * 40
    found = mean_in_random_order(1_000_000, counts)
    # Of 40 kinds the last begins where (1 - (1 - t)^10)^40 says: 1 - t is the largest of 40 minima's complement.
    t = np.linspace(0, 1, 200_001)
    expected = np.trapezoid(1 - (1 - (1 - t) ** 10) ** 40, t) * 1_000_001
    assert found == pytest.approx(expected, rel=1e-6)


def test_exemplars_that_hold_every_kind_need_no_others() -> None:
    label = np.array([0, 1, -1, 1, 0, 2])
    assert mean_until_all(label, [2, 4, 3, 5, 0]) == 4
    assert mean_until_all(np.full(3, -1), [0]) == 0
