import re

import numpy as np
import pytest

from jobs.atlas.charts import CHART_HEIGHT, CHART_WIDTH, SPARK_HEIGHT, count_chart, share_chart, spark_path

EFFORT = np.zeros(24, dtype=np.int64)
EFFORT[4:12] = 100
CLUSTER = np.zeros(24, dtype=np.int64)
CLUSTER[5], CLUSTER[6] = 40, 10


def test_bars_are_as_high_as_their_counts() -> None:
    chart = count_chart(CLUSTER, EFFORT)
    heights = {round((bar.x - 2) / (CHART_WIDTH / 24)): bar.height for bar in chart.bars}
    assert heights == {hour: {5: CHART_HEIGHT, 6: CHART_HEIGHT / 4}.get(hour, 0) for hour in range(4, 12)}
    assert all(bar.y + bar.height == pytest.approx(CHART_HEIGHT) for bar in chart.bars)
    assert chart.bars[1].text == "05 h: 40 of 100 windows"
    assert chart.summary == "Windows by hour of day; most at 05 h: 40."


def test_hours_without_recording_are_marked_and_not_zero() -> None:
    chart = count_chart(CLUSTER, EFFORT)
    hours = [round(24 * x / CHART_WIDTH - 0.5) for x in chart.unrecorded]
    assert hours == [*range(4), *range(12, 24)]


def test_shares_are_of_the_hours_windows_and_compare_with_the_whole() -> None:
    effort = EFFORT.copy()
    effort[5] = 800
    chart = share_chart(CLUSTER, effort)
    heights = [bar.height for bar in chart.bars]
    assert heights[1] == pytest.approx(CHART_HEIGHT / 2)
    assert heights[2] == CHART_HEIGHT
    assert chart.reference == pytest.approx(CHART_HEIGHT * (1 - (50 / 1500) / 0.1), abs=0.01)
    assert chart.bars[1].text == "05 h: 5\u202f% of 800 windows"
    assert "most at 06 h: 10\u202f%" in chart.summary


def test_a_cluster_without_hours_draws_flat_bars() -> None:
    chart = share_chart(np.zeros(24, dtype=np.int64), np.zeros(24, dtype=np.int64))
    assert chart.bars == ()
    assert len(chart.unrecorded) == 24


def test_the_small_histogram_has_a_bar_for_every_hour_with_windows() -> None:
    counts = np.zeros(24, dtype=np.int64)
    counts[0], counts[23], counts[12] = 1000, 1, 500
    bars = re.findall(r"M([\d.]+) [\d.]+v-([\d.]+)", spark_path(counts))
    assert [(float(x), float(height)) for x, height in bars] == [
        (1, SPARK_HEIGHT), (121, SPARK_HEIGHT / 2), (231, 1),
    ]  # fmt: skip
    assert spark_path(np.zeros(24, dtype=np.int64)) == ""
