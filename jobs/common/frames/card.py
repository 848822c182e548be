"""What is written down next to a network of frames: all that one must know to feed it."""

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, PositiveInt, ValidationError

from jobs.common.network.card import CARD_FILE
from lake.errors import InputError, StoreFormatError
from lake.held import read_held

ARCHITECTURE: Final = "frames"
"""Name of the network in ``config.json``, and as the ``arch`` of an adopted one."""
CARD_VERSION: Final = 1

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class FrameCard(BaseModel):
    """What one must know to feed a network of frames.

    Attributes
    ----------
    mel_hz
        Centre of each mel band of its input, Hz, rising.
    seconds_per_frame
        Duration of a frame of its input, s.
    mean_db
        Mean level per band over the training windows, dBFS.
    deviation_db
        One deviation about those means, over all bands, dB.
    own_median
        Share of a window's own median per band that is subtracted as well.
    n_output, n_stem
        Numbers of a frame of the output, and of the stem.
    began_with
        What its weights were before the first step: ``random``, ``starter`` or the name of a run.
    run, config_id
        The run that trained it and the identity of its configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: Literal[1] = CARD_VERSION
    mel_hz: Annotated[tuple[FiniteFloat, ...], Field(min_length=16)]
    seconds_per_frame: PositiveFloat
    mean_db: Annotated[tuple[FiniteFloat, ...], Field(min_length=16)]
    deviation_db: PositiveFloat
    own_median: Share
    n_output: PositiveInt
    n_stem: PositiveInt
    began_with: str
    run: str
    config_id: str

    @property
    def n_bands(self) -> int:
        """Mel bands of its input."""
        return len(self.mel_hz)


def parsed_card(text: bytes | str, where: str) -> FrameCard:
    """Return the card in the JSON of ``config.json``.

    Raises
    ------
    StoreFormatError
        If it was written by a newer release, or is not such a card.
    """
    try:
        card = json.loads(text)["card"]
        version = int(card["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(
            f"{where}: expected the card of a network of frames, found other JSON. Train the model again."
        ) from error
    if version > CARD_VERSION:
        raise StoreFormatError(
            f"{where}: its format is version {version}, this release reads up to {CARD_VERSION}."
            " Install a newer dawnchorus."
        )
    try:
        return FrameCard.model_validate_json(json.dumps(card))
    except ValidationError as error:
        raise StoreFormatError(f"{where}: not the card of a network of frames: {error}") from error


def read_frame_card(folder: str) -> FrameCard:
    """Read the card of a stored network of frames.

    Raises
    ------
    InputError
        If there is no model.
    StoreError, StoreFormatError
        If the file is not the one that the run's ledger lists, or not such a card.
    """
    text = read_held(folder, CARD_FILE)
    if text is None:
        raise InputError(f"{folder}: expected a model, found no {CARD_FILE}. Run the contrast job first.")
    return parsed_card(text, f"{folder}/{CARD_FILE}")
