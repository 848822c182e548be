"""The network that turns windows into features: built, stored and read back alike by every job."""

import difflib
import json

import safetensors.torch
import timm
import torch
from safetensors import SafetensorError
from timm.models import VisionTransformer
from torch import Tensor

from jobs.common.config import identity_config
from jobs.common.network.card import CARD_FILE, WEIGHT_FILES, ModelCard, Weights, read_card
from jobs.common.network.inputs import resize
from jobs.common.network.readouts import Readout
from lake.digest import sha256
from lake.errors import InputError, StoreError
from lake.held import read_held
from lake.storage import Storage


def build_backbone(card: ModelCard, *, drop_path: float = 0.0) -> VisionTransformer:
    """Make the network of a card, with weights drawn from torch's global generator.

    Parameters
    ----------
    card
        Its shape.
    drop_path
        Rate of stochastic depth in training.

    Raises
    ------
    InputError
        If timm has no such vision transformer, or cannot build it in this shape.
    """
    if not timm.is_model(card.arch):
        near = difflib.get_close_matches(card.arch, timm.list_models("vit_*"), n=3)
        raise InputError(
            f"arch: timm has no model {card.arch!r}."
            + (f" Names near it: {', '.join(near)}." if near else "")
            + " Choose one of `timm.list_models('vit_*')`."
        )
    width, heads = card.embed_dim, card.num_heads
    if width is not None and heads is not None and width % heads:
        raise InputError(f"embed_dim, num_heads: expected a width that the heads divide, found {width} and {heads}.")
    try:
        model = timm.create_model(card.arch, pretrained=False, drop_path_rate=drop_path, **card.model_args)
    except TypeError as error:
        raise InputError(
            f"arch: {card.arch} cannot be built with one input channel and a patch of any shape ({error})."
            " Choose a plain vision transformer such as vit_small_patch16_224."
        ) from error
    if not isinstance(model, VisionTransformer):
        raise InputError(
            f"arch: expected a vision transformer, {card.arch} is a {type(model).__name__}."
            " Choose one such as vit_small_patch16_224."
        )
    return model


def save_backbone(folder: str, model: VisionTransformer, card: ModelCard, weights: Weights = "teacher") -> str:
    """Write a network's weights and its card, each atomically, the card last; return the SHA-256 of the weights' file.

    Parameters
    ----------
    folder
        The model's folder, made if need be.
    model
        Any device and precision; stored in its own precision.
    card
        Its card; ``config.json`` repeats its shape for plain timm.
    weights
        Which of the folder's two sets of weights this is.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    storage = Storage(folder)
    data = safetensors.torch.save(tensors, {"format": "pt"})
    storage.write(WEIGHT_FILES[weights], data)
    content = {
        "architecture": card.arch,
        "num_classes": 0,
        "num_features": int(model.num_features),
        "model_args": card.model_args,
        "card": identity_config(card),
    }
    storage.write(CARD_FILE, (json.dumps(content, indent=2) + "\n").encode())
    return sha256(data)


def load_card(folder: str) -> ModelCard:
    """Read the card of a stored model.

    Raises
    ------
    As :func:`jobs.common.network.card.read_card`.
    """
    return read_card(folder)[0]


def load_backbone(folder: str, weights: Weights = "teacher") -> tuple[VisionTransformer, ModelCard]:
    """Read a stored network, in evaluation mode on the CPU; every weight must be there and fit.

    Parameters
    ----------
    folder
        The model's folder.
    weights
        ``teacher``, or ``initial`` for the network as it was before training.

    Raises
    ------
    InputError
        If there is no such model.
    StoreError
        If a file is not the one that the run's ledger lists, or its weights are not those of the card's network.
    """
    card = load_card(folder)
    name = WEIGHT_FILES[weights]
    data = read_held(folder, name)
    if data is None:
        raise InputError(f"{folder}: expected {name}, found none: the dino run has not finished. Run it again.")
    with torch.random.fork_rng(devices=[]):
        model = build_backbone(card)
    try:
        model.load_state_dict(safetensors.torch.load(data), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(
            f"{folder}/{name}: not the weights that {CARD_FILE} describes ({error}). Train the model again."
        ) from error
    return model.eval(), card


def features(model: VisionTransformer, x: Tensor, readout: Readout = "class") -> Tensor:
    """Return one vector for each window.

    Parameters
    ----------
    model
        From :func:`load_backbone`, in evaluation mode.
    x
        From :func:`prepare`; resized to the network's input size.
    readout
        The class token; the mean of the patch tokens; or their mean and their standard deviation
        (over all of a window's tokens, divided by their number), which describes texture far better.

    Returns
    -------
    Tensor
        Shape (n_windows, n_features); n_features is the network's width times
        :data:`~jobs.common.network.readouts.WIDTHS`.

    Raises
    ------
    InputError
        If the class token is asked of a network that has none.
    """
    tokens = model.forward_features(resize(x, tuple(model.patch_embed.img_size)))
    return pool(tokens, model, readout)


def pool(tokens: Tensor, model: VisionTransformer, readout: Readout) -> Tensor:
    """Read one vector off each window's tokens, shape (n_windows, n_tokens, width); see :func:`features`."""
    if readout == "class":
        if not model.has_class_token:
            raise InputError("readout: this network has no class token. Choose patch_mean or patch_mean_std.")
        return tokens[:, 0]
    patches = tokens[:, model.num_prefix_tokens :]
    mean = patches.mean(dim=1)
    if readout == "patch_mean":
        return mean
    return torch.cat([mean, patches.std(dim=1, correction=0)], dim=1)
