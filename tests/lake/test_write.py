import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stores
import xarray as xr

from lake.constants import FORMAT_VERSION, MS_PER_DAY, STATUS
from lake.errors import StoreError, StoreFormatError
from lake.grid import Grid
from lake.layout import Lake
from lake.ledger import Entry, Ledger
from lake.read import grid_of, open_array, open_cube, open_store, read_codes, read_rows, usable_windows
from lake.schema import cube_spec
from lake.specs import StoreSpec
from lake.storage import Storage
from lake.write import commit, write_block

DAY = 144


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_plain_xarray_sees_levels_gaps_and_where_they_come_from(tmp_path: Path) -> None:
    codes = np.zeros((2, 2 * DAY, 4, 6), dtype=np.uint8)
    codes[0, 3], codes[1, DAY] = 249, 1
    codes[1, DAY, :, 4:] = 0
    run = stores.make_cube(tmp_path, codes)
    dataset = xr.open_dataset(run.output.url, engine="zarr")
    assert dataset["spectrogram"].dims == ("recorder", "time", "mel", "frame")
    assert dataset["spectrogram"].sel(recorder="north", time="2021-06-01T00:30:00").to_numpy() == pytest.approx(0.0)
    partial = dataset["spectrogram"].sel(recorder="south", time="2021-06-02T00:00:00").to_numpy()
    assert partial[:, :4] == pytest.approx(-124.0)
    assert np.isnan(partial[:, 4:]).all()
    assert dataset["spectrogram"].isel(recorder=0, time=4).isnull().all(), "missing, not silence"
    assert dataset["status"].to_numpy().sum(axis=1).tolist() == [STATUS["ok"], STATUS["partial"]]
    for name in ("latitude", "zone", "recording_path", "time_is_real"):
        assert name in dataset.coords
    assert dataset["utc_offset_s"].sel(recorder="north", time="2021-06-01T00:30").item() == -18_000
    assert dataset["recording"].isnull().sum() == 2 * 2 * DAY - 2
    assert dataset.attrs["config_id"] == run.config_id


def test_a_store_opens_only_after_its_first_commit(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    spec, blocks, entry = small()
    write_block(lake.output("spectrograms", "mels"), Ledger(lake.ledger("mels")), spec, blocks, entry, i_recorder=0)
    url = lake.output("spectrograms", "mels").url
    with pytest.raises(StoreError, match="begun but not been finalised"):
        open_cube(url)
    with pytest.raises(FileNotFoundError):
        xr.open_dataset(url, engine="zarr")
    with pytest.raises(StoreError, match="nothing is there"):
        open_cube(str(tmp_path / "elsewhere"))


def test_committing_again_writes_nothing(tmp_path: Path) -> None:
    run = stores.make_cube(tmp_path)
    store = Path(run.output.url)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    stores.make_cube(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_growth_leaves_what_stands_untouched(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=3, n_days=3)
    store = Path(stores.make_cube(tmp_path, codes[:2, : 2 * DAY]).output.url)
    reader = open_cube(str(store))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in store.rglob("spectrogram/c.*")}
    stores.make_cube(tmp_path, codes, recorders=("north", "south", "east"))
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in store.rglob("spectrogram/c.*")}
    assert {path: after[path] for path in before} == before
    assert len(after) > len(before)
    assert reader.sizes["time"] == 2 * DAY, "who has it open keeps the old extent"
    assert np.array_equal(reader["spectrogram"].to_numpy(), codes[:2, : 2 * DAY])
    assert np.array_equal(open_cube(str(store))["spectrogram"].to_numpy(), codes)


def test_the_three_kinds_merge(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    usable = open_cube(cube.output.url)["status"].to_numpy() > 0
    vectors = np.where(usable[..., None], np.float32(1), np.float32(np.nan)) * np.ones(5, dtype=np.float32)
    embeddings = stores.make_embeddings(tmp_path, vectors, cube=cube)
    clusters = stores.make_clusters(tmp_path, np.where(usable, 0, -1), embeddings=embeddings)
    opened = [xr.open_dataset(run.output.url, engine="zarr") for run in (cube, embeddings, clusters)]
    merged = xr.merge(opened, join="exact", compat="no_conflicts", combine_attrs="override")
    assert {"spectrogram", "embedding", "cluster", "status", "embedding_status", "cluster_status"} <= set(merged)
    assert merged["cluster"].sel(recorder="north", time="2021-06-01").count() == usable[0, :DAY].sum()


def test_windows_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    codes = stores.random_codes()
    cube = open_cube(stores.make_cube(tmp_path, codes).output.url)
    windows = usable_windows(cube)
    assert len(windows) == (codes.any(axis=(2, 3))).sum()
    assert len(usable_windows(cube, partial=False)) == len(windows) - 4
    order = np.random.default_rng(1).permutation(len(windows))
    some = windows.take(order)
    assert np.array_equal(read_codes(cube, some.recorder, some.cell), codes[some.recorder, some.cell])
    assert grid_of(cube).n_days == 2
    status = open_array(cube.encoding["source"], "status")
    assert np.array_equal(read_rows(status, [0, 1, 0], [7, 8, 6]), cube["status"].to_numpy()[[0, 1, 0], [7, 8, 6]])


def test_other_kinds_and_newer_formats_are_refused(tmp_path: Path) -> None:
    run = stores.make_cube(tmp_path)
    with pytest.raises(StoreFormatError, match="expected a store of embeddings, found spectrograms"):
        open_store(run.output.url, "embeddings")
    text = run.output.read("zarr.json").decode()
    newer = text.replace(f'"dawnchorus_format": {FORMAT_VERSION}', f'"dawnchorus_format": {FORMAT_VERSION + 1}')
    assert newer != text
    run.output.write("zarr.json", newer.encode())
    with pytest.raises(StoreFormatError, match=f"version {FORMAT_VERSION + 1}, this release reads up to"):
        open_cube(run.output.url)


def test_the_lake_stands_on_an_object_store_too(tmp_path: Path) -> None:
    codes = stores.random_codes()
    url = f"memory://{tmp_path.name}"
    run = stores.make_cube(url, codes)
    assert np.array_equal(open_cube(run.output.url)["spectrogram"].to_numpy(), codes)
    local = stores.make_cube(tmp_path, codes)
    assert run.ledger.summary() == local.ledger.summary()
    keys = run.output.list_keys()
    assert {key: run.output.read(key) for key in keys} == tree(Path(local.output.url))


def test_a_season_of_nine_recorders_is_quick_to_open(tmp_path: Path) -> None:
    """9 recorders x 1.5 million cells, Dask installed: one recorder's hour in under 2 s of CPU and 500 MB."""
    grid = Grid(stores.ORIGIN_MS, stores.ORIGIN_MS + 53 * MS_PER_DAY, 6000, 3000)
    assert grid.n_cells > 1_500_000
    spec = cube_spec(grid, n_mels=1024, n_frames=1024, cells_per_shard=100, attrs={"grid": grid.attrs})
    storage, ledger = Storage(tmp_path / "mels.zarr"), Ledger(Storage(tmp_path / "ledger"))
    n = grid.cells_per_day
    for day in range(18, 21):  # index variables of the days around the hour; no spectrograms
        cells = list(range(day * n, (day + 1) * n))
        index = {array.name: [1] * n for array in spec.index}
        index |= {"recording": [0] * n, "deployment": [0] * n}
        entry = Entry("r4", day * n // 100, "", {}, cells, [], index, [{"sha256": "a"}], [{"deployment": "d"}])
        ledger.add(grid.day_of(day * n), entry)
    tables = {array.name: np.zeros(1, dtype=object if array.dtype == "str" else array.dtype) for array in spec.tables}
    tables |= {"mel": np.arange(1024.0), "frame": np.arange(1024.0), "time_is_real": np.ones(9, dtype=bool)}
    maps = {"recording": {"a": 0}, "deployment": {"d": 0}}
    commit(storage, ledger, spec, [f"r{i}" for i in range(9)], tables, row_maps=maps)
    code = f"""
import re, time, dask.array
import xarray as xr
began = time.process_time()
store = xr.open_dataset({storage.url!r}, engine="zarr")
hour = store.drop_vars("spectrogram").sel(recorder="r4", time="2021-06-20T05").load()
assert hour.sizes["time"] == 1200 and int(hour.status.sum()) == 1200
seconds = time.process_time() - began
print(seconds, int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024)
"""
    best = min(measured(code) for _ in range(2))
    assert best[0] < 2, f"{best[0]:.2f} s"
    assert best[1] < 500, f"{best[1]:.0f} MB"


def measured(code: str) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def small() -> tuple[StoreSpec, dict[str, Any], Entry]:
    grid = Grid(stores.ORIGIN_MS, stores.ORIGIN_MS + MS_PER_DAY, 6000, 600_000)
    spec = cube_spec(grid, n_mels=4, n_frames=6, cells_per_shard=24, attrs={"grid": grid.attrs})
    index = {array.name: [1] for array in spec.index}
    entry = Entry("north", 0, "in", {}, [3], [], index, [{"sha256": "a"}], [{"deployment": "d"}])
    return spec, {"spectrogram": np.ones((1, 24, 4, 6), dtype=np.uint8)}, entry
