"""The table that crowsetta reads and writes as ``generic-seq``: labelled segments of recordings."""

import pandas as pd

from lake.exports.sheets import by_recording
from lake.tables import defused_table

COLUMNS = ("label", "onset_s", "offset_s", "notated_path", "annot_path", "sequence", "annotation")
"""Of the table; crowsetta takes no others."""


def generic_seq(table: pd.DataFrame, *, annotations: str, root: str = "") -> bytes:
    """Return a table with one annotation of one sequence for each recording.

    Parameters
    ----------
    table
        ``recording``, ``start_s`` and ``end_s`` (seconds in the recording), and ``label``.
    annotations
        Name of the table itself.
    root
        Folder of the recordings; without it their paths are those below that folder.
    """
    parts = [
        mine.assign(notated_path=f"{root}/{path}" if root else path, annotation=number)
        for number, (path, _, mine) in enumerate(by_recording(table))
    ]
    rows = pd.concat(parts, ignore_index=True).rename(columns={"start_s": "onset_s", "end_s": "offset_s"})
    rows = rows.assign(annot_path=annotations, sequence=0)[list(COLUMNS)]
    return defused_table(rows).to_csv(index=False).encode()
