"""Attention of the class token."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from timm.models import VisionTransformer
from torch import Tensor

from lake.errors import InputError


@contextmanager
def class_attention(model: VisionTransformer) -> Iterator[list[Tensor]]:
    """Collect the attention of the class token in the last block, while the network runs.

    Yields
    ------
    list
        After the network ran, one tensor: shape (n_windows, n_token_mels, n_token_frames), the mean over heads. A
        window's values are at least 0 and sum to 1 at most: the rest goes to the class token itself and to registers.

    Raises
    ------
    InputError
        If the network has no class token.
    """
    require_class_token(model)
    found: list[Tensor] = []
    rows, columns = model.patch_embed.grid_size

    def look(block: Any, inputs: tuple[Tensor, ...]) -> None:  # noqa: ANN401 (timm's attention)
        x = inputs[0]
        n, n_tokens, width = x.shape
        qkv = block.qkv(x).reshape(n, n_tokens, 3, block.num_heads, width // block.num_heads).permute(2, 0, 3, 1, 4)
        query, key = block.q_norm(qkv[0]), block.k_norm(qkv[1])
        weights = torch.softmax((query[:, :, :1] * block.scale) @ key.transpose(-2, -1), dim=-1)
        patches = weights[:, :, 0, model.num_prefix_tokens :].mean(dim=1)
        found.append(patches.float().reshape(n, rows, columns))

    last = cast("torch.nn.Module", model.blocks[-1].attn)
    hook = last.register_forward_pre_hook(look)
    try:
        yield found
    finally:
        hook.remove()


def require_class_token(model: VisionTransformer) -> None:
    """Refuse a network without a class token.

    Raises
    ------
    InputError
    """
    if not model.has_class_token:
        raise InputError("attention: this network has no class token. Set attention = false.")
