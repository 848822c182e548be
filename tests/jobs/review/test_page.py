"""The folder of a page: what is in it, what it refuses, and that it is there as a whole or not at all."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reviews import BATCH, all_rows, make_page

from jobs.review import page as pages
from jobs.review.pictures import SIDE_SHARE, steps_aside, with_sides
from jobs.review.windows import open_windows
from jobs.runner.manifest import read_manifest
from lake.errors import InputError
from lake.grid import Grid
from lake.sounds import SPEECH
from lake.tables import make_table
from lake.verdicts import COLUMNS, add_verdicts

ODD = "<script>alert(1)</script>&'2'\"</script>"


def data_of(folder: Path) -> dict[str, object]:
    text = (folder / "data.js").read_text(encoding="utf-8")
    return dict(json.loads(text[len("reviewData(") : -len(");\n")]))


def test_a_page_has_all_that_it_asks_for(whole: Path, tmp_path: Path) -> None:
    done = make_page(tmp_path / "page", whole)
    assert (done.n_windows, done.n_with_sound, list(done.notes)) == (12, 12, [])
    data = data_of(tmp_path / "page")
    assert data["batch"] == BATCH
    windows = data["windows"]
    assert isinstance(windows, list)
    for i, window in enumerate(windows):
        assert window["draw"] == i
        assert (tmp_path / "page" / window["picture"]).stat().st_size > 50
        assert (tmp_path / "page" / window["sound"]).read_bytes()[:4] == b"OggS"
        assert len(window["digest"]) > 8
    assert done.n_bytes == sum(path.stat().st_size for path in (tmp_path / "page").rglob("*") if path.is_file())
    html = (tmp_path / "page/index.html").read_text()
    keys = re.findall(r'(?:src|href)="([^"#]+)"', html)
    assert {"review.css", "data.js"} <= set(keys)
    assert all((tmp_path / "page" / key).is_file() for key in keys if not key.startswith("data:"))
    assert "default-src 'none'" in unescape(html)
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_windows_are_shown_in_drawn_order(whole: Path, tmp_path: Path) -> None:
    windows = open_windows(read_manifest(whole))
    rows = all_rows(windows, 6).assign(draw=[50, 3, 70, 1, 0, 9], score=[0.1, np.nan, 0.3, 0.4, 0.5, 0.6])
    make_page(tmp_path / "page", whole, rows=rows)
    found = data_of(tmp_path / "page")["windows"]
    assert isinstance(found, list)
    assert [window["draw"] for window in found] == [0, 1, 3, 9, 50, 70]
    assert [window["score"] for window in found] == [0.5, 0.4, None, 0.6, 0.1, 0.3]
    times = rows.sort_values("draw")["time_utc"]
    assert [pd.Timestamp(window["time_utc"]).tz_localize(None) for window in found] == list(times)


def test_the_same_windows_are_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 3)):
        make_page(tmp_path / name, whole, n=20, workers=workers)
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_without_recordings_there_is_a_page_that_says_so(manifest: Path, tmp_path: Path) -> None:
    shutil.rmtree(manifest.parent / "audio")
    done = make_page(tmp_path / "page", manifest)
    assert done.n_with_sound == 0
    assert "recordings were not at hand" in done.notes[0]
    assert not (tmp_path / "page/sounds").exists()
    assert make_page(tmp_path / "quiet", manifest, audio=False).notes == ["Sound was left out on purpose."]


def test_one_recording_that_is_gone_costs_no_other(manifest: Path, tmp_path: Path) -> None:
    gone = min((manifest.parent / "audio/a").iterdir())
    gone.write_bytes(b"RIFF")
    done = make_page(tmp_path / "page", manifest, n=None)
    assert 0 < done.n_with_sound < done.n_windows
    assert "have no sound" in done.notes[0]


def test_no_folder_is_written_over(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep")
    with pytest.raises(InputError, match="expected no folder, or an empty one"):
        make_page(tmp_path / "full", whole)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert make_page(tmp_path / "empty", whole).n_windows == 12


def test_a_page_that_fails_leaves_nothing(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(pages, "script", fail)
    with pytest.raises(OSError, match="No space"):
        make_page(tmp_path / "page", whole)
    assert list(tmp_path.iterdir()) == []


def test_all_windows_that_do_not_exist_are_named(whole: Path, tmp_path: Path) -> None:
    rows = all_rows(open_windows(read_manifest(whole)), 4)
    late = rows["time_utc"] + pd.to_timedelta([0, 0, 1, 0], unit="ms")
    window_s = rows["duration_s"].tolist()[:3]
    rows = rows.assign(recorder=["a", "nobody", "a", "a"], time_utc=late, duration_s=[*window_s, 99.0])
    with pytest.raises(InputError) as caught:
        make_page(tmp_path / "page", whole, rows=rows)
    for said in ("3 windows", "draw 1: recorder 'nobody'", "draw 2: recorder", "draw 3: expected a window of"):
        assert said in str(caught.value)
    with pytest.raises(InputError, match="found none"):
        make_page(tmp_path / "page", whole, rows=rows[:0])
    with pytest.raises(InputError, match="found none"):
        make_page(tmp_path / "page", whole, sounds=[])


def test_what_a_study_calls_its_sounds_is_never_markup(whole: Path, tmp_path: Path) -> None:
    make_page(tmp_path / "page", whole, batch_id=ODD, sounds=[ODD], known=[ODD])
    assert "<" not in (tmp_path / "page/data.js").read_text()
    assert data_of(tmp_path / "page")["sounds"] == [ODD]
    assert "<script>alert" not in (tmp_path / "page/index.html").read_text()


def test_windows_of_speech_are_on_no_page(manifest: Path, tmp_path: Path) -> None:
    windows = open_windows(read_manifest(manifest))
    rows = all_rows(windows, 12)
    spoken = rows.loc[5]
    verdict = {
        "recorder": spoken["recorder"], "time_utc": spoken["time_utc"], "duration_s": spoken["duration_s"],
        "sound": SPEECH, "verdict": "yes", "reviewer": "Ana", "decided_at": pd.Timestamp("2026-01-02"),
    }  # fmt: skip
    add_verdicts(windows.run.lake, make_table([verdict], COLUMNS))
    done = make_page(tmp_path / "page", manifest)
    found = data_of(tmp_path / "page")["windows"]
    assert isinstance(found, list)
    shown = [window["draw"] for window in found]
    assert 5 not in shown
    assert not (tmp_path / "page" / pages.picture_key(5)).exists()
    assert done.n_windows == len(shown) < 12
    assert "marked as speech" in done.notes[0]
    with pytest.raises(InputError, match="all 1 were marked as speech"):
        make_page(tmp_path / "none", manifest, rows=rows[5:6])


@pytest.mark.parametrize("hop_ms", [1_000, 2_000, 3_000, 4_000, 6_000, 12_000])
def test_what_is_beside_a_window_is_the_time_around_it(hop_ms: int) -> None:
    """A slow twin: frame by frame, the frame of the time it stands at, or nothing."""
    grid, n_frames = Grid(0, 86_400_000, 6_000, hop_ms), 48
    step_ms = 6_000 // n_frames
    first = 20 * hop_ms
    cell = {at: np.array([[1 + (at + i * step_ms) // step_ms % 200 for i in range(n_frames)]], np.uint8)
            for at in range(first - 12_000 - 6 * hop_ms, first + 12_000 + 6 * hop_ms, hop_ms)}  # fmt: skip
    step = steps_aside(grid) * hop_ms
    wide = with_sides(cell[first], cell[first - step], cell[first + step], grid)[0]
    n_side = round(SIDE_SHARE * n_frames)
    assert len(wide) == n_frames + 2 * n_side
    for i, code in enumerate(wide):
        at = first + (i - n_side) * step_ms
        is_covered = hop_ms <= 6_000 or 0 <= i - n_side < n_frames
        assert code == (1 + at // step_ms % 200 if is_covered else 0), i
    alone = with_sides(cell[first], None, None, grid)[0]
    assert (alone[:n_side] == 0).all()
    assert (alone[-n_side:] == 0).all()
