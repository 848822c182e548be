"""The survey effort: how much each recorder recorded on each day, as a picture."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.common.installation import how_to_install
from jobs.common.pages.spans import spans_of
from lake.errors import InputError
from lake.lengths import lasting
from lake.outputs import write_outputs
from lake.recordings import is_usable

MOST_LETTERS = 40
"""Letters of a recorder's name that are drawn."""


def daily_effort(
    table: pd.DataFrame,
) -> tuple[list[str], NDArray[np.datetime64], NDArray[np.float64], NDArray[np.int64]]:
    """Return hours recorded, and problems, by recorder and day.

    Parameters
    ----------
    table
        Table of recordings (:mod:`lake.recordings`).

    Returns
    -------
    tuple
        Recorders, sorted; days in UTC, datetime64[D], from the first to the last with a recording; hours of
        usable recordings that start on each day, shape (n_recorders, n_days); files of that day with a
        problem, same shape. Recordings without a time, or of a clock that was reset, are not in it.
    """
    is_reset = (";" + table["problems"] + ";").str.contains(";clock_reset;", regex=False)
    timed = table[table["start_utc"].notna() & ~is_reset.astype(bool)]
    recorders = sorted(timed["recorder"].unique())
    if not recorders:
        return [], np.empty(0, "datetime64[D]"), np.empty((0, 0)), np.empty((0, 0), np.int64)
    day = timed["start_utc"].to_numpy().astype("datetime64[D]")
    days = np.arange(day.min(), day.max() + 1)
    at = np.array([recorders.index(name) for name in timed["recorder"]]), (day - days[0]).astype(np.int64)
    hours = np.zeros((len(recorders), len(days)))
    np.add.at(hours, at, np.where(is_usable(timed), timed["duration_s"].fillna(0), 0) / 3600)
    problems = np.zeros(hours.shape, np.int64)
    np.add.at(problems, at, (timed["problems"] != "").to_numpy(np.int64))
    return recorders, days, hours, problems


def draw_effort(table: pd.DataFrame, target: Path, *, force: bool = False) -> None:
    """Write a picture of the survey effort: see :func:`effort_picture`; ``force`` replaces another's file."""
    data = effort_picture(table, target)
    write_outputs(target.absolute().parent, {target.name: data}, force=force, option="--effort")


def effort_picture(table: pd.DataFrame, target: Path) -> bytes:
    """Return a PNG of the survey effort: colour is hours recorded, by recorder and day; a ring marks problems.

    Long surveys are drawn by week, month or year, as :func:`jobs.common.pages.spans.spans_of` has it.

    Parameters
    ----------
    table
        Table of recordings.
    target
        Its path, for messages.

    Raises
    ------
    InputError
        If no recording has a time, or matplotlib is not installed.
    """
    recorders, days, hours, problems = daily_effort(table)
    if not recorders:
        raise InputError(f"{target}: no recording has a time in UTC, so there is no effort by day to draw. Name zones.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (one image has it, others do not)
        from matplotlib.figure import Figure  # noqa: PLC0415 (only who draws needs it)
    except ImportError as error:
        raise InputError(f"{target}: drawing needs matplotlib; type `{how_to_install('cluster')}`.") from error
    numbers = days.astype(np.int64)
    spans = spans_of(int(numbers[0]), int(numbers[-1]))
    hours, problems = (_summed(values, spans.of(numbers), len(spans)) for values in (hours, problems))
    names = [shown_name(name) for name in recorders]
    longest = max(sum(2 if letter > "\u2e7f" else 1 for letter in name) for name in names)
    width = min(16, 4 + 0.12 * len(spans)) + 0.12 * max(longest - 16, 0)
    figure = Figure(figsize=(width, 1.6 + 0.32 * len(recorders)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = np.ma.masked_equal(hours, 0)
    mesh = axes.pcolormesh(
        np.arange(len(spans) + 1), np.arange(len(recorders) + 1), shown, vmin=0, vmax=hours.max(), cmap="YlGnBu"
    )
    rows, columns = np.nonzero(problems)
    for colour, width_pt in (("white", 2.0), ("crimson", 0.9)):  # a ring in a ring is seen on every colour
        axes.scatter(columns + 0.5, rows + 0.5, s=18, facecolors="none", edgecolors=colour, linewidths=width_pt)
    axes.set_yticks(np.arange(len(recorders)) + 0.5, names, parse_math=False)
    axes.invert_yaxis()
    ticks = spans.ticks(14)
    axes.set_xticks([tick.percent / 100 * len(spans) for tick in ticks], [tick.label for tick in ticks], ha="right")
    axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel(f"{spans.kind} (UTC)")
    title = f"{lasting(3600 * hours.sum())} of {len(recorders)} recorders; rings: {spans.kind}s with problems"
    axes.set_title(title, fontsize=10)
    bar = figure.colorbar(mesh, shrink=min(1.0, 20 / len(recorders)), anchor=(0.0, 1.0))
    bar.set_label(f"hours recorded a {spans.kind}")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # a letter that the font lacks
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def shown_name(name: str) -> str:
    """Return a name as it can be drawn: its middle left out if it is long, and without what no font has."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS // 2]}…{text[-MOST_LETTERS // 2 :]}"


def _summed(values: NDArray[Any], column: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Return sums of columns, shape (n_recorders, n): each goes to the one that is named."""
    out = np.zeros((len(values), n), dtype=values.dtype)
    np.add.at(out.T, column, values.T)
    return out
