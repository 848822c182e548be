"""Windows of a clustering, exported with their vectors: the other side's reader finds the same rows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Cli


@pytest.fixture(scope="module")
def study(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a copy of the demo."""
    folder = tmp_path_factory.mktemp("vectors") / "demo"
    shutil.copytree(demo_folder / "data/demo", folder)
    return folder / "manifest.toml"


def test_windows_of_a_clustering_open_in_embedding_atlas(cli: Cli, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "windows.parquet"
    store = study.parent / "clusters/clusters.zarr"
    ended = cli("export", str(store), "--to", "embedding-atlas", "--out", str(out), "--json")
    assert ended.code == 0, ended.error
    found = pd.read_parquet(out)
    assert json.loads(ended.out)["n_rows"] == len(found) == len(found.drop_duplicates(["recorder", "time"]))
    vectors = np.stack(found["vector"].tolist())
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert found["label"].str.startswith("cluster ").all()


def test_hoplite_is_read_back(cli: Cli, study: Path, tmp_path: Path) -> None:
    """The database has the vectors that a search compares, with the recordings and seconds of their windows."""
    from jobs.imports.hoplite import read_hoplite
    from lake.scaling import scaled
    from lake.vectors import open_vectors, read_span
    from lake.whitening import study_whitening

    store = study.parent / "clusters/clusters.zarr"
    ended = cli("export", store, "--to", "hoplite", "--out", tmp_path / "out", "--recorder", "00004862", "--json")
    assert ended.code == 0, ended.error
    source = read_hoplite(tmp_path / "out")
    assert json.loads(ended.out) == {"out": str(tmp_path / "out"), "n_files": 2, "n_rows": len(source.recordings)}
    sets = open_vectors([str(study.parent / "embeddings/vectors.zarr")])
    scaling = study_whitening(sets, keep=False)
    spans = [span for span in sets.spans if sets.recorders[span.recorder] == "00004862"]
    expected = np.concatenate([scaled(read_span(sets, span), scaling) for span in spans])
    np.testing.assert_allclose(source.vectors, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(source.vectors.astype(np.float64), axis=1), 1, atol=1e-2)
    table = pd.read_csv(_windows(cli, store, tmp_path / "w.csv"))
    assert source.recordings == table["recording"].tolist()
    np.testing.assert_allclose(source.start_s, table["start_s"])
    nothing = cli("export", store, "--to", "hoplite", "--out", tmp_path / "no", "--date", "1999-01-01")
    assert (nothing.code, "no window is left to export" in nothing.error) == (3, True)


def _windows(cli: Cli, store: Path, out: Path) -> Path:
    """Return the table of the windows of one recorder, each with its first recording."""
    assert cli("export", store, "--out", out, "--recorder", "00004862").code == 0
    table = pd.read_csv(out, dtype={"recorder": str}).drop_duplicates(["recorder", "time"])
    table.to_csv(out, index=False)
    return out
