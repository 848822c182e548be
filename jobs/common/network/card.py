"""The card of a network: all that is needed to feed it, stored with its weights."""

import json
from typing import Annotated, Any, Final, Literal

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

from lake.errors import InputError, StoreFormatError
from lake.held import read_held

CARD_VERSION: Final = 1
Weights = Literal["teacher", "initial"]
CARD_FILE: Final = "config.json"
WEIGHT_FILES: Final[dict[Weights, str]] = {
    "teacher": "backbone.safetensors",
    "initial": "initial.safetensors",
}

Pair = tuple[PositiveInt, PositiveInt]


class ModelCard(BaseModel):
    """The facts that one needs to feed a backbone: its shape, its scale and the statistics it was trained with.

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
    registers: NonNegativeInt = Field(0, json_schema_extra={"introduced_as": 0})
    background_db: dict[str, tuple[FiniteFloat, ...]] | None = Field(None, json_schema_extra={"introduced_as": None})

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


def read_card(folder: str) -> tuple[ModelCard, int]:
    """Read the card of a stored model, and the number of features that its network gives.

    Raises
    ------
    InputError
        If there is no model.
    StoreError
        If the file is not the one that the run's ledger lists.
    StoreFormatError
        If the card was written by a newer release, or is not a card.
    """
    text = read_held(folder, CARD_FILE)
    if text is None:
        raise InputError(f"{folder}: expected a model, found no {CARD_FILE}. Run the dino job first.")
    try:
        content = json.loads(text)
        card, n_features = content["card"], int(content["num_features"])
        version = int(card["format_version"])
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
        return ModelCard.model_validate_json(json.dumps(card)), n_features
    except ValidationError as error:
        raise StoreFormatError(f"{folder}/{CARD_FILE}: not a model card: {error}") from error
