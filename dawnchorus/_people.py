"""Batches of windows that people were asked to hear, and their verdicts."""

from typing import Any

import pandas as pd

from lake.batch_files import batch_names
from lake.batches import n_answered
from lake.batches import read_batch as _read_batch
from lake.layout import Lake
from lake.verdicts import read_verdicts
from lake.verdicts import settled as _settled


def verdicts(lake: str, *, settled: bool = False, **options: Any) -> pd.DataFrame:  # noqa: ANN401 (fsspec's own options)
    """Return what people said of windows: yes, no or unsure.

    Parameters
    ----------
    lake
        The lake's folder, or an fsspec URL such as ``s3://bucket/lake``.
    settled
        What holds of each span and sound, in place of every decision: of one reviewer the last one, and ``unsure``
        where reviewers differ.
    options
        Passed to fsspec.

    Returns
    -------
    pandas.DataFrame
        One row a decision: recorder, time_utc, duration_s, sound, verdict, reviewer, decided_at, seconds, batch and
        draw (what it was asked in), recording and offset_s, digest, source, delivery. Settled: recorder, time_utc,
        duration_s, sound, verdict, n_reviewers, is_disputed.

    Raises
    ------
    StoreError
        If a delivery is not as it was written.

    Examples
    --------
    >>> import dawnchorus
    >>> table = dawnchorus.verdicts("data/demo")
    >>> {"recorder", "time_utc", "sound", "verdict", "reviewer"} <= set(table.columns)
    True
    >>> set(dawnchorus.verdicts("data/demo", settled=True)["sound"]) == set(table["sound"])
    True
    """
    found = read_verdicts(Lake(lake, **options))
    return _settled(found) if settled else found


def batches(lake: str, **options: Any) -> pd.DataFrame:  # noqa: ANN401 (fsspec's own options)
    """Return a table of the batches of windows that people were asked to hear.

    Parameters
    ----------
    lake
        The lake's folder, or an fsspec URL such as ``s3://bucket/lake``.
    options
        Passed to fsspec.

    Returns
    -------
    pandas.DataFrame
        One row a batch, by the time it was made: batch, order, seed, sounds, n_windows, n_answered, n_population
        (windows that it was chosen from) and created_at (UTC).

    Raises
    ------
    StoreError
        If a batch or a delivery of verdicts is not as it was written.

    Examples
    --------
    >>> import dawnchorus
    >>> table = dawnchorus.batches("data/demo")
    >>> bool((table["n_answered"] <= table["n_windows"]).all())
    True
    """
    there = Lake(lake, **options)
    said = read_verdicts(there)
    rows = []
    for name in batch_names(there):
        batch = _read_batch(there, name)
        made_at, sizes = pd.Timestamp(batch.made["created_at"]), (len(batch.table), n_answered(batch, said))
        order, seed, n_population = (batch.asked[key] for key in ("order", "seed", "n_population"))
        rows.append((name, order, seed, tuple(batch.sounds), *sizes, n_population, made_at.tz_localize(None)))
    columns = ["batch", "order", "seed", "sounds", "n_windows", "n_answered", "n_population", "created_at"]
    return pd.DataFrame(rows, columns=columns).sort_values("created_at", kind="stable", ignore_index=True)


def read_batch(lake: str, batch: str, **options: Any) -> pd.DataFrame:  # noqa: ANN401 (fsspec's own options)
    """Return the windows of a batch, in the order in which they are to be heard.

    Parameters
    ----------
    lake
        The lake's folder, or an fsspec URL such as ``s3://bucket/lake``.
    batch
        Its name; `batches` lists them.
    options
        Passed to fsspec.

    Returns
    -------
    pandas.DataFrame
        draw, recorder, time_utc, duration_s, probability (with which the window is in the batch; NaN where it was not
        drawn at random), stratum, score and proposal. ``table.attrs["asked"]`` is what it was made from.

    Raises
    ------
    InputError
        If the lake has no such batch.
    StoreError
        If it is not as it was written.

    Examples
    --------
    >>> import dawnchorus
    >>> for name in dawnchorus.batches("data/demo")["batch"]:
    ...     assert dawnchorus.read_batch("data/demo", name)["draw"].is_monotonic_increasing
    """
    found = _read_batch(Lake(lake, **options), batch)
    found.table.attrs["asked"] = dict(found.asked)
    return found.table
