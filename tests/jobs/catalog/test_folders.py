import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.catalog.folders import AUDIO_SUFFIXES, find_recordings, name_recorders
from jobs.catalog.names import parse_name
from lake.errors import InputError


def touch(top: Path, *names: str) -> None:
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(top: Path, *given: str) -> list[str]:
    return [path.relative_to(top).as_posix() for path in find_recordings([top / name for name in given or [""]])]


def recorders(files: Sequence[str], given: Sequence[str] = ("/audio",)) -> list[str]:
    paths = [Path(file) for file in files]
    return name_recorders(paths, [parse_name(path).recorder for path in paths], [Path(folder) for folder in given])


def test_recordings_are_found_by_suffix_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.WAV", "b/10.wav", "a.flac", "b/notes.txt", "b/c/d/e.Mp3", "wav", "no.wav.csv")
    assert found(tmp_path) == ["a.flac", "b/10.wav", "b/2.WAV", "b/c/d/e.Mp3"]


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
def test_each_suffix_counts(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, f"a{suffix}")
    assert found(tmp_path) == [f"a{suffix}"]


def test_hidden_files_and_what_systems_leave_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "._a.wav", ".trash/b.wav", "System Volume Information/c.wav", "$RECYCLE.BIN/d.wav", ".wav")
    assert found(tmp_path) == ["a.wav"]


def test_folders_that_overlap_give_each_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "a/b/2.wav", "c/3.wav")
    assert found(tmp_path, "a/b", "a", "a/../a/b", "a/b/2.wav") == ["a/1.wav", "a/b/2.wav"]


def test_a_file_may_be_named_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "link.wav").symlink_to(tmp_path / "b" / "2.wav")
    assert found(tmp_path, "a") == ["a/1.wav", "a/link.wav"]
    assert found(tmp_path, "b/2.wav") == ["b/2.wav"]


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.txt", "a/b/2.txt", "a/3.JPG", "a/README", "c/1.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        find_recordings([tmp_path / "a", tmp_path / "c", tmp_path / "empty", tmp_path / "none"])
    lines = str(caught.value).splitlines()
    expected = f"expected recordings (names ending in {' '.join(AUDIO_SUFFIXES)}, in any case), found"
    assert lines == [
        f"{tmp_path}/a: {expected} 1 .jpg, 2 .txt, 1 without a suffix. Name the folder that holds them.",
        f"{tmp_path}/empty: {expected} no files. Name the folder that holds them.",
        f"{tmp_path}/none: expected a folder of recordings, found nothing there.",
    ]


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav")
    scandir = os.scandir

    def forbidden(path: str) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(InputError, match=r"/b: cannot be listed \(Permission denied\). Make it readable\.$"):
        find_recordings([tmp_path])


def test_the_recorder_is_the_folder_above_the_dates() -> None:
    files = [
        "/audio/set1/00023764/20210622_STUDY/20210622T000000+0000_REC.wav",
        "/audio/set2/00004862/20210721_STUDY/20210721T063137-0500_Rec.wav",
        "/audio/00023788/20210714_schedule/20210714_000000.wav",
        "/audio/AM7/20231231/20231231_120000.WAV",
        "/audio/AM8/2023-12-31/20231231_120000.WAV",
        "/audio/R9/20230101_STUDY/20230102/20230102_000000.wav",
        "/audio/SM4_S4A03895/S4A03895_20190522_050000.flac",
    ]
    assert recorders(files) == ["00023764", "00004862", "00023788", "AM7", "AM8", "R9", "SM4_S4A03895"]


def test_folders_that_only_look_like_dates_are_recorders() -> None:
    files = ["/audio/20211301/a.wav", "/audio/00023764/a.wav", "/audio/2021/a.wav", "/audio/20210622STUDY/a.wav"]
    assert recorders(files) == ["20211301", "00023764", "2021", "20210622STUDY"]


def test_folders_that_say_nothing_are_passed_over_below_the_given_one() -> None:
    assert recorders(["/audio/WALDEN/Data/WALDEN_20240601_140505.wav"]) == ["WALDEN"]
    assert recorders(["/home/audio/1.wav"], ["/home/audio"]) == ["audio"]
    assert recorders(["/R7/20210622_STUDY/20210622_000000.wav"], ["/R7/20210622_STUDY"]) == ["R7"]
    assert recorders(["/20210622/20210622_000000.wav"], ["/20210622"]) == ["20210622"]
    assert recorders(["/1.wav"], ["/"]) == ["root"]
    assert recorders(["/audio/ /1.wav"]) == ["root"]


def test_one_prefix_in_a_folder_does_not_change_the_recorder() -> None:
    files = ["/audio/R1/S4A03895_20190522_050000.flac", "/audio/R1/S4A03895_20190522_053000.flac", "/audio/R1/x.wav"]
    assert recorders(files) == ["R1"] * 3


def test_several_prefixes_in_a_folder_are_the_recorders() -> None:
    files = [
        "/audio/flat/S4A03895_20190522_050000.flac",
        "/audio/flat/S4U09523_20190522_050000.flac",
        "/audio/flat/24A04F085FDF2793_20231231_120000.WAV",
        "/audio/flat/20231231_120000.WAV",
        "/audio/other/S4A03895_20190522_050000.flac",
    ]
    assert recorders(files) == ["S4A03895", "S4U09523", "24A04F085FDF2793", "flat", "other"]


def test_dated_folders_of_one_recorder_are_looked_at_together() -> None:
    files = ["/audio/flat/20190522/A_20190522_050000.wav", "/audio/flat/20190523/B_20190523_050000.wav"]
    assert recorders(files) == ["A", "B"]
