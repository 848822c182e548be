"""Is a faint call found again at another site? The field guard of ``docs/quality.md``.

    python -m benchmarks.faint data/quality --audio /some/folder/dev/soundscape/a2o_boobook contrast-stem

The folder holds recordings of several sites, named ``<site>_<number>_<number>_<date>…``, and Raven tables with a box
around each call; boxes that reach above 1.1 kHz are of other sounds. A logistic regression learns which windows hold a
call at all sites but one, and is scored at that one: the mean area under the curve (AUC) over the sites. Sets of
vectors are runs of the study in the folder, joined by ``+`` and whitened over all windows.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.report import Figure, report
from jobs.common.training.session import cube_source
from lake.read import grid_of, open_cube, usable_windows
from lake.scaling import scaled
from lake.vectors import open_vectors, read_span
from lake.whitening import study_whitening

MOST_HZ: Final = 1_100.0
LEAST_S: Final = 0.4
"""A window holds a call if so much of one lies in it; windows with less than that are left out."""
STRENGTH: Final = 10.0
"""Of the regression: inverse of the weight of its penalty."""


@dataclass(frozen=True)
class Windows:
    """The windows of the recordings, arrays of shape (n,): place among all, site, file, call or not."""

    row: NDArray[np.intp]
    site: NDArray[np.str_]
    file: NDArray[np.str_]
    has_call: NDArray[np.bool_]

    @property
    def has_file_calls(self) -> NDArray[np.bool_]:
        """Whether a window's recording holds a call somewhere."""
        return np.isin(self.file, np.unique(self.file[self.has_call]))


def main() -> None:
    """Print the figures of each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of the study that holds the recordings")
    parser.add_argument("--audio", type=Path, required=True, help="folder of the recordings and their tables")
    parser.add_argument("sets", nargs="+", help="runs of vectors, joined by +")
    asked = parser.parse_args()
    windows = labelled(f"{asked.study}/spectrograms/mels.zarr", asked.audio)
    print(f"{len(windows.row)} windows, {windows.has_call.sum()} with a call, {len(set(windows.site))} sites")
    figures = []
    for name in asked.sets:
        vectors = whitened([f"{asked.study}/embeddings/{run}.zarr" for run in name.split("+")])[windows.row]
        found = {
            "windows": across(vectors, windows.has_call, windows.site, np.ones(len(vectors), dtype=np.bool_)),
            "windows of recordings with calls": across(vectors, windows.has_call, windows.site, windows.has_file_calls),
            "recordings": by_file(vectors, windows),
        }
        figures += [Figure(f"{name}: {measure}", auc, "AUC") for measure, auc in found.items()]
    report("faint", figures)


def labelled(cube_url: str, audio: Path) -> Windows:
    """Return the windows of a folder's recordings; those that a call only touches are left out."""
    with open_cube(cube_url) as cube:
        source, grid, windows = cube_source(cube_url, cube, partial_too=True), grid_of(cube), usable_windows(cube)
        names = np.array([Path(path).name for path in cube["recording_path"].to_numpy().tolist()])
        start_ms = cube["recording_start_ms"].to_numpy()
    assert source.places is not None, "a cube knows its recordings"
    recording = source.places.recording
    begin_s = (grid.origin_ms + windows.cell * grid.hop_ms - start_ms[recording]) / 1000
    row = np.flatnonzero(np.isin(names[recording], [path.name for path in audio.glob("*.wav")]))
    file = names[recording[row]]
    seconds = np.array(
        [longest(audio, name, begin_s[i], grid.window_ms / 1000) for i, name in zip(row, file, strict=True)]
    )
    is_clear = (seconds == 0) | (seconds >= LEAST_S)
    site = np.array(["_".join(name.split("_")[:4]) for name in file])
    return Windows(row[is_clear], site[is_clear], file[is_clear], seconds[is_clear] > 0)


def longest(audio: Path, name: str, begin_s: float, window_s: float) -> float:
    """Return how much of one call lies in a window at most, s."""
    tables = [pd.read_csv(path, sep="\t") for path in sorted(audio.glob(f"{Path(name).stem}.*.txt"))]
    found = [0.0]
    for table in tables:
        low = table[table["High Freq (Hz)"] < MOST_HZ]
        last = np.minimum(low["End Time (s)"], begin_s + window_s)
        found += (last - np.maximum(low["Begin Time (s)"], begin_s)).tolist()
    return max(found)


def whitened(urls: list[str]) -> NDArray[np.float32]:
    """Return the vectors of all windows, whitened over them."""
    sets = open_vectors(urls)
    return scaled(np.concatenate([read_span(sets, span) for span in sets.spans]), study_whitening(sets))


def across(
    vectors: NDArray[np.float32], has_call: NDArray[np.bool_], site: NDArray[np.str_], counts: NDArray[np.bool_]
) -> float:
    """Return the mean AUC over sites, of the windows there that count, by a regression of all other sites."""
    found = []
    for each in np.unique(site):
        here = site == each
        score = fitted(vectors[~here], has_call[~here]).decision_function(vectors[here & counts])
        found.append(roc_auc_score(has_call[here & counts], score))
    return float(np.mean(found))


def by_file(vectors: NDArray[np.float32], windows: Windows) -> float:
    """Return the same of whole recordings: means over their windows, labelled by whether a call is in them."""
    files = np.unique(windows.file)
    means = np.stack([vectors[windows.file == file].mean(axis=0) for file in files])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    has_call = np.array([windows.has_call[windows.file == file].any() for file in files])
    site = np.array([windows.site[windows.file == file][0] for file in files])
    return across(means, has_call, site, np.ones(len(files), dtype=np.bool_))


def fitted(vectors: NDArray[np.float32], has_call: NDArray[np.bool_]) -> LogisticRegression:
    """Return a balanced logistic regression."""
    return LogisticRegression(C=STRENGTH, max_iter=500, class_weight="balanced").fit(vectors, has_call)


if __name__ == "__main__":
    main()
