"""Borders, neighbours, layouts: against closed forms and slow twins."""

from pathlib import Path

import numpy as np
import pytest
import stores
from atlases import Study, read_cluster
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA

from jobs.atlas.choose import least, rows_by_cluster
from jobs.atlas.command import execute
from jobs.atlas.config import Config
from jobs.atlas.projection import N_PLACES, layouts, principal, sampled_rows
from jobs.atlas.study import open_stores
from jobs.atlas.vectors import distances, gaps, nearest_clusters, space_of
from jobs.atlas.windows import Table, read_table
from jobs.common.run import Options
from lake.errors import StoreError
from lake.read import open_embeddings
from lake.scaling import Vectors, scaled

FLOATS = st.floats(-100, 100, width=32)


@given(arrays(np.float32, (7, 3), elements=FLOATS), arrays(np.float32, (4, 3), elements=FLOATS))
def test_distances_are_euclidean(vectors: Vectors, centroids: Vectors) -> None:
    slow = [[np.linalg.norm(v.astype(float) - c) for c in centroids] for v in vectors]
    np.testing.assert_allclose(distances(vectors, centroids), np.array(slow), atol=2e-3, rtol=1e-5)


def test_the_gap_is_to_the_nearest_other_centroid() -> None:
    centroids = np.array([[0, 0], [10, 0], [0, 4]], dtype=np.float32)
    vectors = np.array([[4, 0], [1, 1.9], [6, 0]], dtype=np.float32)
    gap, other = gaps(vectors, centroids, np.array([0, 0, 0], dtype=np.int16))
    assert other.tolist() == [2, 2, 1]
    np.testing.assert_allclose(gap, [np.hypot(4, 4) - 4, np.hypot(1, 2.1) - np.hypot(1, 1.9), 4 - 6], rtol=1e-5)
    alone, nobody = gaps(vectors, centroids[:1], np.zeros(3, dtype=np.int16))
    assert np.isnan(alone).all()
    assert nobody.tolist() == [-1] * 3


def test_the_nearest_clusters_are_not_the_empty_ones() -> None:
    centroids = np.array([[0.0], [1], [3], [3.5]], dtype=np.float32)
    found = nearest_clusters(centroids, np.array([5, 5, 0, 5]), 2)
    assert [[place for place, _ in one] for one in found] == [[1, 3], [0, 3], [3, 1], [1, 0]]
    assert found[0][0][1] == pytest.approx(1)


def table_of(cells: list[int], cluster: list[int]) -> Table:
    n = len(cells)
    zeros = np.zeros(n, dtype=np.int32)
    return Table(
        recorder=zeros, cell=np.array(cells), cluster=np.array(cluster, dtype=np.int16),
        distance=np.arange(n, dtype=np.float32), is_partial=np.zeros(n, dtype=np.bool_), deployment=zeros,
        hour=np.zeros(n, dtype=np.int8), day=zeros, offset_s=zeros, is_local=np.ones(n, dtype=np.bool_),
    )  # fmt: skip


def test_those_shown_are_of_different_ten_minutes_while_there_are_enough() -> None:
    table = table_of([0, 1, 2, 200, 201, 400], [0] * 6)
    key = np.array([0, 1, 2, 3, 4, np.nan], dtype=np.float32)
    rows = np.arange(6)
    assert least(key, rows, table, hop_ms=6000, n=2) == [0, 3]
    assert least(key, rows, table, hop_ms=6000, n=4) == [0, 1, 2, 3]
    assert least(-key, rows, table, hop_ms=6000, n=1, taken=[4]) == [3]
    assert least(key, rows, table, hop_ms=6000, n=9) == [0, 1, 2, 3, 4]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_rows_by_cluster_are_all_rows_once(cluster: list[int]) -> None:
    found = rows_by_cluster(table_of(list(range(len(cluster))), cluster), 5)
    assert [one.tolist() for one in found] == [[i for i, c in enumerate(cluster) if c == k] for k in range(5)]


def test_principal_components_are_those_of_scikit_learn() -> None:
    sample = (np.random.default_rng(0).normal(size=(50, 6)) * np.arange(1, 7)).astype(np.float32)
    scores, shares = principal(sample, 4)
    peer = PCA(4).fit(sample)
    np.testing.assert_allclose(np.abs(scores), np.abs(peer.transform(sample)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(shares, peer.explained_variance_ratio_, rtol=1e-4)
    flat, none = principal(np.ones((4, 1), dtype=np.float32), 30)
    assert flat.shape == (4, 2)
    assert not flat.any()
    assert none.tolist() == [0, 0]


def test_layouts_keep_groups_apart_and_name_their_method() -> None:
    random = np.random.default_rng(0)
    sample = np.concatenate([random.normal(at, 0.1, (30, 5)) for at in (0, 5)]).astype(np.float32)
    found = layouts(sample, perplexity=30, seed=1)
    assert [layout.name for layout in found] == ["PCA", "t-SNE"]
    assert "perplexity 15, " in found[1].told
    for layout in found:
        assert layout.places.min() >= 0
        assert layout.places.max() <= N_PLACES
        middles = [layout.places[:30].mean(axis=0), layout.places[30:].mean(axis=0)]
        spread = max(np.linalg.norm(layout.places[:30] - middles[0], axis=1))
        assert np.linalg.norm(middles[0] - middles[1]) > spread
    again = layouts(sample, perplexity=30, seed=1)
    assert all(np.array_equal(a.places, b.places) for a, b in zip(found, again, strict=True))
    assert [layout.name for layout in layouts(sample[:11], perplexity=30, seed=1)] == ["PCA"]
    assert layouts(sample[:1], perplexity=30, seed=1) == []


def test_a_sample_is_uniform_and_the_same_each_time() -> None:
    assert sampled_rows(5, 10, 0).tolist() == [0, 1, 2, 3, 4]
    rows = sampled_rows(10_000, 500, 3)
    assert len(np.unique(rows)) == 500
    assert np.all(np.diff(rows) > 0)
    assert abs(rows.mean() - 5000) < 500
    assert np.array_equal(rows, sampled_rows(10_000, 500, 3))


def test_vectors_are_scaled_as_the_clustering_said(study: Study) -> None:
    space = space_of(open_stores(study.clusters.output.url, study.cube.output.url).clusters)
    found = scaled(np.array([[3, 4, 0, 0], [0, 0, 0, 0]], dtype=np.float32), space.scaling)
    expected = np.array([[0.6, 0.8, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # zscore_l2 with mean 0 and deviation 1


def test_borders_and_outliers_agree_with_a_slow_search(study: Study, atlas: Path) -> None:
    opened = open_stores(study.clusters.output.url, study.cube.output.url)
    table = read_table(opened, lambda _: None)
    vectors = open_embeddings(study.clusters.inputs["embeddings"].output.url)["embedding"].to_numpy()
    unit = [vectors[i, c] / np.linalg.norm(vectors[i, c]) for i, c in zip(table.recorder, table.cell, strict=True)]
    centroids = opened.clusters["centroid"].to_numpy()
    far = [np.linalg.norm(centroids - one, axis=1) for one in unit]
    for cluster in range(5):
        text = read_cluster(atlas, cluster).text
        rows = np.flatnonzero(table.cluster == cluster)
        exemplars = set(rows[np.argsort(table.distance[rows], kind="stable")][:4].tolist())
        outliers = [row for row in rows[np.argsort(-table.distance[rows], kind="stable")] if row not in exemplars][:3]
        shown = exemplars | {int(row) for row in outliers}
        gap = {int(row): min(np.delete(far[row], cluster)) - far[row][cluster] for row in rows if int(row) not in shown}
        border = min(gap, key=lambda row: gap[row])
        other = min(set(range(6)) - {cluster}, key=lambda one: far[border][one])
        borders = text[text.index("Borders, nearly") : text.index("Outliers, farthest")]
        start = np.datetime64(opened.grid.origin_ms + int(table.cell[border]) * opened.grid.hop_ms, "ms")
        assert f"next nearest is cluster {other}" in borders.split("Distance")[1]
        if table.recorder[border] != 2:
            assert str(start.astype("datetime64[s]")).replace("T", " ") in borders.split("Distance")[0]
        start = np.datetime64(opened.grid.origin_ms + int(table.cell[outliers[0]]) * opened.grid.hop_ms, "ms")
        if table.recorder[outliers[0]] != 2:
            assert str(start.astype("datetime64[s]")).replace("T", " ") in text.split("Outliers, farthest")[1]


def test_vectors_that_are_gone_or_others_are_told(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=1, n_days=1)
    labels = np.where(codes.any(axis=(2, 3)), 0, -1)
    cube = stores.make_cube(tmp_path, codes, recorders=["one"])
    vectors = np.where(labels[..., None] == 0, 1.0, np.nan).astype(np.float32) * np.ones(4, np.float32)
    vectors[0, np.flatnonzero(labels[0] == 0)[3], 0] = np.nan
    embeddings = stores.make_embeddings(tmp_path, vectors, cube=cube)
    clusters = stores.make_clusters(tmp_path, labels, embeddings=embeddings)
    with pytest.raises(StoreError, match="found 1 missing on one day of one"):
        Study(tmp_path, cube, clusters).atlas()
    without = stores.make_clusters(tmp_path, labels, name="alone", recorders=["one"])
    inputs = {"clusters": without, "spectrograms": cube}
    run = stores.make_run(tmp_path, "plain", "atlas", Config(image_width_px=16, image_height_px=16), inputs=inputs)
    assert execute(run, Options()).counts["map_windows"] == 0
    assert "there are no map and no borders." in run.output.read("index.html").decode()
