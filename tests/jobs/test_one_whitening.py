"""One window has one whitened vector, whoever asks: clustering, assignment, nearest windows, evaluation."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stores import ORIGIN_MS, make_cube, make_embeddings, make_run, random_codes

from jobs.cluster import command
from jobs.cluster.config import Config
from jobs.cluster.core import assign
from jobs.common.run import Options
from jobs.evaluate import command as evaluate
from jobs.evaluate.config import Config as EvaluateConfig
from jobs.evaluate.units import scaled_rows
from lake.constants import MS_PER_DAY
from lake.errors import InputError
from lake.grid import iso
from lake.query.similar import similar
from lake.read import open_clusters, open_cube
from lake.scaling import scaled, stored_centroids, stored_scaling
from lake.vectors import open_vectors, read_span
from lake.whitening import study_whitening

HOP_MS = 600_000


@pytest.mark.parametrize("dtypes", [("float32",), ("float16",), ("float32", "float16"), ("float32", "float32")])
def test_all_readers_give_a_window_the_same_vector(tmp_path: Path, dtypes: tuple[str, ...]) -> None:
    cube = make_cube(tmp_path, random_codes())
    there = np.isin(cube_status(cube.output.url), [1, 2])
    random = np.random.default_rng(0)
    sets = []
    for name, n_features, dtype in zip(("one", "other"), (5, 8), dtypes, strict=False):
        vectors = np.full((*there.shape, n_features), np.nan, dtype=np.float32)
        vectors[there] = random.normal(size=(int(there.sum()), n_features)) @ random.normal(
            size=(n_features, n_features)
        )
        sets.append(make_embeddings(tmp_path, vectors.astype(dtype), cube=cube, name=name))
    config = Config(normalise="whiten", n_clusters=3, batch_size=8, n_init_windows=20, n_refits=0)
    inputs = {"embeddings": sets[0], **{f"embeddings+{i}": one for i, one in enumerate(sets[1:], 2)}}
    run = make_run(tmp_path, "clusters", "cluster", config, inputs=inputs)
    command.execute(run, Options())
    joined = open_vectors([one.output.url for one in sets])
    clusters = open_clusters(run.output.url).load()
    of_cluster, of_study = stored_scaling(clusters), study_whitening(joined)
    recorder = np.concatenate([np.full(len(span.cells), span.recorder) for span in joined.spans])
    cell = np.concatenate([span.cells for span in joined.spans])
    raw = np.concatenate([read_span(joined, span) for span in joined.spans])
    expected = scaled(raw, of_study)
    np.testing.assert_array_equal(scaled(raw, of_cluster), expected)
    np.testing.assert_array_equal(scaled_rows(joined, of_study, recorder, cell), expected)
    np.testing.assert_array_equal(scaled(raw, study_whitening(joined)), expected)  # as it was kept
    # The stored clusters and distances are those of these vectors, as plain xarray gives them.
    nearest, distance = assign(expected, stored_centroids(clusters))
    np.testing.assert_array_equal(clusters["cluster"].to_numpy()[recorder, cell], nearest)
    np.testing.assert_allclose(clusters["distance"].to_numpy()[recorder, cell], distance, atol=1e-6)
    # And the nearest windows are nearest among them.
    at = 3
    time = iso(joined.grid.start_ms(int(cell[at])))
    found = similar(
        [one.output.url for one in sets], joined.recorders[recorder[at]], time, n=5, normalise="whiten", apart_s=0
    )
    angles = 1 - expected.astype(np.float64) @ expected[at]
    angles[at] = np.inf
    np.testing.assert_allclose(found["distance"].to_numpy(), np.sort(angles)[:5], atol=1e-6)


def test_a_whitening_that_was_kept_and_damaged_is_computed_again(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(2, 144, 4)).astype(np.float32)
    run = make_embeddings(tmp_path, vectors)
    sets = open_vectors([run.output.url])
    first = study_whitening(sets)
    (path,) = (tmp_path / "caches" / "whitening").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = study_whitening(sets)
    for one, other in zip(first.scales, again.scales, strict=True):
        np.testing.assert_array_equal(one.components, other.components)


def labels_of(tmp_path: Path, n_windows: int) -> Path:
    """Write a table that labels the first windows of the recorder `north` with two kinds in turn."""
    rows = [
        f"north,{iso(ORIGIN_MS + i * HOP_MS)},{iso(ORIGIN_MS + i * HOP_MS + 6000)},call {i % 2}"
        for i in range(n_windows)
    ]
    path = tmp_path / "truth.csv"
    path.write_text("\n".join(["recorder,start_utc,end_utc,label", *rows]) + "\n")
    return path


def few_windows(n_windows: int, n_features: int) -> NDArray[np.float32]:
    vectors = np.full((2, 144, n_features), np.nan, dtype=np.float32)
    vectors[0, :n_windows] = np.random.default_rng(3).normal(size=(n_windows, n_features))
    return vectors


@pytest.mark.parametrize(("n_windows", "applied"), [(12, "0.333"), (40, "")])
def test_whoever_whitens_fewer_windows_than_features_says_so(tmp_path: Path, n_windows: int, applied: str) -> None:
    run = make_embeddings(tmp_path, few_windows(n_windows, 40))
    config = Config(n_clusters=2, batch_size=8, n_init_windows=20, n_refits=0)
    clusters = make_run(tmp_path, "clusters", "cluster", config, inputs={"embeddings": run})
    scores = make_run(
        tmp_path, "scores", "evaluate", EvaluateConfig(n_bootstrap=20), inputs={"own": run},
        labels=labels_of(tmp_path, n_windows),
    )  # fmt: skip
    said: list[str] = []
    similar(run.output.url, "north", iso(ORIGIN_MS), normalise="auto", say=said.append)
    expected = (
        f"vectors.zarr: {n_windows} windows of 40 features are few to whiten; shrinkage {applied} was used in place of "
        "0.1. More recordings make it better."
    )
    notes = [*command.execute(clusters, Options()).notes], [*evaluate.execute(scores, Options()).notes], said
    assert [*notes] == [[expected] if applied else []] * 3


def test_features_that_never_vary_change_no_cluster(tmp_path: Path) -> None:
    vectors = few_windows(100, 5)
    constant = np.concatenate([vectors, np.where(np.isnan(vectors[..., :2]), np.nan, 7)], axis=2).astype(np.float32)
    found = []
    for name, each in (("plain", vectors), ("constant", constant)):
        embeddings = make_embeddings(tmp_path, each, name=name)
        config = Config(n_clusters=3, batch_size=8, n_init_windows=100, n_refits=0)
        run = make_run(tmp_path, f"of-{name}", "cluster", config, inputs={"embeddings": embeddings})
        command.execute(run, Options())
        found.append(open_clusters(run.output.url)["cluster"].to_numpy())
    np.testing.assert_array_equal(found[0], found[1])
    same = make_embeddings(tmp_path, np.where(np.isnan(vectors), np.nan, 1).astype(np.float32), name="same")
    run = make_run(tmp_path, "of-same", "cluster", Config(n_clusters=1, n_refits=0), inputs={"embeddings": same})
    command.execute(run, Options())
    assert np.isfinite(open_clusters(run.output.url)["centroid"].to_numpy()).all()


def test_imported_vectors_are_not_whitened_unless_asked(tmp_path: Path) -> None:
    vectors = few_windows(100, 5)
    own = make_embeddings(tmp_path, vectors, name="own")
    imported = make_embeddings(tmp_path, vectors, name="imported", imported=True)
    used = {}
    for name, source in (("own", own), ("imported", imported)):
        config = Config(n_clusters=3, batch_size=8, n_init_windows=100, n_refits=0)
        run = make_run(tmp_path, f"of-{name}", "cluster", config, inputs={"embeddings": source})
        command.execute(run, Options())
        clusters = open_clusters(run.output.url)
        used[name] = clusters.attrs["normalise"], "components" in clusters
    assert used == {"own": ("whiten", True), "imported": ("zscore_l2", False)}
    one, other = (similar(run.output.url, "north", iso(ORIGIN_MS), normalise="auto") for run in (own, imported))
    plain = similar(imported.output.url, "north", iso(ORIGIN_MS), normalise="none")
    assert other.equals(plain)
    assert not one["distance"].equals(plain["distance"])


@pytest.mark.parametrize("what", ["recorders", "order", "windows", "fewer windows", "grid", "length", "hop"])
def test_sets_that_cannot_be_joined_are_refused(tmp_path: Path, what: str) -> None:
    random = np.random.default_rng(2)
    one = make_embeddings(tmp_path, random.normal(size=(2, 144, 3)).astype(np.float32), name="one")
    shape = (1 if what == "recorders" else 2, 288 if what in {"grid", "hop"} else 144, 3)
    vectors = random.normal(size=shape).astype(np.float32)
    if what == "windows":
        vectors[1, 7] = np.nan
    if what == "fewer windows":
        vectors[1] = np.nan
    names = {"recorders": ["north"], "order": ["south", "north"]}.get(what, ["north", "south"])
    window_s, hop_s = 3.0 if what == "length" else 6.0, 300.0 if what == "hop" else 600.0
    other = make_embeddings(tmp_path, vectors, name="other", recorders=names, window_s=window_s, hop_s=hop_s)
    message = {
        "recorders": "same recorders", "order": "same recorders in the same order.*found north, south and south, north",
        "windows": "1 that only the first has", "fewer windows": "144 that only the first has", "grid": "one grid",
        "length": "windows of 6000 ms every 600000 ms .* and windows of 3000 ms",
        "hop": "every 600000 ms .* every 300000 ms",
    }[what]  # fmt: skip
    for urls in ([one.output.url, other.output.url], [one.output.url, one.output.url, other.output.url]):
        with pytest.raises(InputError, match=message):
            open_vectors(urls)


def test_sets_that_begin_on_other_days_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(2).normal(size=(2, 144, 3)).astype(np.float32)
    one = make_embeddings(tmp_path, vectors, name="one")
    monkeypatch.setattr("stores.ORIGIN_MS", ORIGIN_MS + MS_PER_DAY)
    other = make_embeddings(tmp_path, vectors, name="other")
    with pytest.raises(InputError, match=r"from 2021-06-01T00:00:00\S* to 2021-06-02\S* and .* from 2021-06-02"):
        open_vectors([one.output.url, other.output.url])


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_set_whose_windows_are_all_the_same_is_named(tmp_path: Path, value: float) -> None:
    vectors = few_windows(50, 4)
    good = make_embeddings(tmp_path, vectors, name="good")
    same = make_embeddings(tmp_path, np.where(np.isnan(vectors), np.nan, value).astype(np.float32), name="same")
    config = Config(n_clusters=3, batch_size=8, n_init_windows=50, n_refits=0)
    found = []
    for name, inputs in (("alone", {"embeddings": good}), ("both", {"embeddings": good, "embeddings+2": same})):
        run = make_run(tmp_path, name, "cluster", config, inputs=inputs)
        notes = command.execute(run, Options()).notes
        found.append(open_clusters(run.output.url)["cluster"].to_numpy())
    np.testing.assert_array_equal(found[0], found[1])
    (note,) = notes
    assert note == (
        "same.zarr: its vectors (windows: 50) are all the same and tell none from another. Look at the recordings, or "
        "leave the set out."
    )


def test_a_study_of_one_window_is_whitened_to_nothing_and_says_so(tmp_path: Path) -> None:
    run = make_embeddings(tmp_path, few_windows(1, 4))
    clusters = make_run(
        tmp_path, "clusters", "cluster", Config(n_clusters=1, n_refits=0), inputs={"embeddings": run}
    )  # fmt: skip
    assert "its vectors (windows: 1) are all the same" in next(iter(command.execute(clusters, Options()).notes))
    assert np.isfinite(open_clusters(clusters.output.url)["centroid"].to_numpy()).all()


def cube_status(url: str) -> NDArray[np.int8]:
    with open_cube(url) as cube:
        return np.asarray(cube["status"].to_numpy(), dtype=np.int8)
