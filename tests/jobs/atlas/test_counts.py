"""Counts by date and hour, the sun, labels: against closed forms and slow twins."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from atlases import Study
from PIL import Image
from scipy.stats import fisher_exact

from jobs.atlas.heat import heat_png, heat_table, share_of_effort
from jobs.atlas.labels import Intervals, lifts, windows_with
from jobs.atlas.study import open_stores
from jobs.atlas.tally import calendar_of, cluster_calendar, count_hours, recorder_calendar, tally
from jobs.atlas.windows import Table, read_table
from jobs.common.sun import EPOCH, step_path, sun_hours


@pytest.fixture(scope="module")
def windows(study: Study) -> Table:
    return read_table(open_stores(study.clusters.output.url, study.cube.output.url), lambda _: None)


def test_the_calendar_counts_windows_by_local_date_and_hour(windows: Table) -> None:
    calendar = calendar_of(windows)
    assert calendar is not None
    rows = np.flatnonzero(windows.cluster == 1)
    mine = cluster_calendar(windows, calendar, rows)
    slow = Counter(
        (int(windows.day[row]) - calendar.first_day, int(windows.hour[row])) for row in rows if windows.hour[row] >= 0
    )
    assert {place: n for place, n in np.ndenumerate(mine) if n} == dict(slow)
    assert calendar.effort.sum() == np.count_nonzero(windows.hour >= 0)
    assert calendar.first_day == (date(2021, 5, 31) - EPOCH).days, "Chicago's evening before"


def test_sites_and_recorders_have_the_same_windows(study: Study, windows: Table) -> None:
    counts = tally(windows, n_clusters=6, n_recorders=4, sites=["a", "b", "a", ""])
    assert counts.sites == ("a", "b", "")
    np.testing.assert_array_equal(counts.by_site.sum(axis=1), counts.by_recorder.sum(axis=1))
    np.testing.assert_array_equal(counts.by_site[:, 0], counts.by_recorder[:, [0, 2]].sum(axis=1))


def test_the_picture_has_one_pixel_a_count_with_midnight_at_the_bottom(tmp_path: Path) -> None:
    values = np.full((24, 3), np.nan)
    values[0, 1], values[5, 2] = 0.0, 0.2
    (tmp_path / "heat.png").write_bytes(heat_png(values, 0.2))
    with Image.open(tmp_path / "heat.png") as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert pixels.shape == (24, 3, 4)
    assert pixels[23, 1].tolist() == [*heat_table()[0].tolist(), 255]
    assert pixels[18, 2].tolist() == [*heat_table()[255].tolist(), 255]
    assert (pixels[..., 3] > 0).sum() == 2


def test_a_share_of_nothing_is_not_zero() -> None:
    found = share_of_effort(np.array([0, 0, 2]), np.array([0, 4, 8]))
    np.testing.assert_array_equal(found, [np.nan, 0, 0.25])


def test_the_calendar_of_a_long_study_has_months(windows: Table) -> None:
    late = np.arange(len(windows)) % 2 == 1
    long = replace(windows, day=np.where(windows.is_timed & late, windows.day + 2_000, windows.day).astype(np.int32))
    calendar = calendar_of(long)
    assert calendar is not None
    assert calendar.spans.kind == "month"
    assert (calendar.spans.labels[0], calendar.spans.labels[-1]) == ("2021-05", "2026-11")
    rows = np.flatnonzero(long.cluster == 1)
    slow = Counter(
        (str(np.datetime64(int(long.day[row]), "D"))[:7], int(long.hour[row])) for row in rows if long.hour[row] >= 0
    )
    mine = cluster_calendar(long, calendar, rows)
    assert {(calendar.spans.labels[i], hour): n for (i, hour), n in np.ndenumerate(mine) if n} == dict(slow)
    by_recorder = recorder_calendar(long, calendar, 4)
    assert by_recorder.sum() == calendar.effort.sum() == np.count_nonzero(long.hour >= 0)
    assert calendar.offset_s.shape == (len(calendar.spans),)


def test_the_sun_over_chicago_at_the_solstice_by_the_tables_of_the_naval_observatory() -> None:
    day = (date(2021, 6, 21) - EPOCH).days
    sun = sun_hours(np.array([day, day + 1]), np.array([-18_000, -18_000]), 41.85, -87.65)
    assert sun.rise[0] == pytest.approx(5 + 16 / 60, abs=0.03)
    assert sun.set[0] == pytest.approx(20 + 29 / 60, abs=0.03)
    winter = sun_hours(np.array([(date(2021, 12, 21) - EPOCH).days]), np.array([-21_600]), 41.85, -87.65)
    assert winter.rise[0] == pytest.approx(7 + 15 / 60, abs=0.03)
    assert winter.set[0] == pytest.approx(16 + 23 / 60, abs=0.03)


def test_the_sun_that_never_sets_is_no_line() -> None:
    sun = sun_hours((date(2021, 6, 20) - EPOCH).days + np.arange(2), np.zeros(2, dtype=np.int64), 78.0, 15.0)
    assert np.isnan(sun.rise).all()
    assert step_path(sun.rise) == ""
    assert step_path(np.array([6.0, 6.5, np.nan, 7.0])) == "M0 18.00H1L1 17.50H2M3 17.00H4"


def test_a_window_has_a_label_if_it_overlaps_it(study: Study, windows: Table) -> None:
    opened = open_stores(study.clusters.output.url, study.cube.output.url)
    rows = np.flatnonzero(windows.recorder == 1)[:2]
    start = opened.grid.origin_ms + windows.cell[rows] * opened.grid.hop_ms
    for begin, end, there in (
        (-10, 0, False),
        (-10, 1, True),
        (5_999, 7_000, True),
        (6_000, 7_000, False),
        (1, 2, True),
    ):
        one = Intervals(np.array([1]), start[:1] + begin, start[:1] + end)
        assert windows_with(one, windows, opened)[rows].tolist() == [there, False]
    both = Intervals(
        np.array([1, 1, 0]), np.array([0, start[1], start[0]]), np.array([start[0] + 1, start[1] + 9, start[0]])
    )
    assert np.flatnonzero(windows_with(both, windows, opened)).tolist() == rows.tolist()


def test_lift_and_q_agree_with_a_slow_computation() -> None:
    n_both = np.array([[8, 1], [2, 1], [0, 8]])
    n_cluster = np.array([10, 10, 20])
    found = lifts(n_both, n_cluster, ["a", "b"], n_most=5)
    n_label, n_all = n_both.sum(axis=0), 40
    p = {}
    for i in range(3):
        for j in range(2):
            a, b = n_both[i, j], n_cluster[i] - n_both[i, j]
            c = n_label[j] - a
            p[i, j] = fisher_exact([[a, b], [c, n_all - a - b - c]], alternative="greater").pvalue
    order = sorted(p, key=lambda key: p[key])
    q, least = {}, 1.0
    for rank in range(6, 0, -1):
        least = min(least, p[order[rank - 1]] * 6 / rank)
        q[order[rank - 1]] = least
    assert [[lift.label for lift in one] for one in found] == [["a"], [], ["b"]]
    assert found[0][0].lift == pytest.approx((8 / 10) / (10 / 40))
    assert found[0][0].q == pytest.approx(q[0, 0])
    assert found[2][0].q == pytest.approx(q[2, 1])
    assert lifts(np.zeros((2, 0), dtype=np.int64), n_cluster[:2], [], n_most=5) == [[], []]


def test_the_instants_are_those_of_the_clock(windows: Table) -> None:
    timed = np.flatnonzero(windows.is_timed)[:50]
    for row in timed:
        start_s = 1622505600 + int(windows.cell[row]) * 600 + int(windows.offset_s[row])
        local = datetime.fromtimestamp(start_s, UTC)
        assert (local.hour, (local.date() - EPOCH).days) == (windows.hour[row], windows.day[row])


def test_counts_by_cluster_and_hour() -> None:
    counts = count_hours(np.array([0, 2, 2, 2], dtype=np.int16), np.array([5, 0, 23, 23]), 4)
    assert counts.shape == (4, 24)
    assert counts.sum() == 4
    assert (counts[0, 5], counts[2, 0], counts[2, 23]) == (1, 1, 2)
