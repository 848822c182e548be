"""Files of an export, and the rows of a table by the recording that they are in."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from lake.digest import sha256
from lake.errors import InputError

MOST_BYTES = 220
"""Of a sheet's name without its suffix; file systems take 255 in all."""


@dataclass(frozen=True)
class Sheet:
    """One text file of an export: its path below the folder, and its text."""

    key: str
    text: str


def by_recording(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield path, the beginning of its sheet's key, and rows of each recording.

    Raises
    ------
    InputError
        If there is no row.
    """
    if table.empty:
        raise InputError("no window is left to export; ask for other recorders, days or clusters.")
    paths = [str(path) for path in table["recording"].unique()]
    n_of_stem = Counter(map(_stem, paths))
    for path, mine in table.groupby("recording", sort=True):
        stem = _stem(str(path))
        whole = stem if n_of_stem[stem] == 1 else str(PurePosixPath(str(path)))  # x.wav and x.flac are two recordings
        yield str(path), _short(whole), mine.sort_values("start_s", kind="stable")


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _short(key: str) -> str:
    """Return a key whose last part leaves room for a suffix: of a longer one the end is a digest."""
    folder, slash, name = key.rpartition("/")
    data = name.encode()
    if len(data) <= MOST_BYTES:
        return key
    kept = data[: MOST_BYTES - 9].decode(errors="ignore")
    return f"{folder}{slash}{kept}~{sha256(data)[:8]}"
