import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.evaluate.splits import grouped_folds, label_seen, leaky_folds

members = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=2, max_size=100)


@given(members, st.integers(2, 6), st.integers(0, 9))
def test_no_group_is_on_both_sides(found: list[tuple[int, int]], n_folds: int, seed: int) -> None:
    groups, labels = (np.unique(column, return_inverse=True)[1] for column in np.array(found).T)
    folds = grouped_folds(groups, labels, n_folds, seed)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    assert len(np.unique(folds)) == min(n_folds, groups.max() + 1), "no fold is empty"


@given(members, st.integers(2, 6), st.integers(0, 9))
def test_leaky_folds_are_even_in_size_and_labels(found: list[tuple[int, int]], n_folds: int, seed: int) -> None:
    labels = np.unique(np.array(found)[:, 1], return_inverse=True)[1]
    folds = leaky_folds(labels, n_folds, seed)
    assert np.ptp(np.bincount(folds, minlength=n_folds)) <= 1
    for label in np.unique(labels):
        assert np.ptp(np.bincount(folds[labels == label], minlength=n_folds)) <= 1


def test_labels_are_spread_over_the_folds_as_groups_allow() -> None:
    labels = np.repeat([0, 1], 50)
    groups = np.arange(100) // 5
    folds = grouped_folds(groups, labels, 5, seed=3)
    table = np.bincount(folds * 2 + labels).reshape(5, 2)
    assert (table == 10).all()


def test_a_label_of_one_group_alone_cannot_be_learnt() -> None:
    folds, labels = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 2])
    assert label_seen(folds, labels) == 5 / 6
