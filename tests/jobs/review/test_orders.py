"""Orders of listening on numbers: what comes first, how it is spread, and how probable each draw is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.review import typical as typical_order
from jobs.review.orders import Population, at_random, evenly, explore, farthest, ranked, spread
from jobs.review.typical import clustered, typical
from lake.constants import MS_PER_DAY
from lake.grid import Grid
from lake.read import Windows

GRID = Grid(0, 2 * MS_PER_DAY, 6000, 6000)
PER_SPAN = 100
"""Windows of ten minutes."""


def population(n: int = 1000, *, n_recorders: int = 2, step: int = 1) -> Population:
    """Return windows of recorders, each step-th cell of them."""
    recorder = np.repeat(np.arange(n_recorders, dtype=np.int32), n // n_recorders)
    return Population(Windows(recorder, np.tile(np.arange(n // n_recorders) * step, n_recorders)), GRID)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_windows_are_found_by_recorder_and_cell() -> None:
    some = population(10, step=3)
    recorder, cell = np.array([0, 1, 1, -1, 0, 0, 7]), np.array([0, 12, 13, 3, -1, GRID.n_cells, 0])
    assert some.find(recorder, cell).tolist() == [0, 9, -1, -1, -1, -1, -1]
    none = Population(Windows(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)), GRID)
    assert none.find(recorder, cell).tolist() == [-1] * 7


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_smaller_random_batch_begins_a_larger_one(n: int, more: int) -> None:
    some = population(60)
    small, large = (at_random(some, size, generator(5)) for size in (n, n + more))
    assert small.rows.tolist() == large.rows[:n].tolist()
    assert large.probability is not None
    np.testing.assert_allclose(large.probability, len(large.rows) / 60)
    assert len(set(large.rows.tolist())) == min(60, n + more)


def test_random_draws_are_uniform() -> None:
    """Every window is as often first, second and third as any other: chi-squared with 11 degrees, p > 0.001."""
    some = population(12)
    rows = np.array([at_random(some, 3, generator(seed)).rows for seed in range(6000)])
    for draw in range(3):
        counts = np.bincount(rows[:, draw], minlength=12)
        assert ((counts - 500) ** 2 / 500).sum() < 31.3


def test_the_probabilities_make_an_unbiased_estimate() -> None:
    """Horvitz and Thompson's estimate of a total; its mean over all seeds is the total, of the first draws as well."""
    some, values = population(20), np.arange(20) % 5 == 0
    found = []
    for seed in range(4000):
        drawn = at_random(some, 8, generator(seed))
        assert drawn.probability is not None
        first = drawn.rows[:4]
        found.append((values[first] / (drawn.probability[:4] * 4 / 8)).sum())
    assert np.mean(found) == pytest.approx(4, abs=5 * np.std(found) / np.sqrt(4000))


def test_spread_takes_one_of_ten_minutes_first() -> None:
    some = population(1000, n_recorders=1)
    assert sorted(spread(some, np.arange(1000), 10).tolist()) == list(range(0, 1000, PER_SPAN))
    rows = spread(some, np.arange(1000), 15)
    assert rows[10:].tolist() == [1, 2, 3, 4, 5], "then the best of the others"


def test_spread_goes_round_recorders_and_hours() -> None:
    some = population(2400, n_recorders=2)  # two hours of each
    rows = spread(some, np.arange(2400), 4)
    assert sorted(some.hours(rows).tolist()) == [0, 1, 24, 25]
    assert rows.tolist() == [0, 600, 1200, 1800], "the best of each"


def test_spread_does_not_go_far_for_it() -> None:
    """Of ten times as many as are wanted, no worse ones are taken, whatever recorder they are of."""
    some = population(28_000, n_recorders=2)  # 140 spans of each
    assert (spread(some, np.arange(28_000), 2) < 14_000).all()


def test_explore_hears_the_least_heard_and_the_largest_cluster_first() -> None:
    some = population(1000, n_recorders=1)
    exemplars = np.array([[0, 200, 400], [101, 301, -1], [502, 702, 902]])
    chosen = explore(some, exemplars, np.array([10, 500, 30]), np.array([0, 0, 2]), 100)
    assert chosen.stratum[:4] == ["cluster 1", "cluster 0", "cluster 1", "cluster 0"]
    assert sorted(chosen.rows.tolist()) == [0, 101, 200, 301, 400, 502, 702, 902]
    assert chosen.probability is None
    assert explore(some, exemplars, np.array([10, 500, 30]), np.array([0, 0, 2]), 3).rows.tolist() == [101, 0, 301]


def test_explore_takes_other_ten_minutes_where_a_cluster_has_them() -> None:
    some = population(1000, n_recorders=1)
    exemplars = np.array([[0, 1], [2, 300]])
    assert explore(some, exemplars, np.array([9, 5]), np.zeros(2, dtype=np.int64), 2).rows.tolist() == [0, 300]


def test_farthest_in_closed_form() -> None:
    some = population(1000, n_recorders=1)
    rows = np.arange(5) * PER_SPAN
    vectors = np.array([[0.0], [1], [4], [10], [4.5]], dtype=np.float32)
    none = np.empty((0, 1), dtype=np.float32)
    chosen = farthest(some, rows, vectors, none, 5)
    assert (chosen.rows // PER_SPAN).tolist() == [2, 3, 0, 1, 4], "4 is nearest to the mean 3.9"
    assert chosen.score is not None
    np.testing.assert_allclose(chosen.score[1:], [6, 4, 1, 0.5], rtol=1e-5)
    heard = farthest(some, rows, vectors, np.array([[10.0]], dtype=np.float32), 2)
    assert (heard.rows // PER_SPAN).tolist() == [0, 4]


def test_farthest_hears_ten_minutes_once_while_there_are_others() -> None:
    some = population(1000, n_recorders=1)
    vectors = np.array([[0.0], [100], [1], [2]], dtype=np.float32)
    chosen = farthest(some, np.array([0, 1, 100, 200]), vectors, vectors[:1], 10)
    assert chosen.rows.tolist() == [1, 200, 100, 0] or chosen.rows.tolist() == [1, 100, 200, 0]


def scores(**of: list[float]) -> dict[str, NDArray[np.float64]]:
    return {sound: np.array(values) for sound, values in of.items()}


def test_the_best_of_each_sound_in_turn_each_window_once() -> None:
    some = population(400, n_recorders=1)
    wren, robin = np.full((2, 400), np.nan)
    wren[[0, 100, 200]], robin[[100, 300]] = [3, 9, 6], [5, 1]
    chosen = ranked(some, {"wren": wren, "robin": robin}, 10, key=lambda values: values)
    assert chosen.rows.tolist() == [100, 200, 300, 0]
    assert chosen.stratum == ["wren", "wren", "robin", "wren"]
    assert chosen.score is not None
    assert chosen.score.tolist() == [9, 6, 1, 3]
    unsure = ranked(some, {"wren": wren / 10}, 2, key=lambda values: -np.abs(values - 0.5))
    assert unsure.rows.tolist() == [200, 0]


def test_evenly_takes_every_step_of_the_score() -> None:
    """Most windows have a low score; a sample by score has all of them."""
    some = population(28_000)
    values = generator(3).exponential(size=28_000)
    chosen = evenly(some, {"wren": values}, 20, generator(1))
    assert chosen.score is not None
    steps = np.floor((chosen.score - values.min()) / (values.max() - values.min()) * 20)
    there = np.unique(np.minimum(np.floor((values - values.min()) / np.ptp(values) * 20), 19))
    assert set(there) == set(np.minimum(steps, 19)), "each step that has windows gave at least one"
    assert len(set(chosen.rows.tolist())) == 20
    assert chosen.rows.tolist() == evenly(some, {"wren": values}, 20, generator(1)).rows.tolist()
    assert evenly(some, {"wren": np.ones(28_000)}, 5, generator(1)).rows.shape == (5,)


def test_nothing_to_choose_from() -> None:
    some = population(10)
    assert len(ranked(some, {"wren": np.full(10, np.nan)}, 5, key=lambda values: values).rows) == 0
    assert len(evenly(some, {"wren": np.full(10, np.nan)}, 5, generator()).rows) == 0
    assert len(explore(some, np.full((2, 3), -1), np.zeros(2, dtype=int), np.zeros(2, dtype=int), 5).rows) == 0


def in_groups(sizes: list[int], *, spread: float = 0.01) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors around right-angled axes, and the group of each; the first of a group is its middle."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(len(sizes), dtype=np.float32)[group]
    for i in range(len(sizes)):
        own = np.flatnonzero(group == i)
        off = generator(i).normal(size=(len(own), len(sizes))) * spread
        off[0] = 0
        off[1:] -= off[1:].mean(axis=0) if len(own) > 1 else 0
        vectors[own] += off.astype(np.float32)
    return vectors, group


@given(st.integers(0, 50))
def test_clusters_that_are_far_apart_are_found(seed: int) -> None:
    vectors, group = in_groups([30, 20, 5])
    label, distance = clustered(vectors, 3, generator(seed))
    assert len({(a, b) for a, b in zip(label.tolist(), group.tolist(), strict=True)}) == 3
    centres = np.stack([vectors[group == i].mean(axis=0) for i in range(3)])
    np.testing.assert_allclose(distance, np.linalg.norm(vectors - centres[group], axis=1), atol=2e-3)


def test_the_number_of_threads_changes_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = generator(3).normal(size=(typical_order.N_DRAWN + 2000, 16)).astype(np.float32)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(typical_order, "THREADS", threads)
        found.append(clustered(vectors, 40, generator(1)))
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    assert len(np.unique(found[0][0])) == 40


def test_typical_are_the_middles_of_clusters_not_heard_the_largest_first() -> None:
    vectors, group = in_groups([5, 40, 20, 10])
    some, rows = population(150, n_recorders=1, step=PER_SPAN), np.arange(75) * 2
    for seed in range(5):
        chosen = typical(some, rows, vectors, np.empty((0, 4), dtype=np.float32), 4, random=generator(seed))
        assert chosen.rows.tolist() == [2 * 5, 2 * 45, 2 * 65, 0], "the middle of each group"
        assert chosen.score is not None
        assert (chosen.score < 0.01).all()
    heard = vectors[group == 1][:2]
    chosen = typical(some, rows, vectors, heard, 2, random=generator())
    assert group[chosen.rows // 2].tolist() == [2, 3], "of the largest group two were heard"


def test_typical_takes_other_ten_minutes_where_a_cluster_has_them() -> None:
    vectors, _ = in_groups([20, 10])
    cells = np.concatenate([np.arange(20), [0], np.arange(1, 10) * PER_SPAN]) + np.repeat([0, 50], [20, 10])
    some = Population(Windows(np.repeat(np.arange(1, dtype=np.int32), 30), np.sort(cells)), GRID)
    chosen = typical(some, np.arange(30), vectors, np.empty((0, 2), dtype=np.float32), 2, random=generator())
    assert chosen.rows[0] == 0
    assert chosen.rows[1] > 20, "the middle of the second group is of the ten minutes of the first"


@given(st.integers(1, 40), st.integers(0, 30), st.integers(1, 60), st.booleans())
def test_typical_takes_each_window_once(n_rows: int, n_heard: int, n: int, are_alike: bool) -> None:
    some, rows = population(80), np.arange(n_rows) * 2
    vectors = generator(n).normal(size=(n_rows, 3)).astype(np.float32) * (not are_alike)
    heard = generator(1).normal(size=(n_heard, 3)).astype(np.float32)
    chosen = typical(some, rows, vectors, heard, n, random=generator())
    assert len(chosen.rows) == len(set(chosen.rows.tolist())) == min(n, n_rows)
    assert set(chosen.rows.tolist()) <= set(rows.tolist())
    again = typical(some, rows, vectors, heard, n, random=generator())
    assert again.rows.tolist() == chosen.rows.tolist()
