"""The place that an export is written to, and nothing over what somebody else wrote there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lake.exports.audacity import audacity_sheets
from lake.exports.formats import Format
from lake.exports.generic_seq import generic_seq
from lake.exports.raven import raven_combined, raven_sheets
from lake.exports.sheets import Sheet
from lake.outputs import write_outputs


@dataclass(frozen=True)
class Target:
    """Where an export goes, in which form; the folder of the recordings; and whether others' files are replaced."""

    form: Format
    out: Path
    root: Path | None = None
    force: bool = False

    @property
    def begin_path(self) -> str:
        """The folder of the recordings as Raven's ``Begin Path`` has it; empty if it is not known."""
        return "" if self.root is None else self.root.absolute().as_posix()

    def write(self, files: Mapping[str, bytes]) -> int:
        """Write files, by key, into the folder; return how many. Raises as :func:`lake.outputs.write_outputs`."""
        write_outputs(self.out, files, force=self.force)
        return len(files)

    def write_one(self, data: bytes) -> int:
        """Write the one file of the form; return 1. Raises as :meth:`write`."""
        write_outputs(self.out.absolute().parent, {self.out.name: data}, force=self.force)
        return 1

    def write_labels(self, rows: pd.DataFrame, lengths_s: Mapping[str, float], high_hz: float) -> int:
        """Write labels for Raven, Audacity or crowsetta; return the number of files.

        Parameters
        ----------
        rows
            As :func:`lake.exports.raven.raven_sheets` takes them.
        lengths_s
            Seconds of each recording by its path; only ``raven-combined`` reads them.
        high_hz
            Upper edge of the boxes.
        """
        name, root = self.form.name, self.begin_path
        if name == "generic-seq":
            return self.write_one(generic_seq(rows, annotations=self.out.name, root=root))
        if name == "raven-combined":
            return self.write_one(raven_combined(rows, lengths_s, high_hz=high_hz, root=root).encode())
        sheets: Iterator[Sheet]
        if name == "raven":
            sheets = raven_sheets(rows, high_hz=high_hz, root=root)
        else:
            sheets = audacity_sheets(rows, high_hz=high_hz if name == "audacity-spectral" else None)
        return self.write({sheet.key: sheet.text.encode() for sheet in sheets})


@dataclass(frozen=True)
class Written:
    """How many rows and files were written, and what a user must know of them."""

    n_rows: int
    n_files: int
    notes: list[str] = field(default_factory=list)
