from typing import Any, cast

import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor

from jobs.common.attention import attention_maps
from jobs.common.backbone import build_backbone
from jobs.common.card import ModelCard
from lake.errors import InputError


def network(**changes: Any) -> VisionTransformer:
    card: dict[str, Any] = {
        "arch": "vit_tiny_patch16_224", "embed_dim": 32, "depth": 2, "num_heads": 4, "patch_size": (8, 4),
        "input_size": (16, 32), "mean_db": (-70.0,) * 16, "deviation_db": 7.0, "seconds_per_frame": 0.04,
        "mel_first_hz": 60.0, "mel_last_hz": 9000.0, "run": "dino", "config_id": "c0ffee", "registers": 3,
    }  # fmt: skip
    torch.manual_seed(0)
    return build_backbone(ModelCard(**{**card, **changes})).eval()


def last_attention(model: VisionTransformer) -> Any:
    return cast("Any", model.blocks[-1]).attn


def attended(model: VisionTransformer, x: Tensor) -> Tensor:
    """Return the last block's whole attention matrix, by the textbook, shape (n, heads, n_tokens, n_tokens)."""
    inputs: list[Tensor] = []
    last_attention(model).register_forward_pre_hook(lambda _module, args: inputs.append(args[0]))
    with torch.no_grad():
        model.forward_features(x)
        attention, (tokens,) = last_attention(model), inputs
        _n, _n_tokens, width = tokens.shape
        rows = []
        for head in range(4):
            part = slice(head * 8, head * 8 + 8)
            query, key = (
                tokens @ attention.qkv.weight[i * width : (i + 1) * width][part].T
                + attention.qkv.bias[i * width : (i + 1) * width][part]
                for i in range(2)
            )
            rows.append(torch.softmax(query @ key.transpose(1, 2) / 8**0.5, dim=2))
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize("registers", [0, 3])
@pytest.mark.parametrize("size", [(16, 32), (32, 16)])
def test_maps_are_rows_of_the_whole_matrix(registers: int, size: tuple[int, int]) -> None:
    model, x = network(registers=registers), torch.randn(3, 1, *size)
    found = attention_maps(model, x, size)
    assert found.shape == (3, 4, size[0] // 8, size[1] // 4)
    expected = attended(model, x)[:, :, 0]
    torch.testing.assert_close(found.flatten(2), expected[..., 1 + registers :], atol=1e-5, rtol=0)
    rest = 1 - expected[..., : 1 + registers].sum(dim=2)
    torch.testing.assert_close(found.sum(dim=(2, 3)), rest, atol=1e-5, rtol=0)


def test_windows_of_another_size_are_resized() -> None:
    assert attention_maps(network(), torch.randn(2, 1, 40, 50)).shape == (2, 4, 2, 8)


def test_high_resolution_is_looked_at_as_by_the_textbook() -> None:
    model, x = network(patch_size=(16, 16), input_size=(32, 32)), torch.randn(1, 1, 128, 128)
    expected = attended(model, x)[:, :, 0, 4:]
    torch.testing.assert_close(attention_maps(model, x, (128, 128)).flatten(2), expected, atol=1e-5, rtol=0)


def test_the_network_is_left_as_it_was() -> None:
    model, x = network(), torch.randn(2, 1, 16, 32)
    with torch.no_grad():
        before = model.forward_features(x)
        attention_maps(model, x)
        assert torch.equal(model.forward_features(x), before)
    assert not last_attention(model).qkv._forward_hooks


def test_a_network_without_a_class_token_is_refused() -> None:
    model = network(arch="vit_base_patch16_siglip_224", registers=0)
    with pytest.raises(InputError, match="this network has no class token to look from"):
        attention_maps(model, torch.randn(1, 1, 16, 32))
