"""Networks of frames in files: written, read back, and checked against their cards."""

import json

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from jobs.common.frames.card import ARCHITECTURE, FrameCard, parsed_card, read_frame_card
from jobs.common.frames.network import FrameNet
from jobs.common.network.card import CARD_FILE, WEIGHT_FILES, Weights
from lake.digest import sha256
from lake.errors import InputError, StoreError
from lake.held import read_held
from lake.storage import Storage

CARD_KEY = "dawnchorus"
"""Key of the card in the metadata of a file of weights, so that the file alone can be used."""


def save_network(folder: str, net: FrameNet, card: FrameCard, weights: Weights = "teacher") -> str:
    """Write a network's weights and its card, each atomically, the card last; return the SHA-256 of the weights' file.

    Parameters
    ----------
    folder
        The model's folder, made if need be.
    net, card
        The network, on any device, and its card.
    weights
        Which of the folder's two sets of weights this is.
    """
    storage = Storage(folder)
    data = packed_network(net, card)
    storage.write(WEIGHT_FILES[weights], data)
    storage.write(CARD_FILE, (_content(card) + "\n").encode())
    return sha256(data)


def packed_network(net: FrameNet, card: FrameCard) -> bytes:
    """Return a network and its card as one safetensors file."""
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in net.state_dict().items()}
    return safetensors.torch.save(tensors, {CARD_KEY: _content(card, indent=None)})  # of several keys the order varies


def load_network(folder: str, weights: Weights = "teacher") -> tuple[FrameNet, FrameCard]:
    """Read a stored network of frames, in evaluation mode on the CPU; every weight must be there and fit.

    Raises
    ------
    InputError
        If there is no such model.
    StoreError
        If a file is not the one that the run's ledger lists, or its weights are not those of the card's network.
    """
    card, name = read_frame_card(folder), WEIGHT_FILES[weights]
    data = read_held(folder, name)
    if data is None:
        raise InputError(f"{folder}: expected {name}, found none: the run has not finished. Run it again.")
    return network_of(data, card, f"{folder}/{name}"), card


def unpacked_network(data: bytes, where: str) -> tuple[FrameNet, FrameCard]:
    """Return the network and the card in a file of :func:`packed_network`.

    Raises
    ------
    StoreError, StoreFormatError
        If it is not such a file.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        text = json.loads(data[8 : 8 + length])["__metadata__"][CARD_KEY]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where}: expected a network of frames with its card, found other bytes.") from error
    card = parsed_card(text, where)
    return network_of(data, card, where), card


def network_of(data: bytes, card: FrameCard, where: str) -> FrameNet:
    """Return the network of a card with the weights of a file, in evaluation mode on the CPU."""
    with torch.random.fork_rng(devices=[]):
        net = FrameNet(card.n_bands)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
        net.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise StoreError(
            f"{where}: not the weights that its card describes ({error}). Train the model again."
        ) from error
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise StoreError(f"{where}: expected finite weights, found others. Restore the file from a copy.")
    return net.eval()


def _content(card: FrameCard, indent: int | None = 2) -> str:
    content = {
        "architecture": ARCHITECTURE,
        "num_features": 2 * (card.n_output + card.n_stem),
        "card": card.model_dump(mode="json"),
    }
    return json.dumps(content, indent=indent)
