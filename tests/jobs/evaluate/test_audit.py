from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stores import make_cube, make_embeddings, random_codes

from jobs.evaluate.audit import Nuisances, audit_clusters, audit_vectors, between, nuisances
from jobs.evaluate.config import Config
from jobs.evaluate.probes import one_scale, standardised
from lake.read import open_cube, open_embeddings, usable_windows

CONFIG = Config(n_bootstrap=50)
N = 400


def told(vectors: NDArray[np.float32], **known: NDArray[np.int64]) -> dict[str, float]:
    """Return the grouped balanced accuracy by nuisance; forty recordings of ten windows."""
    values = {name: known.get(name, np.full(N, -1)) for name in ("recorder", "gain", "hour", "day")}
    found = Nuisances(**values, recording=np.arange(N) // 10)
    return {row.target: row.grouped for row in audit_vectors("mine", "vectors", vectors, found, CONFIG)}


def test_a_recorder_that_can_be_heard_and_one_that_cannot() -> None:
    random = np.random.default_rng(0)
    recorder = np.arange(N) // 10 % 4
    noise = random.normal(size=(N, 6)).astype(np.float32)
    deaf, heard = (
        told(noise, recorder=recorder),
        told(noise + 4 * np.eye(4, 6, dtype=np.float32)[recorder], recorder=recorder),
    )
    assert deaf["recorder"] < 0.4
    assert heard["recorder"] > 0.95
    assert set(heard) == {"recorder"}, "what is not known, or has one value, is not asked"


def test_a_recordings_own_voice_is_no_recorder() -> None:
    random = np.random.default_rng(1)
    voice = random.normal(size=(40, 6)).repeat(10, axis=0) * 5 + random.normal(size=(N, 6))
    values = {"recorder": np.arange(N) // 10 % 4, "gain": np.full(N, -1), "hour": np.full(N, -1), "day": np.full(N, -1)}
    (row,) = audit_vectors(
        "mine", "v", voice.astype(np.float32), Nuisances(**values, recording=np.arange(N) // 10), CONFIG
    )
    assert row.leaky > 0.95
    assert row.grouped < 0.45
    assert row.chance == 0.25


def test_the_share_of_variance_in_closed_form() -> None:
    random = np.random.default_rng(2)
    values = random.integers(0, 5, 4000)
    assert abs(between(random.normal(size=(4000, 3)).astype(np.float32), values)) < 0.01
    means = np.array([-2.0, -1, 0, 1, 2])[values]
    vectors = (means + random.normal(size=4000))[:, None].astype(np.float32)
    assert between(vectors, values) == pytest.approx(2 / 3, abs=0.02), "variance 2 between, 1 within"


def test_axes_that_whitening_made_small_weigh_little_in_the_share() -> None:
    random = np.random.default_rng(4)
    values = random.integers(0, 5, 1000)
    vectors = np.concatenate(
        [np.array([-2.0, -1, 0, 1, 2])[values, None], random.normal(size=(1000, 50)) * 0.01], axis=1
    )
    found = Nuisances(
        recorder=values, gain=np.full(1000, -1), hour=np.full(1000, -1), day=np.full(1000, -1),
        recording=np.arange(1000) // 10,
    )  # fmt: skip
    for prepare, expected in ((one_scale, 1.0), (standardised, 1 / 51)):
        (row,) = audit_vectors("mine", "v", vectors.astype(np.float32), found, CONFIG, prepare=prepare)
        assert row.share == pytest.approx(expected, abs=0.01)


def test_the_share_of_clusters_that_a_recorder_explains() -> None:
    random = np.random.default_rng(3)
    recorder, other = np.arange(N) % 2, random.integers(0, 3, N)
    found = Nuisances(recorder, np.full(N, -1), np.full(N, -1), other, np.arange(N) // 10)
    rows = {row.target: row for row in audit_clusters("mine", "k", recorder * 1, found)}
    assert rows["recorder"].share == 1
    assert abs(rows["day"].share) < 0.02
    assert np.isnan(rows["day"].grouped)


def test_nuisances_come_from_grid_and_cube(tmp_path: Path) -> None:
    codes = random_codes()
    cube = make_cube(tmp_path, codes, recorders=("north", "untimed:x"))
    there = np.asarray(codes.any(axis=(2, 3)))
    vectors = np.where(there[..., None], 1.0, np.nan).astype(np.float32)
    store = open_embeddings(make_embeddings(tmp_path, vectors, cube=cube).output.url)
    windows = usable_windows(store, status="embedding_status")
    plain, known = nuisances(store, windows, None), nuisances(store, windows, open_cube(cube.output.url))
    timed = windows.recorder == 0
    cells = windows.cell[timed]
    assert plain.recorder.tolist() == windows.recorder.tolist()
    assert (plain.hour[~timed] == -1).all()
    assert (plain.day[~timed] == -1).all()
    assert plain.day[timed].tolist() == (cells // 144).tolist()
    utc, local = cells % 144 // 6, (cells % 144 // 6 - 5) % 24
    assert plain.hour[timed].tolist() == np.unique(utc, return_inverse=True)[1].tolist()
    assert known.hour[timed].tolist() == np.unique(local, return_inverse=True)[1].tolist()
    assert set(plain.gain) == {-1}
    assert set(known.gain) == {0}
    assert len(set(plain.recording)) == 4, "a recorder's day, where no recording is known"
    assert len(set(known.recording)) == 2
