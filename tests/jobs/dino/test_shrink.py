from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.backbone import ModelCard, prepare
from jobs.dino.config import Config
from jobs.dino.shrink import prepare_shrunk, shrunk_size
from jobs.dino.train import views_of
from jobs.dino.views import make_views

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]


@pytest.mark.parametrize(
    ("now", "expected"),
    [((1024, 1024), (512, 512)), ((128, 256), (128, 256)), ((447, 896), (447, 448)), ((1000, 1345), (500, 448))],
)
def test_windows_shrink_by_whole_factors_to_twice_a_view_at_least(
    now: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert shrunk_size(now, (224, 224)) == expected


@pytest.mark.parametrize("view", [(16, 16), (4, 5), (1, 3), (8, 10)])
def test_shrunk_windows_are_means_of_prepared_ones(
    view: tuple[int, int], make_config: MakeConfig, make_card: MakeCard
) -> None:
    random = np.random.default_rng(0)
    codes = random.integers(1, 256, (6, 32, 60), dtype=np.uint8)
    codes[1, :, 50:] = 0
    codes[4, 28:] = 0
    codes[5] = 255
    card = make_card(make_config(), codes)
    found = prepare_shrunk(torch.from_numpy(codes), card, view)
    rows, columns = shrunk_size((32, 60), view)
    whole = prepare(torch.from_numpy(codes), card).numpy()[:, 0]
    expected = whole.reshape(6, rows, 32 // rows, columns, 60 // columns).mean(axis=(2, 4))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)


def test_what_is_not_shrunk_is_prepared_as_it_is(make_config: MakeConfig, make_card: MakeCard) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (3, 32, 64), dtype=np.uint8)
    card = make_card(make_config(), codes)
    assert torch.equal(prepare_shrunk(torch.from_numpy(codes), card, (32, 32)), prepare(torch.from_numpy(codes), card))


def test_large_windows_have_the_same_views_in_groups_as_all_at_once(
    make_config: MakeConfig, make_card: MakeCard
) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (19, 128, 128), dtype=np.uint8)
    config, samples = make_config(), np.arange(100, 119, dtype=np.int64)
    card = make_card(config, codes)
    found = views_of(torch.from_numpy(codes), samples, card, config)
    x = prepare_shrunk(torch.from_numpy(codes), card, config.global_size)
    assert x.shape == (19, 1, 64, 64)
    expected = make_views(x, samples, card.deviation_db, config)
    for one, other in zip((found.teacher, *found.student), (expected.teacher, *expected.student), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
