import json
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.common.training import checkpoint, journal
from lake.errors import IdentityError, InputError, StoreError, StoreFormatError
from lake.storage import Storage

SAME = {"config_id": "c0ffee", "digest": "d1", "n_windows": 24}


def content(step: int) -> dict[str, Any]:
    return {"step": step, "center": torch.arange(4.0) * step, **SAME}


def test_the_newest_comes_back_and_the_oldest_go(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert checkpoint.latest(storage, **SAME) is None  # type: ignore[arg-type]  # keywords of two types
    for step in (2, 10, 9_999, 123_456):
        key = checkpoint.save(storage, content(step), keep=2)
        assert key == f"checkpoints/step-{step:09d}.pt"
    assert checkpoint.keys(storage) == ["checkpoints/step-000009999.pt", "checkpoints/step-000123456.pt"]
    found = checkpoint.latest(storage, config_id="c0ffee", digest="d1", n_windows=24)
    assert found is not None
    assert found["step"] == 123_456
    assert torch.equal(found["center"], torch.arange(4.0) * 123_456)


def test_what_was_left_of_a_killed_write_is_no_checkpoint(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    checkpoint.save(storage, content(5), keep=2)
    (tmp_path / "checkpoints" / ".step-000000006.pt.1234abcd.aside").write_bytes(b"half")
    found = checkpoint.latest(storage, config_id="c0ffee", digest="d1", n_windows=24)
    assert found is not None
    assert found["step"] == 5


@pytest.mark.parametrize("length", [0, 1, 100, 700])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, length: int) -> None:
    storage = Storage(tmp_path)
    path = tmp_path / checkpoint.save(storage, content(5), keep=2)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreError, match=r"step-000000005\.pt: not a checkpoint, or a damaged one\. Delete it"):
        checkpoint.latest(storage, config_id="c0ffee", digest="d1", n_windows=24)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"config_id": "other"}, IdentityError, r"configuration c0ffee, found one with other\. Give the run a new"),
        ({"digest": "d0", "n_windows": 20}, InputError, r"began on 20 windows, the cube now has 24 .*--refresh"),
        ({"version": 2}, StoreFormatError, r"format is version 2, this release reads up to 1\. Install"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    storage = Storage(tmp_path)
    checkpoint.save(storage, {**content(5), **changes}, keep=2)
    with pytest.raises(error, match=message):
        checkpoint.latest(storage, config_id="c0ffee", digest="d1", n_windows=24)


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    journal.trim(storage, 3)
    for step in range(1, 6):
        journal.append(storage, {"step": step, "loss": 1 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert [entry["step"] for entry in journal.read(storage)] == [1, 2, 3, 4, 5]
    journal.trim(storage, 3)
    assert [entry["step"] for entry in journal.read(storage)] == [1, 2, 3]
    journal.append(storage, {"step": 4, "loss": 0.5})
    lines = (tmp_path / "metrics.jsonl").read_text().split("\n")
    assert json.loads(lines[3])["loss"] == 0.5
    assert not lines[4]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines[:2], lines[2].replace("3", "4"), *lines[3:]]))
    with pytest.raises(StoreError, match=r"metrics.jsonl, line 3: the record is damaged: expected checksum .* remove"):
        journal.read(storage)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(tmp_path)
    for step in (5, 9):
        checkpoint.save(storage, content(step), keep=2)
    newest = tmp_path / "checkpoints/step-000000009.pt"
    whole = newest.read_bytes()
    for at in range(0, len(whole), 97):
        newest.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        found = checkpoint.latest(storage, config_id="c0ffee", digest="d1", n_windows=24)
        assert found is not None
        if found["step"] == 5:
            assert "step-000000009.pt: not a checkpoint, or a damaged one" in capsys.readouterr().err
        else:
            assert torch.equal(found["center"], torch.arange(4.0) * 9)
            assert at >= len(whole) - 71  # in the comment alone
    newest.write_bytes(whole[:-100])
    checkpoint.save(storage, content(7), keep=2)
    assert checkpoint.keys(storage) == ["checkpoints/step-000000005.pt", "checkpoints/step-000000007.pt"]
