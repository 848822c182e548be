import hashlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from pandas.testing import assert_frame_equal

from jobs.catalog.core import catalog
from jobs.catalog.examine import FileFacts, examine
from jobs.catalog.reading import examine_apart
from jobs.catalog.sources import survey
from jobs.catalog.zones import parsed_zones
from lake.errors import InputError
from lake.recordings import COLUMNS, PROBLEMS, is_usable, read_recordings, write_recordings

RATE = 8000


def sound(path: Path, seed: int = 0, *, n_samples: int = 800, n_channels: int = 1) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(-9000, 9000, (n_samples, n_channels)).astype(np.int16)
    soundfile.write(path, values, RATE)
    return path.read_bytes()


def table_of(folder: Path, zones: Mapping[str, str] | None = None, **options: Any) -> pd.DataFrame:
    """Catalogue a folder, examining files in this process."""
    options = {"examine_one": examine} | options
    return catalog(survey([folder]), zones=parsed_zones(zones or {}), root=folder, **options)


def test_a_whole_row(tmp_path: Path) -> None:
    content = sound(tmp_path / "00023764/20210622_STUDY/20210622T000000-0500_REC [-27.3866 152.8761].wav", n_channels=2)
    table = table_of(tmp_path)
    assert tuple(table.columns) == COLUMNS
    row = table.loc[0].to_dict()
    assert pd.isna(row.pop("gain_db"))
    assert row == {
        "path": "00023764/20210622_STUDY/20210622T000000-0500_REC [-27.3866 152.8761].wav",
        "recorder": "00023764",
        "deployment": "",
        "start_utc": pd.Timestamp("2021-06-22T05:00"),
        "start_local": pd.Timestamp("2021-06-22"),
        "utc_offset": "-05:00",
        "time_source": "name",
        "time_conflict": "",
        "duration_s": 0.1,
        "sample_rate_hz": RATE,
        "n_channels": 2,
        "n_samples": 800,
        "format": "WAV/PCM_16",
        "sha256": hashlib.sha256(content).hexdigest(),
        "reading": "libsndfile",
        "problems": "FL004",
        "latitude": -27.3866,
        "longitude": 152.8761,
    }


def test_what_cannot_be_read_is_a_row_with_its_reason(tmp_path: Path) -> None:
    good = sound(tmp_path / "20210622T000000Z.wav")
    flac = sound(tmp_path / "20210622T000100Z.flac", 1, n_samples=20_000)
    (tmp_path / "20210622T000200Z.wav").touch()
    (tmp_path / "20210622T000300Z.wav").write_text("version https://git-lfs.github.com/spec/v1")
    (tmp_path / "20210622T000400Z.wav").write_bytes(good[:-600])
    (tmp_path / "20210622T000500Z.flac").write_bytes(flac[:-5000])
    (tmp_path / "20210622T000600Z.wav").write_bytes(good[:44])
    os.mkfifo(tmp_path / "20210622T000700Z.wav")
    (tmp_path / "20210622T000800Z.wav").symlink_to(tmp_path / "gone.wav")
    told: dict[str, str] = {}
    table = table_of(tmp_path, on_unreadable=told.__setitem__)
    assert table["problems"].tolist() == [
        "", "", "empty;OE004", "unreadable", "truncated", "truncated", "no_samples", "not_a_file", "unreadable",
    ]  # fmt: skip
    assert table["n_samples"].fillna(-1).tolist() == [800, 20_000, -1, -1, 500, 16_384, -1, -1, -1]
    assert table["duration_s"].fillna(-1).tolist() == [0.1, 2.5, -1, -1, 0.0625, 2.048, -1, -1, -1]
    assert is_usable(table).tolist() == [True, True, False, False, True, True, False, False, False]
    assert (table["reading"] == "").tolist() == table["n_samples"].isna().tolist()
    assert table["start_utc"].notna().all()
    assert (table["sha256"] == "").tolist() == [False] * 7 + [True] * 2
    assert sorted(told) == table["path"][~is_usable(table)].tolist()
    assert told["20210622T000200Z.wav"] == f"{tmp_path}/20210622T000200Z.wav: is empty (0 bytes)."
    write_recordings(table, tmp_path / "t.csv")
    assert_frame_equal(read_recordings(tmp_path / "t.csv"), table)


def test_times_without_a_zone_are_never_utc(tmp_path: Path) -> None:
    for i, name in enumerate(["20210622_050000.wav", "20211107_013000.wav", "20210314_023000.wav", "x.wav"]):
        sound(tmp_path / "R1" / name, i)
    table = table_of(tmp_path)
    assert table["start_utc"].isna().all()
    assert table["utc_offset"].tolist() == [""] * 4
    assert table["start_local"].notna().tolist() == [True] * 3 + [False]
    assert table["problems"].tolist() == ["zone_unknown;OE002"] * 3 + ["no_time;OE001"]
    placed = table_of(tmp_path, {"R1": "America/Chicago"})
    assert placed["start_utc"].tolist()[:3] == [
        pd.Timestamp(text) for text in ("2021-03-14T08:30", "2021-06-22T10:00", "2021-11-07T06:30")
    ]
    assert placed["utc_offset"].tolist() == ["-06:00", "-05:00", "-05:00", ""]
    assert placed["problems"].tolist() == ["local_time_skipped", "", "local_time_repeated", "no_time;OE001"]
    assert placed["time_source"].tolist() == ["name+zone"] * 3 + [""]


def test_an_offset_in_the_name_beats_the_zone(tmp_path: Path) -> None:
    sound(tmp_path / "00023764/20210622T000000+0000_REC.wav")
    sound(tmp_path / "00004862/20210622T000000-0500_Rec.wav", 1)
    table = table_of(tmp_path, {"": "America/Chicago"})
    assert table["start_utc"].tolist() == [pd.Timestamp("2021-06-22T05:00"), pd.Timestamp("2021-06-22")]
    assert table["time_conflict"].tolist() == ["", "America/Chicago is -05:00"]
    assert table["problems"].tolist() == ["", ""]


def test_the_second_of_two_same_files_is_not_used(tmp_path: Path) -> None:
    content = sound(tmp_path / "b" / "20210622T000000Z.wav")
    for name in ("a/20210622T000000Z.wav", "c/copy.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    for name in ("a/x.wav", "a/y.wav"):
        (tmp_path / name).touch()
    table = table_of(tmp_path)
    assert dict(zip(table["path"], table["problems"], strict=True)) == {
        "a/20210622T000000Z.wav": "",
        "a/x.wav": "empty;OE004;no_time;OE001",
        "a/y.wav": "empty;OE004;no_time;OE001",
        "b/20210622T000000Z.wav": "duplicate",
        "c/copy.wav": "no_time;OE001;duplicate",
    }


def test_a_file_that_cannot_be_read_to_its_end_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound(tmp_path / "20210622T000000Z.wav")

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", broken)
    told: dict[str, str] = {}
    table = table_of(tmp_path, on_unreadable=told.__setitem__)
    assert table[["reading", "sha256", "problems"]].to_numpy().tolist() == [["", "", "unreadable"]]
    assert told["20210622T000000Z.wav"].endswith("cannot be read to its end (Input/output error); check the disk.")


def test_a_name_that_is_no_text_is_a_row_and_not_used(tmp_path: Path) -> None:
    content = sound(tmp_path / "20210622T000000Z.wav")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/20210622T000100Z_h\xf6hle.wav"))).write_bytes(content)
    told: dict[str, str] = {}
    table = table_of(tmp_path, on_unreadable=told.__setitem__)
    assert table["path"].tolist() == ["20210622T000000Z.wav", r"20210622T000100Z_h\udcf6hle.wav"]
    assert table["problems"].tolist() == ["", "name_not_utf8"]
    assert told[r"20210622T000100Z_h\udcf6hle.wav"].endswith("the name is not UTF-8; rename the file.")
    write_recordings(table, tmp_path / "t.csv")
    assert_frame_equal(read_recordings(tmp_path / "t.csv"), table)


def test_workers_change_nothing_and_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.catalog.reading.BATCH_FILES", 3)
    for i in range(11):
        sound(tmp_path / f"R{i % 3}" / f"20210622T0000{i:02d}Z.{'flac' if i % 2 else 'wav'}", i % 7)
    steps: list[tuple[int, int]] = []
    one = table_of(tmp_path, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i + 1, 11) for i in range(11)]
    assert_frame_equal(table_of(tmp_path, workers=4), one)
    assert_frame_equal(table_of(tmp_path, workers=2, examine_one=examine_apart), one)
    assert one["path"].is_monotonic_increasing


def test_several_folders_share_a_root(tmp_path: Path) -> None:
    sound(tmp_path / "set1/A/20210622T000000Z.wav")
    sound(tmp_path / "set2/A/20210623T000000Z.wav", 1)
    both = survey([tmp_path / "set2", tmp_path / "set1"])
    table = catalog(both, zones={}, root=tmp_path, examine_one=examine)
    assert table["path"].tolist() == ["set1/A/20210622T000000Z.wav", "set2/A/20210623T000000Z.wav"]
    assert table["recorder"].tolist() == ["set1_A", "set2_A"]
    with pytest.raises(
        InputError, match=rf"{tmp_path}/set1 should hold all recordings, but .*set2/A/2021.* are elsewhere"
    ):
        catalog(both, zones={}, root=tmp_path / "set1", examine_one=examine)


def test_wrong_input_is_refused_before_any_file_is_read(tmp_path: Path) -> None:
    def unasked(*_: str) -> FileFacts:
        pytest.fail("a file was read")

    with pytest.raises(InputError, match=r"expected recordings .* found no files"):
        table_of(tmp_path)
    (tmp_path / "20210622_000000.wav").touch()
    with pytest.raises(InputError, match=r"zone 'America/Chicgo' is unknown: .*America/Chicago"):
        table_of(tmp_path, {"": "America/Chicgo"}, examine_one=unasked)
    with pytest.raises(InputError, match="no recording is in a folder of that name"):
        table_of(tmp_path, {"elsewhere": "UTC"}, examine_one=unasked)


def test_all_codes_are_explained(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    sound(tmp_path / "20210622_000000.wav")
    codes = set(";".join(table_of(tmp_path)["problems"]).split(";"))
    assert codes <= set(PROBLEMS)


def test_untimed_rows_keep_what_is_known(tmp_path: Path) -> None:
    sound(tmp_path / "REC [-27.3866 152.8761].wav")
    row = table_of(tmp_path).loc[0]
    assert (row["latitude"], row["longitude"], row["time_source"], row["problems"]) == (
        -27.3866,
        152.8761,
        "",
        "no_time;OE001",
    )
    assert row["start_utc"] is pd.NaT
    assert datetime(2021, 1, 1) not in table_of(tmp_path)["start_local"].tolist()
