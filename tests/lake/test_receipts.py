import json
import shutil
import subprocess
from datetime import UTC, datetime, tzinfo
from importlib import metadata
from pathlib import Path
from typing import Self

import pytest

from lake import receipts
from lake.errors import StoreError
from lake.layout import Lake
from lake.receipts import environment, latest_receipt, read_receipts, write_receipt
from lake.records import unseal


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def stored(lake: Lake, run: str = "mels") -> dict[str, bytes]:
    storage = lake.receipts(run)
    return {key: storage.read(key) for key in storage.list_keys()}


def test_a_receipt_is_a_file_of_facts(lake: Lake) -> None:
    before = datetime.now(UTC)
    key = write_receipt(lake, "mels", (2, 5), {"state": "share", "counts": {"ok": 3}})
    time, _, part = key.partition("-")
    assert part == "2of5.json"
    assert before <= datetime.strptime(time, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC) <= datetime.now(UTC)
    receipt = unseal(lake.receipts("mels").read(key), "")
    assert (receipt["run"], receipt["part"], receipt["state"], receipt["counts"]) == (
        "mels",
        [2, 5],
        "share",
        {"ok": 3},
    )
    assert datetime.fromisoformat(receipt["written"]) <= datetime.now(UTC)
    assert set(receipt) - {"state", "counts"} == {"run", "part", "written", *environment()}


def test_the_latest_is_the_last_that_was_finished(lake: Lake) -> None:
    assert latest_receipt(lake, "mels") is None
    assert read_receipts(lake, "mels") == []
    for state, number in [("share", 1), ("done", 2), ("done", 3), ("share", 4)]:
        write_receipt(lake, "mels", (0, 1), {"state": state, "number": number})
    write_receipt(lake, "other", (0, 1), {"state": "done", "number": 5})
    assert [receipt["number"] for receipt in read_receipts(lake, "mels")] == [1, 2, 3, 4]
    assert (latest_receipt(lake, "mels") or {})["number"] == 3


def test_receipts_of_one_instant_stand_side_by_side(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([1, 1, 1, 2, 2, 2, 3])

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2021, 7, 14, 5, 0, 0, next(ticks), tzinfo=tz)

    monkeypatch.setattr(receipts, "datetime", Clock)
    keys = [write_receipt(lake, "mels", (0, 1), {"number": number}) for number in range(3)]
    assert keys == [f"20210714T05000000000{n}Z-0of1.json" for n in (1, 2, 3)]
    assert [receipt["number"] for receipt in read_receipts(lake, "mels")] == [0, 1, 2]


def test_what_stands_is_never_touched(lake: Lake) -> None:
    write_receipt(lake, "mels", (0, 1), {"state": "done"})
    before = stored(lake)
    write_receipt(lake, "mels", (0, 1), {"state": "done"})
    assert {key: stored(lake)[key] for key in before} == before
    assert len(stored(lake)) == 2


def test_a_damaged_receipt_is_named(lake: Lake) -> None:
    key = write_receipt(lake, "mels", (0, 1), {"state": "done"})
    lake.receipts("mels").write(key, b'{"run": "me')
    with pytest.raises(StoreError, match=rf"{key}: the record is damaged: .* Restore it from a copy; or remove it"):
        read_receipts(lake, "mels")


def test_names_that_are_no_file_names(lake: Lake) -> None:
    write_receipt(lake, "a/b: 50 %", (0, 1), {"state": "done"})
    assert (latest_receipt(lake, "a/b: 50 %") or {})["run"] == "a/b: 50 %"
    assert latest_receipt(lake, "a") is None


def test_what_made_the_bytes() -> None:
    found = environment()
    assert found["versions"]["numpy"] == metadata.version("numpy")
    assert found["versions"]["dawnchorus"] == metadata.version("dawnchorus")
    assert all(found["host"][key] for key in ("name", "machine", "system"))
    json.dumps(found)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_of_the_tree_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    module = tmp_path / "lake/receipts.py"
    module.parent.mkdir()
    module.touch()
    monkeypatch.setattr(receipts, "__file__", str(module))
    assert environment()["git_commit"] is None, "installed, not a tree"
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    assert environment()["git_commit"] == git("rev-parse", "HEAD")
    module.write_text("# changed\n")
    assert environment()["git_commit"] == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert environment()["git_commit"] is None, "no git"
