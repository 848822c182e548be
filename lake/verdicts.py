"""Verdicts: what people said of the sound in a window (yes, no or unsure), in an append-only folder of the lake."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lake.deliveries import damaged_deliveries, deliveries, delivery_digest, verdicts_folder
from lake.errors import StoreError
from lake.grid import iso
from lake.layout import Lake
from lake.storage import Storage
from lake.tables import (
    UTC_TIME,
    UTC_TIME_HINT,
    Column,
    as_csv,
    count,
    in_order,
    instant,
    make_table,
    matching,
    name,
    number,
    parse_table,
    refuse,
    text,
)

VERDICTS = ("yes", "no", "unsure")

COLUMNS: Mapping[str, Column] = {
    "recorder": Column(name),
    "time_utc": Column(instant(UTC_TIME, UTC_TIME_HINT, is_required=True), "datetime64[ms]"),
    "duration_s": Column(number(0.001), "float64"),
    "sound": Column(name),
    "verdict": Column(matching("|".join(VERDICTS), "yes, no or unsure")),
    "reviewer": Column(name),
    "decided_at": Column(instant(UTC_TIME, UTC_TIME_HINT, is_required=True), "datetime64[ms]"),
    "seconds": Column(number(0), "float64"),
    "batch": Column(text),
    "draw": Column(count(0), "Int64"),
    "recording": Column(text),
    "offset_s": Column(number(), "float64"),
    "digest": Column(text),
    "source": Column(text),
}
"""Columns of a delivery: the span and the verdict, who gave it and when, what it was asked in, and what traces it.

``offset_s`` counts from the start of ``recording``; ``digest`` is that of the window's codes; ``source`` is the
SHA-256 of the file that the row came in.
"""
SPAN = ["recorder", "time_utc", "duration_s"]
"""Columns that identify a span of sound."""
DECISION = [*SPAN, "sound", "verdict", "reviewer", "decided_at"]
"""Columns that identify a decision."""


@dataclass(frozen=True)
class Delivery:
    """Result of :func:`add_verdicts`: the key of the delivery in the lake, empty if all was known, and rows added."""

    key: str
    n_added: int


def read_verdicts(lake: Lake) -> pd.DataFrame:
    """Return all verdicts of a lake, one row each, with the columns :data:`COLUMNS` and ``delivery``.

    Raises
    ------
    StoreError
        If a delivery is not as it was written.
    """
    folder = verdicts_folder(lake)
    wrong = list(damaged_deliveries(lake))
    if wrong:
        raise StoreError("\n".join([*wrong, "Restore them from a copy."]))
    tables = [_read(folder, key) for key in deliveries(lake)]
    if not tables:
        return make_table([], COLUMNS).assign(delivery=pd.Series(dtype="str"))
    return pd.concat(tables, ignore_index=True)


def verdicts_on(lake: Lake, recorder: str, start_ms: int, end_ms: int) -> list[dict[str, object]]:
    """Return the verdicts on spans of a recorder that share time with one, as plain values for JSON."""
    found = read_verdicts(lake)
    begin_ms = found["time_utc"].to_numpy().astype("datetime64[ms]").astype("int64")
    is_here = (begin_ms < end_ms) & (begin_ms + found["duration_s"].to_numpy() * 1000 > start_ms)
    rows = found[is_here & (found["recorder"] == recorder).to_numpy()]
    return [
        {
            "sound": row.sound, "verdict": row.verdict, "reviewer": row.reviewer,
            "decided_at": iso(int(row.decided_at.value) // 10**6), "time_utc": iso(int(row.time_utc.value) // 10**6),
            "duration_s": row.duration_s, "batch": row.batch, "draw": None if pd.isna(row.draw) else int(row.draw),
            "delivery": row.delivery,
        }
        for row in rows.itertuples(index=False)
    ]  # fmt: skip


def add_verdicts(lake: Lake, table: pd.DataFrame) -> Delivery:
    """Add the verdicts that a lake does not have yet, as one file that is never written again.

    Parameters
    ----------
    lake
        The lake.
    table
        With the columns :data:`COLUMNS`. Their order says nothing: rows are sorted, so that the same verdicts are the
        same file.
    """
    known = read_verdicts(lake)
    fresh = table.drop_duplicates(DECISION)
    if len(known):
        is_known = fresh.set_index(DECISION).index.isin(known.set_index(DECISION).index)
        fresh = fresh[~is_known]
    if fresh.empty:
        return Delivery("", 0)
    data = as_csv(fresh.sort_values(DECISION, kind="stable"), COLUMNS)
    last = pd.Timestamp(fresh["decided_at"].max())
    key = f"{last:%Y%m%dT%H%M%SZ}_{delivery_digest(data)}.csv"
    verdicts_folder(lake).create(key, data)
    return Delivery(key, len(fresh))


def settled(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return what holds of each span and sound.

    Parameters
    ----------
    verdicts
        As :func:`read_verdicts` gives them.

    Returns
    -------
    DataFrame
        One row for each span and sound: :data:`SPAN`, ``sound``, ``verdict``, ``n_reviewers``, ``is_disputed``. Of one
        reviewer the last decision counts, and where two were made at the same time, ``unsure``. Where reviewers differ,
        the verdict is ``unsure`` until they agree.
    """
    last = last_decisions(verdicts)
    groups = last.groupby([*SPAN, "sound"], sort=True)["verdict"]
    found = pd.DataFrame({"verdict": groups.first(), "n_reviewers": groups.size(), "kinds": groups.nunique()})
    found["is_disputed"] = found["kinds"] > 1
    found.loc[found["is_disputed"], "verdict"] = "unsure"
    return found.drop(columns="kinds").reset_index()


def last_decisions(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the last decision of each reviewer on each span and sound; ``unsure`` where two are equally late."""
    who = [*SPAN, "sound", "reviewer"]
    if verdicts.empty:
        return verdicts[[*who, "verdict", "decided_at"]]
    latest = verdicts.groupby(who)["decided_at"].transform("max")
    late = verdicts[verdicts["decided_at"] == latest]
    groups = late.groupby(who, sort=True)
    found = pd.DataFrame({"verdict": groups["verdict"].first(), "kinds": groups["verdict"].nunique()})
    found.loc[found["kinds"] > 1, "verdict"] = "unsure"
    found["decided_at"] = groups["decided_at"].first()
    return found.drop(columns="kinds").reset_index()


def agreement(last: pd.DataFrame) -> pd.DataFrame:
    """Return Cohen's kappa of each two reviewers and each sound that both judged.

    Parameters
    ----------
    last
        As :func:`last_decisions` gives them.

    Returns
    -------
    DataFrame
        ``sound``, ``reviewer``, ``other``, ``n_both`` (spans that both judged), ``n_agreed`` and ``kappa``, NaN where
        both gave one and the same verdict throughout: then chance alone would agree as well.

    Notes
    -----
    Cohen (1960), A coefficient of agreement for nominal scales: (p_o - p_e) / (1 - p_e), over yes, no and unsure.
    """
    rows = []
    for sound, table in last.groupby("sound", sort=True):
        wide = table.pivot(index=SPAN, columns="reviewer", values="verdict")
        reviewers = list(wide.columns)
        for i, one in enumerate(reviewers):
            for other in reviewers[i + 1 :]:
                both = wide[[one, other]].dropna()
                if len(both):
                    same = both[one] == both[other]
                    rows.append((sound, one, other, len(both), int(same.sum()), _kappa(both[one], both[other])))
    return pd.DataFrame(rows, columns=["sound", "reviewer", "other", "n_both", "n_agreed", "kappa"])


def _kappa(first: pd.Series, second: pd.Series) -> float:
    n = len(first)
    observed = float((first == second).sum()) / n
    by_chance = sum(float((first == kind).sum()) * float((second == kind).sum()) for kind in VERDICTS) / n**2
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")


def _read(folder: Storage, key: str) -> pd.DataFrame:
    where = folder.path(key)
    table, problems = parse_table(folder.read(key).decode(), COLUMNS, source=where, what="verdicts")
    refuse(where, "verdicts", in_order(problems))
    return table.reset_index(drop=True).assign(delivery=key)
