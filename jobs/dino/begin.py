"""Weights that a training begins with: those of another run, of `dino` or `adopt`."""

from jobs.common.network.backbone import load_backbone, load_card
from jobs.dino.config import Config
from jobs.dino.model import Pair
from lake.errors import InputError


def require_same_network(folder: str, config: Config) -> None:
    """Refuse to begin with the weights of a network of another shape.

    Raises
    ------
    InputError
        With the settings that differ.
    StoreError, StoreFormatError
        If the model is not finished, or not one of a vision transformer.
    """
    card = load_card(folder)
    pairs = {
        "arch": (config.arch, card.arch),
        "embed_dim": (config.embed_dim, card.embed_dim),
        "depth": (config.depth, card.depth),
        "num_heads": (config.num_heads, card.num_heads),
        "patch_size": (config.patch_size, card.patch_size),
        "global_size": (config.global_size, card.input_size),
        "registers": (config.n_registers, card.registers),
    }
    differ = [f"{name}: {own}, that of {card.run!r}: {other}" for name, (own, other) in pairs.items() if own != other]
    if differ:
        raise InputError(
            f"init: the network of {card.run!r} has another shape: {'; '.join(differ)}. Set these to the values of "
            f"{card.run!r}, or leave out init."
        )


def begin_with(pair: Pair, folder: str) -> None:
    """Give student and teacher the backbone of a stored model; the head stays as it was drawn."""
    model, _ = load_backbone(folder)
    for network in (pair.student, pair.teacher):
        network.backbone.load_state_dict(model.state_dict(), strict=True)
