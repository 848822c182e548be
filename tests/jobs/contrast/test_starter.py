"""The weights that come with the program, and the list of what they were trained on."""

import csv
import re
from importlib import resources

import numpy as np
import pytest
import torch

from jobs.contrast.begin import STARTER, starter
from lake.digest import sha256
from lake.records import unseal

PACKAGE = resources.files("jobs.contrast")


def test_the_list_names_openly_licensed_recordings_alone() -> None:
    with (PACKAGE / "starter.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["file"] for row in rows}) == 134
    for row in rows:
        assert re.match(r"CC0|CC-BY(?!-SA|-NC|-ND)|public domain|(MIT|BSD-3-Clause|Apache-2\.0) ", row["licence"])
        assert not re.search(r"ESC10|insects|orthoptera", row["file"], re.IGNORECASE)
        assert re.fullmatch(r"[0-9a-f]{64}", row["sha256"])
        assert row["repository"]


def test_the_weights_are_small_whole_and_say_what_they_are() -> None:
    assert len((PACKAGE / STARTER).read_bytes()) <= 2_000_000
    net, card, called = starter()
    assert re.fullmatch(r"starter [0-9a-f]{12}", called)
    assert (card.n_bands, card.run, card.began_with) == (128, "starter", "random")
    assert card.mel_hz[0] > 50
    assert card.mel_hz[-1] < 11_000
    assert card.seconds_per_frame == pytest.approx(5 / 256)
    assert not net.training


def test_the_receipt_is_that_of_the_weights() -> None:
    receipt = unseal((PACKAGE / "starter.receipt.json").read_bytes(), "starter.receipt.json")
    _, card, _ = starter()
    assert receipt["weights_sha256"] == sha256((PACKAGE / STARTER).read_bytes())
    assert (receipt["state"], receipt["config_id"]) == ("done", card.config_id)
    assert "host" not in receipt


def test_the_weights_tell_calls_apart_that_share_their_mean_level() -> None:
    """Two trills of one band and one mean level, fast and slow, in noise: neighbours are of the same kind."""
    random = np.random.default_rng(0)
    kind = np.arange(24) % 2
    x = random.normal(0, 0.3, size=(24, 1, 128, 256))
    for window, period in zip(x, np.where(kind == 1, 32, 8), strict=True):
        band, first = random.integers(50, 60), random.integers(0, 32)
        on = (np.arange(256) + first) % period < period // 2
        window[0, band : band + 6, on] += 3
    net, _, _ = starter()
    with torch.inference_mode():
        output, _ = net(torch.from_numpy(x).float())
        vectors = torch.cat([output.mean(dim=1), output.std(dim=1)], dim=1).numpy()
    vectors = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-6)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T - 2 * np.eye(24)
    assert (kind[alike.argmax(axis=1)] == kind).mean() > 0.9
