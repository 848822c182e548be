from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score
from stores import make_embeddings, make_run

from jobs.cluster import command
from jobs.cluster.config import Config
from jobs.common.run import Options, Run
from lake.errors import InputError
from lake.names import STATUS
from lake.read import open_clusters

SMALL = Config(n_clusters=6, batch_size=32, n_init_windows=80, buffer_windows=60, n_exemplars=3, exemplar_span_s=1800)


def kinds_of_sound(n_days: int = 2, share: float = 0.3, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return vectors of six kinds of sound on (2, n_days * 144), most of them missing, and the kinds."""
    random = np.random.default_rng(seed)
    kinds = random.integers(6, size=(2, n_days * 144))
    centres = np.random.default_rng(99).normal(size=(6, 5)) * 4 + 20
    vectors = centres[kinds] + random.normal(size=(2, n_days * 144, 5))
    vectors[random.random(kinds.shape) > share] = np.nan
    return vectors.astype(np.float32), kinds


def cluster_run(lake: Path, embeddings: Run, config: Config = SMALL, name: str = "clusters") -> Run:
    return make_run(lake, name, "cluster", config, inputs={"embeddings": embeddings})


def contents(run: Run) -> dict[str, bytes]:
    return {key: run.output.read(key) for key in run.output.list_keys()}


def rescaled(vectors: NDArray[Any], store: xr.Dataset, normalise: str) -> NDArray[np.float64]:
    """Scale windows as plain numpy reads it off the store."""
    out = (vectors.astype(np.float64) - store["feature_mean"].to_numpy()) / store["feature_deviation"].to_numpy()
    if normalise.endswith("l2"):
        out /= np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out)


@pytest.mark.parametrize("normalise", ["none", "zscore", "zscore_l2", "l2"])
def test_every_window_has_its_nearest_centroid(tmp_path: Path, normalise: str) -> None:
    vectors, kinds = kinds_of_sound()
    run = cluster_run(tmp_path, make_embeddings(tmp_path, vectors), SMALL.model_copy(update={"normalise": normalise}))
    outcome = command.execute(run, Options())
    store = open_clusters(run.output.url).load()
    there = ~np.isnan(vectors).any(axis=2)
    gaps = np.linalg.norm(
        rescaled(vectors[there], store, normalise)[:, None] - store["centroid"].to_numpy()[None], axis=2
    )
    labels = store["cluster"].to_numpy()
    np.testing.assert_array_equal(labels[there], gaps.argmin(axis=1))
    np.testing.assert_allclose(store["distance"].to_numpy()[there], gaps.min(axis=1), atol=1e-5)
    assert (labels[~there] == -1).all()
    assert np.isnan(store["distance"].to_numpy()[~there]).all()
    np.testing.assert_array_equal(store["cluster_status"] == STATUS["ok"], there)
    np.testing.assert_array_equal(store["n_windows"], np.bincount(labels[there], minlength=6))
    assert outcome.counts["windows"] == there.sum()
    assert outcome.counts["mean_square_distance"] == pytest.approx(np.square(gaps.min(axis=1)).mean(), rel=1e-4)
    assert adjusted_mutual_info_score(kinds[there], labels[there]) > 0.7


def test_exemplars_are_near_and_apart(tmp_path: Path) -> None:
    vectors, _ = kinds_of_sound()
    run = cluster_run(tmp_path, make_embeddings(tmp_path, vectors))
    command.execute(run, Options())
    store = open_clusters(run.output.url).load()
    recorder, cell = store["exemplar_recorder"].to_numpy(), store["exemplar_cell"].to_numpy()
    assert (recorder >= 0).all()
    distance = store["distance"].to_numpy()
    for cluster in range(6):
        assert (store["cluster"].to_numpy()[recorder[cluster], cell[cluster]] == cluster).all()
        near = distance[recorder[cluster], cell[cluster]]
        assert (np.diff(near) >= 0).all()
        assert near[0] == distance[store["cluster"] == cluster].min()
        assert len(set(zip(recorder[cluster], cell[cluster] // 3, strict=True))) == 3  # half an hour is 3 cells


def test_the_store_merges_with_its_embeddings(tmp_path: Path) -> None:
    vectors, _ = kinds_of_sound()
    embeddings = make_embeddings(tmp_path, vectors)
    run = cluster_run(tmp_path, embeddings)
    command.execute(run, Options())
    both = [xr.open_dataset(r.output.url, engine="zarr") for r in (embeddings, run)]
    merged = xr.merge(both, join="exact", combine_attrs="drop")
    day = merged.sel(recorder="south", time="2021-06-02")
    assert int(day["cluster"].notnull().sum()) == int((~np.isnan(vectors[1, 144:, 0])).sum())
    assert both[1].attrs["config"]["n_clusters"] == 6


@pytest.mark.parametrize("workers", [2, 3])
def test_threads_that_read_ahead_change_no_byte(tmp_path: Path, workers: int) -> None:
    vectors, _ = kinds_of_sound(n_days=3)
    runs = [cluster_run(tmp_path / str(n), make_embeddings(tmp_path / str(n), vectors)) for n in (1, workers)]
    for run, n in zip(runs, (1, workers), strict=True):
        command.execute(run, Options(workers=n))
    assert contents(runs[0]) == contents(runs[1])


@pytest.mark.slow
def test_processes_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = kinds_of_sound()
    runs = [cluster_run(tmp_path / str(n), make_embeddings(tmp_path / str(n), vectors)) for n in (1, 2)]
    command.execute(runs[0], Options())
    monkeypatch.setattr(command, "WINDOWS_PER_PROCESS", 1)
    command.execute(runs[1], Options(workers=2))
    assert contents(runs[0]) == contents(runs[1])
    assert runs[0].ledger.summary() == runs[1].ledger.summary()


def test_again_changes_nothing_and_growth_is_labelled(tmp_path: Path) -> None:
    vectors, _ = kinds_of_sound(n_days=3)
    first = vectors.copy()
    first[:, 288:] = np.nan
    run = cluster_run(tmp_path, make_embeddings(tmp_path, first))
    command.execute(run, Options())
    before = contents(run)
    command.execute(run, Options(refresh=True))
    assert contents(run) == before
    make_embeddings(tmp_path, vectors)
    command.execute(run, Options(refresh=True))
    fresh = cluster_run(tmp_path / "fresh", make_embeddings(tmp_path / "fresh", vectors))
    command.execute(fresh, Options())
    assert contents(run) == contents(fresh)


def test_more_clusters_than_windows(tmp_path: Path) -> None:
    vectors, _ = kinds_of_sound(n_days=1, share=0.05)
    n_windows = int((~np.isnan(vectors[..., 0])).sum())
    run = cluster_run(tmp_path, make_embeddings(tmp_path, vectors), Config(n_clusters=50))
    with pytest.raises(InputError) as caught:
        command.execute(run, Options())
    assert f"n_clusters = 50, but 'vectors' has only {n_windows} usable windows" in str(caught.value)
    assert f"Set n_clusters to {n_windows} at most, or to 'auto' (which would make 3 clusters" in str(caught.value)
    every = cluster_run(tmp_path, run.inputs["embeddings"], Config(n_clusters=n_windows), "every")
    assert command.execute(every, Options()).counts["mean_square_distance"] < 0.2
    auto = cluster_run(tmp_path, run.inputs["embeddings"], Config(n_clusters="auto"), "auto")
    assert command.execute(auto, Options()).counts["clusters"] == 3


def test_nothing_to_cluster(tmp_path: Path) -> None:
    vectors = np.full((2, 144, 3), np.nan, dtype=np.float32)
    run = cluster_run(tmp_path, make_embeddings(tmp_path, vectors))
    with pytest.raises(InputError, match="'vectors' has no usable window; there is nothing to cluster"):
        command.execute(run, Options())
