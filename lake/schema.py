"""What the stores hold: each array's dimensions, type, chunks and attributes, in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lake.grid import Grid, iso
from lake.names import CODE_OFFSET_DB, CODE_STEP_DB, FORMAT_VERSION, QUALITY, STATUS

TIME_CHUNK_DAYS = 16
"""Days of time coordinates in one chunk; fixed, so that a grown store keeps its chunks."""
TABLE_CHUNK_ROWS = 1024
"""Rows of a table (recordings, deployments, recorders) in one chunk."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store.

    Attributes
    ----------
    name, dims, dtype, fill
        ``dtype`` is a numpy name, or ``str`` for variable-length text.
    chunks
        Cells in one chunk (the unit of a read) along each dimension.
    shards
        Cells in one shard (the unit of a write), or ``None`` where a chunk is a file of its own.
    attrs
        CF attributes.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    fill: int | float | str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def block(self) -> tuple[int, ...]:
        """Cells in one file."""
        return self.shards or self.chunks


@dataclass(frozen=True)
class StoreSpec:
    """One store: arrays that jobs write in blocks, index variables, coordinates and tables.

    Attributes
    ----------
    kind
        ``spectrograms``, ``embeddings`` or ``clusters``.
    grid, sizes
        The time grid, and the size of every dimension but ``recorder`` and ``time`` and of tables.
    data
        Arrays on (recorder, time, ...) written shard by shard.
    index
        Variables on (recorder, time) that finalising writes from the ledger.
    tables
        Coordinates and tables that finalising writes.
    attrs
        Attributes of the store.
    """

    kind: str
    grid: Grid
    sizes: Mapping[str, int]
    data: tuple[ArraySpec, ...]
    index: tuple[ArraySpec, ...]
    tables: tuple[ArraySpec, ...]
    attrs: Mapping[str, Any]

    @property
    def cells_per_block(self) -> int:
        """Cells along time in one shard; the same for all data arrays of a store."""
        (count,) = {spec.block[1] for spec in self.data}
        return count

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """All arrays of the store."""
        return (*self.data, *self.index, *self.tables)


def cube_spec(
    grid: Grid, *, n_mels: int, n_frames: int, cells_per_shard: int, attrs: Mapping[str, Any]
) -> StoreSpec:
    """Return the schema of a spectrogram cube."""
    levels = ArraySpec(
        "spectrogram", ("recorder", "time", "mel", "frame"), "uint8", 0,
        chunks=(1, 1, n_mels, n_frames), shards=(1, cells_per_shard, n_mels, n_frames),
        attrs={
            "long_name": "spectral level of a mel band relative to full scale", "units": "dB",
            "reference": "full-scale sine at the band's centre frequency", "calibrated": "false",
            "scale_factor": CODE_STEP_DB, "add_offset": CODE_OFFSET_DB, "_FillValue": 0,
        },
    )  # fmt: skip
    index = _IndexMaker(grid)
    names = "recording_path recording_sha256 recording_recorder recording_start_ms recording_n_samples"
    names += " recording_sample_rate_hz deployment_name deployment_recorder site latitude longitude gain_db habitat zone"
    return StoreSpec(
        kind="spectrograms",
        grid=grid,
        sizes={"mel": n_mels, "frame": n_frames},
        data=(levels,),
        index=(
            index("quality", "int16", 0, "what is unusual about the audio", flag_masks=list(QUALITY.values()), flag_meanings=" ".join(QUALITY)),
            index("recording", "int32", -1, "row of the recordings table; at a join, the first", _FillValue=-1),
            index("offset_s", "float64", float("nan"), "start of the window in its recording", units="s"),
            index("coverage", "float32", float("nan"), "share of the window that was recorded", units="1"),
            index("level_db", "float32", float("nan"), "mean level relative to a full-scale sine", units="dB"),
            index("peak_db", "float32", float("nan"), "level of the largest sample relative to full scale", units="dB"),
            index("deployment", "int32", -1, "row of the deployments table", _FillValue=-1),
            index("utc_offset_s", "int32", -(2**31), "local time minus UTC at the recorder", units="s", _FillValue=-(2**31)),
            index.status("status", "whether the window is there"),  # last: a reader sees it when all else stands
        ),
        tables=(
            *_grid_tables(grid),
            _table("mel", ("mel",), "float64", 0.0, n_mels, "centre frequency of the band", units="Hz", standard_name="sound_frequency"),
            _table("frame", ("frame",), "float64", 0.0, n_frames, "centre of the frame after the start of the window", units="s"),
            _table("time_is_real", ("recorder",), "bool", False, TABLE_CHUNK_ROWS, "whether the recorder's times are clock times"),
            _table("recording_path", ("recordings",), "str", "", TABLE_CHUNK_ROWS, "path below the recordings' root"),
            _table("recording_sha256", ("recordings",), "str", "", TABLE_CHUNK_ROWS, "SHA-256 of the file"),
            _table("recording_recorder", ("recordings",), "str", "", TABLE_CHUNK_ROWS, "recorder that made the recording"),
            _table("recording_start_ms", ("recordings",), "int64", 0, TABLE_CHUNK_ROWS, "start, milliseconds since 1970-01-01 UTC"),
            _table("recording_n_samples", ("recordings",), "int64", 0, TABLE_CHUNK_ROWS, "usable samples of each channel"),
            _table("recording_sample_rate_hz", ("recordings",), "int32", 0, TABLE_CHUNK_ROWS, "sample rate", units="Hz"),
            _table("deployment_name", ("deployments",), "str", "", TABLE_CHUNK_ROWS, "deployment"),
            _table("deployment_recorder", ("deployments",), "str", "", TABLE_CHUNK_ROWS, "recorder of the deployment"),
            _table("site", ("deployments",), "str", "", TABLE_CHUNK_ROWS, "site"),
            _table("latitude", ("deployments",), "float64", float("nan"), TABLE_CHUNK_ROWS, "latitude", units="degrees_north", standard_name="latitude"),
            _table("longitude", ("deployments",), "float64", float("nan"), TABLE_CHUNK_ROWS, "longitude", units="degrees_east", standard_name="longitude"),
            _table("gain_db", ("deployments",), "float64", float("nan"), TABLE_CHUNK_ROWS, "gain set at the recorder", units="dB"),
            _table("habitat", ("deployments",), "str", "", TABLE_CHUNK_ROWS, "habitat"),
            _table("zone", ("deployments",), "str", "", TABLE_CHUNK_ROWS, "IANA time zone of the site"),
        ),
        attrs=_store_attrs("spectrograms", attrs, coordinates=f"time_is_real {names}"),
    )  # fmt: skip


def embedding_spec(grid: Grid, *, n_features: int, dtype: str, attrs: Mapping[str, Any]) -> StoreSpec:
    """Return the schema of an embedding store; a shard is one UTC day, a chunk one hour of it."""
    day = grid.cells_per_day
    chunk = day // 24 if day % 24 == 0 else day
    vectors = ArraySpec(
        "embedding", ("recorder", "time", "feature"), dtype, float("nan"),
        chunks=(1, chunk, n_features), shards=(1, day, n_features), attrs={"long_name": "embedding of the window"},
    )  # fmt: skip
    return StoreSpec(
        kind="embeddings",
        grid=grid,
        sizes={"feature": n_features},
        data=(vectors,),
        index=(_IndexMaker(grid).status("embedding_status", "status of the window that was embedded"),),
        tables=(
            *_grid_tables(grid),
            _table("feature", ("feature",), "int32", 0, n_features, "feature number"),
        ),
        attrs=_store_attrs("embeddings", attrs),
    )


def cluster_spec(
    grid: Grid, *, n_clusters: int, n_features: int, n_exemplars: int, attrs: Mapping[str, Any]
) -> StoreSpec:
    """Return the schema of a cluster store; a shard is one UTC day."""
    day = grid.cells_per_day

    def on_day(name: str, dtype: str, fill: float, long_name: str, **more: object) -> ArraySpec:
        return ArraySpec(
            name, ("recorder", "time"), dtype, fill, (1, day), (1, day), {"long_name": long_name, **more}
        )

    def of_cluster(
        name: str, dtype: str, fill: float, long_name: str, n: int, dim: str, **more: object
    ) -> ArraySpec:
        return ArraySpec(
            name, ("cluster_id", dim), dtype, fill, (n_clusters, n), None, {"long_name": long_name, **more}
        )

    return StoreSpec(
        kind="clusters",
        grid=grid,
        sizes={"cluster_id": n_clusters, "feature": n_features, "exemplar": n_exemplars},
        data=(
            on_day("cluster", "int16", -1, "cluster of the window", _FillValue=-1),
            on_day("distance", "float32", float("nan"), "Euclidean distance to the cluster's centroid"),
        ),
        index=(_IndexMaker(grid).status("cluster_status", "status of the window that was clustered"),),
        tables=(
            *_grid_tables(grid),
            _table("feature", ("feature",), "int32", 0, n_features, "feature number"),
            _table("cluster_id", ("cluster_id",), "int16", 0, n_clusters, "cluster number"),
            _table("n_windows", ("cluster_id",), "int64", 0, n_clusters, "windows in the cluster"),
            of_cluster("centroid", "float32", float("nan"), "centroid of the cluster", n_features, "feature"),
            of_cluster("exemplar_recorder", "int32", -1, "recorder number of a window near the centroid", n_exemplars, "exemplar", _FillValue=-1),
            of_cluster("exemplar_cell", "int64", -1, "time index of a window near the centroid, nearest first", n_exemplars, "exemplar", _FillValue=-1),
        ),
        attrs=_store_attrs("clusters", attrs),
    )  # fmt: skip


class _IndexMaker:
    """Makes index variables: one chunk is one UTC day of one recorder."""

    def __init__(self, grid: Grid) -> None:
        self.chunks = (1, grid.cells_per_day)

    def __call__(self, name: str, dtype: str, fill: float, long_name: str, **more: object) -> ArraySpec:
        return ArraySpec(
            name, ("recorder", "time"), dtype, fill, self.chunks, None, {"long_name": long_name, **more}
        )

    def status(self, name: str, long_name: str) -> ArraySpec:
        return self(
            name, "int8", 0, long_name, flag_values=list(STATUS.values()), flag_meanings=" ".join(STATUS)
        )


def _table(
    name: str, dims: Sequence[str], dtype: str, fill: float | str, rows: int, long_name: str, **more: object
) -> ArraySpec:
    return ArraySpec(name, tuple(dims), dtype, fill, (rows,), None, {"long_name": long_name, **more})


def _grid_tables(grid: Grid) -> tuple[ArraySpec, ...]:
    units = f"milliseconds since {iso(grid.origin_ms)[:-1]}"
    rows = TIME_CHUNK_DAYS * grid.cells_per_day
    return (
        _table("recorder", ("recorder",), "str", "", TABLE_CHUNK_ROWS, "recorder (autonomous recording unit)"),
        _table("time", ("time",), "int64", 0, rows, "start of the window, UTC", standard_name="time", units=units, calendar="proleptic_gregorian"),
    )  # fmt: skip


def _store_attrs(kind: str, attrs: Mapping[str, Any], **more: str) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "dawnchorus_format": FORMAT_VERSION,
        "dawnchorus_kind": kind,
        **attrs,
        **more,
    }
