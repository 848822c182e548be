import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.constants import MS_PER_DAY
from lake.errors import IdentityError, StoreError
from lake.grid import Grid
from lake.identity import canonical
from lake.ledger import Entry, Ledger
from lake.storage import Storage

ORIGIN = int(np.datetime64("2021-07-01", "ms").astype(np.int64))


@pytest.fixture(params=["local", "memory"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    return Ledger(Storage(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"))


def entry(block: int, inputs: str = "x", recorder: str = "r/1") -> Entry:
    return Entry(
        recorder=recorder, block=block, inputs=inputs, files={f"c.{block}": inputs}, cells=[1, 2], digests=["d", "e"],
        index={"status": [1, 3]},
    )  # fmt: skip


def test_the_latest_entry_of_a_block_counts(ledger: Ledger) -> None:
    for block, inputs in [(1, "old"), (0, "x"), (1, "new")]:
        ledger.add("2021-07-01", entry(block, inputs))
    ledger.add("2021-07-02", entry(2))
    ledger.add("2021-07-01", entry(0, recorder="a"))
    days = list(ledger.entries())
    assert [(recorder, day, list(blocks)) for recorder, day, blocks in days] == [
        ("a", "2021-07-01", [0]), ("r/1", "2021-07-01", [0, 1]), ("r/1", "2021-07-02", [2]),
    ]  # fmt: skip
    assert ledger.day("r/1", "2021-07-01")[1] == entry(1, "new")
    assert ledger.written()["r/1", 1].inputs == "new"
    bare: dict[str, Any] = {"cells": [], "digests": [], "index": {}, "recordings": [], "deployments": []}
    whole = {(name, block): replace(one, **bare) for name, _, blocks in days for block, one in blocks.items()}
    assert ledger.written() == whole
    assert ledger.summary()["n_windows"] == 4, "unreadable windows do not count"
    before = ledger.summary()
    ledger.compact()
    assert ledger.summary() == before
    assert ledger.day("r/1", "2021-07-01")[1] == entry(1, "new")


def test_what_is_written_is_told_without_cells_whatever_stands_in_text(ledger: Ledger) -> None:
    odd = 'a"cells":[1],"index":{"b":[2]},"digests":[x].wav'
    full = replace(entry(3), recordings=[{"path": odd, "cells": [1]}], problems={odd: "timeout"}, backend=odd)
    ledger.add("2021-07-01", full)
    expected = replace(full, cells=[], digests=[], index={}, recordings=[], deployments=[])
    assert ledger.written() == {("r/1", 3): expected}
    assert ledger.day("r/1", "2021-07-01") == {3: full}


def test_a_line_cut_short_is_no_entry_and_is_cut_off(tmp_path: Path) -> None:
    ledger = Ledger(Storage(tmp_path))
    ledger.add("2021-07-01", entry(0))
    ledger.add("2021-07-01", entry(1))
    path = tmp_path / "r%2F1" / "2021-07-01.jsonl"
    whole = path.read_bytes()
    for cut in (1, 10, len(whole) // 2 - 1):
        path.write_bytes(whole[:-cut])
        assert list(ledger.day("r/1", "2021-07-01")) == [0]
        ledger.add("2021-07-01", entry(1))
        assert path.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    ledger = Ledger(Storage(tmp_path))
    ledger.add("2021-07-01", entry(0))
    path = tmp_path / "r%2F1" / "2021-07-01.jsonl"
    path.write_bytes(b"{]\n" + path.read_bytes())
    with pytest.raises(StoreError, match=r"2021-07-01.jsonl, line 1: the record is damaged: .* remove the line"):
        ledger.written()


def test_a_name_belongs_to_one_configuration(ledger: Ledger) -> None:
    record = {"job": "j", "algorithm": 1, "config": {"a": 1}, "inputs": {}, "config_id": "1"}
    assert ledger.record() is None
    ledger.open_run("mels", record)
    ledger.open_run("mels", record)
    assert ledger.record() == record
    with pytest.raises(IdentityError, match="run 'mels' exists with another configuration"):
        ledger.open_run("mels", {**record, "config": {"a": 2}, "config_id": "2"})


def test_the_grid_is_kept(ledger: Ledger) -> None:
    grid = Grid(ORIGIN, ORIGIN + MS_PER_DAY, 6000, 3000)
    assert ledger.grid() is None
    ledger.settle_grid(grid, ["b", "a"])
    assert ledger.grid() == (grid, ["b", "a"])


def flipped(data: bytes) -> Iterator[bytes]:
    for i in range(len(data)):
        for bit in range(8):
            yield data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]


@pytest.mark.parametrize("light", [True, False])
def test_every_flipped_bit_of_a_line_is_noticed(tmp_path: Path, *, light: bool) -> None:
    ledger = Ledger(Storage(tmp_path))
    for block in range(2):
        ledger.add("2021-07-01", entry(block))
    path = tmp_path / "r%2F1" / "2021-07-01.jsonl"
    for data in flipped(path.read_bytes()):
        path.write_bytes(data)
        with pytest.raises(StoreError, match=r"2021-07-01.jsonl, line [123]: the record is damaged"):
            list(ledger.entries(light=light))


def test_every_flipped_bit_of_a_record_is_noticed(tmp_path: Path) -> None:
    ledger = Ledger(Storage(tmp_path))
    ledger.open_run("mels", {"job": "j", "algorithm": 1, "config": {}, "inputs": {}, "config_id": "1"})
    ledger.settle_grid(Grid(ORIGIN, ORIGIN + MS_PER_DAY, 6000, 3000), ["a"])
    ledger.settle_files({"a": "b"}, {"c": "d"})
    ledger.settle_commit("x", {"a": "b"})
    readers = {
        "run.json": ledger.record, "grid.json": ledger.grid, "files.json": ledger.files, "others.json": ledger.others,
        "commit.json": ledger.committed,
    }  # fmt: skip
    assert sorted(readers) == ledger.storage.list_keys()
    for key, read in readers.items():
        sound, value = (tmp_path / key).read_bytes(), read()
        for data in flipped(sound):
            (tmp_path / key).write_bytes(data)
            with suppress(StoreError):
                assert read() == value
        (tmp_path / key).write_bytes(sound)


def test_records_of_format_1_are_read_and_stay_until_they_change(tmp_path: Path) -> None:
    ledger, grid = Ledger(Storage(tmp_path)), Grid(ORIGIN, ORIGIN + MS_PER_DAY, 6000, 3000)
    record = {"job": "j", "algorithm": 1, "config": {"a": 1}, "inputs": {}, "config_id": "1"}
    old = {
        "run.json": record,
        "grid.json": {"grid": asdict(grid), "recorders": ["r/1"]},
        "commit.json": {"content_id": "c", "files": {"status/c.0.0": "d"}},
    }
    for key, value in old.items():
        (tmp_path / key).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    path = tmp_path / "r%2F1" / "2021-07-01.jsonl"
    path.parent.mkdir()
    path.write_bytes(canonical(asdict(entry(0))) + b"\n")
    before = {key: (tmp_path / key).read_bytes() for key in old}
    ledger.open_run("mels", record)
    ledger.settle_grid(grid, ["r/1"])
    assert ledger.committed() == ("c", {"status/c.0.0": "d"})
    assert {key: (tmp_path / key).read_bytes() for key in old} == before
    assert ledger.lost() == []
    first = path.read_bytes()
    ledger.add("2021-07-01", entry(1))
    assert path.read_bytes().startswith(first)
    assert ledger.day("r/1", "2021-07-01") == {0: entry(0), 1: entry(1)}
    path.unlink()
    assert ledger.lost() == [f"{path}: expected lines of the last finalise, found no file"]
    ledger.settle_grid(grid, ["r/1", "b"])
    assert json.loads((tmp_path / "grid.json").read_bytes())["format"] == 2


def test_lines_that_are_lost_are_told_from_growth(ledger: Ledger) -> None:
    for block in range(3):
        ledger.add("2021-07-01", entry(block))
    ledger.compact()
    ledger.settle_commit("x", {})
    ledger.add("2021-07-01", entry(1, "new"))
    ledger.add("2021-07-02", entry(9))
    assert ledger.lost() == []
    ledger.compact()
    assert ledger.lost() == []
    assert ledger.day("r/1", "2021-07-01")[1].inputs == "new"
    key = "r%2F1/2021-07-01.jsonl"
    whole = ledger.storage.read(key)
    first, second, *rest = whole.split(b"\n")
    for data in (b"", b"\n".join([first, *rest]), b"\n".join([second, first, *rest]), whole[: len(first) + 1]):
        ledger.storage.write(key, data)
        (line,) = ledger.lost()
        assert line.startswith(ledger.storage.path(key))
