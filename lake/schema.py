"""Schema of the stores: what each kind of store holds, in one place."""

from collections.abc import Mapping
from dataclasses import replace
from math import nan
from typing import Any, Final

from lake.constants import (
    CLUSTER_FLAGS,
    CODE_OFFSET_DB,
    CODE_STEP_DB,
    FORMAT_VERSION,
    OFFSET_ARRAY,
    OFFSET_UNKNOWN_S,
    QUALITY,
    STATUS,
)
from lake.grid import Grid, iso
from lake.specs import ArraySpec, KeyPrefix, StoreSpec

TIME_CHUNK_DAYS = 16
"""Days of time coordinates in one chunk; fixed, so that a grown store keeps its chunks."""
TABLE_CHUNK_ROWS = 1024
"""Rows of a table (recordings, deployments, recorders) in one chunk."""
SCAN = {
    "scan_mean_square_distance": "inertia a window of the sample",
    "scan_silhouette": "mean silhouette of windows of the sample",
    "scan_ari_seeds": "adjusted Rand index of two fits with other seeds",
    "scan_ari_subsamples": "adjusted Rand index of fits to all and to halves of the sample",
}
"""Figures of numbers of clusters that were compared, and what they are."""
_SCALING = {
    "components": (("component", "feature"), "axes that scaled vectors are projected on"),
    "feature_set": (("feature",), "vector set that the feature is of"),
    "component_set": (("component",), "vector set that the axis is of"),
}
"""Dimensions and meaning of the tables of a scaling other than mean and deviation."""
DETECTOR_TABLES: Final = {
    "detector_best_f1": "score from which on F1 is best among held-out verdicts",
    "detector_precision": "score at which the stated precision is reached, by a logistic fit to held-out verdicts",
    "detector_average_precision": "average precision on held-out verdicts",
    "detector_auroc": "area under the ROC curve on held-out verdicts",
}
"""Tables of a store of detections with a value for each sound, and their meaning."""


def cube_spec(grid: Grid, *, n_mels: int, n_frames: int, cells_per_shard: int, attrs: Mapping[str, Any]) -> StoreSpec:
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
    flags = {"flag_masks": list(QUALITY.values()), "flag_meanings": " ".join(QUALITY)}
    db, seconds = {"units": "dB"}, {"units": "s"}
    tables = _recording_tables() + _deployment_tables()
    return StoreSpec(
        kind="spectrograms",
        grid=grid,
        sizes={"mel": n_mels, "frame": n_frames},
        data=(levels,),
        index=(
            _index(grid, "quality", "int16", 0, "what is unusual about the audio", flags),
            _index(
                grid, "recording", "int32", -1, "row of the recordings table; at a join, the first", {"_FillValue": -1}
            ),
            _index(grid, "offset_s", "float64", nan, "start of the window in its recording", seconds),
            _index(grid, "coverage", "float32", nan, "share of the window that was recorded", {"units": "1"}),
            _index(grid, "level_db", "float32", nan, "mean level relative to a full-scale sine", db),
            _index(grid, "peak_db", "float32", nan, "level of the largest sample relative to full scale", db),
            _index(grid, "deployment", "int32", -1, "row of the deployments table", {"_FillValue": -1}),
            _index(
                grid,
                "utc_offset_s",
                "int32",
                OFFSET_UNKNOWN_S,
                "local time minus UTC",
                {**seconds, "_FillValue": OFFSET_UNKNOWN_S},
            ),
            _status(grid, "status", "whether the window is there"),  # last: when a reader sees it, all else stands
        ),
        tables=(
            *_grid_tables(grid),
            _table("mel", "mel", "float64", "centre frequency of the band", {"units": "Hz"}, rows=n_mels),
            _table("frame", "frame", "float64", "centre of the frame after the window's start", seconds, rows=n_frames),
            _table("time_is_real", "recorder", "bool", "whether the recorder's times are clock times"),
            *tables,
        ),
        attrs=_attrs("spectrograms", attrs, coordinates=" ".join(["time_is_real", *(table.name for table in tables)])),
    )


def embedding_spec(grid: Grid, *, n_features: int, dtype: str, attrs: Mapping[str, Any]) -> StoreSpec:
    """Return the schema of an embedding store; a shard is one UTC day, a chunk one hour of it."""
    day = grid.cells_per_day
    chunk = day // 24 if day % 24 == 0 else day
    vectors = ArraySpec(
        "embedding", ("recorder", "time", "feature"), dtype, nan,
        chunks=(1, chunk, n_features), shards=(1, day, n_features), attrs={"long_name": "embedding of the window"},
    )  # fmt: skip
    return StoreSpec(
        kind="embeddings",
        grid=grid,
        sizes={"feature": n_features},
        data=(vectors,),
        index=(_status(grid, "embedding_status", "status of the window that was embedded"),),
        tables=(*_grid_tables(grid), _table("feature", "feature", "int32", "feature number", rows=n_features)),
        attrs=_attrs("embeddings", attrs),
    )


def with_attention(spec: StoreSpec, *, n_token_mels: int, n_token_frames: int) -> StoreSpec:
    """Return the schema of an embedding store that also holds the class token's attention."""
    vectors, tokens = spec.data[0], (n_token_mels, n_token_frames)
    attention = ArraySpec(
        "attention", ("recorder", "time", "token_mel", "token_frame"), "float16", nan,
        chunks=(*vectors.chunks[:2], *tokens), shards=(*vectors.block[:2], *tokens),
        attrs={"long_name": "attention of the class token in the last block, mean over heads", "units": "1"},
    )  # fmt: skip
    sizes = {**spec.sizes, "token_mel": n_token_mels, "token_frame": n_token_frames}
    return replace(spec, sizes=sizes, data=(*spec.data, attention))


def with_offsets(spec: StoreSpec) -> StoreSpec:
    """Return the schema of an embedding store whose vectors do not begin at the starts of their cells."""
    offset = _index(
        spec.grid, OFFSET_ARRAY, "float64", nan, "start of the vector's sound after the start of its cell",
        {"units": "s"},
    )  # fmt: skip
    return replace(spec, index=(offset, *spec.index))


def cluster_spec(
    grid: Grid, *, n_clusters: int, n_features: int, n_exemplars: int, attrs: Mapping[str, Any]
) -> StoreSpec:
    """Return the schema of a cluster store; a shard is one UTC day."""
    day = (1, grid.cells_per_day)
    on_grid, none = ("recorder", "time"), {"_FillValue": -1}

    def of_cluster(name: str, dtype: str, fill: float, n: int, dim: str, **attrs: object) -> ArraySpec:
        return ArraySpec(name, ("cluster_id", dim), dtype, fill, (n_clusters, n), None, attrs)

    return StoreSpec(
        kind="clusters",
        grid=grid,
        sizes={"cluster_id": n_clusters, "feature": n_features, "exemplar": n_exemplars},
        data=(
            ArraySpec("cluster", on_grid, "int16", -1, day, None, {"long_name": "cluster of the window", **none}),
            ArraySpec(
                "distance", on_grid, "float32", nan, day, None, {"long_name": "distance to the cluster's centroid"}
            ),
        ),
        index=(_status(grid, "cluster_status", "status of the window that was clustered"),),
        tables=(
            *_grid_tables(grid),
            _table("feature", "feature", "int32", "feature number", rows=n_features),
            _table("feature_mean", "feature", "float64", "what is taken off a feature first", rows=n_features),
            _table("feature_deviation", "feature", "float64", "what a feature is divided by then", rows=n_features),
            _table("cluster_id", "cluster_id", "int16", "cluster number", rows=n_clusters),
            _table("n_windows", "cluster_id", "int64", "windows in the cluster", rows=n_clusters),
            of_cluster("centroid", "float32", nan, n_features, "feature", long_name="centroid of the cluster"),
            of_cluster("exemplar_recorder", "int32", -1, n_exemplars, "exemplar", long_name="recorder number", **none),
            of_cluster(
                "exemplar_cell", "int64", -1, n_exemplars, "exemplar", long_name="time index, nearest first", **none
            ),
        ),
        attrs=_attrs("clusters", attrs),
    )


def with_figures(spec: StoreSpec, *, n_scanned: int, scaling: Mapping[str, tuple[tuple[int, ...], str]]) -> StoreSpec:
    """Return the schema of a cluster store with figures of its clusters, of compared numbers of them, and axes.

    Parameters
    ----------
    spec
        From :func:`cluster_spec`.
    n_scanned
        Numbers of clusters that were compared; 0 if none.
    scaling
        Shape and type of the tables of the scaling (:func:`lake.scaling.scaling_tables`) by name.
    """
    n = spec.sizes["cluster_id"]
    bits = {"flag_masks": list(CLUSTER_FLAGS.values()), "flag_meanings": " ".join(CLUSTER_FLAGS)}
    more = [
        _whole("cluster_flags", ("cluster_id",), "int8", (n,), "what is unusual about the cluster", bits),
        _whole("recorder_share", ("cluster_id",), "float32", (n,), "largest share of one recorder"),
        _whole("hour_share", ("cluster_id",), "float32", (n,), "largest share of one UTC hour of the day"),
        _whole(
            "contrast_db", ("cluster_id",), "float32", (n,), "exemplars above their own background", {"units": "dB"}
        ),
        _whole("stability", ("cluster_id",), "float32", (n,), "mean Jaccard index with refits on halves"),
    ]
    more += [
        _whole(name, _SCALING[name][0], dtype, shape, _SCALING[name][1])
        for name, (shape, dtype) in scaling.items()
        if name in _SCALING
    ]
    if n_scanned:
        more.append(_whole("scan_n_clusters", ("scan",), "int32", (n_scanned,), "clusters"))
        more += [_whole(name, ("scan",), "float32", (n_scanned,), told) for name, told in SCAN.items()]
    return replace(spec, tables=(*spec.tables, *more))


def detection_spec(grid: Grid, *, n_sounds: int, key_prefix: KeyPrefix, attrs: Mapping[str, Any]) -> StoreSpec:
    """Return the schema of a store of detections; a shard is one UTC day of all sounds, a chunk that of one sound.

    ``key_prefix`` is that of the arrays that change with the heads; see :mod:`lake.generations`.
    """
    day = grid.cells_per_day

    def of_windows(name: str, long_name: str, **more: object) -> ArraySpec:
        return ArraySpec(
            name, ("recorder", "time", "sound"), "float32", nan, chunks=(1, day, 1), shards=(1, day, n_sounds),
            attrs={"long_name": long_name, **more}, key_prefix=key_prefix,
        )  # fmt: skip

    of_sounds = [
        replace(_table(name, "sound", "float64", long_name), key_prefix=key_prefix)
        for name, long_name in DETECTOR_TABLES.items()
    ]
    return StoreSpec(
        kind="detections",
        grid=grid,
        sizes={"sound": n_sounds},
        data=(
            of_windows("score", "score of the sound's detector; its zero is no threshold"),
            of_windows("probability", "probability that the sound is in the window", units="1"),
        ),
        index=(_status(grid, "detection_status", "status of the window that was scored"),),
        tables=(*_grid_tables(grid), _table("sound", "sound", "str", "sound that the detector is of"), *of_sounds),
        attrs=_attrs("detections", attrs, coordinates=" ".join(DETECTOR_TABLES)),
    )


def _index(  # noqa: PLR0917 (read as a table, one line a variable)
    grid: Grid, name: str, dtype: str, fill: float, long_name: str, attrs: Mapping[str, Any] | None = None
) -> ArraySpec:
    """Return an index variable: one chunk is one UTC day of one recorder."""
    chunks = (1, grid.cells_per_day)
    return ArraySpec(name, ("recorder", "time"), dtype, fill, chunks, None, {"long_name": long_name, **(attrs or {})})


def _status(grid: Grid, name: str, long_name: str) -> ArraySpec:
    flags = {"flag_values": list(STATUS.values()), "flag_meanings": " ".join(STATUS)}
    return _index(grid, name, "int8", 0, long_name, flags)


def _table(  # noqa: PLR0917 (read as a table, one line a variable)
    name: str,
    dim: str,
    dtype: str,
    long_name: str,
    attrs: Mapping[str, Any] | None = None,
    rows: int = TABLE_CHUNK_ROWS,
) -> ArraySpec:
    fills: dict[str, float | str] = {"str": "", "float64": nan}
    fill = fills.get(dtype, 0)
    return ArraySpec(name, (dim,), dtype, fill, (rows,), None, {"long_name": long_name, **(attrs or {})})


def _whole(  # noqa: PLR0917 (read as a table, one line a variable)
    name: str,
    dims: tuple[str, ...],
    dtype: str,
    shape: tuple[int, ...],
    long_name: str,
    attrs: Mapping[str, Any] | None = None,
) -> ArraySpec:
    """Return a table that is one chunk."""
    fill = nan if dtype.startswith("float") else 0
    return ArraySpec(name, dims, dtype, fill, shape, None, {"long_name": long_name, **(attrs or {})})


def _grid_tables(grid: Grid) -> tuple[ArraySpec, ...]:
    units = f"milliseconds since {iso(grid.origin_ms)[:-1]}"
    cf = {"standard_name": "time", "units": units, "calendar": "proleptic_gregorian"}
    rows = TIME_CHUNK_DAYS * grid.cells_per_day
    return (
        _table("recorder", "recorder", "str", "recorder (autonomous recording unit)"),
        replace(_table("time", "time", "int64", "start of the window, UTC", cf, rows=rows), is_counter=True),
    )


def _recording_tables() -> tuple[ArraySpec, ...]:
    dim = "recordings"
    return (
        _table("recording_path", dim, "str", "path below the recordings' root"),
        _table("recording_sha256", dim, "str", "SHA-256 of the file"),
        _table("recording_recorder", dim, "str", "recorder that made the recording"),
        _table("recording_start_ms", dim, "int64", "start, milliseconds since 1970-01-01 UTC"),
        _table("recording_n_samples", dim, "int64", "usable samples of each channel"),
        _table("recording_sample_rate_hz", dim, "int32", "sample rate", {"units": "Hz"}),
    )


def _deployment_tables() -> tuple[ArraySpec, ...]:
    dim = "deployments"
    return (
        _table("deployment_name", dim, "str", "deployment"),
        _table("deployment_recorder", dim, "str", "recorder of the deployment"),
        _table("site", dim, "str", "site"),
        _table("latitude", dim, "float64", "latitude", {"units": "degrees_north", "standard_name": "latitude"}),
        _table("longitude", dim, "float64", "longitude", {"units": "degrees_east", "standard_name": "longitude"}),
        _table("gain_db", dim, "float64", "gain set at the recorder", {"units": "dB"}),
        _table("habitat", dim, "str", "habitat"),
        _table("zone", dim, "str", "IANA time zone of the site"),
    )


def _attrs(kind: str, attrs: Mapping[str, Any], **more: str) -> dict[str, Any]:
    return {"Conventions": "CF-1.11", "dawnchorus_format": FORMAT_VERSION, "dawnchorus_kind": kind, **attrs, **more}


_KEYS = {"deployment_name": "deployment", "deployment_recorder": "recorder"}

RECORDING_COLUMNS: Mapping[str, tuple[str, Any]] = {
    table.name: (table.name.removeprefix("recording_"), table.fill) for table in _recording_tables()
}
"""Key in a row of a ledger entry's recordings, and fill value, by the name of the store's table."""
DEPLOYMENT_COLUMNS: Mapping[str, tuple[str, Any]] = {
    table.name: (_KEYS.get(table.name, table.name), table.fill) for table in _deployment_tables()
}
"""The same of deployments."""
