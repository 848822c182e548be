from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.errors import IdentityError, StoreError
from lake.grid import Grid
from lake.ledger import Entry, Ledger
from lake.names import MS_PER_DAY
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
