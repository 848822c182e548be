import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.common.network.backbone import build_backbone, features, load_backbone, load_card, save_backbone
from jobs.common.network.card import ModelCard
from jobs.common.network.inputs import check_scale, gaps_of, prepare, resize
from lake.errors import InputError, StoreError, StoreFormatError


def make_card(**changes: Any) -> ModelCard:
    values: dict[str, Any] = {
        "arch": "vit_tiny_patch16_224",
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "patch_size": (8, 4),
        "input_size": (8, 16),
        "mean_db": tuple(-70.0 + 0.1 * i for i in range(8)),
        "deviation_db": 7.0,
        "seconds_per_frame": 0.04,
        "mel_first_hz": 60.0,
        "mel_last_hz": 15_900.0,
        "run": "dino",
        "config_id": "0123456789ab",
    }
    return ModelCard(**{**values, **changes})


def prepared_slowly(codes: NDArray[np.uint8], card: ModelCard) -> NDArray[np.float64]:
    """Say again, one pixel at a time, what `prepare` should do."""
    out = np.zeros(codes.shape)
    for i, window in enumerate(codes):
        covered = np.array([column.any() for column in window.T])
        for band, row in enumerate(window):
            if not row.any():
                continue
            levels = row * 0.5 - 124.5
            background = np.median(levels[covered & (row > 0)])
            for frame in range(len(row)):
                level = background if row[frame] == 0 else levels[frame]
                out[i, band, frame] = (level - card.mean_db[band]) / card.deviation_db
    return out[:, None]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 8))
def test_prepare_equals_a_slow_twin(seed: int, n_uncovered: int, n_absent: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(1, 256, (3, 8, 9), dtype=np.uint8)
    codes[1][:, random.permutation(9)[:n_uncovered]] = 0
    codes[1:, random.permutation(8)[:n_absent]] = 0
    found = prepare(torch.from_numpy(codes), make_card()).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, prepared_slowly(codes, make_card()), atol=2e-5)
    told = prepare(torch.from_numpy(codes), make_card(), has_gap=gaps_of(codes)).numpy()
    np.testing.assert_array_equal(told, found)


def test_prepare_decodes_levels() -> None:
    card = make_card(mean_db=(-60.0,), deviation_db=10.0)
    codes = torch.tensor([[[1, 129, 255]]], dtype=torch.uint8)
    expected = torch.tensor([[[[-6.4, 0.0, 6.3]]]])
    torch.testing.assert_close(prepare(codes, card), expected, atol=1e-6, rtol=0)


def test_an_uncovered_frame_takes_its_bands_median_over_the_covered_ones() -> None:
    card = make_card(mean_db=(-60.0, -60.0), deviation_db=1.0)
    codes = torch.tensor([[[129, 131, 0, 133, 171], [109, 109, 0, 111, 111]]], dtype=torch.uint8)
    found = prepare(codes, card)[0, 0, :, 2]
    torch.testing.assert_close(found, torch.tensor([1.5, -9.5]))


def test_a_band_above_the_sources_nyquist_frequency_is_the_dataset_mean() -> None:
    codes = torch.full((1, 8, 9), 100, dtype=torch.uint8)
    codes[:, 6:] = 0
    codes[:, :, 4] = 0
    found = prepare(codes, make_card())[0, 0]
    assert (found[6:] == 0).all()
    assert (found[:6, 4] == found[:6, 3]).all()


def test_a_window_without_any_sample_is_finite() -> None:
    assert (prepare(torch.zeros((2, 8, 9), dtype=torch.uint8), make_card()) == 0).all()


def test_prepare_refuses_other_bands() -> None:
    with pytest.raises(InputError, match=r"expected windows of 8 mel bands.*found 5\. Use a cube"):
        prepare(torch.ones((1, 5, 9), dtype=torch.uint8), make_card())


def test_resize_takes_means_where_it_shrinks_and_lines_where_it_grows() -> None:
    x = torch.arange(32.0).reshape(1, 1, 4, 8)
    torch.testing.assert_close(resize(x, (4, 4)), x.reshape(1, 1, 4, 4, 2).mean(4))
    torch.testing.assert_close(resize(x, (2, 8)), x.reshape(1, 1, 2, 2, 8).mean(3))
    both = resize(x, (2, 16))[0, 0]
    torch.testing.assert_close(both[:, 1:-1], torch.arange(14.0)[None] / 2 + 4.25 + 16 * torch.arange(2.0)[:, None])
    assert resize(x, (4, 8)) is x


def test_features_are_what_their_readouts_say() -> None:
    torch.manual_seed(1)
    model = build_backbone(make_card()).eval()
    x = torch.randn(3, 1, 8, 32)
    with torch.no_grad():
        tokens = model.forward_features(x.reshape(3, 1, 8, 16, 2).mean(4)).numpy()
        assert tokens.shape == (3, 1 + 4, 32)
        token = features(model, x, "class").numpy()
        mean = features(model, x, "patch_mean").numpy()
        both = features(model, x, "patch_mean_std").numpy()
    np.testing.assert_allclose(token, tokens[:, 0], atol=1e-5)
    np.testing.assert_allclose(mean, tokens[:, 1:].mean(1), atol=1e-5)
    np.testing.assert_allclose(both, np.hstack([tokens[:, 1:].mean(1), tokens[:, 1:].std(1)]), atol=1e-5)


def test_a_stored_model_is_the_same_model_in_plain_timm(tmp_path: Path) -> None:
    torch.manual_seed(2)
    card, model = make_card(), build_backbone(make_card()).eval()
    save_backbone(str(tmp_path / "model"), model, card)
    save_backbone(str(tmp_path / "model"), build_backbone(card), card, "initial")
    before = torch.get_rng_state()
    loaded, stored = load_backbone(str(tmp_path / "model"))
    assert torch.equal(torch.get_rng_state(), before)
    assert stored == card
    assert not loaded.training
    content = json.loads((tmp_path / "model" / "config.json").read_text())
    plain = timm.create_model(content["architecture"], **content["model_args"]).eval()
    plain.load_state_dict(safetensors.torch.load_file(tmp_path / "model" / "backbone.safetensors"))
    x = torch.randn(2, 1, 8, 16)
    with torch.no_grad():
        assert torch.equal(model(x), loaded(x))
        assert torch.equal(model(x), plain(x))
        assert not torch.equal(model(x), load_backbone(str(tmp_path / "model"), "initial")[0](x))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "backbone.safetensors",
        "config.json",
        "initial.safetensors",
    ]


def test_the_architectures_own_shape_is_kept_unless_replaced() -> None:
    card = make_card(embed_dim=None, depth=1, num_heads=None, input_size=(16, 16), patch_size=(16, 4))
    model = build_backbone(card)
    assert (model.embed_dim, len(model.blocks)) == (192, 1)
    assert tuple(model.patch_embed.proj.weight.shape) == (192, 1, 16, 4)
    assert model.patch_embed.grid_size == (1, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "vit_smal_patch16_224"}, r"timm has no model.*vit_small_patch16_224.*Choose one of"),
        ({"arch": "resnet18"}, r"resnet18 .*Choose .*vit_small_patch16_224"),
        ({"arch": "swin_tiny_patch4_window7_224"}, r"swin_tiny_patch4_window7_224 .*Choose .*vit_small"),
        ({"embed_dim": 33}, r"a width that the heads divide, found 33 and 2"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_backbone(make_card(**changes))


def test_a_readout_that_the_network_lacks_is_refused() -> None:
    model = build_backbone(make_card())
    model.has_class_token = False
    with pytest.raises(InputError, match=r"no class token\. Choose patch_mean"):
        features(model, torch.zeros(1, 1, 8, 16), "class")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with pytest.raises(InputError, match=r"expected a model, found no config.json\. Run the dino job"):
        load_backbone(folder)
    (tmp_path / "config.json").write_text('{"card": 3}')
    with pytest.raises(StoreFormatError, match="expected a model card, found other JSON"):
        load_card(folder)
    (tmp_path / "config.json").write_text('{"num_features": 8, "card": {"format_version": 2}}')
    with pytest.raises(StoreFormatError, match=r"format is version 2, this release reads up to 1\. Install"):
        load_card(folder)
    (tmp_path / "config.json").write_text('{"num_features": 8, "card": {"format_version": 1}}')
    with pytest.raises(StoreFormatError, match="not a model card"):
        load_card(folder)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder, model = str(tmp_path), build_backbone(make_card())
    save_backbone(folder, model, make_card(), "initial")
    with pytest.raises(InputError, match=r"expected backbone.safetensors, found none.*Run it again"):
        load_backbone(folder)
    save_backbone(folder, model, make_card(depth=3))
    with pytest.raises(StoreError, match=r"blocks.2.*Train the model again"):
        load_backbone(folder)
    (tmp_path / "backbone.safetensors").write_bytes(b"not weights")
    with pytest.raises(StoreError, match=r"not the weights that config\.json describes"):
        load_backbone(folder)


def test_another_scale_is_refused() -> None:
    card, bands = make_card(), np.linspace(60.0, 15_900.0, 8)
    check_scale(card, window_s=0.64, mel_hz=bands)
    check_scale(card, window_s=1.28, mel_hz=bands)
    with pytest.raises(InputError, match=r"0\.04 s per pixel, this cube's windows give 0\.08125 s"):
        check_scale(card, window_s=1.3, mel_hz=bands)
    with pytest.raises(InputError, match=r"8 mel bands from 60\.0 to 15900\.0 Hz, the cube has 8 from 60\.0 to 12000"):
        check_scale(card, window_s=0.64, mel_hz=np.linspace(60.0, 12_000.0, 8))
    with pytest.raises(InputError, match="the cube has 9"):
        check_scale(card, window_s=0.64, mel_hz=np.linspace(60.0, 15_900.0, 9))


def test_a_card_without_later_fields_is_written_as_before_and_read(tmp_path: Path) -> None:
    plain, full = make_card(), make_card(registers=2, background_db={"a": (-80.0,) * 8})
    for name, card in (("plain", plain), ("full", full)):
        save_backbone(str(tmp_path / name), build_backbone(card), card)
        assert load_card(str(tmp_path / name)) == card
    stored = {name: json.loads((tmp_path / name / "config.json").read_text()) for name in ("plain", "full")}
    assert not {"registers", "background_db"} & set(stored["plain"]["card"])
    assert "reg_tokens" not in stored["plain"]["model_args"]
    assert stored["full"]["model_args"]["reg_tokens"] == 2
    model, _ = load_backbone(str(tmp_path / "full"))
    assert model.num_prefix_tokens == 3


@pytest.mark.parametrize("grid", [(6, 2), (2, 12), (3, 5), (8, 8)])
def test_positions_are_resampled_along_their_own_axes(grid: tuple[int, int]) -> None:
    model = build_backbone(make_card(input_size=(32, 16))).eval()
    assert model.pos_embed is not None
    assert model.cls_token is not None
    row, column = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    with torch.no_grad():
        model.pos_embed.zero_()
        model.pos_embed[0, 1:, 0], model.pos_embed[0, 1:, 1] = row.flatten(), column.flatten()
        model.cls_token.zero_()
        found = model._pos_embed(torch.zeros(1, *grid, 32))[0, 1:].reshape(*grid, 32)
    down, right = found[..., 0], found[..., 1]
    assert (down.diff(dim=0) > 0.1).all()
    assert (right.diff(dim=1) > 0.1).all()
    torch.testing.assert_close(down, down[:, :1].expand(grid), atol=1e-5, rtol=0)
    torch.testing.assert_close(right, right[:1].expand(grid), atol=1e-5, rtol=0)
    assert down.mean().item() == pytest.approx(1.5, abs=1e-4)
    assert right.mean().item() == pytest.approx(1.5, abs=1e-4)
