"""Names carried to another clustering: to each cluster that is mostly theirs, and told where they are lost."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stores import make_clusters

from lake.errors import InputError
from lake.query.carrying import carried, fates, match_names, overlap_table
from lake.query.naming import Name
from lake.read import open_clusters


def test_names_follow_their_windows(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    old = random.integers(-1, 5, (2, 288))
    turned = np.array([3, 0, 4, 1, 2, -1])  # -1 stays -1
    new = np.where(random.random(old.shape) < 0.1, random.integers(0, 5, old.shape), turned[old])
    stores = [
        make_clusters(tmp_path, labels, name=name, n_clusters=5).output.url for labels, name in [(old, "a"), (new, "b")]
    ]
    shared = overlap_table(*(open_clusters(url) for url in stores))
    both = (old >= 0) & (new >= 0)
    counted = [[((old == i) & (new == j) & both).sum() for j in range(5)] for i in range(5)]
    np.testing.assert_array_equal(shared, [*counted, [0] * 5])
    names = [Name(i, f"kind {i}") for i in range(5)]
    matches = match_names(names, shared)
    assert [match.cluster for match in matches] == turned[:5].tolist()
    assert all(match.is_carried and 0.7 < match.overlap < 1 for match in matches)
    moved = carried(matches, "a")
    assert (moved[0].cluster, moved[0].name, moved[0].carried_from) == (3, "kind 0", "a/0")


def shared_of(*rows: list[int], far: list[int] | None = None) -> NDArray[np.int64]:
    return np.array([*rows, far or [0] * len(rows[0])], dtype=np.int64)


def fate(names: list[Name], shared: NDArray[np.int64], min_overlap: float = 0.5) -> list[tuple[str, int, float, bool]]:
    return [
        (match.name.name, match.cluster, round(match.overlap, 3), match.is_carried)
        for match in match_names(names, shared, min_overlap=min_overlap)
    ]


def test_a_cluster_that_was_split_gives_its_name_to_each_part_that_is_mostly_its_own() -> None:
    names = [Name(0, "wren"), Name(1, "robin")]
    shared = shared_of([30, 20, 2, 0], [0, 5, 28, 9])
    assert fate(names, shared) == [
        ("wren", 0, 1.0, True), ("wren", 1, 0.8, True), ("robin", 2, 0.933, True), ("robin", 3, 1.0, True),
    ]  # fmt: skip
    assert list(fates(match_names(names, shared))) == [
        "name 'wren': cluster 0 is now 0 (overlap 1.00), 1 (overlap 0.80); 50 of its 52 windows keep it",
        "name 'robin': cluster 1 is now 2 (overlap 0.93), 3 (overlap 1.00); 37 of its 42 windows keep it",
    ]


def test_clusters_of_one_sound_that_were_merged_keep_its_name() -> None:
    names = [Name(0, "wren", "at dawn"), Name(1, "wren", "far"), Name(2, "robin")]
    shared = shared_of([20, 0], [15, 0], [25, 0], [0, 9])
    (wren, robin) = match_names(names, shared)
    assert (wren.cluster, wren.sources, wren.is_carried) == (0, (0, 1), True)
    (row,) = carried([wren, robin], "old")
    assert (row.cluster, row.name, row.notes, row.carried_from) == (0, "wren", "at dawn; far", "old/0 old/1")
    assert row.overlap == 35 / 60
    assert list(fates([wren, robin])) == [
        "name 'wren': clusters 0, 1 are now 0 (overlap 0.58); 35 of its 35 windows keep it",
        "name 'robin' of cluster 2 is lost: 25 of its 25 windows are in 0 ('wren'), overlap 0.42",
    ]


def test_what_nobody_had_named_takes_no_name() -> None:
    names = [Name(0, "wren"), Name(1, "robin")]
    assert fate(names, shared_of([5, 0], [0, 9], far=[15, 1])) == [("wren", 0, 0.25, False), ("robin", 1, 0.9, True)]
    assert fate(names, shared_of([5, 0], [0, 9], [6, 0])) == [("wren", 0, 0.455, False), ("robin", 1, 1.0, True)]
    assert fate(names, shared_of([5, 0], [0, 9], [6, 0]), 0.4)[0] == ("wren", 0, 0.455, True)
    assert not any(carried for *_, carried in fate(names, shared_of([5], [5]))), "of two equal halves neither"
    assert fate(names, shared_of([0, 0], [0, 9]), 0.0)[0] == ("wren", -1, 0.0, False)
    with pytest.raises(InputError, match=r"names cluster 2, the clustering has 2, numbered from 0"):
        match_names([Name(2, "c")], shared_of([6, 2], [3, 1]))


def test_windows_beyond_the_bound_of_their_cluster_do_not_count_for_its_name(tmp_path: Path) -> None:
    """They came after the fit, and are unlike it: in a cluster of their own they are another sound."""
    old = np.repeat([0, 1], 144)[None].repeat(2, axis=0)
    new = np.where(np.arange(288) % 3 == 0, 2, old)
    stores = [make_clusters(tmp_path, one, name=name, n_clusters=3) for one, name in [(old, "a"), (new, "b")]]
    first, second = (open_clusters(run.output.url).load() for run in stores)
    is_far = np.arange(288) % 3 == 0
    bounds = np.full(3, 1.0, dtype=np.float32)
    first["distance"] = (first["distance"].dims, np.where(is_far, 2.0, 0.5)[None].repeat(2, axis=0).astype(np.float32))
    shared = overlap_table(first.assign(distance_bound=("cluster_id", bounds)), second)
    assert shared.tolist() == [[192, 0, 0], [0, 192, 0], [0, 0, 0], [0, 0, 192]]
    assert [m.cluster for m in match_names([Name(0, "wren"), Name(1, "robin")], shared)] == [0, 1]


def test_other_windows_cannot_be_compared(tmp_path: Path) -> None:
    a = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64), name="a").output.url
    b = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64), name="b", window_s=5.0).output.url
    with pytest.raises(InputError, match=r"the clusterings have other windows .* names are carried by the windows"):
        overlap_table(open_clusters(a), open_clusters(b))
