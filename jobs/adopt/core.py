"""Weights of another network as those of a backbone with one channel."""

import io
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor

from lake.errors import InputError

WRAPPERS = ("state_dict", "model", "teacher", "student")
PREFIXES = ("module.", "backbone.", "model.")
HEADS = ("head.", "head_dist.", "fc.", "fc_norm.", "projection", "mask_token", "prototypes")
"""Parts of a network outside its backbone, which no window passes through."""


def adopted(tensors: dict[str, Any], model: VisionTransformer) -> dict[str, Tensor]:
    """Return weights that fit a backbone exactly.

    Parameters
    ----------
    tensors
        As they were stored: perhaps below a key such as ``teacher``, with prefixes, with a head, and with three
        input channels, which are added up: the three have the same picture.
    model
        The backbone that they are for.

    Raises
    ------
    InputError
        With the weights that are missing, too many, or of another shape.
    """
    for key in WRAPPERS:
        if isinstance(tensors.get(key), dict):
            tensors = tensors[key]
    found = {_plain(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
    found = {name: value.float() for name, value in found.items() if not name.startswith(HEADS)}
    wanted = model.state_dict()
    first = "patch_embed.proj.weight"
    if first in found and found[first].shape[1] != wanted[first].shape[1]:
        found[first] = found[first].sum(dim=1, keepdim=True)
    if "pos_embed" in found and found["pos_embed"].shape != wanted["pos_embed"].shape:
        rows, columns = model.patch_embed.grid_size
        prefix = 0 if model.no_embed_class else model.num_prefix_tokens
        found["pos_embed"] = resample_abs_pos_embed(
            found["pos_embed"], new_size=[rows, columns], num_prefix_tokens=prefix, verbose=False
        )
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} is too many" for name in found if name not in wanted]
    problems += [
        f"{name} has the shape {tuple(found[name].shape)}, expected {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if problems:
        more = f"\n  … and {len(problems) - 10} more" if len(problems) > 10 else ""
        listed = "\n".join(f"  {problem}" for problem in problems[:10])
        raise InputError(f"the weights are not those of this network:\n{listed}{more}\nLook at arch and patch_size.")
    return found


def _plain(name: str) -> str:
    changed = True
    while changed:
        changed = False
        for prefix in PREFIXES:
            if name.startswith(prefix):
                name, changed = name.removeprefix(prefix), True
    return name


def read_tensors(data: bytes, *, is_safetensors: bool) -> dict[str, Any]:
    """Return the weights that a file's bytes hold; nothing in it is executed.

    Raises
    ------
    InputError
        If it holds none.
    """
    try:
        if is_safetensors:
            return dict(safetensors.torch.load(data))
        return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except SafetensorError as error:
        raise InputError(f"expected weights as .safetensors, found other bytes: {error}") from error
    except (UnpicklingError, RuntimeError, TypeError, ValueError, EOFError) as error:
        # PyTorch's own words advise to load it all the same, which executes whatever the file says.
        raise InputError(
            "expected weights (.safetensors, or a .pth of tensors alone), found other bytes, or objects besides "
            "tensors, which could run commands and are never loaded. Save the weights alone, as .safetensors."
        ) from error
