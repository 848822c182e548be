from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from jobs.common.network.backbone import pool
from jobs.common.network.card import ModelCard
from jobs.common.network.inputs import prepare, resize
from jobs.common.training.data import Places, from_array
from jobs.common.training.plot import PANELS, picture
from jobs.common.training.probe import neighbours_say, rank_me, sample
from jobs.dino.config import Config
from jobs.dino.flops import flops_per_window
from jobs.dino.probe import embedded, signs
from jobs.dino.train import new_state

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]


def places(recorder: list[int], recording: list[int], hour: list[int]) -> Places:
    rows = np.array(recorder, dtype=np.int32), np.array(recording), np.array(hour)
    return Places(("north", "south"), *rows, shard=np.zeros(len(recorder), dtype=np.int64))


def test_the_effective_rank_counts_directions() -> None:
    random = np.random.default_rng(0)
    assert rank_me(np.eye(12)) == pytest.approx(12, abs=1e-3)
    assert rank_me(np.outer(random.normal(size=50), random.normal(size=12))) == pytest.approx(1, abs=1e-3)
    three = random.normal(size=(200, 3)) @ random.normal(size=(3, 40))
    assert 2 < rank_me(three) < 3.001
    assert rank_me(np.zeros((5, 4))) < 5


def test_neighbours_vote_as_scikit_learns() -> None:
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(90, 5)), random.integers(0, 4, 90)
    said = neighbours_say(features, labels, np.arange(90), 4, k=7)
    for i in range(90):
        others = np.arange(90) != i
        model = KNeighborsClassifier(7, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
        assert model.fit(features[others], labels[others]).predict(features[i : i + 1])[0] == said[i]


def test_windows_of_the_same_recording_are_no_neighbours() -> None:
    features = np.eye(3)[[0, 0, 1, 1, 2]] + 0.01 * np.arange(5)[:, None]
    labels = np.array([0, 0, 1, 1, 0])
    assert neighbours_say(features, labels, np.arange(5), 2, k=1).tolist()[:4] == [0, 0, 1, 1]
    apart = neighbours_say(features, labels, np.array([7, 7, 8, 8, 9]), 2, k=1)
    assert apart[0] == apart[1] != -1
    assert (neighbours_say(features, labels, np.zeros(5, dtype=np.int64), 2) == -1).all()


def test_features_come_in_order_whatever_the_blocks(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    many = np.concatenate([codes] * 6)
    config = make_config()
    card = make_card(config, codes)
    network = new_state(card, config, cpu).pair.teacher
    windows = np.random.default_rng(0).permutation(144)[:131]
    found = embedded(network, from_array(many), windows, card, config)
    with torch.no_grad():
        x = resize(prepare(torch.from_numpy(many[windows]), card), config.global_size)
        expected = pool(network.backbone.forward_features(x), network.backbone, "patch_mean")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not network.training


def test_the_sample_is_seeded_and_no_larger_than_it_needs_be(make_config: MakeConfig) -> None:
    many = from_array(np.zeros((3000, 1, 1), dtype=np.uint8))
    first = sample(many, make_config(), 32)
    assert len(first) == len(np.unique(first)) == 512
    assert len(sample(many, make_config(), 400)) == 800
    np.testing.assert_array_equal(first, sample(many, make_config(), 32))
    assert (first != sample(many, make_config(seed=1), 32)).any()
    assert len(sample(from_array(np.zeros((30, 1, 1), dtype=np.uint8)), make_config(), 32)) == 30


def test_the_signs_leave_out_what_cannot_be_known(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, cpu: torch.device
) -> None:
    config = make_config()
    card = make_card(config, codes)
    network, plain = new_state(card, config, cpu).pair.teacher, from_array(codes)
    windows = np.arange(24)
    assert set(signs(network, plain, windows, card, config)) == {"rank_me"}
    alone = replace(plain, places=places([0, 1] * 12, [0, 1] * 12, [5] * 24))
    assert set(signs(network, alone, windows, card, config)) == {"rank_me"}
    known = replace(plain, places=places([0, 0, 1, 1] * 6, [0, 1, 2, 3] * 6, [5, 6, 6, 7] * 6))
    found = signs(network, known, windows, card, config)
    assert set(found) == {"rank_me", "recorder_knn", "recorder_share", "hour_knn", "hour_share"}
    assert found["recorder_share"] == 0.5
    assert found["hour_share"] == 1.0  # only hour 6 is in two recordings


def test_a_recorders_colour_is_told_by_neighbours_until_its_background_is_taken_off(
    make_config: MakeConfig, make_card: MakeCard, cpu: torch.device
) -> None:
    random = np.random.default_rng(3)
    n = 80
    recorder = np.arange(n) % 2
    colour = np.array([np.linspace(-12, 12, 32), np.linspace(12, -12, 32)])[recorder]
    events = random.normal(60, 4, (n, 32, 64))
    events[np.arange(n), random.integers(0, 32, n)] += 40
    codes = (events + colour[..., None]).round().clip(1, 255).astype(np.uint8)
    where = places(recorder.tolist(), list(range(n)), [0] * n)
    source = replace(from_array(codes), places=where)
    plain = make_config()
    card = make_card(plain, codes)
    median = {
        name: tuple(np.median(codes[recorder == i] * 0.5 - 124.5, axis=(0, 2)).tolist())
        for i, name in enumerate(where.recorders)
    }
    bare = card.model_copy(update={"background_db": median})
    network = new_state(card, plain, cpu).pair.teacher
    found = [signs(network, source, np.arange(n), each, plain)["recorder_knn"] for each in (card, bare)]
    assert found[0] > 0.95
    assert found[1] < 0.7


def test_the_operations_of_the_study_are_those_of_the_literature() -> None:
    # ViT-S/16: 9.12 G for a view of 224, 1.60 G for one of 96, 45 M for the head; 2 global and 8 local views.
    assert flops_per_window(Config(), 384, 12) == pytest.approx(112.9e9, rel=0.002)
    more = flops_per_window(Config(recipe="dino-plus"), 384, 12)
    assert 1.02 < more / flops_per_window(Config(), 384, 12) < 1.3


def test_the_picture_is_a_png_and_shows_what_there_is() -> None:
    names = {name for _, panel in PANELS for name in panel}
    entries = [{"step": float(step), **dict.fromkeys(names, step / 10)} for step in range(1, 30)]
    sparse = [{k: v for k, v in entry.items() if k != "rank_me" or entry["step"] % 8 == 0} for entry in entries]
    pictures = [picture(sparse), picture([{"step": 1.0, "loss": 4.0}])]
    assert all(each.startswith(b"\x89PNG\r\n") for each in pictures)
    assert pictures[0] != pictures[1]
