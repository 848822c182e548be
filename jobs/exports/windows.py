"""Windows of a clustering: which are exported, and their files.

Apart from the exports of studies: what those import takes as long as this does.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import xarray as xr

from jobs.cli.lake import write_table
from jobs.exports.choice import Choice, Said
from jobs.exports.target import Target, Written
from lake.chain import made_by
from lake.errors import InputError
from lake.exports.clusters import clustering_table, with_labels
from lake.exports.collection import lengths_of, recordings_of
from lake.heard import shares_speech
from lake.layout import run_of
from lake.query.naming import read_names
from lake.query.select import open_any
from lake.read import grid_of
from lake.storage import Storage
from lake.verdicts import read_verdicts

NO_VECTORS = (
    "no window is left to export, or the vectors of the clustering are not known: name its store inside its lake."
)


@dataclass(frozen=True)
class StoreWindows:
    """The windows of a clustering that are exported.

    ``table`` is that of :func:`lake.exports.clusters.clustering_table`; ``cube`` is its cube, opened;
    ``vectors`` are the stores that the clustering was made of.
    """

    table: pd.DataFrame
    clusters: xr.Dataset
    cube: xr.Dataset
    vectors: list[str]
    high_hz: float
    notes: list[str]


def windows_of_store(url: str, choice: Choice, said: Said) -> StoreWindows:
    """Return the windows of a clustering that were chosen, without those that somebody marked as speech.

    Raises
    ------
    InputError
        If the store is no clustering, or its cube is not known.
    """
    clusters = open_any(url, indexes=False)
    if "cluster" not in clusters:
        raise InputError(f"{url}: expected a store of clusters; name one below `clusters`.")
    above = made_by(url).nearest("spectrograms") if choice.cube is None else None
    if choice.cube is None and above is None:
        raise InputError(f"{url}: no cube is known that it was made from; name it with --cube.")
    cube = open_any(choice.cube or (above.output.url if above else ""), indexes=False)
    given, notes = read_names(Storage(url)), list[str]()
    names = {name.cluster: name.name for name in given.rows}
    table = clustering_table(clusters, cube, choice.wanted, names=names, round_coordinates=said.decimals)
    inside = run_of(url)
    if inside is not None:
        start_ms = table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
        verdicts = read_verdicts(inside[0])
        is_speech = shares_speech(verdicts, table["recorder"], start_ms, start_ms + grid_of(clusters).window_ms)
        if is_speech.any():
            notes.append(f"rows that are left out, as somebody marked their sound as speech: {int(is_speech.sum())}.")
        table = table[~is_speech].reset_index(drop=True)
    high_hz = float(np.asarray(cube["mel"])[-1])
    return StoreWindows(with_labels(table), clusters, cube, _vectors(url), high_hz, [*notes, *given.notes])


def _vectors(url: str) -> list[str]:
    """Return the embedding stores that a clustering was made of; none of a store in no lake."""
    if run_of(url) is None:
        return []
    made = made_by(url)
    return [made.inputs[role].output.url for role in sorted(made.inputs) if role.partition("+")[0] == "embeddings"]


def write_windows(windows: StoreWindows, target: Target) -> Written:
    """Write windows of a clustering.

    Raises
    ------
    InputError
        If there is none, or the form needs vectors of a store that is in no lake.
    UsageError
        If somebody else's file is there.
    """
    rows, notes = windows.table, windows.notes
    flat = rows.drop(columns="label")
    if target.form.name in {"csv", "parquet"}:
        write_table(flat, target.out, force=target.force)
        return Written(len(flat), 1, notes)
    if target.form.name in {"embedding-atlas", "hoplite"}:
        return Written(len(rows.drop_duplicates(["recorder", "time"])), _write_vectors(windows, target), notes)
    shown = rows[["recording", "start_s", "end_s", "label", "cluster", "distance"]]
    lengths_s = lengths_of(recordings_of(windows.cube)) if target.form.name == "raven-combined" else {}
    return Written(len(rows), target.write_labels(shown, lengths_s, windows.high_hz), notes)


def _write_vectors(windows: StoreWindows, target: Target) -> int:
    """Write windows with their vectors; return the number of files. Raises as :func:`write_windows`."""
    if windows.table.empty or not windows.vectors:
        raise InputError(NO_VECTORS)
    # The registry loads every job: a sixth of the CPU time of an export of a table.
    from jobs.runner.registry import needing  # noqa: PLC0415 (slow to import; tables do not need it)

    is_hoplite = target.form.name == "hoplite"
    with needing(f"--to {target.form.name}", "hoplite" if is_hoplite else "cluster"):
        if is_hoplite:
            from jobs.common.hoplite import hoplite  # noqa: PLC0415 (the light install lacks perch-hoplite)

            study = _study_of(windows.clusters)
            return target.write(hoplite(windows.table, windows.clusters, windows.vectors, study))
        from jobs.common.embedding_atlas import windows_parquet  # noqa: PLC0415 (the light install lacks pyarrow)

        return target.write_one(windows_parquet(windows.table, windows.clusters, windows.vectors))


def _study_of(clusters: xr.Dataset) -> str:
    """Return the name of the lake's folder."""
    found = run_of(clusters.encoding["source"])
    return "" if found is None else PurePosixPath(found[0].storage.root).name
