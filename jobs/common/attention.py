"""What a backbone's class token looks at, without the whole attention matrix."""

from typing import Any, cast

import torch
from timm.models import VisionTransformer
from torch import Tensor

from jobs.common.inputs import resize
from lake.errors import InputError


@torch.no_grad()
def attention_maps(model: VisionTransformer, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Return the last block's attention of the class token to the patches.

    Parameters
    ----------
    model
        From :func:`~jobs.common.backbone.load_backbone`, in evaluation mode.
    x
        From :func:`~jobs.common.inputs.prepare`, shape (n_windows, 1, n_mels, n_frames).
    size
        Mel bands and frames that windows are resized to; the network's input size if ``None``.

    Returns
    -------
    Tensor
        float32, shape (n_windows, n_heads, rows, columns), one value a patch. A head's values sum to 1 less
        what it gives to the class token itself and to registers.

    Raises
    ------
    InputError
        If the network has no class token, or its attention has another form than timm's plain one.

    Notes
    -----
    Only one row of each head's matrix is computed, ``softmax(q_class · K / sqrt(width))``, from what the last
    block's ``qkv`` gave: the fused attention that made the features keeps none, and the whole of it would be
    n_tokens times as large.
    """
    if not model.has_class_token:
        raise InputError("attention: this network has no class token to look from.")
    attention: Any = cast("Any", model.blocks[-1]).attn
    if not hasattr(attention, "qkv"):
        raise InputError(f"attention: expected timm's plain attention, found {type(attention).__name__}.")
    shown = resize(x, size or tuple(model.patch_embed.img_size))
    kept: list[Tensor] = []
    handle = attention.qkv.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        model.forward_features(shown)
    finally:
        handle.remove()
    n_windows, n_tokens, _ = kept[0].shape
    query, key, _ = kept[0].reshape(n_windows, n_tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).float()
    query, key = attention.q_norm(query[:, :, :1]), attention.k_norm(key)
    row: Tensor = torch.softmax(query @ key.transpose(2, 3) * attention.scale, dim=-1)[:, :, 0]
    height, width = model.patch_embed.patch_size
    return row[..., model.num_prefix_tokens :].reshape(n_windows, -1, shown.shape[2] // height, shown.shape[3] // width)
