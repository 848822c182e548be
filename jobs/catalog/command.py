"""``dawnchorus catalog``: the table of recordings and its receipt on disk."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from jobs.catalog.core import OnProgress, catalog
from jobs.catalog.folders import absolute
from jobs.common.audio import decoder_versions
from lake.receipts import environment
from lake.recordings import assign_deployments, is_usable, read_deployments, write_recordings
from lake.storage import Storage


def run_catalog(
    audio: Sequence[Path],
    out: Path,
    *,
    zones: Mapping[str, str],
    deployments: Path | None = None,
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Write the table of the recordings in folders, and beside it a receipt.

    Parameters
    ----------
    audio
        Folders, or single files. Paths in the table are relative to their common parent, or to the folder
        itself if it is one alone.
    out
        The table to write; the receipt is ``<stem>.receipt.json`` beside it.
    zones
        IANA zone by folder or recorder; the empty key takes the rest.
    deployments
        A table of deployments, whose ids, gains and positions are filled in.
    workers
        Files examined at once.
    on_progress
        Called with the number of files done and of all files.

    Returns
    -------
    dict
        ``table``, ``receipt`` and ``root`` (paths as text), and the counts of :func:`count_recordings`.

    Raises
    ------
    InputError
        See :func:`jobs.catalog.core.catalog` and :func:`lake.recordings.read_deployments`.
    TryAgainError
        If the table cannot be written.
    """
    began, began_s = datetime.now(UTC), time.monotonic()
    places = read_deployments(deployments) if deployments else None
    root = common_root(audio)
    unreadable: dict[str, str] = {}
    table = catalog(
        audio, zones=zones, root=root, workers=workers, on_progress=on_progress, on_unreadable=unreadable.__setitem__
    )
    if places is not None:
        table = assign_deployments(table, places)
    write_recordings(table, out)
    counts = count_recordings(table)
    receipt = {
        "job": "catalog",
        "written": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "arguments": {
            "audio": [str(folder) for folder in audio],
            "out": str(out),
            "zones": dict(zones),
            "deployments": str(deployments) if deployments else None,
            "workers": workers,
        },
        "root": str(root),
        "table_sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "counts": counts,
        "unreadable": unreadable,
        "timings": {"began": began.isoformat(timespec="milliseconds"), "total_s": round(time.monotonic() - began_s, 3)},
        "decoders": decoder_versions(),
        **environment(),
    }
    beside = absolute(out).with_suffix(".receipt.json")
    Storage(beside.parent).write(beside.name, json.dumps(receipt, indent=2, sort_keys=True).encode() + b"\n")
    return {"table": str(out), "receipt": str(beside), "root": str(root), **counts}


def common_root(audio: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all that the user named."""
    return Path(os.path.commonpath([absolute(path).parent if path.is_file() else absolute(path) for path in audio]))


def count_recordings(table: pd.DataFrame) -> dict[str, Any]:
    """Return how much a table of recordings holds.

    Returns
    -------
    dict
        ``n_files``; ``n_usable`` (readable, no duplicates) and ``hours`` of these; ``n_placed`` (those with a
        time in UTC); by recorder ``n_files``, ``hours``, ``first`` and ``last`` start in UTC; by problem the
        number of files.
    """
    usable = table[is_usable(table)]
    problems = table["problems"].str.split(";").explode()
    return {
        "n_files": len(table),
        "n_usable": len(usable),
        "n_placed": int(usable["start_utc"].notna().sum()),
        "hours": _hours(usable),
        "recorders": {
            str(recorder): {
                "n_files": len(own),
                "hours": _hours(own[is_usable(own)]),
                "first": _iso(own["start_utc"].min()),
                "last": _iso(own["start_utc"].max()),
            }
            for recorder, own in table.groupby("recorder")
        },
        "problems": {str(code): int(n) for code, n in problems[problems != ""].value_counts().sort_index().items()},
    }


def _hours(table: pd.DataFrame) -> float:
    return round(float(table["duration_s"].sum()) / 3600, 4)


def _iso(time_utc: pd.Timestamp) -> str | None:
    return None if pd.isna(time_utc) else time_utc.isoformat() + "Z"
