"""The table of deployments: which recorder stood where, when and with which gain."""

from collections.abc import Mapping
from pathlib import Path
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from lake.tables import Column, in_order, instant, name, number, read_table, refuse, repeated, text
from lake.text import near_or_all, normal


def _zone(cell: str) -> str:
    if cell and cell not in available_timezones():
        raise ValueError("an IANA zone such as America/Chicago")
    return cell


_EDGE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?)?"
_EDGE_HINT = "a time such as 2021-06-01T05:00:00-05:00 (UTC when it has no offset)"

_DEPLOYMENTS: Mapping[str, Column] = {
    "deployment": Column(name),
    "recorder": Column(name),
    "site": Column(text, is_optional=True),
    "latitude": Column(number(-90, 90), "float64", is_optional=True),
    "longitude": Column(number(-180, 180), "float64", is_optional=True),
    "start": Column(instant(_EDGE, _EDGE_HINT, is_required=True), "datetime64[ms]"),
    "end": Column(instant(_EDGE, _EDGE_HINT), "datetime64[ms]", is_optional=True),
    "gain_db": Column(number(), "float64", is_optional=True),
    "habitat": Column(text, is_optional=True),
    "zone": Column(_zone, is_optional=True),
}

CAMTRAP_DP: Mapping[str, str | None] = {
    "deploymentID": "deployment",
    "cameraID": "recorder",
    "locationName": "site",
    "deploymentStart": "start",
    "deploymentEnd": "end",
    **dict.fromkeys((
        "locationID", "coordinateUncertainty", "setupBy", "cameraModel", "cameraDelay", "cameraHeight", "cameraDepth",
        "cameraTilt", "cameraHeading", "detectionDistance", "timestampIssues", "baitUse", "featureType",
        "deploymentGroups", "deploymentTags", "deploymentComments",
    )),
}  # fmt: skip
"""Columns of ``deployments.csv`` in Camtrap DP 1.0 by ours; ``latitude``, ``longitude`` and ``habitat`` are called the
same there, and what a table of deployments has no use for is passed over."""


def read_deployments(source: str | Path) -> pd.DataFrame:
    """Read a table of deployments: which recorder stood where, when and with which gain.

    Parameters
    ----------
    source
        Path or fsspec URL of a CSV file. ``deployment``, ``recorder`` and ``start`` are obligatory; ``site,
        latitude, longitude, end, gain_db, habitat, zone`` are optional. Times without an offset are UTC; an
        empty ``end`` is open. Camtrap DP's names (:data:`CAMTRAP_DP`) are understood as well.

    Returns
    -------
    pandas.DataFrame
        All ten columns, empty where the file lacks one; ``start`` and ``end`` datetime64[ms] in UTC.

    Raises
    ------
    InputError
        If the file is missing or no such table, a deployment is there twice, does not end after it starts,
        or overlaps another of its recorder; the message lists all problems with their rows.

    Examples
    --------
    >>> import dawnchorus
    >>> deployments = dawnchorus.read_deployments("data/demo/study/deployments.csv")
    >>> deployments["end"].min() > deployments["start"].min()
    True
    """
    table, problems = read_table(
        source, _DEPLOYMENTS, what="deployments", remedy="name another, or leave it out", aliases=CAMTRAP_DP
    )
    problems += repeated(table, "deployment")
    problems += [(row, "end is not after start") for row in table.index[table["end"] <= table["start"]]]
    by_recorder = table.sort_values("start", kind="stable").groupby(table["recorder"].map(normal))
    for recorder, own in by_recorder:
        ends = own["end"].fillna(np.datetime64("9999-12-31", "ms"))
        is_over = (ends.shift(1) > own["start"]).to_numpy()
        problems += [
            (row, f"overlaps the deployment of recorder {recorder} in row {before}")
            for before, row in zip(own.index[:-1][is_over[1:]], own.index[is_over], strict=True)
        ]
    refuse(source, "deployments", in_order(problems))
    return table.reset_index(drop=True)


def assign_deployments(recordings: pd.DataFrame, deployments: pd.DataFrame) -> pd.DataFrame:
    """Fill in the deployment of each recording and, where they are empty, its gain and position.

    Parameters
    ----------
    recordings, deployments
        As :func:`read_recordings` and :func:`read_deployments` return them. A recording belongs to the
        deployment of its recorder with start ≤ ``start_utc`` < end, unless its row names one already. Recorders are
        compared in Unicode's NFC.

    Returns
    -------
    pandas.DataFrame
        A copy with ``deployment``, ``gain_db``, ``latitude`` and ``longitude`` filled; what was there stays.
    """
    table = recordings.copy()
    start = table["start_utc"]
    recorder = table["recorder"].map(normal)
    for row in deployments.to_dict("records"):
        is_during = (start >= row["start"]) & ~(start >= row["end"])
        is_own = (recorder == normal(row["recorder"])) & is_during & (table["deployment"] == "")
        table.loc[is_own, "deployment"] = row["deployment"]
        is_here = table["deployment"] == row["deployment"]
        for key in ("gain_db", "latitude", "longitude"):
            table.loc[is_here & table[key].isna(), key] = row[key]
    return table


def unused_deployments(recordings: pd.DataFrame, deployments: pd.DataFrame) -> list[str]:
    """Return what to say of deployments that no recording is in: of no recorder, or of a period without recordings.

    Parameters
    ----------
    recordings, deployments
        As :func:`assign_deployments` takes them, the deployments assigned.
    """
    known = {normal(name): name for name in recordings["recorder"].unique().tolist()}
    used = set(recordings["deployment"].map(normal))
    unused = deployments[~deployments["deployment"].map(normal).isin(used)]
    is_known = unused["recorder"].map(normal).isin(known)
    messages = []
    for recorder, own in unused[~is_known].groupby("recorder"):
        messages.append(
            f"{_deployments(own)} of no recorder of the study: {recorder!r} "
            f"({near_or_all(str(recorder), known.values())}). Give the recorder the name that it has in the table of "
            "recordings."
        )
    for recorder, own in unused[is_known].groupby("recorder"):
        edges = zip(own["start"].tolist()[:3], own["end"].tolist()[:3], strict=True)
        spans = ", ".join(f"{_iso(start)} to {_iso(end) or 'now'}" for start, end in edges)
        more = ", …" if len(own) > 3 else ""
        messages.append(f"{_deployments(own)} without a recording: {recorder!r} has none that starts in {spans}{more}.")
    return messages


def _deployments(own: pd.DataFrame, most: int = 8) -> str:
    names = own["deployment"].tolist()
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} deployment{'s' if len(names) > 1 else ''} ({', '.join(names[:most])}{more})"


def _iso(time_utc: pd.Timestamp) -> str:
    return "" if pd.isna(time_utc) else time_utc.isoformat() + "Z"
