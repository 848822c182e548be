"""Pictures of when a sound is heard: local hour by date, sunrise and sunset, and shares with intervals."""

import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import matplotlib.dates
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jobs.common.effort import shown_name
from jobs.common.sun import sun_hours
from lake.query.phenology import HOUR_KIND, Phenology

MOST_SITES: Final = 6
"""Sites in one picture; more are drawn in several."""
NOTHING_RECORDED: Final = "0.88"
BAR: Final = "#8db9dc"
COLOURS: Final = "viridis"
SUN: Final = "#ff7f0e"


def pictures(found: Sequence[Phenology], of: str) -> Iterator[bytes]:
    """Yield PNG pictures of one sound, a row a site, at most :data:`MOST_SITES` in each.

    Parameters
    ----------
    found
        Of one sound, with the same dates; not empty.
    of
        What a share is of, for the scale: ``windows recorded``, or ``windows heard``.
    """
    highest = max(float(np.nanmax(one.share)) for one in found) or 1.0
    for first in range(0, len(found), MOST_SITES):
        yield _picture(found[first : first + MOST_SITES], of, highest)


def _picture(found: Sequence[Phenology], of: str, highest: float) -> bytes:
    figure = Figure(figsize=(11, 1.1 + 3.1 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2 * len(found), 2, width_ratios=(4, 1), height_ratios=(3, 1) * len(found))
    maps, hours, dates = list[Axes](), list[Axes](), list[Axes]()
    mesh: Any = None
    for i, one in enumerate(found):
        heat = figure.add_subplot(grid[2 * i, 0])
        by_hour = figure.add_subplot(grid[2 * i, 1], sharey=heat, sharex=hours[0] if hours else None)
        by_date = figure.add_subplot(grid[2 * i + 1, 0], sharex=heat, sharey=dates[0] if dates else None)
        mesh = _heat(heat, one, highest)
        _by_hour(by_hour, one)
        _by_date(by_date, one)
        maps.append(heat)
        hours.append(by_hour)
        dates.append(by_date)
    hours[0].set_xlim(left=0)
    dates[0].set_ylim(bottom=0)
    edges = _days(found[0])
    for axes in maps:
        axes.set_xlim(edges[0], edges[-1])
    shrink = 0.9 if len(found) == 1 else 0.5
    figure.colorbar(mesh, ax=maps, location="left", label=f"share of {of}", shrink=shrink, aspect=40)
    figure.suptitle(shown_name(found[0].sound), parse_math=False)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)  # a letter that the font lacks
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _heat(axes: Axes, one: Phenology, highest: float) -> Any:  # noqa: ANN401 (matplotlib's own)
    """Draw local hour by date; grey is where there are no windows."""
    days = _days(one)
    axes.set_facecolor(NOTHING_RECORDED)
    shown = np.ma.masked_invalid(one.share)
    mesh = axes.pcolormesh(days, np.arange(25), shown, vmin=0, vmax=highest, cmap=COLOURS)
    axes.set_ylim(0, 24)
    axes.set_yticks(range(0, 25, 6))
    axes.set_ylabel("local hour")
    axes.tick_params(labelbottom=False)
    axes.set_title(_title(one, _sun(axes, one)), fontsize=9, loc="left", parse_math=False)
    return mesh


def _sun(axes: Axes, one: Phenology) -> str:
    """Draw sunrise and sunset, level over each day; return what there is to say of them."""
    if np.isnan(one.latitude):
        return "position unknown: no sunrise, no sunset"
    days = one.first_day + np.arange(len(one.offset_s), dtype=np.int64)
    sun = sun_hours(days, one.offset_s, one.latitude, one.longitude)
    for hours in (sun.rise, sun.set):
        axes.stairs(hours, _days(one), color=SUN, linewidth=1.2, baseline=None)
    n_without = int((np.isnan(sun.rise) & np.isnan(sun.set)).sum())
    if n_without:
        return f"orange: sunrise and sunset; none on {n_without} of {len(sun.rise)} days"
    return "orange: sunrise and sunset"


def _title(one: Phenology, sun: str) -> str:
    n, n_all = int(one.found.sum()), int(one.effort.sum())
    return f"{shown_name(one.site)}: {n} of {n_all} windows; {sun}; grey: no windows"


def _by_hour(axes: Axes, one: Phenology) -> None:
    """Draw the share of each local hour over all dates, and its count with an interval."""
    effort, found = one.effort.sum(axis=1), one.found.sum(axis=1)
    share = np.where(effort > 0, found / np.maximum(effort, 1), np.nan)
    for hour in np.flatnonzero(effort == 0).tolist():
        axes.axhspan(hour, hour + 1, color=NOTHING_RECORDED, linewidth=0)
    axes.barh(np.arange(24) + 0.5, np.nan_to_num(share), height=0.8, color=BAR)
    counts = one.counts[(one.counts["kind"] == HOUR_KIND) & one.counts["estimate"].notna()]
    counts = counts[counts["period"].astype(str).str.fullmatch(r"\d\d?")]
    if len(counts):
        _intervals(axes, counts["period"].astype(int).to_numpy() + 0.5, counts, is_upright=False)
    axes.tick_params(labelleft=False)
    axes.set_title("share by hour", fontsize=9)


def _by_date(axes: Axes, one: Phenology) -> None:
    """Draw the share of each date over all hours, and the count of each day or week with an interval."""
    effort, found = one.effort.sum(axis=0), one.found.sum(axis=0)
    share = np.where(effort > 0, found / np.maximum(effort, 1), np.nan)
    edges = _days(one)
    for day in np.flatnonzero(effort == 0):
        axes.axvspan(edges[day], edges[day + 1], color=NOTHING_RECORDED, linewidth=0)
    axes.stairs(np.nan_to_num(share), edges, fill=True, color=BAR, baseline=0)
    counts = one.counts[(one.counts["kind"] == one.period_kind) & one.counts["estimate"].notna()]
    counts = counts[counts["period"].astype(str).str.fullmatch(r"\d{4}-\d\d-\d\d")]
    if len(counts):
        half = pd.Timedelta(12 if one.period_kind == "day" else 84, "h")
        _intervals(axes, (pd.to_datetime(counts["period"]) + half).to_numpy(), counts, is_upright=True)
    axes.set_ylabel("share", fontsize=8)
    _label_dates(axes, len(share))
    label = (
        f"blue: all of a day; black: estimate by {one.period_kind} with its interval" if len(counts) else "all of a day"
    )
    axes.set_xlabel(label, fontsize=8)


def _label_dates(axes: Any, n_days: int) -> None:  # noqa: ANN401 (matplotlib's dates are not typed)
    dates: Any = matplotlib.dates
    locator = dates.AutoDateLocator(minticks=min(n_days, 4), maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


def _intervals(axes: Axes, at: Any, counts: pd.DataFrame, *, is_upright: bool) -> None:  # noqa: ANN401 (times or hours)
    """Draw estimates of shares with their intervals."""
    n = counts["n_windows"].to_numpy(np.float64)
    middle, low, high = (counts[name].to_numpy(np.float64) / n for name in ("estimate", "low", "high"))
    error = np.stack([np.maximum(middle - low, 0), np.maximum(high - middle, 0)])
    style: dict[str, Any] = {"fmt": "o", "color": "black", "markersize": 2.5, "linewidth": 0.8, "capsize": 1.5}
    if is_upright:
        axes.errorbar(at, middle, yerr=error, **style)
    else:
        axes.errorbar(middle, at, xerr=error, **style)


def _days(one: Phenology) -> Any:  # noqa: ANN401 (times as matplotlib takes them)
    """Return the edges of the dates."""
    n_days = one.effort.shape[1]
    return (one.first_day + np.arange(n_days + 1)).astype("datetime64[D]").astype("datetime64[ms]").astype(object)
