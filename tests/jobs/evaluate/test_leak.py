"""A leak that was planted: recordings have a voice of their own, and intervals stand beside each other in them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.evaluate.config import Config
from jobs.evaluate.scores import CHANCE, Row, make_splits, of_chance, of_clusters, of_lots, of_vectors
from jobs.evaluate.units import Units

N_RECORDINGS, N_EACH, N_FEATURES, N_LABELS = 60, 8, 24, 4
CONFIG = Config(n_bootstrap=100)


def study(*, signal: float, voice: float, seed: int = 0) -> tuple[Units, NDArray[np.float32], NDArray[np.int64]]:
    """Return intervals of recordings with one label each, vectors, and labels.

    Parameters
    ----------
    signal
        Length of what a label adds to a vector: what can honestly be learnt.
    voice
        Length of what a recording adds to all of its vectors: the leak.
    """
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(N_RECORDINGS) % N_LABELS, N_EACH)
    recording = np.repeat(np.arange(N_RECORDINGS), N_EACH)
    vectors = random.normal(size=(len(labels), N_FEATURES))
    vectors += signal * random.normal(size=(N_LABELS, N_FEATURES))[labels]
    vectors += voice * random.normal(size=(N_RECORDINGS, N_FEATURES))[recording]
    day = np.array([f"2021-06-{1 + i // 3:02d}" for i in recording])
    recorder = np.array([f"recorder {i % 5}" for i in recording])
    empty, start_ms = np.full(len(labels), ""), np.arange(len(labels)) * 5_000
    names = np.array([f"{i}.wav" for i in recording])
    units = Units(recorder, start_ms, start_ms + 5_000, labels.astype(str), names, day, empty)
    return units, vectors.astype(np.float32), labels


def figures(*, signal: float, voice: float) -> dict[tuple[str, str], Row]:
    units, vectors, labels = study(signal=signal, voice=voice)
    return {
        (row.split, row.measure): row
        for split in make_splits(units, labels, CONFIG)
        for row in [*of_chance(labels, split, CONFIG), *of_vectors(("mine", "vectors"), vectors, labels, split, CONFIG)]
    }


def test_a_planted_leak_raises_the_leaky_score_and_not_the_grouped_ones() -> None:
    without, planted = figures(signal=0.0, voice=0.0), figures(signal=0.0, voice=2.0)
    for measure in ("knn_accuracy", "linear_accuracy", "knn_balanced_accuracy"):
        assert planted["leaky", measure].value > (0.5 if measure == "linear_accuracy" else 0.9)
        assert without["leaky", measure].value < 0.4
        for split in ("recording", "day", "recorder"):
            row = planted[split, measure]
            assert row.value < 0.4, f"{split}: a recording's voice says nothing about other recordings"
            assert row.low < 1 / N_LABELS + 0.08
            assert row.label_seen == 1
        assert planted["leaky", measure].low > planted["recording", measure].high


def test_an_honest_signal_is_found_by_every_split() -> None:
    honest = figures(signal=2.0, voice=0.0)
    for split in ("leaky", "recording", "day", "recorder"):
        assert honest[split, "knn_accuracy"].value > 0.95
        assert honest[split, "linear_accuracy"].value > 0.95
        assert honest[split, "kmeans_ami"].value > 0.9
        assert honest[split, "kmeans_purity"].value > 0.95
        assert honest[split, "commonest_balanced_accuracy"].value == pytest.approx(1 / N_LABELS, abs=0.15)


def test_what_a_split_is_made_of() -> None:
    rows = figures(signal=1.0, voice=1.0)
    assert {split for split, _ in rows} == {"leaky", "recording", "day", "recorder"}, "nothing is known of `group`"
    assert [rows[split, "knn_accuracy"].n_groups for split in ("leaky", "recording", "day", "recorder")] == [
        480,
        60,
        20,
        5,
    ]
    assert {row.n_labels for row in rows.values()} == {N_LABELS}
    assert all(row.low <= row.value <= row.high for key, row in rows.items() if key[1].endswith("accuracy"))


def test_the_intervals_of_groups_hold_the_truth() -> None:
    """A clustering of the features by chance has an AMI of 0 in all splits."""
    rows = figures(signal=0.0, voice=0.0)
    assert all(abs(rows[split, "kmeans_ami"].value) < 0.05 for split in ("leaky", "recording", "day", "recorder"))


def test_clusters_by_lot_show_what_nmi_and_purity_grow_to() -> None:
    units, _, labels = study(signal=0.0, voice=0.0)
    few, many = labels.copy(), labels * 60 + np.arange(len(labels)) % 60
    for split in make_splits(units, labels, CONFIG):
        own = {row.measure: row for row in of_clusters(("mine", "few"), few, labels, split, CONFIG)}
        assert own["clusters_nmi"].value == own["clusters_purity"].value == 1
        dealt = {
            name: {row.measure: row for row in of_lots(name, clusters, labels, split, CONFIG)}
            for name, clusters in (("few", few), ("many", many))
        }
        for name, rows in dealt.items():
            assert {(row.role, row.run) for row in rows.values()} == {(CHANCE, name)}
            assert abs(rows["clusters_ami"].value) < 0.05
            assert abs(rows["clusters_ari"].value) < 0.05
            assert rows["clusters_purity"].value < 0.4
        assert dealt["few"]["clusters_nmi"].value < 0.05
        assert dealt["many"]["clusters_nmi"].value > 0.2, "of nothing but their number"
        drawn = {row.measure: row for row in of_chance(labels, split, CONFIG)}
        assert abs(drawn["kmeans_ami"].value) < 0.05
        assert drawn["kmeans_purity"].value < 0.4
