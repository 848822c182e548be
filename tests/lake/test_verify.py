import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stores
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.common.run import Run
from lake.grid import iso
from lake.identity import canonical
from lake.ledger import Ledger
from lake.read import open_array
from lake.records import unseal
from lake.storage import Storage
from lake.verify import compared, damages, n_files


def test_nothing_differs_in_what_was_just_written(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    assert list(damages(cube.output, cube.ledger, cube.kind)) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a cube that every test leaves as it was."""
    return stores.make_cube(tmp_path_factory.mktemp("whole"), stores.random_codes())


@settings(max_examples=150)
@given(which=st.floats(0, 1, exclude_max=True), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_any_file_is_found_and_named(whole: Run, which: float, where: float, bit: int) -> None:
    keys = [key for key in whole.output.list_keys() if not key.endswith("zarr.json") or where < 0.5]
    key = keys[int(which * len(keys))]
    sound = whole.output.read(key)
    at = int(where * len(sound))
    whole.output.write(key, sound[:at] + bytes([sound[at] ^ 1 << bit]) + sound[at + 1 :])
    try:
        (line,) = damages(whole.output, whole.ledger, whole.kind)
    finally:
        whole.output.write(key, sound)
    assert line.startswith(f"{whole.output.path(key)}: differs from the ledger")
    name, _, position = key.partition("/c.")
    numbers = [int(number) for number in position.split(".") if number]
    if name == "spectrogram" and numbers:
        assert_windows_named(line, numbers, sound, at)
    elif len(numbers) == 2:
        day = np.datetime64("2021-06-01") + numbers[1]
        assert line.endswith(f"; {stores.RECORDERS[numbers[0]]}: {day}")
    else:
        assert line.endswith("differs from the ledger")


def assert_windows_named(line: str, numbers: list[int], sound: bytes, at: int) -> None:
    """Check that the one window whose chunk a byte belongs to is named; all of a shard, if it belongs to the index."""
    n_cells = 72
    index = np.frombuffer(sound[-4 - 16 * n_cells : -4], dtype="<u8").reshape(n_cells, 2)
    there = np.flatnonzero(index[:, 0] != 2**64 - 1)
    hit = there[(index[there, 0] <= at) & (at < index[there].sum(axis=1))]
    starts = [iso(stores.ORIGIN_MS + (numbers[1] * n_cells + int(cell)) * 600_000) for cell in there]
    (told,) = [part for part in line.split("; ") if part.startswith(f"{stores.RECORDERS[numbers[0]]}: ")]
    if len(hit):
        assert len(hit) == 1
        named = iso(stores.ORIGIN_MS + (numbers[1] * n_cells + int(hit[0])) * 600_000)
        assert named in told or told.endswith("no window changed")
        assert told.count("Z") <= 1
    else:
        assert all(f"{start} (does not decode)" in told for start in starts)


def test_a_file_beside_the_shards_that_is_gone_is_named_with_its_recorder_and_day(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    cube.output.remove("status/c.1.1")
    cube.output.remove("mel/c.0")
    lines = list(damages(cube.output, cube.ledger, cube.kind))
    assert [line.partition("mels.zarr/")[2] for line in lines] == [
        "mel/c.0: is in the ledger, but not there",
        "status/c.1.1: is in the ledger, but not there; south: 2021-06-02",
    ]
    assert n_files(cube.ledger) == len(cube.output.list_keys()) + 2


def test_what_a_damaged_description_says_of_a_damaged_shard_is_not_believed(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    cube.output.write("spectrogram/zarr.json", b"{")
    key = cube.output.list_keys("spectrogram")[0]
    cube.output.write(key, b"")
    shard, description = damages(cube.output, cube.ledger, cube.kind)
    assert re.search(rf"{key}: differs from the ledger; north: any of \d+ windows from 2021-06-01T", shard)
    assert description.endswith("spectrogram/zarr.json: differs from the ledger")


def test_while_a_store_grows_what_is_beside_its_shards_is_not_compared(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    ((day, entry), *_) = [(day, entry) for _, day, latest in cube.ledger.entries() for entry in latest.values()]
    cube.output.remove("mel/c.0")
    data = cube.output.read(next(iter(entry.files)))
    cube.ledger.add(day, replace(entry, files={key: sha256(data).hexdigest() for key in [*entry.files, "more"]}))
    lines = list(damages(cube.output, cube.ledger, cube.kind))
    assert len(lines) == 1
    assert "more: is in the ledger, but not there" in lines[0]


def test_a_value_that_changed_names_its_window_alone(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=1, n_partial=0)
    cube = stores.make_cube(tmp_path, codes, recorders=("north",))
    (cell, *_) = np.flatnonzero(codes[0].any(axis=(1, 2)))
    other = codes.copy()
    other[0, cell, 0, 0] ^= 1
    forged = stores.make_cube(tmp_path / "forged", other, recorders=("north",))
    n_cells = (open_array(cube.output.url, "spectrogram").shards or ())[1]
    name = f"spectrogram/c.0.{cell // n_cells}.0.0"
    cube.output.write(name, forged.output.read(name))
    (line,) = damages(cube.output, cube.ledger, cube.kind)
    assert line.endswith(f"differs from the ledger; north: {iso(stores.ORIGIN_MS + int(cell) * 600_000)}")


def test_a_shard_that_is_gone_is_named(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    shard = next(iter(sorted(Path(cube.output.url).glob("spectrogram/c.*"))))
    shard.unlink()
    (line,) = damages(cube.output, cube.ledger, cube.kind)
    assert f"{shard.name}: is in the ledger, but not there" in line


def test_files_of_a_folder_are_compared_too(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    cube.ledger.settle_files({"zarr.json": "0" * 64})
    (line,) = damages(cube.output, cube.ledger, "models")
    assert line.endswith("zarr.json: differs from the ledger")


def model(folder: Path) -> tuple[Storage, Ledger]:
    """Return a folder of two listed files and two that are not its content, and its ledger."""
    output, ledger = Storage(folder / "models/net"), Ledger(Storage(folder / "ledgers/net"))
    for key in ("backbone.safetensors", "config.json", "metrics.jsonl", "checkpoints/step-1.pt"):
        output.write(key, key.encode())
    digests = {key: sha256(output.read(key)).hexdigest() for key in output.list_keys()}
    content = {key: digests.pop(key) for key in ("backbone.safetensors", "config.json")}
    ledger.settle_files(content, digests)
    return output, ledger


def test_metrics_and_checkpoints_of_a_model_are_compared(tmp_path: Path) -> None:
    output, ledger = model(tmp_path)
    assert list(damages(output, ledger, "models")) == []
    assert n_files(ledger) == 4
    for key in output.list_keys():
        sound = output.read(key)
        output.write(key, sound[:-1] + b"x")
        assert list(damages(output, ledger, "models")) == [f"{output.path(key)}: differs from the ledger"]
        output.write(key, sound)
    output.write("checkpoints/step-2.pt", b"")
    (line,) = damages(output, ledger, "models")
    assert line.startswith(f"{output.path('checkpoints/step-2.pt')}: is in no ledger")
    ledger.storage.remove("others.json")  # as an earlier release left it
    assert list(damages(output, ledger, "models")) == []
    assert "3 files of the model are in no list" in compared(output, ledger, "models")[1][0]


def test_an_index_variable_is_compared_with_the_values_of_the_ledger(tmp_path: Path) -> None:
    """The store and its commit agree; a line of format 1, which has no checksum, says something else."""
    cube = stores.make_cube(tmp_path)
    for path in sorted(Path(cube.ledger.storage.url).rglob("*.jsonl")):
        sound = path.read_bytes()
        entries = [unseal(line, "") for line in sound.splitlines()]
        for name, values in entries[0]["index"].items():
            row = {"recording": 0, "deployment": 0}.get(name)
            other = -1 if row is not None and values[0] == 0 else 0 if row is not None else 3
            entries[0]["index"][name] = [other, *values[1:]]
            path.write_bytes(b"".join(canonical(entry) + b"\n" for entry in entries))
            lines = list(damages(cube.output, cube.ledger, cube.kind))
            entries[0]["index"][name] = values
            if other != values[0]:
                (line,) = lines
                where = f"{cube.output.path(name)}: its values of {entries[0]['recorder']} on {path.stem}"
                assert line.startswith(where)
        path.write_bytes(sound)


def test_a_line_of_format_1_with_parts_that_do_not_fit_is_no_traceback(tmp_path: Path) -> None:
    cube = stores.make_cube(tmp_path)
    path = min(Path(cube.ledger.storage.url).rglob("*.jsonl"))
    entry = unseal(path.read_bytes().splitlines()[0], "")
    changes: list[dict[str, Any]] = [
        {"cells": "x"}, {"cells": [1]}, {"digests": []}, {"files": 3}, {"index": {"status": [1]}}, {"block": "a"},
        {"recorder": 5}, {"cells": [10**9] * len(entry["cells"])},
    ]  # fmt: skip
    for change in changes:
        path.write_bytes(canonical({**entry, **change}) + b"\n")
        assert list(damages(cube.output, cube.ledger, cube.kind)), change
