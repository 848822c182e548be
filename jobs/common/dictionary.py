"""A dictionary of patches as ``embed`` uses it: which atoms a window's patches are like, where and how much."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, PositiveInt, ValidationError

from jobs.common.reduce import Size, reduced_levels
from lake.errors import InputError, StoreError, StoreFormatError
from lake.held import read_held

Array = NDArray[np.float32]
Pair = Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]

CARD_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "dictionary.safetensors"


class Card(BaseModel):
    """A dictionary, ready to use.

    Attributes
    ----------
    view
        Bands and frames that windows are reduced to.
    patch_sizes, n_atoms, n_rows
        Sizes of patches, atoms of each, and rows of frequency.
    deviation_db
        One deviation of levels about their mean per band, dB.
    n_mels, n_frames, mel_first_hz, mel_last_hz
        Bands and frames of the cube that it was learnt on, and the centres of its lowest and highest band, Hz.
    seconds_per_frame
        Duration of a frame of the view, s.
    run, config_id
        The run that learnt it, and the identity of its configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: Literal[1] = 1
    view: Pair
    patch_sizes: Annotated[tuple[Pair, ...], Field(strict=False)]
    n_atoms: PositiveInt
    n_rows: PositiveInt
    deviation_db: PositiveFloat
    n_mels: PositiveInt
    n_frames: PositiveInt
    seconds_per_frame: PositiveFloat
    mel_first_hz: FiniteFloat
    mel_last_hz: FiniteFloat
    run: str
    config_id: str


@dataclass(frozen=True)
class Atoms:
    """The atoms of one size of patch, ready to be applied.

    Attributes
    ----------
    size
        Bands and frames of a patch.
    weights
        Whitening and atoms in one matrix, float32, shape (n_bands * n_frames, n_atoms).
    offset
        Added to the product, float32, shape (n_atoms,).
    shown
        The atoms as patches, for a picture, float32, shape (n_atoms, n_bands, n_frames).
    """

    size: Size
    weights: Array
    offset: Array
    shown: Array


@dataclass(frozen=True)
class Dictionary:
    """The atoms and tables that turn windows into vectors.

    Attributes
    ----------
    view
        Bands and frames that windows are reduced to at most.
    mean_db, deviation_db
        Mean level of each band of the view over the study, dBFS, shape (n_bands,), and one deviation about them, dB.
    n_rows
        Parts of equal height that the frequency axis is averaged in; neighbours share a place that lies in both.
    atoms
        By size of patch.
    """

    view: Size
    mean_db: Array
    deviation_db: float
    n_rows: int
    atoms: Sequence[Atoms]

    def n_features(self, shape: Size) -> int:
        """Return the length of the vectors of windows of some shape."""
        return sum(2 * len(each.offset) * min(self.n_rows, _n_places(shape[0], each.size[0])) for each in self.atoms)


def normalised(codes: NDArray[np.uint8], view: Size, mean_db: Array, deviation_db: float) -> Array:
    """Return windows with the study's mean per band at 0 and its deviation at 1; what is missing is 0.

    Parameters
    ----------
    codes
        Shape (n_windows, n_mels, n_frames).
    view, mean_db, deviation_db
        See :class:`Dictionary`.

    Returns
    -------
    NDArray
        float32, shape (n_windows, n_bands, n_frames) of the view.
    """
    levels = reduced_levels(codes, view)
    levels -= mean_db[:, None]
    levels /= np.float32(deviation_db)
    return np.nan_to_num(levels, copy=False, nan=0.0)


def patches(window: Array, size: Size) -> Array:
    """Return a window's patches, half a patch apart, shape (n_places along bands, along frames, n_bands * n_frames)."""
    steps = tuple(max(1, part // 2) for part in size)
    found = sliding_window_view(window, size)[:: steps[0], :: steps[1]]
    return np.ascontiguousarray(found).reshape(*found.shape[:2], -1)


def encode_windows(codes: NDArray[np.uint8], dictionary: Dictionary) -> Array:
    """Return the vectors of windows.

    Parameters
    ----------
    codes
        Shape (n_windows, n_mels, n_frames); 0 is missing.
    dictionary
        The dictionary.

    Returns
    -------
    NDArray
        float32, shape (n_windows, n_features): for each size of patch the mean over time and then the deviation over
        time, each of (rows of frequency, atoms).

    Notes
    -----
    Each window is computed by itself, so that its vector does not depend on the batch. The response of an atom at a
    place counts with what it has above the mean over all atoms there (the "triangle" activation of Coates and Ng 2012).
    """
    levels = normalised(codes, dictionary.view, dictionary.mean_db, dictionary.deviation_db)
    # Weights less their mean over the atoms give responses less their mean over the atoms.
    atoms = [
        (each.size, each.weights - each.weights.mean(axis=1, keepdims=True), each.offset - each.offset.mean())
        for each in dictionary.atoms
    ]
    return np.stack([_encoded(window, atoms, dictionary.n_rows) for window in levels])


def _encoded(window: Array, atoms: Sequence[tuple[Size, Array, Array]], n_rows: int) -> Array:
    parts: list[Array] = []
    for size, weights, offset in atoms:
        found = patches(window, size)
        response = found.reshape(-1, found.shape[2]) @ weights
        np.maximum(response, -offset, out=response)  # max(response + offset, 0) - offset: one pass less
        shares = _row_shares(len(found), n_rows)
        rows = (shares @ response.reshape(len(found), -1)).reshape(len(shares), -1, len(offset))
        mean = rows.mean(axis=1, keepdims=True)
        rows -= mean
        deviation = np.sqrt(np.einsum("rta,rta->ra", rows, rows) / np.float32(rows.shape[1]))
        parts += [(mean[:, 0] + offset).ravel(), deviation.ravel()]
    return np.concatenate(parts)


def _n_places(n: int, size: int) -> int:
    return (n - size) // max(1, size // 2) + 1


@lru_cache(maxsize=16)
def _row_shares(n_places: int, n_rows: int) -> Array:
    """Return what each place along the bands counts for in each row of frequency, shape (n_rows, n_places).

    Rows share a place where their number does not divide that of the places, so that none is lower than the others;
    places that are fewer than rows are rows of their own.
    """
    n = min(n_rows, n_places)
    shares = np.zeros((n, n_places), dtype=np.float32)
    for i in range(n):
        first, last = i * n_places // n, -(-(i + 1) * n_places // n)
        shares[i, first:last] = 1 / (last - first)
    return shares


def to_tensors(dictionary: Dictionary) -> dict[str, Array]:
    """Return a dictionary's arrays by the name that its file has them under."""
    tensors = {"mean_db": dictionary.mean_db}
    for atoms in dictionary.atoms:
        name = "x".join(map(str, atoms.size))
        tensors |= {f"{name}.weights": atoms.weights, f"{name}.offset": atoms.offset, f"{name}.shown": atoms.shown}
    return tensors


def read_dictionary_card(folder: str) -> tuple[Card, int]:
    """Read the card of a stored dictionary, and the number of features that it gives.

    Raises
    ------
    InputError
        If there is none.
    StoreError, StoreFormatError
        If the file is not the one that the run's ledger lists, or not such a card.
    """
    text = read_held(folder, CARD_FILE)
    if text is None:
        raise InputError(f"{folder}: expected a dictionary, found no {CARD_FILE}. Run it first.")
    try:
        content = json.loads(text)
        return Card.model_validate(content["card"]), int(content["num_features"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise StoreFormatError(
            f"{folder}/{CARD_FILE}: expected the card of a dictionary, found other JSON. Run the dictionary again."
        ) from error


def load_dictionary(folder: str) -> tuple[Dictionary, Card]:
    """Read a stored dictionary.

    Raises
    ------
    InputError
        If there is none.
    StoreFormatError, StoreError
        If the card is not one of a dictionary, or the arrays are not those that it describes.
    """
    import safetensors.numpy  # noqa: PLC0415 (cards are read where it is not installed)

    card, _ = read_dictionary_card(folder)
    data = read_held(folder, WEIGHTS_FILE)
    if data is None:
        raise InputError(f"{folder}: expected a dictionary, found no {WEIGHTS_FILE}. Run it first.")
    try:
        tensors = safetensors.numpy.load(data)
        atoms = []
        for size in card.patch_sizes:
            name = "x".join(map(str, size))
            atoms.append(Atoms(size, *(tensors[f"{name}.{part}"] for part in ("weights", "offset", "shown"))))
        dictionary = Dictionary(card.view, tensors["mean_db"], card.deviation_db, card.n_rows, atoms)
        shapes = [(each.size[0] * each.size[1], card.n_atoms) for each in atoms]
    except (safetensors.SafetensorError, KeyError) as error:
        raise StoreError(f"{folder}/{WEIGHTS_FILE}: not the atoms that {CARD_FILE} describes ({error}).") from error
    if dictionary.mean_db.shape != card.view[:1] or [each.weights.shape for each in atoms] != shapes:
        raise StoreError(f"{folder}/{WEIGHTS_FILE}: not the atoms that {CARD_FILE} describes (other shapes).")
    return dictionary, card


def require_fit(card: Card, *, window_s: float, mel_hz: NDArray[np.floating], n_frames: int) -> None:
    """Refuse a cube whose bands or time scale are not those that a dictionary was learnt on.

    Raises
    ------
    InputError
        If the mel bands differ, or a frame of the view lasts another time.
    """
    wanted = (card.n_mels, card.mel_first_hz, card.mel_last_hz)
    found = (len(mel_hz), float(mel_hz[0]), float(mel_hz[-1]))
    if not np.allclose(wanted, found, rtol=1e-3):
        raise InputError(
            "the dictionary was learnt on {} mel bands from {:.1f} to {:.1f} Hz, the cube has {} from {:.1f} to"
            " {:.1f} Hz. Learn one on this cube.".format(*wanted, *found)
        )
    seconds = window_s / min(n_frames, card.view[1])
    if not np.isclose(seconds, card.seconds_per_frame, rtol=1e-3):
        raise InputError(
            f"the dictionary was learnt at {card.seconds_per_frame:.4g} s per frame of its view, this cube's windows"
            f" give {seconds:.4g} s. Learn one on this cube."
        )
