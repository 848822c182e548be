"""Files at places that a user names: what others wrote is kept."""

import hashlib
import json
from pathlib import Path

import pytest

from lake.errors import StoreError, UsageError
from lake.outputs import RECORD, refuse_others, write_outputs
from lake.storage import Storage


def test_what_was_written_may_be_written_again_and_what_was_changed_may_not(tmp_path: Path) -> None:
    write_outputs(tmp_path, {"a.csv": b"one", "deep/b.csv": b"two"})
    write_outputs(tmp_path, {"a.csv": b"three"})
    assert (tmp_path / "a.csv").read_bytes() == b"three"
    (tmp_path / "a.csv").write_bytes(b"by hand")
    with pytest.raises(UsageError, match=r"--out: expected no file there.*\n  .*a\.csv\n.*--force") as caught:
        write_outputs(tmp_path, {"a.csv": b"four", "deep/b.csv": b"five"})
    assert "deep" not in str(caught.value), "that one is ours"
    assert (tmp_path / "a.csv").read_bytes() == b"by hand"
    assert (tmp_path / "deep/b.csv").read_bytes() == b"two", "nothing is written"
    write_outputs(tmp_path, {"a.csv": b"four"}, force=True)
    assert (tmp_path / "a.csv").read_bytes() == b"four"
    write_outputs(tmp_path, {"a.csv": b"five"})


@pytest.mark.parametrize("there", ["a file", "a folder", "a link", "a table of an earlier release"])
def test_what_others_wrote_is_kept(tmp_path: Path, there: str) -> None:
    target = tmp_path / "x.csv"
    if there == "a folder":
        target.mkdir()
    elif there == "a link":
        (tmp_path / "mine").write_bytes(b"mine")
        target.symlink_to(tmp_path / "mine")
    else:
        target.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"x\.csv"):
        write_outputs(tmp_path, {"x.csv": b"new"}, option="--audio")
    with pytest.raises(UsageError, match="--audio"):
        refuse_others(tmp_path, ["x.csv"], option="--audio")
    assert not (tmp_path / RECORD).exists()


def test_the_same_bytes_are_nobodys_loss(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"same")
    (tmp_path / "empty.csv").write_bytes(b"")
    write_outputs(tmp_path, {"x.csv": b"same", "empty.csv": b"new"})
    write_outputs(tmp_path, {"x.csv": b"other", "empty.csv": b"other"})


def test_a_link_is_replaced_by_force_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "x.csv").symlink_to(tmp_path / "mine")
    write_outputs(tmp_path, {"x.csv": b"new"}, force=True)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert (tmp_path / "x.csv").read_bytes() == b"new"


@pytest.mark.parametrize("n_writes", range(5))
def test_killed_at_any_write_the_next_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_writes: int
) -> None:
    write_outputs(tmp_path, {"a": b"1", "b": b"1"})
    done: list[str] = []
    write = Storage.write

    def dying(self: Storage, key: str, data: bytes | memoryview) -> None:
        if len(done) == n_writes:
            raise KeyboardInterrupt
        done.append(key)
        write(self, key, data)

    monkeypatch.setattr(Storage, "write", dying)
    if n_writes < 4:
        with pytest.raises(KeyboardInterrupt):
            write_outputs(tmp_path, {"a": b"2", "b": b"2"})
    monkeypatch.undo()
    write_outputs(tmp_path, {"a": b"3", "b": b"3"})
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"3", b"3")


@pytest.mark.parametrize(
    "damage", ["", "[]", "{", '{"files": 3}', '{"files": {"x.csv": 7}}', '{"files": {"x.csv": [null]}}']
)
def test_a_damaged_record_lets_nothing_be_replaced(tmp_path: Path, damage: str) -> None:
    write_outputs(tmp_path, {"x.csv": b"old"})
    (tmp_path / RECORD).write_text(damage)
    with pytest.raises(UsageError, match=r"x\.csv"):
        write_outputs(tmp_path, {"x.csv": b"new"})


def test_the_record_lists_digests(tmp_path: Path) -> None:
    write_outputs(tmp_path, {"x.csv": b"old"})
    write_outputs(tmp_path, {"x.csv": b"new"})
    assert json.loads((tmp_path / RECORD).read_text())["files"] == {"x.csv": [hashlib.sha256(b"new").hexdigest()]}


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x", "a\\..\\..\\x", "C:\\x", "a//b", "./a", "x\0"])
@pytest.mark.parametrize("force", [False, True])
def test_no_key_leads_out(tmp_path: Path, key: str, force: bool) -> None:
    with pytest.raises(StoreError):
        write_outputs(tmp_path / "out", {"fine": b"", key: b"out"}, force=force)
    assert not (tmp_path / "out").exists()
