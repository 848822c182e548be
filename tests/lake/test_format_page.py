"""docs/store-format.md says what the code writes: its numbers are read out of the page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import zstandard
from stores import make_cube, make_embeddings, random_codes

from jobs.common.audio.decoder import READ_DEADLINE_S
from lake import constants
from lake.claims import BEAT_S, EXPIRES_S
from lake.grid import Grid
from lake.identity import short_hash
from lake.schema import (
    DEPLOYMENT_COLUMNS,
    RECORDING_COLUMNS,
    SCAN,
    cluster_spec,
    cube_spec,
    embedding_spec,
    with_attention,
    with_figures,
)
from lake.shards import WINDOW_LOG, Shard
from lake.specs import ArraySpec, StoreSpec

PAGE = (Path(__file__).parents[2] / "docs" / "store-format.md").read_text()
TEXT = re.sub(r"\s+", " ", PAGE)
DAY_MS = constants.MS_PER_DAY
GRID = Grid(0, 30 * DAY_MS, 6000, 3000)
TYPES = {"text": "str"}


def said(pattern: str) -> re.Match[str]:
    """Return where the page says something."""
    found = re.search(pattern, TEXT)
    assert found is not None, f"the page does not say {pattern!r}"
    return found


def number(text: str) -> int:
    """Return ``−2³¹``, ``−1`` or ``−124`` as a number."""
    return -(2**31) if text == "−2³¹" else int(text.replace("−", "-"))


def spec_of_cube() -> StoreSpec:
    return cube_spec(GRID, n_mels=8, n_frames=8, cells_per_shard=96, attrs={})


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table below a heading by name."""
    lines = PAGE[PAGE.index(heading) :].splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    table: dict[str, list[str]] = {}
    for line in lines[begin + 1 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.replace("max |x|", "max x").strip("|").split("|"))
        table[name.strip("`")] = cells
    return table


def test_each_chunk_is_a_frame_as_the_page_says(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes(n_mels=64, n_frames=64), mel_hz=np.linspace(50, 3000, 64))
    path = min(Path(cube.output.url).glob("spectrogram/c.*"))
    data = path.read_bytes()
    n_cells = json.loads((path.parent / "zarr.json").read_text())["chunk_grid"]["configuration"]["chunk_shape"][1]
    index = np.frombuffer(data[-16 * n_cells - 4 : -4], dtype="<u8").reshape(-1, 2)
    offset, size = next(row for row in index.tolist() if row[0] < 2**64 - 1)
    frame = zstandard.get_frame_parameters(data[offset : offset + size])
    assert frame.has_checksum
    assert said("checksum of its content")
    level, window_log = number(said(r"zstd at level (\d+)")[1]), number(said(r"zstd's window is 2\^(\d+) bytes")[1])
    assert window_log == WINDOW_LOG
    content = zstandard.ZstdDecompressor().decompress(data[offset : offset + size])
    settings = {"write_checksum": 1, "source_size": len(content), "window_log": len(content).bit_length()}
    parameters = zstandard.ZstdCompressionParameters.from_level(level, **settings)
    assert zstandard.ZstdCompressor(compression_params=parameters).compress(content) == data[offset : offset + size]
    codecs = json.loads((path.parent / "zarr.json").read_text())["codecs"][0]["configuration"]
    assert codecs["codecs"][1]["configuration"] == {"level": level, "checksum": True}
    assert [codec["name"] for codec in codecs["index_codecs"]] == ["bytes", "crc32c"]


def test_a_large_chunk_has_the_window_that_the_page_says() -> None:
    spec = ArraySpec("a", ("recorder", "time", "x"), "uint8", 0, (1, 1, 1 << 20), (1, 2, 1 << 20))
    shard = Shard(spec)
    shard.put(0, np.random.default_rng(0).integers(0, 256, (1, 1, 1 << 20)).astype(np.uint8))
    data = shard.finish()
    assert data is not None
    assert zstandard.get_frame_parameters(bytes(data[:64])).window_size == 2 ** number(said(r"window is 2\^(\d+)")[1])


def test_levels_and_their_code() -> None:
    found = said(r"code \*c\* from 1 to 255 is the level `c · (\S+) − (\S+)` dBFS, that is (\S+) to \+(\S+) dBFS")
    (levels,) = spec_of_cube().data
    assert (float(found[1]), -float(found[2])) == (levels.attrs["scale_factor"], levels.attrs["add_offset"])
    assert (number(found[3]), float(found[4])) == (constants.LEVEL_MIN_DB, constants.LEVEL_MAX_DB)
    assert levels.dtype == said(r"`spectrogram\(recorder, time, mel, frame\)`, (\w+)\.")[1]
    assert levels.fill == number(said(r"Code (\d) is missing")[1])
    assert levels.chunks[:2] == (1, 1)
    assert said("One chunk is one window")


def _bits_of(text: str) -> dict[str, int]:
    """Return ``1 silent, 2 constant`` as numbers by name."""
    pairs = (one.split() for one in text.split(", "))
    return {name: int(bit) for bit, name in pairs}


def test_statuses_and_bits() -> None:
    for name, value in constants.STATUS.items():
        assert said(rf"{value} \({name}\)")
    bits = said(r"bits: ((?:\d+ \w+(?:, )?)+)")[1]
    assert _bits_of(bits) == constants.QUALITY
    flags = said(r"`cluster_flags` \(bits: ([^)]*)\)")[1]
    assert _bits_of(flags) == constants.CLUSTER_FLAGS


def test_index_variables_of_the_cube() -> None:
    table = rows("Index variables on `(recorder, time)`; one file is one UTC day")
    specs = {spec.name: spec for spec in spec_of_cube().index}
    assert set(table) == set(specs)
    for name, (dtype, fill, _) in table.items():
        assert specs[name].dtype == dtype
        assert np.isnan(specs[name].fill) if fill == "NaN" else specs[name].fill == number(fill)
        assert specs[name].block == (1, GRID.cells_per_day)
    assert specs["utc_offset_s"].fill == constants.OFFSET_UNKNOWN_S


def test_coordinates_of_all_stores() -> None:
    table = rows("## All stores")
    specs = {spec.name: spec for spec in spec_of_cube().tables}
    assert specs["recorder"].chunks == (number(table["recorder"][3].split()[0]),)
    assert specs["time"].chunks == (number(table["time"][3].split()[0]) * GRID.cells_per_day,)
    for name, (dims, dtype, _, _) in table.items():
        assert specs[name].dims == (dims,)
        assert specs[name].dtype == TYPES.get(dtype, dtype.split(",")[0])


def test_every_array_and_table_has_its_name_on_the_page() -> None:
    vectors = embedding_spec(GRID, n_features=4, dtype="float32", attrs={})
    vectors = with_attention(vectors, n_token_mels=2, n_token_frames=2)
    clusters = cluster_spec(GRID, n_clusters=2, n_features=4, n_exemplars=1, attrs={})
    scaling = {"components": ((2, 4), "float32"), "feature_set": ((4,), "int8"), "component_set": ((2,), "int8")}
    clusters = with_figures(clusters, n_scanned=2, scaling=scaling)
    for spec in (spec_of_cube(), vectors, clusters):
        for array in spec.arrays:
            assert array.name in SCAN or re.search(rf"`{array.name}[`(]", PAGE), array.name
    assert {*RECORDING_COLUMNS, *DEPLOYMENT_COLUMNS} <= {table.name for table in spec_of_cube().tables}


@pytest.mark.parametrize("kind", ["embeddings", "clusters"])
def test_shards_of_other_stores(kind: str) -> None:
    day = GRID.cells_per_day
    if kind == "embeddings":
        assert said("a shard is one UTC day of one recorder, a chunk one hour of it")
        (vectors,) = embedding_spec(GRID, n_features=4, dtype="float32", attrs={}).data
        assert (vectors.block, vectors.chunks) == ((1, day, 4), (1, day // 24, 4))
        return
    cluster, distance = cluster_spec(GRID, n_clusters=2, n_features=4, n_exemplars=1, attrs={}).data
    assert said("in the space of the scaled vectors; one file is one UTC day")
    assert cluster.block == distance.block == (1, day)
    assert (cluster.dtype, cluster.fill) == (said(r"`cluster\(recorder, time\)`, (\w+), −1")[1], -1)
    assert distance.dtype == said(r"`distance\(recorder, time\)`, (\w+),")[1]


def test_names_on_disk_and_the_version(tmp_path: Path) -> None:
    assert number(said(r"^# Store format, version (\d+)")[1]) == constants.FORMAT_VERSION
    cube = make_cube(tmp_path)
    vectors = make_embeddings(tmp_path, np.ones((2, 288, 4), dtype=np.float32), cube=cube)
    attrs = json.loads((Path(vectors.output.url) / "zarr.json").read_text())["attributes"]
    assert attrs["dawnchorus_format"] == constants.FORMAT_VERSION
    names = said(r"Attributes of the group: (.*?)\. No clock")[1]
    assert {name for name in re.findall(r"`(\w+)`", names) if name not in constants.KINDS} <= set(attrs)
    assert len(short_hash({})) == number(said(r"`config_id` is the first (\d+) hexadecimal digits")[1])


def test_seconds() -> None:
    assert number(said(r"each beat \((\d+) s\)")[1]) == BEAT_S
    assert number(said(r"seen unchanged for (\d+) s")[1]) == EXPIRES_S
    assert number(said(r"whose decoder hangs \((\d+) s without samples\)")[1]) == READ_DEADLINE_S
