"""Windows heard until every kind was: the closed form against orders drawn at random, and orders done by hand."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from stores import ORIGIN_MS, make_clusters

from benchmarks.heard import mean_in_random_order, mean_until_all, mean_until_each, windows_until_all_kinds
from jobs.common.labels.intervals import Intervals, Labels
from lake.read import open_clusters


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


def test_the_mean_over_kinds_of_all_orders() -> None:
    labels = [0, 0, 1, -1, 1, 2]
    orders = list(permutations(labels))
    expected = np.mean([[order.index(kind) + 1 for kind in range(3)] for order in orders])
    assert mean_until_each(np.array(labels), []) == pytest.approx(expected)
    rest = list(permutations([labels[i] for i in (0, 2, 4, 5)]))  # windows 3 and 1 come first
    expected = np.mean([[2, order.index(1) + 3, order.index(2) + 3] for order in rest])
    assert mean_until_each(np.array(labels), [3, 1]) == pytest.approx(expected)
    assert mean_until_each(np.full(3, -1), [0]) == 0


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


def test_exemplars_of_a_store_come_first_the_largest_cluster_at_the_head(tmp_path: Path) -> None:
    """Six windows, five of them heard: cluster 1 has four of the label "a", cluster 0 one "b", cluster 2 one none."""
    clusters = np.full((2, 144), -1)
    clusters[0, [0, 1, 2, 3, 10, 20]] = [1, 1, 1, 1, 0, 2]
    run = make_clusters(tmp_path, clusters, n_exemplars=2)
    starts = ORIGIN_MS + np.array([0, 1, 2, 3, 10]) * 600_000
    own = Intervals(starts, starts + 6_000, np.array([0, 0, 0, 0, 1]), np.full(5, np.nan))
    with open_clusters(run.output.url) as store:
        found = windows_until_all_kinds(store, Labels(("a", "b"), {"north": own}))
    # Cluster 1, then 0: both kinds after two. At random: 7 * (1/5 + 1/2 - 1/6).
    assert found == {
        "every kind, exemplars first": 2, "every kind, random order": pytest.approx(7 * (1 / 5 + 1 / 2 - 1 / 6)),
        "a kind, exemplars first": 1.5, "a kind, random order": pytest.approx((7 / 5 + 7 / 2) / 2),
    }  # fmt: skip
