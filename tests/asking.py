"""Batches in tests: asked for, read, answered and delivered."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from chains import runs, store
from commands import Cli, Ended

from lake.batches import Batch, read_batch
from lake.query.find import Wanted, find
from lake.query.select import open_any

SOUNDS = "sound,aliases\nwren,winter wren\nrobin,\n"


def ask(cli: Cli, study: Path, *words: object) -> tuple[dict[str, Any], str]:
    """Return what `review --json` says, and its notes."""
    code, out, error = cli("review", study, "--no-page", "--json", *words)
    assert code == 0, error
    return json.loads(out), error


def refused(cli: Cli, study: Path, *words: object) -> str:
    code, _, error = cli("review", study, "--no-page", *words)
    assert code == 3, error
    return error


def kept(study: Path, name: str) -> Batch:
    return read_batch(runs(study)["mels"].lake, name)


def windows_of(study: Path) -> pd.DataFrame:
    with open_any(store(study, "mels")) as cube:
        return pd.DataFrame(find(cube, Wanted())[["recorder", "time"]])


def places(table: pd.DataFrame) -> set[tuple[str, pd.Timestamp]]:
    return set(table[["recorder", "time" if "time" in table else "time_utc"]].itertuples(index=False, name=None))


def answers(
    batch: Batch, *, draws: range | None = None, verdict: str = "no", sounds: tuple[str, ...] = ("wren", "robin"),
    reviewer: str = "Ana",
) -> list[list[str]]:  # fmt: skip
    """Return the rows of a page's table: verdicts on draws of a batch."""
    table = batch.table if draws is None else batch.table.iloc[list(draws)]
    return [
        [str(row.recorder), f"{row.time_utc:%Y-%m-%dT%H:%M:%SZ}", f"{row.duration_s:g}", sound, verdict, reviewer,
         "2026-01-02T03:04:05Z", batch.name, str(row.draw)]
        for row in table.itertuples(index=False)
        for sound in sounds
    ]  # fmt: skip


HEADER = ["recorder", "time_utc", "duration_s", "sound", "verdict", "reviewer", "decided_at", "batch", "draw"]


def deliver(cli: Cli, study: Path, rows: list[list[str]], *, separator: str = ",", encoding: str = "utf-8") -> Ended:
    path = study.parent / "answers.csv"
    path.write_bytes("\n".join([separator.join(row) for row in [HEADER, *rows]] + [""]).encode(encoding))
    return cli("verdicts", "add", study, path)


def store_list(study: Path, table: pd.DataFrame, *lines: str, header: str = "recorder,time_utc") -> Path:
    path = study.parent / "list.csv"
    rows = [f"{recorder},{time:%Y-%m-%dT%H:%M:%SZ}" for recorder, time in table.itertuples(index=False)]
    path.write_text("\n".join([header, *rows, *lines, ""]))
    return path
