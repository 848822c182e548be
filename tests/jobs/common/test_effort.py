from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.common.effort import daily_effort, draw_effort
from lake.errors import InputError
from lake.recordings import make_recordings


def row(recorder: str, start: str, hours: float, problems: str = "", reading: str = "libsndfile") -> dict[str, object]:
    return {
        "path": f"{recorder}/{start}{problems}.wav", "recorder": recorder, "start_utc": datetime.fromisoformat(start),
        "duration_s": hours * 3600, "n_samples": 10, "reading": reading, "problems": problems,
    }  # fmt: skip


ROWS = [
    row("B", "2021-06-22T00:00", 2.0), row("B", "2021-06-22T23:00", 3.0), row("A", "2021-06-24T05:00", 1.0, "clipped"),
    row("A", "2021-06-24T06:00", 1.0, "empty", reading=""), row("A", "1970-01-01T00:00", 1.0, "clock_reset"),
]  # fmt: skip


def test_hours_and_problems_by_recorder_and_day() -> None:
    recorders, days, hours, problems = daily_effort(make_recordings(ROWS))
    assert recorders == ["A", "B"]
    assert days.tolist() == np.arange("2021-06-22", "2021-06-25", dtype="datetime64[D]").tolist()
    assert hours.tolist() == [[0, 0, 1], [5, 0, 0]]
    assert problems.tolist() == [[0, 0, 2], [0, 0, 0]]


def test_the_picture_is_the_same_each_time(tmp_path: Path) -> None:
    draw_effort(make_recordings(ROWS), tmp_path / "a.png")
    draw_effort(make_recordings(ROWS[::-1]), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert daily_effort(make_recordings([]))[0] == []
    with pytest.raises(InputError, match=r"a\.png: no recording has a time in UTC.*Name zones"):
        draw_effort(make_recordings([]), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", ["site $5_{ $ north", "点" * 80, "a\nb\x1b[31m", "^_\\frac$$", "x" * 250])
def test_any_recorder_can_be_drawn(tmp_path: Path, name: str) -> None:
    draw_effort(make_recordings([row(name, "2021-06-22T00:00", 2.0)]), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("n_days", [1, 40, 365, 6 * 365, 10 * 365])
def test_few_recordings_in_many_years_can_be_seen(tmp_path: Path, n_days: int) -> None:
    """Two days of years are at least 0.5 % of the picture's width each, and no hairlines."""
    last = np.datetime64("2015-03-02") + np.timedelta64(n_days - 1, "D")
    rows = [row("A", "2015-03-02T05:00", 2.0), row("B", f"{last}T05:00", 2.0)]
    draw_effort(make_recordings(rows), tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    deepest = (np.abs(pixels - (8, 29, 88)).max(axis=2) < 12)[:, : int(0.85 * pixels.shape[1])]
    lines = deepest[deepest.sum(axis=1) > 4]
    assert len(lines) > 20
    assert np.median(lines.sum(axis=1)) > 0.005 * pixels.shape[1]
