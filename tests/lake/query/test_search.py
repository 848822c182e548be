"""An opened search: through the index it finds, to the last bit, what comparing all windows finds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stores import make_embeddings

from lake.errors import InputError, UsageError
from lake.query.codes import encode
from lake.query.nearest import Comparison, Metric
from lake.query.search import Normalise
from lake.query.similar import open_search
from lake.scaling import Vectors, scaled_and_lengths
from lake.storage import ABANDONED_S
from lake.vectors import read_span

METRICS: tuple[Metric, ...] = ("cosine", "euclidean")
WAYS: tuple[Normalise, ...] = ("none", "whiten")
CELL = 7
TIME = "2021-06-01T01:10:00"


def vectors_of(seed: int, n_features: int = 6, n_days: int = 2, shift: float = 0.0) -> NDArray[np.float32]:
    """Return vectors of two recorders with windows that are missing, copies, and features of very different size."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(2, n_days * 144, n_features)) * np.geomspace(10, 0.01, n_features) + shift
    vectors[1, random.integers(0, n_days * 144, 40)] = vectors[0, CELL]
    vectors[:, 100:110] = 2 * vectors[:1, 100:101]
    vectors[1, 20:25] = 0
    missing = random.random(vectors.shape[:2]) < 0.3
    missing[0, CELL] = False
    vectors[missing] = np.nan
    return vectors.astype(np.float32)


def stores_of(folder: Path, seed: int, n_sets: int = 1, shift: float = 0.0, dtype: str = "float32") -> list[str]:
    """Write sets of the same windows; return their addresses."""
    missing = np.isnan(vectors_of(seed)[..., 0])
    urls = []
    for i in range(n_sets):
        vectors = vectors_of(seed, 6 + i, shift=shift)
        vectors[np.isnan(vectors).any(axis=2)] = 1
        vectors[missing] = np.nan
        urls.append(make_embeddings(folder, vectors.astype(dtype), name=f"set{i}").output.url)
    return urls


def codes_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.codes"))}


class Counting:
    """Count the spans that are read in full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_windows = 0

        def counted(*args: object) -> Vectors:
            found = read_span(*args)  # type: ignore[arg-type]
            self.n_windows += len(found)
            return found

        monkeypatch.setattr("lake.query.search.read_span", counted)


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000), n_sets=st.integers(1, 2), n=st.sampled_from([1, 5, 41, 1000]),
    metric=st.sampled_from(METRICS),
    shift=st.sampled_from([0.0, 50.0]), dtype=st.sampled_from(["float16", "float32"]), normalise=st.sampled_from(WAYS),
)  # fmt: skip
def test_the_index_changes_no_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_sets: int, n: int, metric: Metric, shift: float,
    dtype: str, normalise: Normalise,
) -> None:  # fmt: skip
    urls = stores_of(tmp_path_factory.mktemp("lake"), seed, n_sets, shift, dtype)
    plain = open_search(urls, normalise=normalise, index=False)
    vector = np.random.default_rng(seed).normal(size=sum(plain.sets.n_features)) + shift
    first = open_search(urls, normalise=normalise)
    expected = first.near_window("north", TIME, n=n, metric=metric)
    for search in (plain, first, open_search(urls, normalise=normalise, threads=3)):
        found = search.near_window("north", TIME, n=n, metric=metric)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        near = search.near_vector(vector, n=n, metric=metric)
        pd.testing.assert_frame_equal(near, plain.near_vector(vector, n=n, metric=metric), check_exact=True)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), metric=st.sampled_from(METRICS), whitened=st.booleans(),
    size=st.sampled_from([1e-25, 1.0, 1e15]),
)  # fmt: skip
def test_a_distance_is_between_its_bounds(seed: int, metric: Metric, whitened: bool, size: float) -> None:
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(200, 9)) * np.geomspace(1, 1e-3, 9) * size).astype(np.float32)
    vectors[:3] = vectors[5]
    vectors[10] = 0
    lengths, scaling = None, None
    if whitened:
        from lake.scaling import whitening
        from lake.whitening import set_moments

        scaling = whitening(set_moments(vectors, (4, 5), products=True))
        lengths = scaled_and_lengths(vectors, scaling)[1]
    compare = Comparison((4, 5), vectors[5], scaling, metric)
    codes = [[encode(vectors[first:end, columns]) for first, end in ((0, 50), (50, 200))] for columns in
             (slice(0, 4), slice(4, 9))]  # fmt: skip
    least, largest = compare.bounds(codes, lengths)
    distance = compare.distances(vectors, lengths)
    assert ((least <= distance) & (distance <= largest)).all()
    some = np.sort(random.choice(200, 17, replace=False))
    alone = compare.distances(vectors[some], None if lengths is None else lengths[some])
    np.testing.assert_array_equal(alone, distance[some], "the distance of a window depends on no other")


@pytest.mark.parametrize("normalise", WAYS)
def test_later_searches_read_few_vectors(tmp_path: Path, normalise: Normalise, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_embeddings(tmp_path, np.random.default_rng(0).normal(size=(2, 288, 16)).astype(np.float32)).output.url
    read = Counting(monkeypatch)
    open_search(url, normalise=normalise).near_window("north", TIME, n=5)
    assert read.n_windows == 576
    for _ in range(2):
        read.n_windows = 0
        open_search(url, normalise=normalise).near_window("north", TIME, n=5)
        assert 5 <= read.n_windows < 300


def test_growth_codes_new_windows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 288, 8)).astype(np.float32)
    later = vectors.copy()
    later[:, 150:] = np.nan
    open_search(make_embeddings(tmp_path, later).output.url, normalise="none").near_window("north", TIME)
    before = codes_in(tmp_path)
    url = make_embeddings(tmp_path, vectors).output.url  # the second day gains windows
    read = Counting(monkeypatch)
    found = open_search(url, normalise="none").near_window("north", TIME)
    after = codes_in(tmp_path)
    assert read.n_windows < 288 + 288 * 0.9, "one day of each recorder in full, and a few of the others"
    assert len(before) == len(after) == 4
    assert len(before.keys() & after.keys()) == 2, "codes of the days that changed are gone"
    assert all(after[key] == before[key] for key in before.keys() & after.keys())
    pd.testing.assert_frame_equal(found, open_search(url, normalise="none", index=False).near_window("north", TIME))


@pytest.mark.parametrize("damage", ["flipped", "empty", "cut", "a folder"])
def test_damaged_codes_are_made_again(tmp_path: Path, damage: str) -> None:
    urls = stores_of(tmp_path, 3)
    expected = open_search(urls).near_window("north", TIME)
    whole = codes_in(tmp_path)
    path = tmp_path / next(iter(whole))
    data = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_bytes(
            {"flipped": data[:99] + bytes([data[99] ^ 1]) + data[100:], "empty": b"", "cut": data[:-9]}[damage]
        )
    said: list[str] = []
    pd.testing.assert_frame_equal(open_search(urls, say=said.append).near_window("north", TIME), expected)
    if damage == "a folder":
        assert "the index could not be kept" in said[0]
    else:
        assert codes_in(tmp_path) == whole


@pytest.mark.parametrize("normalise", WAYS)
def test_a_lake_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalise: Normalise
) -> None:
    urls = stores_of(tmp_path, 5)
    expected = open_search(urls, normalise=normalise, index=False).near_window("north", TIME)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lake.storage.Storage.write", refuse)
    for _ in range(2):
        said: list[str] = []
        search = open_search(urls, normalise=normalise, say=said.append)
        pd.testing.assert_frame_equal(search.near_window("north", TIME), expected)
        pd.testing.assert_frame_equal(search.near_window("north", TIME), expected)
        notes = [line for line in said if "could not be kept" in line]
        assert len(notes) == 1, "it is said once"
        assert "Permission denied" in notes[0]
    assert not codes_in(tmp_path)


def test_outside_of_a_lake_nothing_is_kept(tmp_path: Path) -> None:
    (url,) = stores_of(tmp_path, 5)
    expected = open_search(url, normalise="none").near_window("north", TIME)
    moved = tmp_path / "elsewhere.zarr"
    moved.symlink_to(url)
    pd.testing.assert_frame_equal(open_search(str(moved), normalise="none").near_window("north", TIME), expected)


def test_a_joined_set_has_the_codes_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = stores_of(tmp_path, 5, n_sets=2)
    for url in urls:
        open_search(url, normalise="none").near_window("north", TIME)
    kept = codes_in(tmp_path)
    read = Counting(monkeypatch)
    open_search(urls, normalise="none").near_window("north", TIME, n=1)
    assert read.n_windows < 300
    assert codes_in(tmp_path) == kept


BUILD = """
import sys
from lake.query.similar import open_search
import lake.query.index, lake.storage
if sys.argv[2] == "slow":
    import time
    write = lake.storage.Storage.write
    def slow(self, key, data):
        write(self, key, data)
        if key.endswith(".codes"):
            print(key, flush=True)
            time.sleep(60)
    lake.storage.Storage.write = slow
print(open_search(sys.argv[1], normalise="none", threads=1).near_window("north", "2021-06-01T01:10:00").to_csv())
"""


def build(url: str, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILD, url, how], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_builder_that_is_killed_leaves_what_it_has_coded(tmp_path: Path) -> None:
    (url,) = stores_of(tmp_path, 5)
    expected = open_search(url, normalise="none", index=False).near_window("north", TIME).to_csv()
    with build(url, "slow") as builder:
        assert builder.stdout is not None
        builder.stdout.readline()
        os.kill(builder.pid, signal.SIGKILL)
    before = codes_in(tmp_path)
    assert len(before) == 1
    assert open_search(url, normalise="none").near_window("north", TIME).to_csv() == expected
    after = codes_in(tmp_path)
    assert len(after) == 4
    assert after.items() >= before.items()


def test_the_next_builder_removes_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    (url,) = stores_of(tmp_path, 5)
    open_search(url, normalise="none").near_window("north", TIME)
    first = next(tmp_path.rglob("*.codes"))
    dead, alive = (first.with_name(f".{digits}.aside") for digits in ("0123456789abcdef", "fedcba9876543210"))
    for path, age_s in ((dead, ABANDONED_S + 60), (alive, ABANDONED_S - 60)):
        path.write_bytes(first.read_bytes()[:100])
        os.utime(path, (time.time() - age_s,) * 2)
    before = codes_in(tmp_path)
    first.unlink()
    open_search(url, normalise="none").near_window("north", TIME)
    assert (dead.exists(), alive.exists()) == (False, True)
    assert codes_in(tmp_path) == before


@pytest.mark.slow
def test_two_builders_at_once(tmp_path: Path) -> None:
    (url,) = stores_of(tmp_path, 5)
    builders = [build(url, "fast") for _ in range(2)]
    outs = [builder.communicate()[0] for builder in builders]
    assert outs[0] == outs[1]
    both = codes_in(tmp_path)
    for path in tmp_path.rglob("*.codes"):
        path.unlink()
    open_search(url, normalise="none").near_window("north", TIME)
    assert codes_in(tmp_path) == both


@pytest.mark.parametrize(
    ("recorder", "when", "said"),
    [
        ("south", "2021-06-01T16:40", "has no vector at 2021-06-01T16:40:00Z; the nearest window that has one"),
        ("south", "2021-06-01T16:40", "begins at 2021-06-01T16:30:00Z"),
        ("south", "2021-06-02", "it has none on that day; the nearest day of 'south' is 2021-06-01, and"),
        ("north", "2021-07-01", "the store goes from 2021-06-01T00:00:00Z to 2021-06-03T00:00:00Z; it has none on"),
        ("north", "2021-07-01", "the nearest day of 'north' is 2021-06-02"),
        ("empty", "2021-06-01", "recorder 'empty' has no vectors"),
    ],
)  # fmt: skip
def test_a_window_that_is_not_there_has_a_nearest(tmp_path: Path, recorder: str, when: str, said: str) -> None:
    vectors = np.ones((3, 288, 4), dtype=np.float32)
    vectors[1, [100, 101]] = vectors[1, 144:] = vectors[2] = np.nan
    url = make_embeddings(tmp_path, vectors, recorders=("north", "south", "empty")).output.url
    with pytest.raises(InputError, match=r"nearest|no vectors") as error:
        open_search(url, normalise="none").near_window(recorder, when)
    assert said in str(error.value)


def test_words_and_numbers_that_are_none(tmp_path: Path) -> None:
    (url,) = stores_of(tmp_path, 5)
    with pytest.raises(UsageError, match="expected one of auto, whiten, none"):
        open_search(url, normalise="most")  # type: ignore[arg-type]
    search = open_search(url)
    for more in ({"n": 0}, {"metric": "cosin"}):
        with pytest.raises(UsageError, match="expected 1 or more, and one of cosine, euclidean"):
            search.near_window("north", TIME, **more)
    for vector in (np.ones(3), np.full(6, np.nan), np.ones((1, 6))):
        with pytest.raises(InputError, match="expected a finite vector of 6 features"):
            search.near_vector(vector)


def test_a_whitening_that_is_kept_removes_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    (url,) = stores_of(tmp_path, 5)
    folder = tmp_path / "caches" / "whitening"
    folder.mkdir(parents=True)
    dead, alive = (folder / f".{digits}.aside" for digits in ("0123456789abcdef", "fedcba9876543210"))
    for path, age_s in ((dead, ABANDONED_S + 60), (alive, ABANDONED_S - 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s,) * 2)
    open_search(url, normalise="whiten").near_window("north", TIME)
    assert (dead.exists(), alive.exists()) == (False, True)
    assert len([*folder.glob("*.npz")]) > 0
