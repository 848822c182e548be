"""Pages of batches for tests: made of a finished study, and what a reviewer does in them."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from playwright.sync_api import Page, expect

from jobs.review.page import Written, write_page
from jobs.review.windows import Windows, open_windows
from jobs.runner.manifest import read_manifest
from lake.batches import COLUMNS, keep_batch
from lake.tables import make_table

BATCH = "random-0123456789abcdef"
SOUNDS = ("wren", "robin", "rain")
SOUNDS_CSV = "sound,scientific_name,key,aliases\nwren,Troglodytes troglodytes,,\nrobin,,,\nrain,,,\nblackbird,,,\n"


def all_rows(windows: Windows, n: int | None = None) -> pd.DataFrame:
    """Return windows of a study, by recorder and time, as a batch has them."""
    rows = [
        (recorder, windows.grid.start_ms(int(cell)))
        for i, recorder in enumerate(windows.recorders)
        for cell in windows.usable(i)
    ][:n]
    return pd.DataFrame(
        {
            "draw": range(len(rows)),
            "recorder": [recorder for recorder, _ in rows],
            "time_utc": pd.Series([ms for _, ms in rows], dtype="datetime64[ms]"),
            "duration_s": windows.grid.window_ms / 1000,
        }
    )


def kept(manifest: Path, n: int | None = 12) -> str:
    """Keep a batch of a study's first windows in its lake, and return its name."""
    windows = open_windows(read_manifest(manifest))
    rows = [{str(key): value for key, value in row.items()} for row in all_rows(windows, n).to_dict("records")]
    table = make_table(rows, COLUMNS)
    asked = {"order": "random", "seed": 0, "sounds": list(SOUNDS[:1]), "every_sound": False, "n": n}
    return keep_batch(windows.run.lake, table, asked, {}).name


def make_page(
    folder: Path, manifest: Path, *, n: int | None = 12, rows: pd.DataFrame | None = None, **options: Any
) -> Written:
    """Write the page of a study's first windows."""
    windows = open_windows(read_manifest(manifest))
    given = {"batch_id": BATCH, "sounds": SOUNDS[:1], "known": [*SOUNDS, "blackbird"], **options}
    return write_page(folder, rows=all_rows(windows, n) if rows is None else rows, windows=windows, **given)


def be(page: Page, name: str) -> Page:
    """Say who listens."""
    expect(page.locator("#reviewer-name")).not_to_have_text("")
    if not page.locator("#reviewer-dialog").is_visible():
        page.locator("#reviewer").click()
    page.locator("#reviewer-field").fill(name)
    page.keyboard.press("Enter")
    expect(page.locator("#reviewer-name")).to_have_text(name)
    return page


def press(page: Page, keys: Sequence[str]) -> None:
    """Press keys, each when the one before has been answered."""
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_function("!review.isBusy")


def downloaded(page: Page, path: Path) -> list[dict[str, str]]:
    """Download the table of verdicts to a path, and return its rows."""
    with page.expect_download() as download:
        page.keyboard.press("d")
    download.value.save_as(path)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def loaded(page: Page, path: Path) -> str:
    """Load a table into the page, and return what it says."""
    page.evaluate("complain('table', '')")
    page.locator("#load").set_input_files(path)
    message = page.locator('[data-message="table"]')
    expect(message).to_be_visible()
    return message.inner_text()


def as_spreadsheet(path: Path, out: Path, encoding: str = "utf-8-sig") -> Path:
    """Write a table as a spreadsheet of continental Europe does: semicolons, decimal commas, times with a blank."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    header = rows[0]
    for row in rows[1:]:
        for name in ("duration_s", "seconds"):
            row[header.index(name)] = row[header.index(name)].replace(".", ",")
        for name in ("time_utc", "decided_at"):
            row[header.index(name)] = row[header.index(name)].replace("T", " ").removesuffix("Z")
    with out.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=";", lineterminator="\r\n").writerows(rows)
    return out
