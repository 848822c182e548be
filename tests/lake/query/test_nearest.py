"""Whitened search: the first, and those with kept lengths, give what plain numpy gives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stores import make_embeddings

from lake.layout import Lake
from lake.query.nearest import Metric
from lake.query.similar import similar
from lake.scaling import scaled
from lake.tables import make_table
from lake.vectors import open_vectors, read_span
from lake.verdicts import COLUMNS, add_verdicts
from lake.whitening import kept_lengths, study_whitening

CELL = 7
TIME = "2021-06-01T01:10:00"


def stores_of(folder: Path, seed: int, n_sets: int, shift: float = 0.0) -> list[str]:
    """Write sets with equal windows, missing ones and copies; return their addresses."""
    random = np.random.default_rng(seed)
    missing = random.random((2, 288)) < 0.3
    missing[0, CELL] = False
    copies = random.integers(0, 288, 40)
    urls = []
    for i in range(n_sets):
        vectors = (shift + random.normal(size=(2, 288, 6 + i)) * np.geomspace(1, 0.01, 6 + i)).astype(np.float32)
        vectors[1, copies] = vectors[0, CELL]
        vectors[:, 100:120] = vectors[:1, 100:101]
        vectors[missing] = np.nan
        urls.append(make_embeddings(folder, vectors, name=f"set{i}").output.url)
    return urls


def by_hand(urls: list[str], metric: Metric) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return places, shape (n_windows, 2), and distances of all windows but the one searched for, nearest first."""
    sets = open_vectors(urls)
    whitened = scaled(np.concatenate([read_span(sets, span) for span in sets.spans]), study_whitening(sets))
    x = whitened.astype(np.float64)
    places = np.array([(span.recorder, cell) for span in sets.spans for cell in span.cells])
    y = x[np.flatnonzero((places == (0, CELL)).all(axis=1))[0]]
    if metric == "euclidean":
        distance = np.linalg.norm(x - y, axis=1)
    else:
        distance = 1 - x @ y / np.linalg.norm(x, axis=1) / np.linalg.norm(y)
    others = ~(places == (0, CELL)).all(axis=1)
    order = np.argsort(distance[others], kind="stable")
    return places[others][order], distance[others][order]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), n_sets=st.integers(1, 2), n=st.integers(1, 60), shift=st.sampled_from([0.0, 50.0]))
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_kept_lengths_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n_sets: int, n: int, shift: float, metric: Metric
) -> None:
    urls = stores_of(tmp_path_factory.mktemp("lake"), seed, n_sets, shift)
    first = similar(urls, "north", TIME, n=n, metric=metric, apart_s=0)
    assert kept_lengths(open_vectors(urls)) is not None
    again = similar(urls, "north", TIME, n=n, metric=metric, apart_s=0, threads=3)
    _, distance = by_hand(urls, metric)
    for found in (first, again):
        np.testing.assert_allclose(found["distance"], distance[:n], atol=2e-6 if metric == "cosine" else 2e-3)
    np.testing.assert_allclose(again["distance"], first["distance"], atol=2e-6 if metric == "cosine" else 2e-3)
    apart = np.diff(distance[: n + 1]) > 1e-4  # of windows that are no ties, the order is one
    if apart.all():
        assert again[["recorder", "time"]].equals(first[["recorder", "time"]])


@pytest.mark.parametrize("damage", ["flipped", "empty", "of other windows"])
def test_lengths_that_are_damaged_are_gathered_again(tmp_path: Path, damage: str) -> None:
    urls = stores_of(tmp_path, 3, 1)
    expected = similar(urls, "north", TIME)
    (path,) = (tmp_path / "caches" / "whitening").glob("*.lengths.npz")
    whole = path.read_bytes()
    if damage == "of other windows":
        np.savez(path, lengths=np.ones((3, 1), dtype=np.float32))
    else:
        path.write_bytes(b"" if damage == "empty" else whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    assert kept_lengths(open_vectors(urls)) is None
    assert similar(urls, "north", TIME).equals(expected)
    assert path.read_bytes() == whole


def test_a_store_that_changed_has_no_lengths_of_before(tmp_path: Path) -> None:
    urls = stores_of(tmp_path / "one", 3, 1)
    similar(urls, "north", TIME)
    assert kept_lengths(open_vectors(urls)) is not None
    other = stores_of(tmp_path / "two", 4, 1)
    assert kept_lengths(open_vectors(other)) is None
    kept, missing = tmp_path / "one" / "caches", tmp_path / "two" / "caches"
    kept.rename(missing)
    assert kept_lengths(open_vectors(other)) is None


def test_a_lake_that_cannot_be_written_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    urls = stores_of(tmp_path, 5, 1)
    monkeypatch.setattr("lake.storage.Storage.write", refuse)
    first = similar(urls, "north", TIME, n=9)
    assert len(first) == 9
    assert similar(urls, "north", TIME, n=9).equals(first)
    assert not (tmp_path / "caches").exists()


def test_windows_of_speech_are_left_out_and_counted(tmp_path: Path) -> None:
    urls = stores_of(tmp_path, 6, 1)
    before = similar(urls, "north", TIME, n=10)
    speech = before.iloc[:2]
    row = {
        "duration_s": 6.0, "sound": "speech", "verdict": "yes", "reviewer": "ana",
        "decided_at": pd.Timestamp("2026-01-01"), "seconds": 1.0, "batch": "", "draw": pd.NA, "recording": "",
        "offset_s": np.nan, "digest": "", "source": "",
    }  # fmt: skip
    rows = [
        {"recorder": name, "time_utc": time, **row} for name, time in zip(speech.recorder, speech.time, strict=True)
    ]
    add_verdicts(Lake(str(tmp_path)), make_table(rows, COLUMNS))
    said: list[str] = []
    after = similar(urls, "north", TIME, n=8, say=said.append)
    assert after.equals(before.iloc[2:].reset_index(drop=True))
    assert "windows that people marked as speech are left out: 2." in said
