"""Writing exports: the files of each form, where the user says, and nothing over what somebody else wrote."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pandas as pd

from jobs.cli.lake import write_table
from jobs.common.run import Run
from jobs.exports.command import Choice, Said, StoreWindows, Study, collection_of
from jobs.exports.phenology import phenology_of
from jobs.runner.registry import ALL, needing
from lake.deployments import camtrap_deployments
from lake.errors import InputError, UsageError
from lake.exports.audacity import audacity_sheets
from lake.exports.camtrap import camtrap_dp
from lake.exports.clips import COLUMNS as CLIP_COLUMNS
from lake.exports.clips import SUFFIX, TABLE, clips_of
from lake.exports.collection import Collection, lengths_of
from lake.exports.darwin_core import darwin_core
from lake.exports.formats import Format
from lake.exports.raven import raven_combined, raven_sheets
from lake.exports.sheets import Sheet
from lake.exports.spans import COLUMNS, NAMED, placed
from lake.layout import safe_name
from lake.outputs import write_outputs
from lake.query.phenology import as_table
from lake.query.select import open_any
from lake.tables import defused_table

CLIPS_AT_ONCE = 100
"""Clips that are in memory together."""


@dataclass(frozen=True)
class Target:
    """Where an export goes, in which form; the folder of the recordings; and whether others' files are replaced."""

    form: Format
    out: Path
    root: Path | None = None
    force: bool = False

    @property
    def begin_path(self) -> str:
        """The folder of the recordings as Raven's ``Begin Path`` has it; empty if it is not known."""
        return "" if self.root is None else self.root.absolute().as_posix()


@dataclass(frozen=True)
class Written:
    """How many rows and files were written, and what a user must know of them."""

    n_rows: int
    n_files: int
    notes: list[str] = field(default_factory=list)


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
    if target.form.name == "embedding-atlas":
        if rows.empty or not windows.vectors:
            raise InputError(
                "no window is left to export, or the vectors of the clustering are not known: name its store inside "
                "its lake."
            )
        with needing("--to embedding-atlas", "cluster"):
            from jobs.common.embedding_atlas import windows_parquet  # noqa: PLC0415 (pyarrow is not in the light install)

            data = windows_parquet(rows, windows.clusters, windows.vectors)
        n_rows = len(rows.drop_duplicates(["recorder", "time"]))
        return Written(n_rows, _put_file(target, data), notes)
    shown = rows[["recording", "start_s", "end_s", "label", "cluster", "distance"]]
    return Written(len(rows), _put_labels(target, shown, windows.lengths_s, windows.high_hz), notes)


def write_collection(collection: Collection, cube_run: Run, target: Target) -> Written:
    """Write spans of named sound.

    Raises
    ------
    InputError
        If none is left that the form can hold.
    UsageError
        If somebody else's file is there.
    """
    root = target.root or (cube_run.recordings.root if cube_run.recordings else None)
    target = Target(target.form, target.out, root, target.force)
    name = target.form.name
    if name in {"csv", "parquet"}:
        write_table(collection.spans, target.out, force=target.force)
        n_rows, n_files = len(collection.spans), 1
    elif name == "camtrap-dp":
        files, n_rows = camtrap_dp(collection)
        n_files = _put(target, files)
    elif name == "darwin-core":
        archive, n_rows = darwin_core(collection)
        n_files = _put_file(target, archive)
    elif name == "clips":
        n_rows, n_files = _put_clips(target, collection, cube_run)
    else:
        rows = collection.in_recordings()[["recording", "start_s", "end_s", "label", "probability", "verdict"]]
        lengths = lengths_of(collection.recordings)
        n_rows, n_files = len(rows), _put_labels(target, rows, lengths, collection.high_hz)
    return Written(n_rows, n_files, collection.notes)


def write_deployments(study: Study, said: Said, target: Target) -> Written:
    """Write the deployments of a study in Camtrap DP's columns.

    Raises
    ------
    InputError
        If it has none.
    """
    nothing = placed(
        pd.DataFrame(columns=list(NAMED)).astype({"start_utc": "datetime64[ms]", "end_utc": "datetime64[ms]"}),
        study.cube,
    )
    collection = collection_of(study, Choice(), said, nothing[list(COLUMNS)])
    if collection.deployments.empty:
        raise InputError("nothing to export: the study has no deployments, and its recordings no positions.")
    uncertainty_m = None if said.decimals is None else collection.about.uncertainty_m
    table = camtrap_deployments(collection.deployments, uncertainty_m=uncertainty_m)
    n_files = _put_file(target, defused_table(table).to_csv(index=False).encode())
    return Written(len(table), n_files, collection.notes)


def write_phenology(study: Study, choice: Choice, target: Target) -> Written:
    """Write pictures of when each sound is heard, and their numbers in ``phenology.csv``.

    Raises
    ------
    InputError
        If no window of any sound was found.
    """
    with needing("--to phenology", "cluster"):
        from jobs.common.phenology import pictures  # noqa: PLC0415 (matplotlib is not in the light install)
    found = phenology_of(study, choice)
    if not found.by_sound:
        raise InputError(f"nothing to draw: no window of any sound was found.{''.join(f' {n}.' for n in study.notes)}")
    files = {
        f"{safe_name(sound, 200)}{f'-{i}' if i else ''}.png": data
        for sound, sites in found.by_sound.items()
        for i, data in enumerate(pictures(sites, found.of))
    }
    table = as_table([one for sites in found.by_sound.values() for one in sites])
    files["phenology.csv"] = defused_table(table).to_csv(index=False).encode()
    return Written(len(table), _put(target, files), study.notes)


def _put_labels(target: Target, rows: pd.DataFrame, lengths_s: Mapping[str, float], high_hz: float) -> int:
    """Write labels for Raven or Audacity; return the number of files."""
    name, root = target.form.name, target.begin_path
    if name == "raven-combined":
        return _put_file(target, raven_combined(rows, lengths_s, high_hz=high_hz, root=root).encode())
    sheets: Iterator[Sheet]
    if name == "raven":
        sheets = raven_sheets(rows, high_hz=high_hz, root=root)
    else:
        sheets = audacity_sheets(rows, high_hz=high_hz if name == "audacity-spectral" else None)
    return _put(target, {sheet.key: sheet.text.encode() for sheet in sheets})


def _put_clips(target: Target, collection: Collection, cube_run: Run) -> tuple[int, int]:
    """Cut and write clips, a hundred at a time, and their table last; return the numbers of clips and files."""
    clips = clips_of(collection)
    if target.root is None:
        raise UsageError("--to clips: name the folder of the recordings with --root.")
    earlier = {path.relative_to(target.out).as_posix() for path in target.out.rglob(f"*{SUFFIX}")}
    with needing("--to clips", ALL):
        from jobs.common.clips import cut_clips  # noqa: PLC0415 (decoders are not in the light install)

    channel = getattr(cube_run.config, "channel", "mix")
    with open_any(cube_run.output.url) as cube:
        made = cut_clips(clips, cube, target.root, channel, collection.notes.append)
        written: set[str] = set()
        for files in in_batches(made, CLIPS_AT_ONCE):
            _put(target, dict(files))
            written |= {key for key, _ in files}
    if not written:
        told = "\n".join(["no recording of these spans can be read.", *(f"  {note}" for note in collection.notes)])
        raise InputError(f"nothing is left to export: {told}")
    table = clips[clips["file"].isin(written)][list(CLIP_COLUMNS)]
    _put(target, {TABLE: defused_table(table).to_csv(index=False).encode()})
    if earlier - written:
        collection.notes.append(
            f"{len(earlier - written)} clips of an earlier export stand there too; {TABLE} lists the new"
        )
    return len(table), len(written) + 1


def in_batches(files: Iterable[tuple[str, bytes]], n: int) -> Iterator[list[tuple[str, bytes]]]:
    """Yield files, ``n`` at a time."""
    waiting = iter(files)
    while batch := list(islice(waiting, n)):
        yield batch


def _put(target: Target, files: Mapping[str, bytes]) -> int:
    write_outputs(target.out, files, force=target.force)
    return len(files)


def _put_file(target: Target, data: bytes) -> int:
    write_outputs(target.out.absolute().parent, {target.out.name: data}, force=target.force)
    return 1
