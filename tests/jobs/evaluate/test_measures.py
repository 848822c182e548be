from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

from jobs.evaluate.measures import accuracies, agreement, agreements, explained, table_of, with_intervals

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=2, max_size=80)


def ones(n: int) -> Any:
    return np.ones(n, dtype=np.int64)


@given(pairs)
def test_agreement_is_scikit_learns(found: list[tuple[int, int]]) -> None:
    clusters, labels = np.array(found, dtype=np.int64).T
    ours = agreement(table_of(clusters, labels, ones(len(labels))))
    theirs = {
        "ami": adjusted_mutual_info_score(labels, clusters),
        "ari": adjusted_rand_score(labels, clusters),
        "nmi": normalized_mutual_info_score(labels, clusters),
    }
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, abs=1e-7), key


@given(pairs, st.integers(0, 99))
def test_a_weight_counts_an_interval_so_often(found: list[tuple[int, int]], seed: int) -> None:
    clusters, labels = np.array(found, dtype=np.int64).T
    weights = np.random.default_rng(seed).integers(0, 4, len(labels))
    weights[0] = 2
    many = np.repeat(np.arange(len(labels)), weights)
    table = table_of(clusters, labels, weights)
    assert table.sum() == len(many)
    assert agreement(table)["ari"] == pytest.approx(adjusted_rand_score(labels[many], clusters[many]), abs=1e-9)
    measure = accuracies(clusters, labels)(weights)
    assert measure["accuracy"] == pytest.approx((clusters[many] == labels[many]).mean())


def test_accuracies_in_closed_form() -> None:
    found, labels = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, 1])
    assert accuracies(found, labels)(ones(5)) == {"accuracy": 0.8, "balanced_accuracy": (0.75 + 1) / 2}


def test_folds_have_clusters_of_their_own() -> None:
    """In each fold clusters tell labels perfectly, though their numbers are swapped between folds."""
    labels, clusters = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1, 1, 0, 0])
    folds = np.repeat([0, 1], 4)
    apart = agreements(clusters, labels, folds, named=labels)(ones(8))
    assert apart == {"ami": 1.0, "ari": 1.0, "nmi": 1.0, "purity": 1.0}
    together = agreements(clusters, labels, np.zeros(8, dtype=np.int64), named=1 - labels)(ones(8))
    assert together["ami"] < 0.01
    assert together["purity"] == 0


def test_what_columns_explain_of_rows() -> None:
    assert explained(np.diag([10, 10, 10])) == pytest.approx(1)
    assert abs(explained(np.full((3, 3), 50))) < 0.05
    assert explained(np.array([[4, 5]])) == 0


def test_intervals_of_agreement_are_as_wide_as_new_samples_differ() -> None:
    """Resampling with repeats would lift the agreement far above its value."""
    random = np.random.default_rng(5)

    def sample() -> Any:
        labels = random.integers(4, size=120)
        clusters = np.where(random.random(120) < 0.5, labels, random.integers(4, size=120))
        return agreements(clusters, labels, np.zeros(120, dtype=np.int64), named=clusters)

    truth = [sample()(ones(120))["ami"] for _ in range(300)]
    found = [with_intervals(sample(), np.arange(120), n_bootstrap=800, seed=i, halves=True)["ami"] for i in range(40)]
    held = np.mean([low <= np.mean(truth) <= high for _, low, high in found])
    assert held > 0.85
    widths = [high - low for _, low, high in found]
    assert np.mean(widths) == pytest.approx(np.ptp(np.percentile(truth, [2.5, 97.5])), rel=0.25)
    assert all(low <= value <= high for value, low, high in found)


def test_an_interval_of_groups_is_wider_than_one_of_intervals() -> None:
    """Forty intervals in four groups that are each wholly right or wrong: only four things are known."""
    right = np.repeat([1, 1, 1, 0], 10)
    measure = accuracies(right, np.ones(40, dtype=np.int64))
    value, low, high = with_intervals(measure, np.repeat(np.arange(4), 10), n_bootstrap=400, seed=0)["accuracy"]
    alone = with_intervals(measure, np.arange(40), n_bootstrap=400, seed=0)["accuracy"]
    assert value == alone[0] == 0.75
    assert high - low > 2 * (alone[2] - alone[1])
    exact = 1.96 * np.sqrt(0.75 * 0.25 / 40)
    assert alone[1] == pytest.approx(0.75 - exact, abs=0.04)
    assert alone[2] == pytest.approx(0.75 + exact, abs=0.04)
