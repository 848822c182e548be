from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stores import make_clusters

from lake.errors import InputError
from lake.naming import Name, carried, match_names, names_key, overlap_table, read_names, write_names
from lake.read import open_clusters


def test_a_table_is_written_and_read_back(tmp_path: Path) -> None:
    store = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64)).output
    assert read_names(store).rows == ()
    names = [Name(7, "rain, light", 'a "note"'), Name(2, "pewee", carried_from="old/5", overlap=0.75)]
    where = write_names(store, names)
    assert where == f"{tmp_path}/clusters/clusters.names.csv"
    back = read_names(store).rows
    assert [(n.cluster, n.name, n.notes, n.carried_from) for n in back] == [
        (2, "pewee", "", "old/5"), (7, "rain, light", 'a "note"', ""),
    ]  # fmt: skip
    assert back[0].overlap == 0.75
    assert np.isnan(back[1].overlap)
    assert store.exists("zarr.json"), "names stand beside the store, not in it"
    assert not any("names" in key for key in store.list_keys())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("number,what\n1,wren\n", r"names\.csv: expected the columns cluster, name and notes, found number, what"),
        ("cluster,name\nfive,wren\n", r"row 2: cluster should be a number, found 'five'"),
        ("cluster,name\n5,wren\n5,robin\n", r"cluster 5 is there twice"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    store = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64)).output
    folder, key = names_key(store)
    folder.write(key, text.encode())
    with pytest.raises(InputError, match=told):
        read_names(store)


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
    np.testing.assert_array_equal(
        shared, [[((old == i) & (new == j) & both).sum() for j in range(5)] for i in range(5)]
    )
    names = [Name(i, f"kind {i}") for i in range(5)]
    matches = match_names(names, shared, min_overlap=0.5)
    assert [match.cluster for match in matches] == turned[:5].tolist()
    assert all(match.is_carried and 0.7 < match.overlap < 1 for match in matches)
    moved = carried(matches, "a")
    assert (moved[0].cluster, moved[0].name, moved[0].carried_from) == (3, "kind 0", "a/0")


def shared_of(*rows: list[int]) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64)


def test_overlaps_in_closed_form_and_who_loses() -> None:
    names = [Name(0, "a"), Name(1, "b"), Name(2, "c")]
    matches = match_names(names, shared_of([6, 2], [3, 1], [0, 0]), min_overlap=0.0)
    assert [(m.cluster, m.is_carried) for m in matches] == [(0, True), (0, False), (-1, False)]
    assert matches[0].overlap == 6 / (8 + 9 - 6)
    assert not match_names(names[:1], shared_of([6, 2], [3, 1]), min_overlap=0.6)[0].is_carried
    with pytest.raises(InputError, match=r"names cluster 2, the clustering has 2, numbered from 0"):
        match_names(names, shared_of([6, 2], [3, 1]), min_overlap=0.5)


def test_other_windows_cannot_be_compared(tmp_path: Path) -> None:
    a = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64), name="a").output.url
    b = make_clusters(tmp_path, np.zeros((2, 144), dtype=np.int64), name="b", window_s=5.0).output.url
    with pytest.raises(InputError, match=r"the clusterings have other windows .* names are carried by the windows"):
        overlap_table(open_clusters(a), open_clusters(b))
