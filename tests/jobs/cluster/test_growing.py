"""A clustering that grows: windows that come later get the nearest centroid, and all that was there stays."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from clusterings import CONFIG, clustered, contents, loaded, vectors_of, without
from numpy.typing import NDArray

from jobs.cluster import command, growing, labels
from jobs.cluster.bounds import advice, distance_bounds, n_beyond
from jobs.common.machines import local_client
from jobs.common.run import Options
from lake.errors import IdentityError, StoreError
from lake.ledger import Ledger
from lake.verify import damages

SETTINGS = {
    "whiten": CONFIG,
    "zscore_l2": CONFIG.model_copy(update={"normalise": "zscore_l2"}),
    "axes": CONFIG.model_copy(update={"normalise": "zscore", "n_components": 3}),
}
FIXED = ("centroid", "feature_mean", "feature_deviation", "exemplar_recorder", "exemplar_cell", "cluster_flags",
         "recorder_share", "hour_share", "contrast_db", "stability", "distance_bound", "n_windows_at_fit",
         "n_beyond_at_fit")  # fmt: skip


def nearest(store: xr.Dataset, vectors: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return cluster and distance of each vector as plain numpy finds them in the tables of a store."""
    mean, deviation = store["feature_mean"].to_numpy(), store["feature_deviation"].to_numpy()
    x = (vectors.astype(np.float64) - mean) / deviation
    centroids = store["centroid"].to_numpy().astype(np.float64)
    if "components" in store:
        components = store["components"].to_numpy().astype(np.float64)
        x = x @ components.T
        centroids = centroids if store["centroid"].dims[1] == "component" else centroids @ components.T
    normalise = store.attrs.get("normalise", store.attrs["config"]["normalise"])
    if normalise in {"whiten", "zscore_l2", "l2"}:
        x /= np.linalg.norm(x, axis=-1, keepdims=True)
    gaps = np.linalg.norm(x[:, None] - centroids[None], axis=-1)
    return gaps.argmin(axis=1), gaps.min(axis=1)


ALL = vectors_of(2, 4)
GROWTHS = {
    "later days": (without(ALL, (0, slice(288, None)), (1, slice(288, None)))[:, :288], ALL),
    "earlier days": (without(ALL, (0, slice(0, 288)), (1, slice(0, 288))), ALL),
    "days between": (without(ALL, (0, slice(144, 288)), (1, slice(144, 432))), ALL),
    "within a day": (without(ALL, (0, slice(200, 250)), (1, slice(0, 20))), ALL),
    "a new recorder": (ALL, vectors_of(3, 4)),
    "a recorder and days": (ALL[:, :288], vectors_of(3, 6)),
}


@pytest.mark.parametrize(
    ("growth", "setting"),
    [*((growth, "whiten") for growth in GROWTHS), ("a recorder and days", "zscore_l2"), ("within a day", "axes")],
)
def test_new_windows_get_the_nearest_centroid_and_all_else_stays(tmp_path: Path, growth: str, setting: str) -> None:
    first, then = GROWTHS[growth]
    run = clustered(tmp_path, first, SETTINGS[setting])
    before = loaded(run)
    run = clustered(tmp_path, then, SETTINGS[setting])
    after = loaded(run)
    assert after.attrs["clustering_id"] == before.attrs["clustering_id"]
    for name in FIXED:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    there = ~np.isnan(first[..., 0])
    for name in ("cluster", "distance"):
        old = after[name].to_numpy()[: first.shape[0], : first.shape[1]][there]
        if setting == "axes" and name == "distance":  # centroids in the space of the features are rounded
            np.testing.assert_allclose(old, before[name].to_numpy()[there], rtol=1e-4)
        else:
            np.testing.assert_array_equal(old, before[name].to_numpy()[there], err_msg=name)
    now = ~np.isnan(then[..., 0])
    cluster, distance = nearest(after, then[now])
    np.testing.assert_array_equal(after["cluster"].to_numpy()[now], cluster)
    np.testing.assert_allclose(after["distance"].to_numpy()[now], distance, atol=1e-4)
    np.testing.assert_array_equal(after["cluster_status"].to_numpy() > 0, now)
    np.testing.assert_array_equal(after["n_windows"], np.bincount(cluster, minlength=5))
    beyond = after["distance"].to_numpy()[now] > after["distance_bound"].to_numpy()[cluster]
    np.testing.assert_array_equal(after["n_beyond"], np.bincount(cluster[beyond], minlength=5))
    assert list(damages(run.output, run.ledger, "clusters")) == []
    content = contents(run)
    clustered(tmp_path, then, SETTINGS[setting])
    assert contents(run) == content, "again changes nothing"


def test_the_bound_is_the_least_distance_that_99_percent_do_not_exceed() -> None:
    random = np.random.default_rng(0)
    cluster = random.integers(3, size=1000).astype(np.int16)
    cluster[cluster == 1] = 0
    distance = random.random(1000).astype(np.float32)
    found = distance_bounds(cluster, distance, 4)
    for number in (0, 2):
        own = distance[cluster == number]
        assert found[number] == np.quantile(own, 0.99, method="inverted_cdf")
    assert np.isnan(found[[1, 3]]).all()
    beyond = n_beyond(cluster, distance, found)
    assert beyond.tolist() == [int((distance[cluster == number] > found[number]).sum()) for number in range(4)]
    assert n_beyond(np.array([1], dtype=np.int16), np.zeros(1, dtype=np.float32), found).tolist() == [0, 1, 0, 0]
    assert distance_bounds(np.zeros(100, dtype=np.int16), np.arange(100, dtype=np.float32), 1).tolist() == [98]


@pytest.mark.parametrize(
    ("new", "beyond", "is_auto", "said"),
    [
        (100, 5, False, False), (100, 9, False, False), (100, 10, False, True), (1000, 49, False, False),
        (1000, 50, False, True), (0, 0, False, False), (900, 0, True, True), (100, 0, True, False),
        (900, 0, False, False),
    ],
)  # fmt: skip
def test_a_new_clustering_is_advised(new: int, beyond: int, is_auto: bool, said: bool) -> None:
    tables = {
        "n_windows": np.array([100 + new] + [0] * 6), "n_windows_at_fit": np.array([100] + [0] * 6),
        "n_beyond": np.array([3 + beyond]), "n_beyond_at_fit": np.array([3]),
    }  # fmt: skip
    found = advice(tables, "clusters", is_auto=is_auto)
    assert bool(found) == said
    assert not said or "`dawnchorus run MANIFEST clusters --refresh`" in found


@pytest.mark.parametrize("way", ["threads", "shares", "dask"])
def test_each_way_gives_the_same_bytes(tmp_path: Path, way: str) -> None:
    first, then = GROWTHS["a recorder and days"]
    runs = [clustered(tmp_path / name, first) for name in ("alone", way)]
    clustered(tmp_path / "alone", then)
    if way == "threads":
        clustered(tmp_path / way, then, workers=3)
    elif way == "dask":
        with local_client(2):
            clustered(tmp_path / way, then)
    else:
        for i in (1, 0):
            run = clustered(tmp_path / way, then, part=(i, 2))
            if i:
                assert loaded(run).sizes["time"] == 288, "until it is finalised, readers have what was there"
                with pytest.raises(StoreError, match="partitions have no labels of these centroids yet"):
                    command.finalise(run, Options())
        command.finalise(run, Options())
    assert contents(runs[0]) == contents(runs[1])


@pytest.mark.parametrize("moment", ["label", "files", "entry", "commit"])
def test_a_growth_that_is_killed_leaves_the_labels_there_were_and_goes_on(tmp_path: Path, moment: str) -> None:
    first, then = GROWTHS["within a day"]
    then = np.concatenate([then, vectors_of(2, 5)[:, 576:]], axis=1)
    run, whole = (clustered(tmp_path / name, first) for name in ("killed", "whole"))
    before, there = loaded(run), ~np.isnan(first[..., 0])
    clustered(tmp_path / "whole", then)

    def work() -> None:
        places = {
            "label": (labels, "assign"), "files": (Ledger, "add"), "entry": (labels, "write_block"),
            "commit": (growing, "commit"),
        }  # fmt: skip
        place, name = places[moment]
        called = getattr(place, name)

        def die(*args: Any, **named: Any) -> None:
            if moment != "files":
                called(*args, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(place, name, die)
        clustered(tmp_path / "killed", then)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = loaded(run)
    assert left.attrs["clustering_id"] == before.attrs["clustering_id"]
    for name in ("cluster", "distance", "cluster_status"):
        found = left[name].to_numpy()[:, :576][there]
        np.testing.assert_array_equal(found, before[name].to_numpy()[there], err_msg=name)
    clustered(tmp_path / "killed", then)
    assert contents(run) == contents(whole)
    assert list(damages(run.output, run.ledger, "clusters")) == []


def test_a_window_whose_vector_changed_is_labelled_anew(tmp_path: Path) -> None:
    run = clustered(tmp_path, ALL)
    before = loaded(run)
    cell = int(np.flatnonzero(~np.isnan(ALL[0, :, 0]))[7])
    then = ALL.copy()
    then[0, cell] = ALL[1][~np.isnan(ALL[1, :, 0])][3]
    after = loaded(clustered(tmp_path, then))
    cluster, distance = nearest(after, then[0, cell][None])
    assert after["cluster"][0, cell] == cluster[0]
    assert float(after["distance"][0, cell]) == pytest.approx(distance[0], abs=1e-5)
    changed = after["distance"].to_numpy() != before["distance"].to_numpy()
    assert np.argwhere(changed & ~np.isnan(after["distance"].to_numpy())).tolist() == [[0, cell]]


def test_days_that_are_gone_are_refused(tmp_path: Path) -> None:
    run = clustered(tmp_path, ALL)
    before = contents(run)
    embeddings = run.inputs["embeddings"]
    embeddings.ledger.storage.remove("north/2021-06-02.jsonl")
    embeddings.output.remove("embedding_status/c.0.1")
    lines = dict((embeddings.ledger.committed() or ("", {}))[1])
    lines.pop("embedding_status/c.0.1", None)
    embeddings.ledger.settle_commit("other", lines)
    for options in (Options(), Options(refresh=True)):
        with pytest.raises(IdentityError, match=r"of 1 partitions that its vectors do not have \(north 2021-06"):
            command.execute(run, options)
    assert {key: contents(run)[key] for key in before} == before


def test_a_store_of_before_gets_its_bounds_from_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, then = GROWTHS["within a day"]
    run, old = (clustered(tmp_path / name, first) for name in ("new", "old"))
    from jobs.cluster import store as cluster_store

    with monkeypatch.context() as patched:
        patched.setattr(cluster_store, "GROWTH", {})
        patched.setattr(command, "bound_tables", lambda *_: {})
        for key in old.output.list_keys():
            old.output.remove(key)
        for key in old.ledger.storage.list_keys():
            if key != "run.json":
                old.ledger.storage.remove(key)
        clustered(tmp_path / "old", first)
    assert "distance_bound" not in loaded(old)
    for one in ("new", "old"):
        clustered(tmp_path / one, then)
    xr.testing.assert_identical(loaded(old), loaded(run))
    assert contents(old) == contents(run)
