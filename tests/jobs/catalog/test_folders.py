import os
from pathlib import Path

import pytest

from jobs.catalog.folders import PassedOver, find_files
from jobs.common.audio.suffixes import AUDIO_SUFFIXES
from lake.errors import InputError


def touch(top: Path, *names: str) -> None:
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(top: Path, *given: str) -> list[str]:
    return [path.relative_to(top).as_posix() for path in find_files([top / name for name in given or [""]]).recordings]


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


def test_a_file_may_be_named_and_links_to_folders_are_not_followed_but_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav", "c/.x/3.wav")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "link.wav").symlink_to(tmp_path / "b" / "2.wav")
    (tmp_path / "a" / ".hidden").symlink_to(tmp_path, target_is_directory=True)
    assert found(tmp_path, "a") == ["a/1.wav", "a/link.wav"]
    assert found(tmp_path, "b/2.wav") == ["b/2.wav"]
    passed = find_files([tmp_path / "a"]).passed
    assert passed.links == {f"{tmp_path}/a/loop": str(tmp_path)}
    assert list(passed.messages()) == [
        f"1 link to a folder is not followed: {tmp_path}/a/loop -> {tmp_path}. Name a linked folder itself to list it."
    ]
    assert find_files([tmp_path / "b"]).passed == PassedOver()


def test_a_folder_of_links_alone_says_so_and_a_link_that_is_named_is_followed(tmp_path: Path) -> None:
    touch(tmp_path, "disk2/AM08/1.wav")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "AM08").symlink_to(tmp_path / "disk2" / "AM08")
    with pytest.raises(InputError, match=r"found no files\. Name the folder(?s:.*)1 link to a folder is not followed"):
        find_files([tmp_path / "audio"])
    assert found(tmp_path, "audio/AM08") == ["audio/AM08/1.wav"]


def test_files_that_may_hold_sound_are_counted_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.MP4", "c.mp4", "d/e.mka", "f.txt", ".g.mp4", "h.mov.txt")
    passed = find_files([tmp_path]).passed
    assert passed.suffixes == {".mp4": 2, ".mka": 1}
    assert list(passed.messages()) == [
        "files that may hold sound and are not read: 1 .mka, 2 .mp4. Convert them to WAV or FLAC to list them."
    ]


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.txt", "a/b/2.txt", "a/3.JPG", "a/README", "c/1.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        find_files([tmp_path / "a", tmp_path / "c", tmp_path / "empty", tmp_path / "none"])
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

    refused = r"1 folder cannot be listed: .*/b \(Permission denied\)\. Make them readable"
    with monkeypatch.context() as patch:  # pytest lists folders too, to remove them
        patch.setattr(os, "scandir", forbidden)
        listing = find_files([tmp_path])
        with pytest.raises(InputError, match=refused):
            find_files([tmp_path / "b"])
    assert [path.name for path in listing.recordings] == ["1.wav"], "the others are listed"
    assert listing.passed.unlisted == {f"{tmp_path}/b": "Permission denied"}
