"""The table of deployments: which recorder stood where, when and with which gain."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import numpy as np
import pandas as pd

from lake.tables import Column, in_order, instant, make_table, name, number, read_table, refuse, repeated, text
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
    "tags": Column(text, is_optional=True),
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
        "deploymentGroups", "deploymentComments",
    )),
    "deploymentTags": "tags",
}  # fmt: skip
"""Columns of ``deployments.csv`` in Camtrap DP 1.0 by ours; ``latitude``, ``longitude`` and ``habitat`` are called the
same there, and what a table of deployments has no use for is passed over. Gain and zone have no column there: they are
read from tags, and written as tags (``zone:America/Chicago | gain_db:24``)."""


CAMTRAP_DP_COLUMNS = (
    "deploymentID", "locationID", "locationName", "latitude", "longitude", "coordinateUncertainty", "deploymentStart",
    "deploymentEnd", "setupBy", "cameraID", "cameraModel", "cameraDelay", "cameraHeight", "cameraDepth", "cameraTilt",
    "cameraHeading", "detectionDistance", "timestampIssues", "baitUse", "featureType", "habitat", "deploymentGroups",
    "deploymentTags", "deploymentComments",
)  # fmt: skip
"""Columns of ``deployments.csv`` in Camtrap DP 1.0, in their order."""
SAME_PLACE = 0.001
"""Degrees, about 100 m, within which positions of one recorder are of one deployment: a receiver strays by metres."""


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
    tags = [_tags(cell) for cell in table.pop("tags")]
    for row, of_row in zip(table.index, tags, strict=True):
        if not table.loc[row, "zone"] and of_row.get("zone") in available_timezones():
            table.loc[row, "zone"] = of_row["zone"]
        with suppress(KeyError, ValueError):
            gain_db = float(of_row["gain_db"])
            table.loc[row, "gain_db"] = table["gain_db"].fillna({row: gain_db})[row]
    refuse(source, "deployments", in_order(problems))
    return table.reset_index(drop=True)


def _tags(cell: str) -> dict[str, str]:
    """Return the tags of a cell that are pairs, such as ``zone:UTC``, by their first part."""
    return {
        key.strip(): value.strip() for key, colon, value in (tag.partition(":") for tag in cell.split("|")) if colon
    }


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


def deployments_at(table: pd.DataFrame, recordings: pd.DataFrame, known: pd.DataFrame | None) -> pd.DataFrame:
    """Return deployments with their start and end.

    Parameters
    ----------
    table
        ``deployment`` and more, without ``start`` and ``end``.
    recordings
        ``deployment``, ``start_utc`` and ``duration_s`` of each recording.
    known
        As :func:`read_deployments` returns it; ``None`` if the study has no such table. Where it lacks a deployment or
        its end, the first and last instant recorded stand for them.

    Returns
    -------
    pandas.DataFrame
        Of the deployments that have a start and an end.
    """
    ends = recordings["start_utc"] + pd.to_timedelta(recordings["duration_s"], unit="s").dt.ceil("s")
    recorded = recordings.assign(end=ends.astype("datetime64[ms]")).groupby("deployment")
    first, last = table["deployment"].map(recorded["start_utc"].min()), table["deployment"].map(recorded["end"].max())
    if known is not None:
        edges = known.set_index("deployment")
        first = table["deployment"].map(edges["start"]).fillna(first)
        last = table["deployment"].map(edges["end"]).fillna(last)
    found = table.assign(start=first.astype("datetime64[ms]"), end=last.astype("datetime64[ms]"))
    return found[found["start"].notna() & found["end"].notna()].reset_index(drop=True)


def deployments_from(recordings: pd.DataFrame) -> pd.DataFrame:
    """Return the deployments that the positions of recordings tell of.

    Parameters
    ----------
    recordings
        As :func:`lake.recordings.read_recordings` returns it. Positions come from names and headers, such as GUANO's
        ``Loc Position``.

    Returns
    -------
    pandas.DataFrame
        The columns of :func:`read_deployments`. A deployment lasts while a recorder stays within :data:`SAME_PLACE`
        of where it began; it is called by its recorder, from the second on with a number. Recorders without any
        position have none.
    """
    timed = recordings[
        recordings["start_utc"].notna() & recordings["latitude"].notna() & recordings["longitude"].notna()
    ]
    rows: list[dict[str, Any]] = []
    for recorder, mine in timed.sort_values("start_utc", kind="stable").groupby("recorder", sort=True):
        runs: list[dict[str, Any]] = []
        for row in mine.to_dict("records"):
            here = (row["latitude"], row["longitude"])
            end = (row["start_utc"] + pd.Timedelta(np.nan_to_num(row["duration_s"]), "s")).ceil("s")
            if not runs or _apart((runs[-1]["latitude"], runs[-1]["longitude"]), here) > SAME_PLACE:
                named = f"{recorder}-{len(runs) + 1}" if runs else str(recorder)
                runs.append(
                    {"deployment": named, "recorder": recorder, "latitude": here[0], "longitude": here[1],
                     "start": row["start_utc"].floor("s"), "end": end}
                )  # fmt: skip
            runs[-1]["end"] = max(end, runs[-1]["end"])
        rows += runs
    return make_table(rows, _DEPLOYMENTS).drop(columns="tags")


def camtrap_deployments(table: pd.DataFrame, *, uncertainty_m: int | None = None) -> pd.DataFrame:
    """Return a table of deployments in the columns of Camtrap DP 1.0, which :func:`read_deployments` reads back.

    Parameters
    ----------
    table
        As :func:`read_deployments` returns it. Gain and zone have no column there: they are written as tags.
    uncertainty_m
        Metres within which the position is, where coordinates were rounded.
    """
    found = pd.DataFrame("", index=table.index, columns=list(CAMTRAP_DP_COLUMNS), dtype="str")
    for theirs, ours in CAMTRAP_DP.items():
        if ours is not None and ours in table.columns and ours not in {"start", "end"}:
            found[theirs] = table[ours].astype("str")
    for key in ("latitude", "longitude"):
        found[key] = ["" if np.isnan(value) else repr(float(value)) for value in table[key]]
    for theirs, ours in (("deploymentStart", "start"), ("deploymentEnd", "end")):
        times = table[ours].dt.floor("s") if ours == "start" else table[ours].dt.ceil("s")
        found[theirs] = times.dt.strftime("%Y-%m-%dT%H:%M:%SZ").fillna("")
    if uncertainty_m is not None:
        found["coordinateUncertainty"] = str(uncertainty_m)
    found["habitat"] = table["habitat"]
    found["deploymentTags"] = [
        " | ".join([*([f"zone:{zone}"] if zone else []), *([] if np.isnan(gain) else [f"gain_db:{gain:g}"])])
        for zone, gain in zip(table["zone"], table["gain_db"], strict=True)
    ]
    return found


def _apart(one: tuple[Any, Any], other: tuple[float, float]) -> float:
    """Return the larger difference of two positions in degrees; 359.9 degrees apart are 0.1 across the date line."""
    east = abs(one[1] - other[1]) % 360
    return float(max(abs(one[0] - other[0]), min(east, 360 - east)))


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
