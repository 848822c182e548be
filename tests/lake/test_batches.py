"""Batches: written once, found again by their bytes, and what of a random one is a sample."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lake.batch_files import FOLDER, batch_names, damaged_batches
from lake.batches import COLUMNS, Batch, keep_batch, n_answered, read_batch, sample_of
from lake.errors import InputError, StoreError
from lake.layout import Lake
from lake.tables import make_table
from lake.verdicts import COLUMNS as VERDICT_COLUMNS

NOON = pd.Timestamp("2021-07-14T12:00:00")
ASKED: dict[str, Any] = {"order": "random", "seed": 3, "sounds": ["wren", "robin"], "every_sound": True, "n": 5}


def windows(n: int = 5, *, population: int = 20) -> pd.DataFrame:
    """Return a random batch of n windows of one recorder."""
    rows = [
        {
            "draw": draw, "recorder": "north", "time_utc": NOON + pd.Timedelta(seconds=6 * draw), "duration_s": 6.0,
            "probability": n / population, "proposal": "=wren",
        }
        for draw in range(n)
    ]  # fmt: skip
    return make_table(rows, COLUMNS)


def verdicts(batch: str, *rows: tuple[int, str, str]) -> pd.DataFrame:
    """Return verdicts of rows of draw, sound and verdict; an empty batch is none."""
    return make_table(
        [
            {
                "recorder": "north", "time_utc": NOON + pd.Timedelta(seconds=6 * draw), "duration_s": 6.0,
                "sound": sound, "verdict": verdict, "reviewer": "Ana", "decided_at": NOON, "batch": batch,
                "draw": draw if batch else None,
            }
            for draw, sound, verdict in rows
        ],
        VERDICT_COLUMNS,
    )  # fmt: skip


@pytest.fixture(params=["folder", "object store"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake(str(tmp_path) if request.param == "folder" else f"memory://{uuid.uuid4().hex}/lake")


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return keep_batch(Lake(str(tmp_path)), windows(), ASKED, {"command": "review"})


def test_a_batch_is_written_once_and_read_back(lake: Lake) -> None:
    assert batch_names(lake) == []
    kept = keep_batch(lake, windows(), ASKED, {"created_at": "2026-01-02T03:04:05Z"})
    assert kept.name.startswith("random-")
    assert batch_names(lake) == [kept.name]
    pd.testing.assert_frame_equal(kept.table, windows())
    assert (kept.sounds, kept.is_random, dict(kept.asked)) == (["wren", "robin"], True, ASKED)
    assert kept.made["created_at"] == "2026-01-02T03:04:05Z"
    assert "pandas" in kept.made["versions"]
    before = {key: lake.storage.below(FOLDER).read(key) for key in lake.storage.below(FOLDER).list_keys()}
    again = keep_batch(lake, windows(), ASKED, {"created_at": "2027-01-02T03:04:05Z"})
    assert again.made["created_at"] == "2026-01-02T03:04:05Z", "what is there stays"
    assert before == {key: lake.storage.below(FOLDER).read(key) for key in before}
    assert keep_batch(lake, windows(), {**ASKED, "seed": 4}, {}).name != kept.name
    assert keep_batch(lake, windows(4), ASKED, {}).name != kept.name
    assert len(batch_names(lake)) == 3
    assert list(damaged_batches(lake)) == []
    assert b"'=wren" in lake.storage.below(FOLDER).read(f"{kept.name}.csv"), "no spreadsheet runs it"


def test_a_batch_whose_command_was_killed_is_none_yet(lake: Lake) -> None:
    kept = keep_batch(lake, windows(), ASKED, {"command": "first"})
    lake.storage.remove(f"{FOLDER}/{kept.name}.csv")
    assert batch_names(lake) == []
    assert list(damaged_batches(lake)) == []
    with pytest.raises(InputError, match="is not in the lake"):
        read_batch(lake, kept.name)
    assert keep_batch(lake, windows(), ASKED, {"command": "second"}).made["command"] == "first"


@pytest.mark.parametrize("damage", ["windows", "receipt", "no receipt", "other receipt", "renamed", "strange"])
def test_a_damaged_batch_is_named(tmp_path: Path, batch: Batch, damage: str) -> None:
    table = tmp_path / FOLDER / f"{batch.name}.csv"
    receipt = table.with_suffix(".json")
    if damage == "windows":
        table.write_bytes(table.read_bytes().replace(b"0.25", b"0.26"))
    elif damage == "receipt":
        receipt.write_bytes(receipt.read_bytes().replace(b'"seed": 3', b'"seed": 4'))
    elif damage == "no receipt":
        receipt.unlink()
    elif damage == "other receipt":
        other = keep_batch(Lake(str(tmp_path)), windows(2), ASKED, {})
        receipt.write_bytes((tmp_path / FOLDER / f"{other.name}.json").read_bytes().replace(b'"n": 5', b'"n": 2'))
    elif damage == "renamed":
        table.rename(table.with_name("mine.csv"))
    else:
        (tmp_path / FOLDER / "notes.txt").write_text("frogs")
    lake = Lake(str(tmp_path))
    (told,) = damaged_batches(lake)
    assert FOLDER in told
    if damage not in {"renamed", "strange"}:
        assert batch.name in told
        with pytest.raises(StoreError, match=batch.name):
            read_batch(lake, batch.name)


@pytest.mark.parametrize("name", ["../recordings", "random-0123456789abcdeg", "", "random"])
def test_a_name_that_is_no_batch(tmp_path: Path, batch: Batch, name: str) -> None:
    with pytest.raises(InputError, match=r"is not in the lake .*random-"):
        read_batch(Lake(str(tmp_path)), name)


def both(*draws: int, verdict: str = "no") -> list[tuple[int, str, str]]:
    return [(draw, sound, verdict) for draw in draws for sound in ("wren", "robin")]


def test_what_was_answered_without_a_gap_is_the_sample(batch: Batch) -> None:
    said = verdicts(batch.name, *both(0, 1, 3), (2, "wren", "yes"))
    found = sample_of(batch, said)
    assert found["draw"].tolist() == [0, 0, 1, 1]
    assert found["sound"].tolist() == ["wren", "robin"] * 2
    np.testing.assert_allclose(found["probability"], 0.25)
    assert n_answered(batch, said) == 4
    whole = sample_of(batch, pd.concat([said, verdicts(batch.name, (2, "robin", "unsure"), *both(4))]))
    assert len(whole) == 10
    assert whole.loc[whole["draw"] == 2, "verdict"].tolist() == ["yes", "unsure"]


def test_answers_from_elsewhere_fill_no_gap(batch: Batch) -> None:
    """Why a window was heard elsewhere may depend on what is in it."""
    said = pd.concat(
        [verdicts(batch.name, *both(0)), verdicts("", *both(1)), verdicts("top-0123456789abcdef", *both(2))]
    )
    assert sample_of(batch, said)["draw"].unique().tolist() == [0]


def test_but_they_count_in_what_holds(batch: Batch) -> None:
    other = verdicts("", (0, "wren", "yes")).assign(reviewer="Bo")
    found = sample_of(batch, pd.concat([verdicts(batch.name, *both(0)), other]))
    assert found["verdict"].tolist() == ["unsure", "no"]


def test_sounds_that_a_reviewer_adds_are_not_in_the_sample(batch: Batch) -> None:
    found = sample_of(batch, verdicts(batch.name, *both(0), (0, "jay", "yes")))
    assert found["sound"].tolist() == ["wren", "robin"]


def test_a_window_of_speech_leaves_no_gap(batch: Batch) -> None:
    found = sample_of(batch, verdicts(batch.name, (0, "speech", "yes"), (0, "wren", "no"), *both(1)))
    assert found["verdict"].tolist() == ["no", "unsure", "no", "no"]
    assert sample_of(batch, verdicts(batch.name, (0, "speech", "no"), *both(1))).empty


def test_nothing_answered_is_an_empty_sample(batch: Batch) -> None:
    found = sample_of(batch, verdicts(batch.name))
    assert found.empty
    assert {"draw", "probability", "sound", "verdict"} <= set(found.columns)


def test_a_batch_that_is_not_random_is_no_sample(tmp_path: Path) -> None:
    chosen = keep_batch(Lake(str(tmp_path)), windows().assign(probability=np.nan), {**ASKED, "order": "top"}, {})
    assert not chosen.is_random
    with pytest.raises(InputError, match="is not random"):
        sample_of(chosen, verdicts(chosen.name, *both(0)))


def test_the_receipt_is_json_with_a_checksum(tmp_path: Path, batch: Batch) -> None:
    receipt = json.loads((tmp_path / FOLDER / f"{batch.name}.json").read_text())
    assert (receipt["batch"], receipt["asked"]["seed"], receipt["made"]["command"]) == (batch.name, 3, "review")
    assert receipt["checksum"]
