import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest

from lake.errors import TryAgainError
from lake.layout import Lake, safe_name
from lake.storage import Storage


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    url = str(tmp_path / "lake") if request.param == "local" else f"memory://{tmp_path.name}"
    return Storage(url)


def test_what_was_written_is_read_and_listed(storage: Storage) -> None:
    storage.write("a/b", b"1")
    storage.write("a/b", b"2")
    storage.write("c", b"3")
    assert storage.read("a/b") == b"2"
    assert storage.list_keys() == ["a/b", "c"]
    assert storage.below("a").list_keys() == ["b"]
    assert storage.read_or_none("nothing") is None
    assert not storage.write_if_changed("c", b"3")
    storage.remove("c")
    storage.remove("c")
    assert not storage.exists("c")


def test_only_the_first_creates(storage: Storage) -> None:
    assert storage.create("claim", b"first")
    assert not storage.create("claim", b"second")
    assert storage.read("claim") == b"first"


def test_a_failed_write_leaves_what_stood_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path)
    storage.write("key", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TryAgainError, match=r"key: the disk \(or your quota\) is full .* type the same command again"):
        storage.write("key", b"new")
    with pytest.raises(TryAgainError, match="is full"):
        storage.append("log", b"line\n")
    monkeypatch.undo()
    assert storage.read("key") == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name != "log"] == ["key"], "no remains beside it"


def test_a_name_is_one_path_component(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    assert safe_name("../x y") == "..%2Fx%20y"
    assert safe_name("..") == "%2E%2E"
    assert lake.output("spectrograms", "a/b").root == f"{tmp_path}/spectrograms/a%2Fb.zarr"
    assert lake.output("models", "m").root == f"{tmp_path}/models/m"


def test_a_disk_without_links_still_has_one_who_creates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", cannot)
    storage = Storage(tmp_path)
    assert storage.create("claim", b"first")
    assert not storage.create("claim", b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("name", ["write", "create", "append", "remove", "remove_unfinished"])
def test_whatever_cannot_be_changed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    storage = Storage(tmp_path)
    storage.write("key", b"old")
    (tmp_path / ".key.1234abcd.aside").write_bytes(b"ne")
    before = sorted(tmp_path.iterdir())
    args = {"remove": ["key"], "remove_unfinished": []}.get(name, ["key", b"new"])

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for module, function in ((Path, "open"), (Path, "replace"), (os, "link"), (storage.fs, "rm_file")):
        monkeypatch.setattr(module, function, refuse)
    with pytest.raises(
        TryAgainError, match=r"cannot be written \(.*\). What was written before is whole. Make the fol"
    ):
        getattr(storage, name)(*args)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == before
    assert storage.read("key") == b"old"


def test_what_a_killed_write_left_is_removed_and_nothing_else(storage: Storage) -> None:
    storage.write("a/key", b"whole")
    left = [Path(storage.path(f"{folder}.key.1234abcd.aside")) for folder in ("", "a/") if storage.is_local]
    for path in left:
        path.write_bytes(b"wh")
    storage.remove_unfinished()
    assert not [path for path in left if path.exists()]
    assert storage.list_keys() == ["a/key"]
    storage.below("nowhere").remove_unfinished()


def test_what_may_still_be_written_is_left(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    old, young = tmp_path / ".1234abcd.aside", tmp_path / ".5678abcd.aside"
    for path, age_s in ((old, 700), (young, 500)):
        path.write_bytes(b"ha")
        os.utime(path, (time.time() - age_s,) * 2)
    storage.remove_unfinished(least_age_s=600)
    assert [path.exists() for path in (old, young)] == [False, True]
    storage.remove_unfinished()
    assert not young.exists()


@pytest.mark.parametrize("n_bytes", [2**20 - 1, 2**20, 3 * 2**20 + 4097])
@pytest.mark.parametrize("refusal", [None, errno.ESPIPE, errno.ENOSYS])
def test_large_files_are_whole_where_the_disk_takes_no_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int, refusal: int | None
) -> None:
    data = np.random.default_rng(0).integers(0, 256, n_bytes, dtype=np.uint8).data

    def refuse(*_: int) -> None:
        raise OSError(refusal, "refused")

    if refusal:
        monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    storage = Storage(tmp_path)
    storage.write("key", data)
    assert storage.read("key") == data


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice on its cache")
def test_only_large_files_leave_the_page_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advised: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _handle, *advice: advised.append(advice))
    storage = Storage(tmp_path)
    storage.write("small", bytes(2**20 - 1))
    assert advised == []
    storage.write("large", bytes(2**20))
    assert advised == [(0, 0, os.POSIX_FADV_DONTNEED)]


def test_a_link_shares_a_file_until_one_of_them_is_replaced(tmp_path: Path) -> None:
    one, other = Storage(tmp_path / "one"), Storage(tmp_path / "other")
    one.write("a/key", b"held")
    assert not other.link("b/key", one, "a/key", b"another"), "the source is not what was read"
    assert other.list_keys() == []
    assert other.link("b/key", one, "a/key", b"held")
    assert other.link("b/key", one, "a/key", b"held"), "a second time nothing is done"
    assert (tmp_path / "other/b/key").samefile(tmp_path / "one/a/key")
    one.write("a/key", b"grown")
    assert other.read("b/key") == b"held"
    assert not list(tmp_path.rglob(".*")), "nothing is left aside"


def test_what_cannot_be_linked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Storage(tmp_path / "one"), Storage(tmp_path / "other")
    one.write("file", b"held")
    (tmp_path / "one/link").symlink_to(tmp_path / "one/file")
    assert not other.link("key", one, "link", b"held"), "a link may lead anywhere"
    assert not Storage(f"memory://{tmp_path.name}").link("key", one, "file", b"held")

    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    assert not other.link("key", one, "file", b"held")
    assert other.list_keys() == []
