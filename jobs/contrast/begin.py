"""Weights that a training begins with: those of another run, or those that came with the program."""

from importlib import resources

from jobs.common.frames.card import ARCHITECTURE, FrameCard, read_frame_card
from jobs.common.frames.network import FrameNet
from jobs.common.frames.stored import load_network, unpacked_network
from jobs.common.network.card import CARD_FILE
from jobs.contrast.config import Config
from lake.digest import sha256
from lake.errors import InputError
from lake.held import read_held

STARTER = "starter.safetensors"


def beginning(config: Config, init: str | None) -> tuple[FrameNet, FrameCard, str] | None:
    """Return the network that a training begins with, its card, and what it is called; ``None`` for drawn weights.

    Parameters
    ----------
    config
        Whether it is the starter.
    init
        Folder of the model of another run.

    Raises
    ------
    InputError
        If there is no such model, or it is no network of frames, or both are named.
    StoreError, StoreFormatError
        If it is damaged, or of a newer release.
    """
    if init is None:
        return None if config.init == "random" else starter()
    if config.init != "random":
        raise InputError(
            f"init: expected one network to begin with, found {config.init!r} in the settings and a run among the "
            "inputs. Leave out one."
        )
    _require_frames(init)
    net, card = load_network(init)
    return net, card, card.run


def starter() -> tuple[FrameNet, FrameCard, str]:
    """Return the network that came with the program, its card, and ``starter`` with the digest of its file."""
    path = resources.files("jobs.contrast") / STARTER
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"init = 'starter': this installation has no {STARTER}. Install the whole package, or set init = 'random'."
        ) from error
    return *unpacked_network(data, STARTER), f"starter {sha256(data)[:12]}"


def _require_frames(folder: str) -> None:
    """Refuse a model of another kind."""
    text = read_held(folder, CARD_FILE) or b""
    if text and f'"architecture": "{ARCHITECTURE}"'.encode() not in text:
        raise InputError(
            f"init: {folder} is not a network of frames, as contrast trains it. Name a run of contrast, or "
            "one of adopt with arch = 'frames'."
        )
    read_frame_card(folder)
