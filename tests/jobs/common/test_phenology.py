"""Pictures of phenology: what is drawn, read from matplotlib's own objects, and names and places of every kind."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jobs.common.phenology import MOST_SITES, pictures
from lake.query.phenology import Phenology


def one(
    n_days: int = 5, site: str = "creek", latitude: float = 41.8, longitude: float = -88.0, *, sound: str = "wren",
    offset_s: int = -18_000, scale: int = 1, first: str = "2021-06-01", kind: str = "day",
) -> Phenology:  # fmt: skip
    """Return a sound of six in the morning, on days of which the second was not recorded."""
    effort = np.full((24, n_days), 60)
    found = np.zeros((24, n_days), np.int64)
    found[6] = 6 * scale
    if n_days > 1:
        effort[:, 1] = found[:, 1] = 0
    day = np.datetime64(first, "D")
    counts = pd.DataFrame({"kind": [kind, "hour", kind], "period": [str(day), "06", "(local time unknown)"],
                           "n_windows": 1440, "estimate": 90.0, "low": 60.0, "high": 500.0 * scale})  # fmt: skip
    offsets = np.full(n_days, offset_s)
    return Phenology(sound, site, int(day.astype(int)), found, effort, offsets, latitude, longitude, counts)


def drawn(monkeypatch: pytest.MonkeyPatch, found: list[Phenology]) -> list[Any]:
    """Return the axes of the picture, three for each site and that of the scale."""
    figures: list[Figure] = []

    def kept(*args: Any, **more: Any) -> Figure:
        figures.append(Figure(*args, **more))
        return figures[-1]

    monkeypatch.setattr("jobs.common.phenology.Figure", kept)
    list(pictures(found, "windows recorded"))
    (figure,) = figures
    return list(figure.axes)


def test_all_bars_and_intervals_are_within_the_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, [one(scale=1), one(site="meadow", scale=8)])
    for by_hour, by_date in ((axes[1], axes[2]), (axes[4], axes[5])):
        assert by_hour.get_xlim()[0] == by_date.get_ylim()[0] == 0
        assert by_hour.get_xlim()[1] > 8 * 500 / 1440
        assert by_date.get_ylim()[1] > 8 * 500 / 1440
    assert axes[0].get_xlim()[1] - axes[0].get_xlim()[0] == 5


def test_sunrise_and_sunset_are_drawn_where_the_position_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, [one(), one(site="b", latitude=np.nan, longitude=np.nan)])
    rise, sunset = (patch.get_data().values for patch in axes[0].patches)
    assert 5 < rise[0] < 6
    assert 20 < sunset[0] < 21
    assert len(axes[3].patches) == 0
    assert "position unknown" in axes[3].get_title(loc="left")


@pytest.mark.parametrize(("longitude", "offset_h"), [(178.0, 12), (-171.8, 13), (-171.8, -11), (179.99, -12)])
def test_the_sun_of_the_date_line_rises_in_the_morning(
    monkeypatch: pytest.MonkeyPatch, longitude: float, offset_h: int
) -> None:
    axes = drawn(monkeypatch, [one(latitude=-14.0, longitude=longitude, offset_s=offset_h * 3600)])
    rise, sunset = (patch.get_data().values for patch in axes[0].patches)
    assert np.isfinite(rise).all()
    assert ((rise > 5) & (rise < 9) & (sunset > rise + 10)).all()


def test_a_summer_without_sunset_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, [one(latitude=69.65, longitude=18.96, offset_s=7200)])
    assert "none on 5 of 5 days" in axes[0].get_title(loc="left")


@pytest.mark.parametrize(("n_days", "kind"), [(1, "day"), (45, "day"), (730, "week"), (3000, "week")])
def test_any_length(n_days: int, kind: str) -> None:
    (data,) = pictures([one(n_days, kind=kind)], "windows heard")
    image = Image.open(io.BytesIO(data))
    assert image.width == 1210
    assert 300 < image.height < 600


def test_many_sites_are_drawn_in_several_pictures() -> None:
    assert len(list(pictures([one(1, site=str(i)) for i in range(MOST_SITES + 1)], "windows recorded"))) == 2


@pytest.mark.parametrize("name", ["=1+1", "a $x_1$ \\frac{1}", "two\nlines", "鳥の声", "x" * 500, ""])
def test_any_name(name: str) -> None:
    assert next(pictures([one(1, sound=name, site=name)], "windows recorded")).startswith(b"\x89PNG")
