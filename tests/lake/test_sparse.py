"""Few recordings in many days: whatever asks a store reads the days that have files, and never the times."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from stores import make_clusters, make_cube, make_embeddings, random_codes
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from lake.exports.clusters import clustering_table
from lake.held import HeldStore
from lake.query.carrying import overlap_table
from lake.query.find import Wanted, extent, find
from lake.query.places import with_places
from lake.query.select import open_any
from lake.read import spans_there, usable_windows, values_at
from lake.schema import TIME_CHUNK_DAYS

N_DAYS, N_PER_DAY, RECORDED = 300, 144, (0, 1, 150, 299)
Stores = dict[str, xr.Dataset]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Return a cube, vectors and two clusterings of 300 days, of which four were recorded."""
    lake = tmp_path_factory.mktemp("lake")
    few = random_codes(n_days=len(RECORDED), n_mels=2, n_frames=4)
    codes = np.zeros((2, N_DAYS * N_PER_DAY, 2, 4), dtype=np.uint8)
    for number, day in enumerate(RECORDED):
        codes[:, day * N_PER_DAY : (day + 1) * N_PER_DAY] = few[:, number * N_PER_DAY : (number + 1) * N_PER_DAY]
    cube = make_cube(lake, codes)
    there = np.asarray(codes.any(axis=(2, 3)))
    vectors = np.where(there[..., None], np.arange(there.size).reshape(*there.shape, 1), np.nan).astype(np.float32)
    embeddings = make_embeddings(lake, vectors, cube=cube)
    labels = np.where(there, np.arange(there.shape[1]) % 3, -1)
    runs = {
        "cube": cube,
        "vectors": embeddings,
        "clusters": make_clusters(lake, labels, embeddings=embeddings),
        "others": make_clusters(lake, np.where(there, labels % 2, -1), name="others", embeddings=embeddings),
    }
    return {name: open_any(run.output.url) for name, run in runs.items()}


def url(store: xr.Dataset) -> str:
    return str(store.encoding["source"])


ASKING: dict[str, Callable[[Stores], object]] = {
    "find": lambda s: find(s["vectors"], Wanted(is_local=True), cube=s["cube"], clusters=s["clusters"], features=True),
    "extent": lambda s: extent(s["clusters"]),
    "usable windows": lambda s: usable_windows(s["cube"]),
    "places": lambda s: with_places(find(s["vectors"], Wanted()), url(s["vectors"])),
    "overlap of clusterings": lambda s: overlap_table(s["clusters"], s["others"]),
    "export": lambda s: clustering_table(s["clusters"], s["cube"], Wanted(), names={}),
}


@pytest.mark.parametrize("asking", ASKING)
def test_days_without_recordings_cost_nothing(stores: Stores, asking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = HeldStore.get

    async def counted(
        self: HeldStore, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        read.append(key)
        return await get(self, key, prototype, byte_range)

    monkeypatch.setattr(HeldStore, "get", counted)
    ASKING[asking](stores)
    assert read
    assert not [key for key in read if key.startswith("time/c")]
    days = {tuple(map(int, key.split("/c.")[1].split(".")[:2])) for key in read if key.count(".") > 1 and "/c." in key}
    assert {day for _, day in days if day >= 0} <= {*RECORDED, *(2 * day + half for day in RECORDED for half in (0, 1))}


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, N_DAYS * N_PER_DAY - 1)), max_size=30))
def test_values_by_a_plain_read(stores: Stores, places: list[tuple[int, int]]) -> None:
    recorder, cell = np.array(places, dtype=np.int64).reshape(-1, 2).T
    plain = xr.open_dataset(url(stores["clusters"]), engine="zarr", mask_and_scale=False)["cluster"]
    expected = [int(plain[i, j]) for i, j in places]
    assert values_at(stores["clusters"], "cluster", recorder, cell).tolist() == expected


def test_values_beyond_a_store_are_the_fill_value(stores: Stores) -> None:
    cells = np.array([-1, N_DAYS * N_PER_DAY, 0])
    recorders = np.array([0, 1, 2])
    assert values_at(stores["clusters"], "cluster", recorders, cells, -7).tolist() == [-7, -7, -7]


def test_spans_are_the_days_that_were_recorded(stores: Stores) -> None:
    days = [(first // N_PER_DAY, last // N_PER_DAY) for i, first, last in spans_there(stores["cube"]) if i == 1]
    assert days == [(0, 2), (150, 151), (299, 300)]


def test_times_take_little_room_and_plain_xarray_reads_them(stores: Stores) -> None:
    files = sorted(Path(url(stores["vectors"])).glob("time/c.*"))
    assert len(files) == -(-N_DAYS // TIME_CHUNK_DAYS)
    assert sum(path.stat().st_size for path in files) < N_DAYS * N_PER_DAY * 8 / 20
    with xr.open_dataset(url(stores["vectors"]), engine="zarr") as plain:
        step = np.diff(plain["time"].to_numpy())
        assert (step == np.timedelta64(600, "s")).all()
        assert plain.sizes["time"] == N_DAYS * N_PER_DAY


def test_a_flipped_bit_in_a_time_is_found_by_plain_xarray(stores: Stores, tmp_path: Path) -> None:
    path = sorted(Path(url(stores["others"])).glob("time/c.*"))[3]
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:])
        with pytest.raises(ValueError, match="checksum"):
            xr.open_dataset(url(stores["others"]), engine="zarr")
    finally:
        path.write_bytes(whole)
