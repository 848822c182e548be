"""Labels of Audacity, a file for each recording."""

from collections.abc import Iterator

import pandas as pd

from lake.escapes import cell_in_line
from lake.exports.sheets import Sheet, by_recording


def audacity_sheets(table: pd.DataFrame, *, high_hz: float | None = None) -> Iterator[Sheet]:
    r"""Yield labels for each recording: ``<recording>.labels.txt``.

    Parameters
    ----------
    table
        ``recording``, ``start_s`` and ``end_s`` (seconds in the recording), and ``label``.
    high_hz
        Upper edge of the boxes. Each label is then followed by a line with its frequencies, which begins with ``\``, as
        Audacity 2.1 and later write them.
    """
    for _, stem, mine in by_recording(table):
        lines = []
        for row in mine.to_dict("records"):
            lines.append(f"{row['start_s']:.6f}\t{row['end_s']:.6f}\t{cell_in_line(str(row['label']))}")
            if high_hz is not None:
                lines.append(f"\\\t{0:.6f}\t{high_hz:.6f}")
        yield Sheet(f"{stem}.labels.txt", "\n".join(lines) + "\n")
