"""``dawnchorus catalog``: the table of recordings and its receipt on disk."""

import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from jobs.catalog.cache import is_cache
from jobs.catalog.core import OnNote, OnProgress, catalog
from jobs.catalog.earlier import read_rows
from jobs.catalog.folders import absolute
from jobs.catalog.names import GUESSES
from jobs.catalog.reading import Examine, examine_apart
from jobs.catalog.sources import common_root, survey
from jobs.catalog.summary import count_recordings
from jobs.catalog.timeline import find_clashes, mark_timeline
from jobs.catalog.zones import parsed_zones
from jobs.common.audio.probe import decoder_versions, has_pyav
from jobs.common.installation import how_to_install
from lake.deployments import assign_deployments, read_deployments, unused_deployments
from lake.digest import sha256, sha256_of
from lake.errors import InputError, UsageError
from lake.outputs import refuse_others, write_outputs
from lake.receipts import environment
from lake.recordings import make_recordings, read_recordings, recordings_csv, unwritable_rows
from lake.records import seal
from lake.storage import Storage

LEEWAY = pd.Timedelta(days=2)
"""A recording that starts later than this from now was made by a clock that is wrong."""


def run_catalog(
    audio: Sequence[str | Path],
    out: Path,
    *,
    zones: Mapping[str, str],
    deployments: Path | None = None,
    workers: int = 1,
    guesses: Sequence[str] = (),
    retry: bool = False,
    force: bool = False,
    on_progress: OnProgress | None = None,
    on_note: OnNote | None = None,
    examine_one: Examine = examine_apart,
) -> dict[str, Any]:
    """Write the table of the recordings in folders, and next to it a receipt and the facts of each file.

    Parameters
    ----------
    audio
        Folders, or single files: paths or fsspec URLs. Paths in the table are relative to their common parent,
        or to the folder itself if it is one alone.
    out
        The table to write; the rows of one that is there keep their recorders. Beside it lie the receipt,
        ``<stem>.receipt.json``, and ``<stem>.cache.jsonl``, by which
        a stopped run continues and a later one opens only files that are new or have changed.
    zones
        IANA zone, or offset, by folder or recorder; the empty key takes the rest.
    deployments
        A table of deployments, whose ids, gains and positions are filled in.
    workers
        Files examined at once.
    guesses
        Keys of :data:`jobs.catalog.names.GUESSES`: how ambiguous dates in names are to be read.
    retry
        Whether to examine again files of which nothing could be used, though they have not changed.
    force
        Replace a table that others wrote or changed.
    on_progress
        Called with the number of files done and of all files.
    on_note
        Called with each message about what was passed over, what found nothing, and recorders that shared a name.
    examine_one
        Examines a file; by default in a process that can be killed.

    Returns
    -------
    dict
        ``table``, ``receipt`` and ``root`` (paths as text), and the counts of
        :func:`jobs.catalog.summary.count_recordings`.

    Raises
    ------
    InputError
        See :func:`jobs.catalog.core.catalog` and :func:`lake.recordings.read_deployments`.
    TryAgainError
        If the table cannot be written.
    """
    began, began_s = datetime.now(UTC), time.monotonic()
    places = read_deployments(deployments) if deployments else None
    check_target(out, force=force)
    unknown = sorted(set(guesses) - GUESSES.keys())
    if unknown:
        raise UsageError(f"--guess {', '.join(unknown)}: expected {' or '.join(GUESSES)}.")
    known_zones = parsed_zones(zones)
    sources = survey(audio)
    root = common_root(sources)
    unreadable: dict[str, str] = {}
    firmware: dict[str, set[str]] = {}
    serials: dict[str, set[str]] = {}
    notes = list(sources.passed.messages())
    if not has_pyav():
        notes.append(
            "PyAV is not installed, so files that libsndfile does not read (AAC, damaged FLAC) are listed as "
            f"unreadable. Type `{how_to_install('spectrograms')}`, then this command with --retry-quarantined."
        )
    try:
        rows = read_rows(out, root, sources.url(root), sources.folders)
    except InputError as error:
        if not force:
            raise
        rows = []
        notes.append(f"recorders are named anew, since the table that is replaced cannot be read: {error}")
    table = catalog(
        sources,
        zones=known_zones,
        root=root,
        workers=workers,
        guesses=guesses,
        deployments=places,
        rows=rows,
        cache=absolute(out).with_suffix(".cache.jsonl"),
        retry=retry,
        on_progress=on_progress,
        on_unreadable=unreadable.__setitem__,
        on_firmware=lambda recorder, version: firmware.setdefault(recorder, set()).add(version),
        on_serial=lambda recorder, serial: serials.setdefault(recorder, set()).add(serial),
        on_note=notes.append,
        examine_one=examine_one,
    )
    if places is not None:
        table = assign_deployments(table, places)
        notes += unused_deployments(table, places)
    table, clocks = mark_timeline(table, places, latest=pd.Timestamp(began.replace(tzinfo=None)) + LEEWAY)
    notes += find_clashes(table)
    table, refused = without_unwritable(table)
    unreadable |= refused
    # What check_target found is looked at again: it may be hours since.
    _require_ours(out, force=force)
    write_outputs(absolute(out).parent, {out.name: recordings_csv(table, out)}, force=True)
    read_recordings(out, in_bounds=True)
    counts = count_recordings(table, clocks, places, firmware)
    receipt = {
        "job": "catalog",
        "written": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "arguments": {
            "audio": [str(folder) for folder in audio],
            "out": str(out),
            "zones": dict(zones),
            "deployments": str(deployments) if deployments else None,
            "guesses": list(guesses),
            "retry_quarantined": retry,
            "workers": workers,
        },
        "root": sources.url(root),
        "table_sha256": sha256(out.read_bytes()),
        "counts": counts,
        "unreadable": unreadable,
        "serials": {recorder: sorted(own) for recorder, own in serials.items()},
        "passed_over": {
            "links": sources.passed.links,
            "unlisted": sources.passed.unlisted,
            "suffixes": sources.passed.suffixes,
        },
        "notes": notes,
        "timings": {"began": began.isoformat(timespec="milliseconds"), "total_s": round(time.monotonic() - began_s, 3)},
        "decoders": decoder_versions(),
        **environment(),
    }
    beside = absolute(out).with_suffix(".receipt.json")
    Storage(beside.parent).write(beside.name, seal(receipt, indent=2))
    if on_note:
        for note in notes:
            on_note(note)
    return {"table": str(out), "receipt": str(beside), "root": sources.url(root), **counts}


def without_unwritable(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return a table that can be read back, and by path why rows of it hold nothing but their path and recorder."""
    wrong = unwritable_rows(table)
    if not wrong:
        return table, {}
    rows: list[dict[str, object]] = []
    for i, row in enumerate(table.to_dict("records")):
        kept = {"path": row["path"], "recorder": row["recorder"], "problems": "not_listable"}
        rows.append(kept if i in wrong else {str(key): None if pd.isna(cell) else cell for key, cell in row.items()})
    paths = table["path"].tolist()
    return make_recordings(rows), {paths[i]: f"{paths[i]}: {problem}." for i, problem in wrong.items()}


def check_target(out: Path, *, force: bool = False) -> None:
    """Refuse, before long work, a table that could not be written, or would replace another's file.

    Raises
    ------
    UsageError
        If it is a URL or a folder, its folder cannot be written to, or, without ``force``, a file stands there, or
        where the receipt or the cache go, that no catalog wrote or somebody changed since.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(out)):
        raise UsageError(
            f"--out {out}: expected a path on this machine, found a URL. Write it here, and copy it there."
        )
    if out.is_dir():
        raise UsageError(f"--out {out}: expected the name of a table, found a folder. Name a file in it.")
    folder = absolute(out).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--out {out}: nothing can be written there ({error.strerror}). Name another file.") from error
    _require_ours(out, force=force)


def _require_ours(out: Path, *, force: bool) -> None:
    """Refuse to replace what no catalog wrote: the table by its digest, receipt and cache by what they hold."""
    if force:
        return
    receipt, cache = (absolute(out).with_suffix(suffix) for suffix in (".receipt.json", ".cache.jsonl"))
    written = _receipt(receipt)
    ours = {out.name: [str(written.get("table_sha256"))]}
    if not receipt.exists() and _is_as_written(out):  # a table that was copied without its receipt
        ours[out.name] = [sha256_of(out)]
    for path, is_ours in ((receipt, bool(written)), (cache, is_cache(cache))):
        if is_ours:
            ours[path.name] = [sha256_of(path)]
    refuse_others(absolute(out).parent, [out.name, receipt.name, cache.name], known=ours)


def _is_as_written(table: Path) -> bool:
    """Return whether a file has, byte for byte, the form in which a catalog writes its table."""
    try:
        return recordings_csv(read_recordings(table), table) == table.read_bytes()
    except (OSError, InputError):
        return False


def _receipt(path: Path) -> dict[str, Any]:
    """Return what a receipt of a catalog says; nothing if a file is none."""
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and facts.get("job") == "catalog" else {}
