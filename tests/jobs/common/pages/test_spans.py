"""Columns of long surveys: days, weeks, months or years, and the ticks below them."""

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.common.pages.spans import MOST_COLUMNS, Spans, spans_of

EPOCH = date(1970, 1, 1)


def of(first: str, last: str) -> Spans:
    return spans_of(*((date.fromisoformat(one) - EPOCH).days for one in (first, last)))


@pytest.mark.parametrize(
    ("first", "last", "kind", "n", "labels"),
    [
        ("2021-06-22", "2021-06-22", "day", 1, ["2021-06-22"]),
        ("2021-06-01", "2021-06-30", "day", 30, ["2021-06-01", "2021-06-05", "2021-06-09"]),
        ("2021-01-01", "2021-12-31", "week", 53, ["2021-01", "2021-03", "2021-05"]),
        ("2015-04-10", "2020-04-23", "month", 61, ["2016", "2017", "2018", "2019", "2020"]),
        ("2015-01-01", "2025-06-30", "month", 126, ["2016", "2018", "2020", "2022", "2024"]),
        ("1990-05-01", "2025-06-30", "year", 36, ["1990", "1995", "2000"]),
    ],
)
def test_long_surveys_have_longer_columns(first: str, last: str, kind: str, n: int, labels: list[str]) -> None:
    spans = of(first, last)
    assert (spans.kind, len(spans)) == (kind, n)
    assert [tick.label for tick in spans.ticks()][: len(labels)] == labels


@given(st.integers(0, 30_000), st.integers(0, 6_000))
def test_every_day_is_in_one_column_and_ticks_have_room(first_day: int, n_days: int) -> None:
    spans = spans_of(first_day, first_day + n_days)
    assert len(spans) <= MOST_COLUMNS
    assert (np.diff(spans.edges) > 0).all()
    days = np.unique(np.linspace(first_day, first_day + n_days, 50).astype(int))
    for day, place in zip(days.tolist(), spans.of(days).tolist(), strict=True):
        assert 0 <= place < len(spans)
        assert spans.edges[place] <= day < spans.edges[place + 1]
        assert (EPOCH + timedelta(days=day)).isoformat()[: len(spans.labels[place])] >= spans.labels[place]
    ticks = spans.ticks()
    assert 1 <= len(ticks) <= 9
    assert all(0 < tick.percent < 100 for tick in ticks)
    places = [tick.percent for tick in ticks]
    assert places == sorted(places)
    assert all(after - before > 5 for before, after in pairwise(places))
    assert ((spans.edges[:-1] <= spans.middles) & (spans.middles < spans.edges[1:])).all()
