"""Tables that `dawnchorus export` writes are read back as labels of the same seconds of the same recordings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.common.labels.marks import read_marks
from jobs.common.labels.placing import Placed, place_marks
from lake.exports.audacity import audacity_sheets
from lake.exports.clusters import with_labels
from lake.exports.raven import raven_combined, raven_sheets

PATHS = ("AM07/x.WAV", "AM08/x.WAV", "AM08/sub/y.1.flac")


def table() -> pd.DataFrame:
    rows = [(path, 3.0 * i, 3.0 * i + 3, i % 2, "wren" if i % 2 else "", 0.5) for path in PATHS for i in range(6)]
    return pd.DataFrame(rows, columns=["recording", "start_s", "end_s", "cluster", "name", "distance"])


@pytest.mark.parametrize("to", ["raven", "raven-combined", "audacity", "audacity-spectral", "csv"])
def test_what_was_exported_is_read_back(tmp_path: Path, to: str) -> None:
    wanted, path = table(), tmp_path / "out"
    if to == "csv":
        path = tmp_path / "out.csv"
        wanted.to_csv(path, index=False)
    elif to == "raven-combined":
        path = tmp_path / "out.txt"
        path.write_text(raven_combined(with_labels(wanted), dict.fromkeys(PATHS, 18.0), high_hz=8000))
    else:
        labelled, high_hz = with_labels(wanted), 8000 if to == "audacity-spectral" else None
        for sheet in (
            raven_sheets(labelled, high_hz=8000) if to == "raven" else audacity_sheets(labelled, high_hz=high_hz)
        ):
            (path / sheet.key).parent.mkdir(parents=True, exist_ok=True)
            (path / sheet.key).write_text(sheet.text)
    start_ms = np.arange(3, dtype=np.int64) * 20_000
    found = place_marks(
        read_marks(path).marks, Placed(PATHS, ("a",) * 3, start_ms, start_ms + 18_000), min_confidence=0
    )  # fmt: skip
    labels = [mark.label for mark in found.marks]
    back = sorted(zip(found.row, found.start_ms.tolist(), found.end_ms.tolist(), labels, strict=True))
    rows = zip(wanted["recording"], wanted["start_s"], wanted["name"], strict=True)
    assert back == sorted(
        (i, 20_000 * i + round(start_s * 1000), 20_000 * i + round(start_s * 1000) + 3000, name or "cluster 0")
        for path, start_s, name in rows
        for i in [PATHS.index(path)]
    )
