from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.network.card import ModelCard
from jobs.common.network.inputs import prepare
from jobs.common.training.data import Places, Source, from_array
from jobs.common.training.statistics import backgrounds, level_counts_by_recorder
from jobs.dino.config import Config
from lake.errors import InputError

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]


@pytest.fixture
def source(codes: Codes) -> Source:
    """Return 24 windows, the last 10 of them of the second recorder; the third has none."""
    recorder = np.repeat(np.array([0, 1], dtype=np.int32), [14, 10])
    nothing = np.zeros(24, dtype=np.int64)
    return replace(from_array(codes), places=Places(("a", "b", "c"), recorder, nothing, nothing, nothing))


def test_backgrounds_are_medians_of_what_was_recorded(source: Source, codes: Codes) -> None:
    counts = dict(level_counts_by_recorder(source, Config()))
    medians, deviation = backgrounds(counts, np.full(32, -70.0))
    assert list(medians) == ["a", "b"]
    squares = []
    for name, rows in (("a", slice(0, 14)), ("b", slice(14, 24))):
        levels = np.where(codes[rows] == 0, np.nan, codes[rows] * 0.5 - 124.5)
        for band in range(32):
            known = np.sort(levels[:, band][np.isfinite(levels[:, band])])
            assert medians[name][band] == known[(len(known) - 1) // 2]
        squares.append(((levels - medians[name][:, None]) ** 2).ravel())
    assert deviation == pytest.approx(np.sqrt(np.nanmean(np.concatenate(squares))))


def test_a_band_that_a_recorder_lacks_takes_the_mean(source: Source, codes: Codes) -> None:
    lacking = codes.copy()
    lacking[14:, 30:] = 0
    one = replace(source, read=lambda windows: lacking[windows])
    medians, _ = backgrounds(dict(level_counts_by_recorder(one, Config())), np.linspace(-90, -59, 32))
    assert medians["b"][30:].tolist() == [-60.0, -59.0]


def test_recorders_share_the_sample(source: Source) -> None:
    counts = dict(level_counts_by_recorder(source, Config(n_statistics=6)))
    assert [each.sum() for each in counts.values()] == [3 * 32 * 64] * 2


def test_windows_lose_their_recorders_background(make_config: MakeConfig, make_card: MakeCard, codes: Codes) -> None:
    card = make_card(make_config(), codes)
    median = {"a": tuple(np.linspace(-100, -69, 32).tolist()), "b": (-80.0,) * 32}
    bare = card.model_copy(update={"background_db": median})
    batch = torch.from_numpy(codes[:3])
    found = prepare(batch, bare, ["b", "a", "b"])
    for i, name in enumerate("bab"):
        alone = card.model_copy(update={"mean_db": median[name]})
        torch.testing.assert_close(found[i : i + 1], prepare(batch[i : i + 1], alone))


def test_recorders_that_the_model_does_not_know_are_refused(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes
) -> None:
    card = make_card(make_config(), codes).model_copy(update={"background_db": {"a": (-80.0,) * 32}})
    batch = torch.from_numpy(codes[:2])
    with pytest.raises(InputError, match=r"'net' was trained with .* does not know x; it knows a\. Train again with"):
        prepare(batch, card, ["a", "x"])
    with pytest.raises(InputError, match="the recorder of each of the 2 windows is needed, found none"):
        prepare(batch, card)
