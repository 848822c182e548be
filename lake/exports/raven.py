"""Selection tables of Raven: one for each recording, or one for all of them."""

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from lake.escapes import cell_in_line
from lake.exports.sheets import Sheet, by_recording

COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Begin File",
    "Begin Path", "File Offset (s)", "Annotation",
)  # fmt: skip
MORE = {"cluster": "Cluster", "distance": "Distance", "probability": "Probability", "verdict": "Verdict"}
"""Raven's title of each further column that a table may have."""


def raven_sheets(table: pd.DataFrame, *, high_hz: float, root: str = "") -> Iterator[Sheet]:
    """Yield a selection table for each recording: ``<recording>.dawnchorus.selections.txt``.

    Raven itself proposes ``<recording>.Table.1.selections.txt`` for a person's own table.

    Parameters
    ----------
    table
        ``recording``, ``start_s`` and ``end_s`` (seconds in the recording), ``label``, and any of :data:`MORE`.
    high_hz
        Upper edge of the boxes: a window is all bands.
    root
        Folder of the recordings, for ``Begin Path``; without it the path is the one below that folder.
    """
    for path, stem, mine in by_recording(table):
        lines = _lines(mine, dict.fromkeys([path], 0.0), high_hz, root)
        yield Sheet(f"{stem}.dawnchorus.selections.txt", lines)


def raven_combined(table: pd.DataFrame, lengths_s: Mapping[str, float], *, high_hz: float, root: str = "") -> str:
    """Return one selection table of all recordings that have rows, sorted by path.

    Parameters
    ----------
    table, high_hz, root
        As for :func:`raven_sheets`.
    lengths_s
        Seconds of each recording. Begin and end times count from the beginning of the first recording, as Raven counts
        when it opens the recordings as one sequence; ``File Offset (s)`` counts in the recording.
    """
    parts = list(by_recording(table))
    begins, begin_s = {}, 0.0
    for path, _, _ in parts:
        begins[path] = begin_s
        begin_s += lengths_s[path]
    return _lines(pd.concat([mine for _, _, mine in parts]), begins, high_hz, root)


def as_hits(table: pd.DataFrame) -> pd.DataFrame:
    """Return windows that were found by example as :func:`raven_sheets` takes them: labels give the order of the hits.

    Parameters
    ----------
    table
        recording, start_s, end_s, cluster (missing where it is not known), and distance; the nearest first.
    """
    labels = [f"similar {i}" for i in range(1, len(table) + 1)]
    return table.assign(label=labels, cluster=table["cluster"].astype(object).where(table["cluster"].notna(), ""))


def _lines(table: pd.DataFrame, begins_s: Mapping[str, float], high_hz: float, root: str) -> str:
    """Return the text of a selection table."""
    more = [name for name in MORE if name in table.columns]
    lines = ["\t".join([*COLUMNS, *(MORE[name] for name in more)])]
    for i, row in enumerate(table.to_dict("records"), 1):
        path = str(row["recording"])
        begin_s = begins_s[path]
        cells = [
            i, "Spectrogram 1", 1, f"{begin_s + row['start_s']:.6f}", f"{begin_s + row['end_s']:.6f}", "0.0",
            f"{high_hz:.1f}", cell_in_line(path.rsplit("/", maxsplit=1)[-1]),
            cell_in_line(f"{root}/{path}" if root else path), f"{row['start_s']:.6f}", cell_in_line(str(row["label"])),
            *(_cell(row[name]) for name in more),
        ]  # fmt: skip
        lines.append("\t".join(map(str, cells)))
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return cell_in_line(str(value))
