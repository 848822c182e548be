"""The network that turns windows into features: built, stored, read back and fed alike by every job."""

import difflib
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
import safetensors.torch
import timm
import torch
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from safetensors import SafetensorError
from timm.models import VisionTransformer
from torch import Tensor
from torch.nn import functional

from lake.errors import InputError, StoreError, StoreFormatError
from lake.names import CODE_OFFSET_DB, CODE_STEP_DB
from lake.storage import Storage

Readout = Literal["class", "patch_mean", "patch_mean_std"]
Weights = Literal["teacher", "initial"]

CARD_FILE: Final = "config.json"
WEIGHT_FILES: Final[dict[Weights, str]] = {
    "teacher": "backbone.safetensors",
    "initial": "initial.safetensors",
}
CARD_VERSION: Final = 1
ADDED: Final = {"registers": 0, "background_db": None}
"""Fields that cards have had from later on, with the value of cards without them; those are written as before."""

Pair = tuple[PositiveInt, PositiveInt]


class ModelCard(BaseModel):
    """What one must know to feed a backbone: its shape, its scale and the statistics it was trained with.

    Attributes
    ----------
    arch
        Name of a timm vision transformer.
    embed_dim, depth, num_heads
        Replace the architecture's own width, number of blocks and heads; ``None`` keeps them.
    patch_size
        Mel bands and frames of one token.
    input_size
        Mel bands and frames (pixels) that a window is resized to; the position embedding's grid.
    mean_db
        Mean level per mel band over the training windows, dBFS, one value for each band of the cube.
    deviation_db
        One deviation about those means, over all bands, dB.
    seconds_per_frame
        Duration of one input pixel, s.
    mel_first_hz, mel_last_hz
        Centre of the lowest and of the highest mel band, Hz.
    run, config_id
        The run that trained it and the identity of its configuration.
    registers
        Tokens that stand for no patch.
    background_db
        Median level per mel band of each recorder, dBFS, where it takes the place of ``mean_db``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: Literal[1] = CARD_VERSION
    arch: str
    embed_dim: PositiveInt | None = None
    depth: PositiveInt | None = None
    num_heads: PositiveInt | None = None
    patch_size: Pair
    input_size: Pair
    mean_db: Annotated[tuple[FiniteFloat, ...], Field(min_length=1)]
    deviation_db: PositiveFloat
    seconds_per_frame: PositiveFloat
    mel_first_hz: FiniteFloat
    mel_last_hz: FiniteFloat
    run: str
    config_id: str
    registers: NonNegativeInt = 0
    background_db: dict[str, tuple[FiniteFloat, ...]] | None = None

    @property
    def n_mels(self) -> int:
        """Mel bands of the cube it was trained on."""
        return len(self.mean_db)

    @property
    def model_args(self) -> dict[str, Any]:
        """Arguments with which ``timm.create_model(card.arch, ...)`` makes the network."""
        shape = {"embed_dim": self.embed_dim, "depth": self.depth, "num_heads": self.num_heads}
        shape["reg_tokens"] = self.registers or None
        return {
            "in_chans": 1,
            "num_classes": 0,
            "dynamic_img_size": True,
            "img_size": self.input_size,
            "patch_size": self.patch_size,
            **{key: value for key, value in shape.items() if value is not None},
        }


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


def save_backbone(folder: str, model: VisionTransformer, card: ModelCard, weights: Weights = "teacher") -> None:
    """Write a network's weights and its card, each atomically, the card last.

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
    storage.write(WEIGHT_FILES[weights], safetensors.torch.save(tensors, {"format": "pt"}))
    content = {
        "architecture": card.arch,
        "num_classes": 0,
        "num_features": int(model.num_features),
        "model_args": card.model_args,
        "card": {k: v for k, v in card.model_dump(mode="json").items() if k not in ADDED or v != ADDED[k]},
    }
    storage.write(CARD_FILE, (json.dumps(content, indent=2) + "\n").encode())


def load_card(folder: str) -> ModelCard:
    """Read the card of a stored model.

    Raises
    ------
    InputError
        If there is no model.
    StoreFormatError
        If the card was written by a newer release, or is not a card.
    """
    text = Storage(folder).read_or_none(CARD_FILE)
    if text is None:
        raise InputError(f"{folder}: expected a model, found no {CARD_FILE}. Run the dino job first.")
    try:
        content = json.loads(text)["card"]
        version = int(content["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(
            f"{folder}/{CARD_FILE}: expected a model card, found other JSON. Train the model again."
        ) from error
    if version > CARD_VERSION:
        raise StoreFormatError(
            f"{folder}/{CARD_FILE}: its format is version {version}, this release reads up to {CARD_VERSION}."
            " Install a newer dawnchorus."
        )
    try:
        return ModelCard.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise StoreFormatError(f"{folder}/{CARD_FILE}: not a model card: {error}") from error


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
        If the file is damaged, or its weights are not those of the card's network.
    """
    card = load_card(folder)
    name = WEIGHT_FILES[weights]
    data = Storage(folder).read_or_none(name)
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


def check_scale(card: ModelCard, *, window_s: float, mel_hz: NDArray[np.floating]) -> None:
    """Refuse windows whose bands or time scale are not those that a model was trained on.

    Parameters
    ----------
    card
        The model's card.
    window_s
        Duration of a window, s.
    mel_hz
        Band centres of the cube, Hz, shape (n_mels,).

    Raises
    ------
    InputError
        If the mel bands differ, or one input pixel lasts more than twice or less than half as long.
    """
    wanted = (card.n_mels, card.mel_first_hz, card.mel_last_hz)
    found = (len(mel_hz), float(mel_hz[0]), float(mel_hz[-1]))
    if not np.allclose(wanted, found, rtol=1e-3):
        raise InputError(
            "the model was trained on {} mel bands from {:.1f} to {:.1f} Hz, the cube has {} from {:.1f} to"
            " {:.1f} Hz. Train on this cube, or make one with the model's bands.".format(*wanted, *found)
        )
    seconds = window_s / card.input_size[1]
    if not 0.5 <= seconds / card.seconds_per_frame <= 2.0:
        raise InputError(
            f"the model was trained at {card.seconds_per_frame:.4g} s per pixel, this cube's windows give"
            f" {seconds:.4g} s (at most a factor of two is allowed). Train on this cube, or change window_s."
        )


def prepare(codes: Tensor, card: ModelCard, recorder: Sequence[str] | None = None) -> Tensor:
    """Turn codes into what the network takes: gaps filled, dataset mean removed, deviation one.

    Parameters
    ----------
    codes
        uint8 codes, shape (n_windows, n_mels, n_frames), on any device; 0 is missing.
    card
        Statistics of the training windows.
    recorder
        Name of each window's recorder; needed where the card has the recorders' backgrounds, which are then
        taken off instead of the mean of all windows.

    Returns
    -------
    Tensor
        float32, shape (n_windows, 1, n_mels, n_frames), finite. Frames that no sample covered take the
        median of their band over the window's other frames; bands that the source does not have take
        the dataset's mean, which is 0 here.

    Raises
    ------
    InputError
        If the number of bands is not the card's, or a recorder is not among those of the card.
    """
    if codes.shape[1] != card.n_mels:
        raise InputError(
            f"expected windows of {card.n_mels} mel bands, as the model was trained on, found"
            f" {codes.shape[1]}. Use a cube with the model's bands, or train on this one."
        )
    mean = _taken_off(card, recorder, len(codes)).to(codes.device)
    levels = codes.to(torch.float32).mul_(CODE_STEP_DB / card.deviation_db)
    levels += (CODE_OFFSET_DB - mean) / card.deviation_db
    missing = codes == 0
    if missing.any():
        levels.masked_fill_(missing, 0.0)
        gaps = missing & ~missing.all(dim=2, keepdim=True)
        rows = gaps.any(dim=2).nonzero()
        if len(rows):
            band, gap = levels[rows[:, 0], rows[:, 1]], gaps[rows[:, 0], rows[:, 1]]
            levels[rows[:, 0], rows[:, 1]] = torch.where(gap, _median(band, ~gap)[:, None], band)
    return levels[:, None]


def _taken_off(card: ModelCard, recorder: Sequence[str] | None, n_windows: int) -> Tensor:
    """Return the level of each band that stands for 0, dBFS, shape (1 or n_windows, n_mels, 1)."""
    if card.background_db is None:
        return torch.tensor(card.mean_db, dtype=torch.float32)[None, :, None]
    if recorder is None or len(recorder) != n_windows:
        raise InputError(
            f"the model {card.run!r} was trained with each recorder's background taken off: the recorder of each of the"
            f" {n_windows} windows is needed, found {'none' if recorder is None else len(recorder)}."
        )
    unknown = sorted(set(recorder) - set(card.background_db))
    if unknown:
        raise InputError(
            f"the model {card.run!r} was trained with each recorder's background taken off and does not know"
            f" {', '.join(unknown)}; it knows {', '.join(sorted(card.background_db))}. Train again with recordings of"
            ' all of them, or with background = "none".'
        )
    return torch.tensor([card.background_db[name] for name in recorder], dtype=torch.float32)[..., None]


def _median(values: Tensor, known: Tensor) -> Tensor:
    """Return the median of each row's known values, the mean of the middle two when they are even."""
    ordered = values.masked_fill(~known, math.inf).sort(dim=1).values
    n_known = known.sum(dim=1, keepdim=True)
    middle = ordered.gather(1, (n_known - 1) // 2) + ordered.gather(1, n_known // 2)
    return middle[:, 0] / 2


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize along each axis: means of what falls into a pixel where it shrinks, linear where it grows.

    Parameters
    ----------
    x
        Shape (n_windows, 1, n_mels, n_frames).
    size
        Mel bands and frames wanted.
    """
    now = (int(x.shape[2]), int(x.shape[3]))
    shrunk = (min(now[0], size[0]), min(now[1], size[1]))
    if shrunk != now:
        x = functional.interpolate(x, size=shrunk, mode="area")
    if shrunk != size:
        x = functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    return x


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
        Shape (n_windows, n_features); n_features is the network's width, twice that for
        ``patch_mean_std``.

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
