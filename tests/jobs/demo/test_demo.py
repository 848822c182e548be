"""The demo's study as a whole: that it is the one that was fixed, what is in it, and how hard it is."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.fft
import soundfile
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score
from studydigests import study_digest

from jobs.demo.config import DEMO, STUDY_SHA256
from jobs.demo.plan import RECORDERS, PlannedFile, plan_takes
from jobs.demo.scene import LABELS
from jobs.demo.study import make_study

pytestmark = pytest.mark.slow

Array = npt.NDArray[np.float64]
CELL_MS = 5000


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "study"
    summary = make_study(folder, DEMO, workers=2)
    assert summary.n_bytes < 400e6
    return folder


@pytest.fixture(scope="module")
def windows(demo: Path) -> pd.DataFrame:
    """One row a window of 5 s: recorder, label (empty for none), number of labels, log-mel features."""
    truth = pd.read_csv(demo / "truth.csv")
    for name in ("start_utc", "end_utc"):
        times = pd.to_datetime(truth[name], utc=True, format="ISO8601").dt.tz_localize(None)
        truth[name] = times.astype("datetime64[ms]").astype("int64")
    rows = []
    for take in plan_takes(DEMO):
        for file in take.files:
            if file.fault != "empty":
                events = truth[truth["path"] == file.path]
                rows += [(RECORDERS[take.recorder].name, *row) for row in windows_of(demo, file, events)]
    return pd.DataFrame(rows, columns=["recorder", "label", "n_labels", "features"])


def windows_of(demo: Path, file: PlannedFile, events: pd.DataFrame) -> Iterator[tuple[str, int, Array]]:
    samples, rate = soundfile.read(demo / "audio" / file.path, always_2d=True)
    start_ms = round(file.start_utc.timestamp() * 1000)
    for cell_ms in range(start_ms // CELL_MS * CELL_MS, start_ms + file.kept_ms, CELL_MS):
        first, last = max(cell_ms - start_ms, 0), min(cell_ms - start_ms + CELL_MS, file.kept_ms)
        if last - first >= 0.8 * CELL_MS:
            label, n_labels = window_label(events, start_ms + first, start_ms + last)
            yield label, n_labels, log_mel(samples[first * rate // 1000 : last * rate // 1000].mean(axis=1), rate)


def window_label(events: pd.DataFrame, first_ms: int, last_ms: int) -> tuple[str, int]:
    """Return the label that covers most of a window, '' below half a second, and how many cover half a second."""
    covered: dict[str, tuple[int, float]] = {}
    for label, own in events.groupby("label"):
        mask = np.zeros(last_ms - first_ms, dtype=bool)
        for start, end in zip(own["start_utc"], own["end_utc"], strict=True):
            mask[max(start - first_ms, 0) : max(end - first_ms, 0)] = True
        covered[str(label)] = (int(mask.sum()), float(own["level_db"].max()))
    best = max(covered, key=lambda label: covered[label], default="")
    n_labels = sum(n_ms >= 500 for n_ms, _ in covered.values())
    return (best if n_labels else "", n_labels)


@cache
def mel_bank(rate: int, n_fft: int = 2048, n_mels: int = 128) -> Array:
    mels = np.linspace(2595.0 * np.log10(1.0 + 50.0 / 700.0), 2595.0 * np.log10(1.0 + 11_000.0 / 700.0), n_mels + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    at_hz = np.arange(n_fft // 2 + 1) * rate / n_fft
    rising = (at_hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - at_hz) / np.diff(edges)[1:, None]
    bank: Array = np.clip(np.minimum(rising, falling), 0.0, None)
    nearest = np.abs(at_hz - edges[1:-1, None]).argmin(axis=1)
    bank[np.arange(n_mels), nearest] = np.maximum(bank[np.arange(n_mels), nearest], 1e-3)
    return bank


def log_mel(samples: Array, rate: int) -> Array:
    """Return mean, deviation and maximum over time of 128 log-mel bands, shape (384,)."""
    window = np.hanning(1024)
    starts = np.linspace(0, len(samples) - 1024, 256).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[starts] * window
    power = np.abs(scipy.fft.rfft(frames, 2048, axis=1)) ** 2 / (window.sum() / 2.0) ** 2
    levels = 10.0 * np.log10(power @ mel_bank(rate).T + 1e-12)
    return np.concatenate([levels.mean(axis=0), levels.std(axis=0), levels.max(axis=0)])


def test_it_is_the_study_that_was_fixed(demo: Path) -> None:
    assert study_digest(demo) == STUDY_SHA256


def test_every_kind_is_there_and_some_windows_are_mixed_or_silent(windows: pd.DataFrame) -> None:
    assert 1750 < len(windows) < 1950
    counts = windows["label"].value_counts()
    assert set(counts.index) == {"", *LABELS}
    assert counts.drop("").between(80, 200).all()
    assert 0.08 < counts[""] / len(windows) < 0.2
    assert 0.2 < (windows["n_labels"] >= 2).mean() < 0.4
    assert (windows["recorder"].value_counts() > 250).all()


@pytest.mark.parametrize("k", [12, 30])
def test_the_log_mel_yardstick_is_neither_hopeless_nor_done(windows: pd.DataFrame, k: int) -> None:
    features = np.stack(windows["features"].to_list())
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    known = (windows["label"] != "").to_numpy()
    by_label, by_recorder = [], []
    for seed in range(3):
        clusters = KMeans(k, n_init=3, random_state=seed).fit_predict(features)[known]
        by_label.append(adjusted_mutual_info_score(windows["label"][known], clusters))
        by_recorder.append(adjusted_mutual_info_score(windows["recorder"][known], clusters))
    assert 0.45 < np.mean(by_label) < 0.57
    assert min(by_label) > 0.3
    assert max(by_label) < 0.7
    # The recorder is a nuisance: clusters tell it as well, though less than the label.
    assert 0.05 < np.mean(by_recorder) < np.mean(by_label)
