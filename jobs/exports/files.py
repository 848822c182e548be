"""Writing exports: the files of each form, where the user says, and nothing over what somebody else wrote."""

from collections.abc import Iterable, Iterator
from itertools import islice

import pandas as pd

from jobs.cli.lake import write_table
from jobs.exports.choice import Choice, Said
from jobs.exports.command import Study, collection_of
from jobs.exports.target import Target, Written
from jobs.runner.registry import ALL, needing
from lake.deployments import camtrap_deployments
from lake.errors import InputError, UsageError
from lake.exports.aoef import aoef
from lake.exports.camtrap import camtrap_dp
from lake.exports.clips import COLUMNS as CLIP_COLUMNS
from lake.exports.clips import SUFFIX, TABLE, clips_of
from lake.exports.collection import Collection, lengths_of
from lake.exports.darwin_core import darwin_core
from lake.exports.spans import COLUMNS, NAMED, placed
from lake.layout import safe_name
from lake.query.select import open_any
from lake.tables import defused_table

CLIPS_AT_ONCE = 100
"""Clips that are in memory together."""


def write_collection(collection: Collection, study: Study, target: Target) -> Written:
    """Write spans of named sound.

    Raises
    ------
    InputError
        If none is left that the form can hold.
    UsageError
        If somebody else's file is there.
    """
    recordings = study.cube_run.recordings
    root = target.root or (recordings.root if recordings else None)
    target = Target(target.form, target.out, root, target.force)
    name = target.form.name
    if name in {"csv", "parquet"}:
        write_table(collection.spans, target.out, force=target.force)
        n_rows, n_files = len(collection.spans), 1
    elif name == "camtrap-dp":
        files, n_rows = camtrap_dp(collection)
        n_files = target.write(files)
    elif name == "aoef":
        data, n_rows = aoef(collection)
        n_files = target.write_one(data)
    elif name == "darwin-core":
        archive, n_rows = darwin_core(collection)
        n_files = target.write_one(archive)
    elif name == "clips":
        n_rows, n_files = _put_clips(target, collection, study)
    else:
        rows = collection.in_recordings()[["recording", "start_s", "end_s", "label", "probability", "verdict"]]
        lengths = lengths_of(collection.recordings)
        n_rows, n_files = len(rows), target.write_labels(rows, lengths, collection.high_hz)
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
    n_files = target.write_one(defused_table(table).to_csv(index=False).encode())
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
    from jobs.exports.phenology import phenology_of  # noqa: PLC0415 (SciPy, which the other forms do not need)
    from lake.query.phenology import as_table  # noqa: PLC0415

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
    return Written(len(table), target.write(files), study.notes)


def _put_clips(target: Target, collection: Collection, study: Study) -> tuple[int, int]:
    """Cut and write clips, a hundred at a time, and their table last; return the numbers of clips and files."""
    clips = clips_of(collection, study.verdicts)
    if target.root is None:
        raise UsageError("--to clips: name the folder of the recordings with --root.")
    earlier = {path.relative_to(target.out).as_posix() for path in target.out.rglob(f"*{SUFFIX}")}
    with needing("--to clips", ALL):
        from jobs.common.clips import cut_clips  # noqa: PLC0415 (decoders are not in the light install)

    channel = getattr(study.cube_run.config, "channel", "mix")
    with open_any(study.cube_run.output.url) as cube:
        made = cut_clips(clips, cube, target.root, channel, collection.notes.append)
        written: set[str] = set()
        for files in in_batches(made, CLIPS_AT_ONCE):
            target.write(dict(files))
            written |= {key for key, _ in files}
    if not written:
        told = "\n".join(["no recording of these spans can be read.", *(f"  {note}" for note in collection.notes)])
        raise InputError(f"nothing is left to export: {told}")
    table = clips[clips["file"].isin(written)][list(CLIP_COLUMNS)]
    target.write({TABLE: defused_table(table).to_csv(index=False).encode()})
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
