import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score
from stores import make_cube, make_embeddings, make_run

from jobs.cluster import command
from jobs.cluster.config import Config
from jobs.common.run import Options, Run
from lake.constants import STATUS
from lake.errors import InputError
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


def cluster_run(lake: Path, embeddings: Run, config: Config = SMALL, name: str = "clusters") -> Run[Config]:
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
    store = open_clusters(run.output.url, times=True).load()
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
    store = open_clusters(run.output.url, times=True).load()
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


@pytest.mark.parametrize("kept_bytes", [0, 2000])
def test_what_is_kept_in_memory_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    vectors, _ = kinds_of_sound()
    runs = [cluster_run(tmp_path / str(n), make_embeddings(tmp_path / str(n), vectors)) for n in (0, 1)]
    command.execute(runs[0], Options())
    monkeypatch.setattr("jobs.cluster.source.KEPT_BYTES", kept_bytes)
    command.execute(runs[1], Options())
    assert contents(runs[0]) == contents(runs[1])


@pytest.mark.parametrize("normalise", ["zscore", "zscore_l2"])
def test_components_by_a_slow_twin(tmp_path: Path, normalise: str) -> None:
    vectors, kinds = kinds_of_sound()
    config = SMALL.model_copy(update={"normalise": normalise, "n_components": 3, "n_init_windows": 1000})
    run = cluster_run(tmp_path, make_embeddings(tmp_path, vectors), config)
    command.execute(run, Options())
    store = open_clusters(run.output.url, times=True).load()
    there = ~np.isnan(vectors).any(axis=2)
    plain = rescaled(vectors[there], store, "zscore")
    _, _, axes = np.linalg.svd(plain - plain.mean(axis=0), full_matrices=False)
    components = store["components"].to_numpy()
    np.testing.assert_allclose(np.abs(components), np.abs(axes[:3]), atol=1e-4)
    projected = plain @ components.T
    if normalise.endswith("l2"):
        projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    gaps = np.linalg.norm(projected[:, None] - (store["centroid"].to_numpy() @ components.T)[None], axis=2)
    np.testing.assert_array_equal(store["cluster"].to_numpy()[there], gaps.argmin(axis=1))
    np.testing.assert_allclose(store["distance"].to_numpy()[there], gaps.min(axis=1), atol=1e-4)
    assert adjusted_mutual_info_score(kinds[there], store["cluster"].to_numpy()[there]) > 0.5


def test_more_components_than_features(tmp_path: Path) -> None:
    vectors, _ = kinds_of_sound()
    run = cluster_run(
        tmp_path,
        make_embeddings(tmp_path, vectors),
        SMALL.model_copy(update={"n_components": 6, "normalise": "zscore_l2"}),
    )
    with pytest.raises(InputError, match=r"n_components = 6, but 'vectors' has \d+ windows of 5 features.*Set n_comp"):
        command.execute(run, Options())


def test_clusters_of_one_recorder_one_hour_and_noise_are_flagged(tmp_path: Path) -> None:
    """Kind 0 is north's alone, kind 1 comes at 05:00 alone, kind 2 is steady noise; kind 3 is everywhere."""
    random = np.random.default_rng(3)
    hour = np.arange(288) % 144 // 6
    kinds = np.where(hour == 5, 1, random.integers(2, 4, (2, 288)))
    kinds[0][random.random(288) < 0.3] = 0
    codes = np.clip(100 + random.integers(-6, 7, (2, 288, 8, 16)), 1, 255).astype(np.uint8)
    codes[kinds != 2, 3, :3] = 200
    vectors = (np.eye(4)[kinds] * 9 + random.normal(size=(2, 288, 4)) * 0.1).astype(np.float32)
    run = cluster_run(
        tmp_path, make_embeddings(tmp_path, vectors, cube=make_cube(tmp_path, codes)),
        SMALL.model_copy(update={"n_clusters": 4, "normalise": "none", "n_init_windows": 500, "seed": 1}),
    )  # fmt: skip
    outcome = command.execute(run, Options())
    store = open_clusters(run.output.url, times=True).load()
    labels = store["cluster"].to_numpy()
    of_kind = [int(np.bincount(labels[kinds == kind]).argmax()) for kind in range(4)]
    assert store["cluster_flags"].to_numpy()[of_kind].tolist() == [1, 2, 4, 0]
    assert store["cluster_flags"].attrs["flag_meanings"] == "one_recorder one_hour noise"
    assert store["recorder_share"].to_numpy()[of_kind[0]] == 1
    assert store["hour_share"].to_numpy()[of_kind[1]] == pytest.approx(
        (hour[labels[0] == of_kind[1]] == 5).mean(), abs=0.1
    )
    assert store["contrast_db"].to_numpy()[of_kind[2]] < 8 < store["contrast_db"].to_numpy()[of_kind[3]]
    assert (store["stability"].to_numpy() > 0.5).all()
    assert outcome.counts["flagged_clusters"] == 3


def test_without_the_cube_nothing_is_noise(tmp_path: Path) -> None:
    vectors, _ = kinds_of_sound()
    cube = make_cube(tmp_path)
    run = cluster_run(tmp_path, make_embeddings(tmp_path, vectors[..., :5], cube=cube))
    shutil.rmtree(cube.output.url)
    command.execute(run, Options())
    store = open_clusters(run.output.url, times=True).load()
    assert np.isnan(store["contrast_db"].to_numpy()).all()
    assert not (store["cluster_flags"].to_numpy() & 4).any()


def test_a_scan_stands_beside_the_clustering(tmp_path: Path) -> None:
    vectors, _ = kinds_of_sound()
    config = SMALL.model_copy(update={"scan_n_clusters": (9, 2, 6, 5000)})
    run = cluster_run(tmp_path, make_embeddings(tmp_path, vectors), config)
    command.execute(run, Options())
    store = open_clusters(run.output.url, times=True).load()
    assert store["scan_n_clusters"].to_numpy().tolist() == [2, 6, 9], "5000 are more than the sample allows"
    falling = store["scan_mean_square_distance"].to_numpy()
    assert falling[0] > falling[1] > falling[2]
    plain = cluster_run(tmp_path / "plain", make_embeddings(tmp_path / "plain", vectors))
    command.execute(plain, Options())
    same = open_clusters(plain.output.url, times=True).load()
    np.testing.assert_array_equal(same["cluster"], store["cluster"])
    assert "scan" not in same.dims


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
    new, other = (open_clusters(one.output.url).load() for one in (run, fresh))
    assert new.attrs.pop("generation") == 2
    xr.testing.assert_identical(new, other)


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
