from pathlib import Path

import numpy as np
import xarray as xr
from stores import make_clusters, make_cube, make_embeddings, random_codes

from lake.constants import STATUS


def test_stores_open_and_merge(tmp_path: Path) -> None:
    codes = random_codes(n_partial=2)
    cube = make_cube(tmp_path, codes)
    there = np.asarray(codes.any(axis=(2, 3)))
    vectors = np.where(there[..., None], np.float32(1.5), np.float32(np.nan)).repeat(3, axis=2)
    embeddings = make_embeddings(tmp_path, vectors, cube=cube)
    labels = np.where(there, np.arange(there.shape[1]) % 3, -1)
    clusters = make_clusters(tmp_path, labels, embeddings=embeddings)
    datasets = [xr.open_dataset(run.output.url, engine="zarr") for run in (cube, embeddings, clusters)]
    merged = xr.merge([d.drop_attrs() for d in datasets], join="exact", compat="override", combine_attrs="drop")
    day = merged.sel(recorder="south", time="2021-06-02")
    assert int((day["status"] == STATUS["ok"]).sum()) == 12
    assert int((merged["status"] == STATUS["partial"]).sum()) == 4
    assert merged["cluster"].notnull().sum() == there.sum()
    raw = xr.open_dataset(cube.output.url, engine="zarr", mask_and_scale=False)
    np.testing.assert_array_equal(raw["spectrogram"].to_numpy(), codes)


def test_growing_leaves_the_other_blocks_alone(tmp_path: Path) -> None:
    codes = random_codes()
    cube = make_cube(tmp_path, codes)
    before = cube.ledger.written()
    grown = random_codes(n_days=3, seed=1)
    grown[:, : codes.shape[1]] = codes
    after = make_cube(tmp_path, grown).ledger.written()
    assert len(after) > len(before)
    assert all(after[key] == entry for key, entry in before.items())
