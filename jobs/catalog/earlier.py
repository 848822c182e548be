"""The table that is there already: its rows keep their recorders."""

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from jobs.catalog.folders import find_home
from jobs.catalog.names import maker_of, parse_name
from jobs.catalog.recorders import Row, Seen, serial_in_name
from lake.digest import sha256
from lake.errors import InputError, StoreError, StoreFormatError
from lake.recordings import read_recordings
from lake.records import unseal


def read_rows(table: Path, root: PurePath, url: str, stops: Collection[PurePath]) -> list[Row]:
    """Return the rows of the table that a catalogue is to replace; none if there is no table.

    Parameters
    ----------
    table
        The table. The receipt next to it says below which folder its paths were, and the serials of its recorders.
    root, url
        The folder above all recordings now, and what the receipt calls it.
    stops
        The folders that the user named.

    Raises
    ------
    InputError
        If the file is no table of recordings: it is not overwritten.
    """
    if not table.exists() or not table.stat().st_size:
        return []
    try:
        recordings = read_recordings(table)
    except InputError as error:
        raise InputError(
            f"{error}\nThe rows of {table} keep their recorders, so it is not overwritten unread. Correct it, move it "
            "away, or give --out another name."
        ) from error
    receipt = _receipt(table)
    above, serials = _root(receipt, root, url), _serials(receipt, table)
    return [_row(row, above, serials.get(str(row.recorder), ""), stops) for row in recordings.itertuples(index=False)]


def of_this_study(rows: Sequence[Row], files: Sequence[Seen]) -> Sequence[Row]:
    """Return rows, or none of them if they have no file, content, folder and serial in common with the files."""
    paths, contents, homes, serials = (
        {getattr(file, key) for file in files} - {""} for key in ("path", "sha256", "home", "serial")
    )
    is_ours = any(
        row.seen.path in paths or row.seen.sha256 in contents or row.seen.home in homes or row.seen.serial in serials
        for row in rows
    )
    return rows if is_ours else ()


def _row(row: Any, above: PurePath, serial: str, stops: Collection[PurePath]) -> Row:  # noqa: ANN401 (a named tuple)
    path = above / str(row.path)
    name = parse_name(path)
    named = serial_in_name(name.recorder, maker_of(path, name))
    start = row.start_utc if not pd.isna(row.start_utc) else row.start_local
    start_s = None if pd.isna(start) or "duplicate" in row.problems.split(";") else start.timestamp()
    has_sound = not pd.isna(row.n_samples) and row.n_samples > 0
    seen = Seen(
        path, find_home(path.parent, stops), named or serial, "" if named else name.recorder,
        str(row.sha256) if has_sound else "",
    )  # fmt: skip
    end_s = None if start_s is None or pd.isna(row.duration_s) else start_s + float(row.duration_s)
    return Row(seen, str(row.recorder), start_s, end_s)


def _receipt(table: Path) -> dict[str, Any]:
    receipt = table.absolute().with_suffix(".receipt.json")
    try:
        return unseal(receipt.read_bytes(), str(receipt))
    except (OSError, StoreError, StoreFormatError):  # it only helps to find files that were moved
        return {}


def _root(receipt: dict[str, Any], root: PurePath, url: str) -> PurePath:
    """Return the folder that the table's paths are below: the receipt's, where it is of the same file system."""
    before = str(receipt.get("root") or url)
    return root if before == url or "://" in before + url else PurePath(before)


def _serials(receipt: dict[str, Any], table: Path) -> dict[str, str]:
    """Return the serial of each recorder that has one alone, if the receipt is this table's."""
    serials = receipt.get("serials")
    if not isinstance(serials, dict) or receipt.get("table_sha256") != sha256(table.read_bytes()):
        return {}
    return {str(name): str(own[0]) for name, own in serials.items() if isinstance(own, list) and len(own) == 1}
