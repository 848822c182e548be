"""What is the same recording: by bytes, by start, and by samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from jobs.catalog import reading
from jobs.catalog.command import run_catalog
from jobs.catalog.examine import examine
from lake.recordings import is_usable, read_recordings

RATE, N = 8000, 16_000


def sound(seed: int = 0, n_channels: int = 1) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-9000, 9000, (N, n_channels)).astype(np.int16)


def put(folder: Path, name: str, samples: NDArray[Any], **options: Any) -> None:
    path = folder / "audio" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, **options)


def table_of(folder: Path) -> pd.DataFrame:
    run_catalog([folder / "audio"], folder / "recordings.csv", zones={"": "UTC"}, examine_one=examine)
    return read_recordings(folder / "recordings.csv").set_index("path")


@pytest.mark.parametrize(("level", "code"), [(0, "all_zero"), (700, "constant"), (1, "constant")])
def test_silent_recordings_of_several_starts_are_several(tmp_path: Path, level: int, code: str) -> None:
    for name in ("A/20210622_050000.wav", "A/20210622_060000.wav", "B/20210622_050000.wav", "B/20210622_050000a.wav"):
        put(tmp_path, name, np.full(N, level, np.int16))
    table = table_of(tmp_path)
    assert table["problems"].to_dict() == {
        "A/20210622_050000.wav": code,
        "A/20210622_060000.wav": code,
        "B/20210622_050000.wav": code,
        "B/20210622_050000a.wav": f"{code};duplicate",
    }
    assert int(is_usable(table).sum()) == 3


def test_a_copy_under_another_start_is_not_used_and_both_are_named(tmp_path: Path) -> None:
    for name in ("A/20210622_050000.wav", "A/20210622_060000.wav", "B/20210622_050000.wav", "B/x.wav"):
        put(tmp_path, name, sound())
    table = table_of(tmp_path)
    assert table["problems"].to_dict() == {
        "A/20210622_050000.wav": "start_disputed",
        "A/20210622_060000.wav": "duplicate;start_disputed",
        "B/20210622_050000.wav": "duplicate",
        "B/x.wav": "no_time;OE001;duplicate",
    }


SAME = [
    ("flac", sound(), {}),
    ("FLAC", sound(), {"format": "FLAC"}),
    ("w64", sound(), {}),
    ("aiff", sound(), {"subtype": "PCM_24"}),
    ("caf", sound().astype(np.float32) / 32768, {"subtype": "FLOAT"}),
]
OTHER: list[tuple[str, NDArray[np.int16], dict[str, str]]] = [
    ("mp3", sound(), {}),
    ("flac", sound(n_channels=2), {}),
    ("flac", sound(3), {}),
    ("flac", sound()[:-1], {}),
]


@pytest.mark.parametrize(("suffix", "samples", "options"), SAME)
def test_the_same_samples_in_another_format(
    tmp_path: Path, suffix: str, samples: NDArray[Any], options: dict[str, str]
) -> None:
    put(tmp_path, "A/20210622_050000.wav", sound())
    put(tmp_path, f"A/20210622_050000.{suffix}", samples, **options)
    table = table_of(tmp_path)
    assert table.loc["A/20210622_050000.wav", "problems"] == ""
    assert table.loc[f"A/20210622_050000.{suffix}", "problems"] == "same_sound"


@pytest.mark.parametrize(("suffix", "samples", "options"), OTHER)
def test_other_samples_overlap(tmp_path: Path, suffix: str, samples: NDArray[Any], options: dict[str, str]) -> None:
    put(tmp_path, "A/20210622_050000.wav", sound())
    put(tmp_path, f"A/20210622_050000.{suffix}", samples, **options)
    problems = sorted(table_of(tmp_path)["problems"])
    if samples.shape[0] == N and suffix != "mp3":
        assert problems == ["", "overlap"]
    assert not any("same_sound" in cell for cell in problems)


def test_files_without_a_time_are_compared_by_name(tmp_path: Path) -> None:
    put(tmp_path, "A/one.wav", sound())
    put(tmp_path, "A/one.flac", sound())
    put(tmp_path, "A/two.flac", sound())
    table = table_of(tmp_path)
    assert [path for path, cell in table["problems"].items() if "same_sound" in cell] == ["A/one.flac"]


def test_samples_are_compared_only_once_and_only_where_they_may_be_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "A/20210622_050000.wav", sound())
    put(tmp_path, "A/20210622_050000.flac", sound())
    put(tmp_path, "A/20210622_060000.wav", sound(5))
    before = table_of(tmp_path)

    monkeypatch.setattr(reading, "this_decoder", _Refusing)
    assert table_of(tmp_path).equals(before)


class _Refusing:
    def call(self, *_: object, **__: object) -> None:
        raise AssertionError("no samples were to be read")

    def kill(self) -> None:
        """Do nothing."""
