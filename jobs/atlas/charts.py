"""Bars of a histogram as numbers that a page draws as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.common.pages.axes import Tick, linear_ticks
from jobs.common.pages.hours import HOURS_PER_DAY
from jobs.common.pages.words import number, share

CHART_WIDTH, CHART_HEIGHT = 480, 150
"""Size of a chart's plot area, in units of its SVG."""
SPARK_WIDTH, SPARK_HEIGHT = 240, 36


@dataclass(frozen=True)
class Bar:
    """One bar: its left edge, top, width and height in units of the SVG, and what it says."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class HourChart:
    """Bars by hour of day.

    Attributes
    ----------
    bars
        For each hour that was recorded.
    unrecorded
        Centres of the hours that were not, along x.
    ticks
        Of the vertical axis, in percent from the bottom.
    reference
        Height of a line to compare with, from the top, or ``None``.
    summary
        The chart in a sentence.
    """

    bars: tuple[Bar, ...]
    unrecorded: tuple[float, ...]
    ticks: tuple[Tick, ...]
    reference: float | None
    summary: str


def count_chart(by_hour: NDArray[np.int64], effort: NDArray[np.int64]) -> HourChart:
    """Return a chart of the windows of a cluster by hour.

    Parameters
    ----------
    by_hour, effort
        Windows of the cluster, and all windows, by hour of day, shape (24,).
    """
    pairs = zip(by_hour.tolist(), effort.tolist(), strict=True)
    texts = [f"{hour:02d} h: {number(n)} of {number(n_all)} windows" for hour, (n, n_all) in enumerate(pairs)]
    top = int(by_hour.argmax())
    summary = f"Windows by hour of day; most at {top:02d} h: {number(int(by_hour[top]))}."
    return _chart(by_hour.astype(np.float64), effort > 0, texts, None, summary, least_step=1)


def share_chart(by_hour: NDArray[np.int64], effort: NDArray[np.int64]) -> HourChart:
    """Return a chart of the cluster's share, in percent, of the windows recorded in each hour.

    Parameters
    ----------
    by_hour, effort
        Windows of the cluster, and all windows, by hour of day, shape (24,).
    """
    percent = 100 * by_hour / np.maximum(effort, 1)
    pairs = list(zip(by_hour.tolist(), effort.tolist(), strict=True))
    texts = [f"{hour:02d} h: {share(n, n_all)} of {number(n_all)} windows" for hour, (n, n_all) in enumerate(pairs)]
    top, n, n_all = int(percent.argmax()), int(by_hour.sum()), int(effort.sum())
    summary = (
        f"Share of the windows recorded in each hour of day; most at {top:02d} h: {share(*pairs[top])}. "
        f"Over all hours: {share(n, n_all)}."
    )
    return _chart(percent, effort > 0, texts, 100 * n / max(n_all, 1), summary)


def spark_path(by_hour: NDArray[np.int64]) -> str:
    """Return the path of a small histogram by hour, for the ``d`` of an SVG path."""
    highest = max(int(by_hour.max()), 1)
    step = SPARK_WIDTH // HOURS_PER_DAY
    bars = []
    for hour, count in enumerate(by_hour):
        height = SPARK_HEIGHT * int(count) / highest
        if count:
            height = max(height, 1.0)
            bars.append(f"M{hour * step + 1} {SPARK_HEIGHT}v-{height:.4g}h{step - 2}v{height:.4g}z")
    return "".join(bars)


def _chart(
    values: NDArray[np.float64],
    recorded: NDArray[np.bool_],
    texts: Sequence[str],
    reference: float | None,
    summary: str,
    *,
    least_step: float = 0,
) -> HourChart:
    highest = max(float(values.max()), reference or 0, 1e-9)
    step = CHART_WIDTH / HOURS_PER_DAY
    bars, unrecorded = [], []
    for hour in range(HOURS_PER_DAY):
        height = round(CHART_HEIGHT * float(values[hour]) / highest, 2)
        if recorded[hour]:
            bars.append(Bar(hour * step + 2, round(CHART_HEIGHT - height, 2), step - 4, height, texts[hour]))
        else:
            unrecorded.append((hour + 0.5) * step)
    line = None if reference is None else round(CHART_HEIGHT * (1 - reference / highest), 2)
    ticks = linear_ticks(0, highest, 5, least_step=least_step)
    return HourChart(tuple(bars), tuple(unrecorded), tuple(ticks), line, summary)
