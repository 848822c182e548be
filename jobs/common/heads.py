"""Heads of detectors: a linear function of a scaled vector for each sound, in one file that nothing unpickles."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lake.errors import InputError, StoreError
from lake.held import read_held
from lake.scaling import Scaling, Vectors, packed_scaling, scaled, unpacked_scaling
from lake.schema import DETECTOR_TABLES

HEADS_FILE: Final = "heads.npz"
TABLE_FILE: Final = "heads.csv"


class NothingLearntError(InputError):
    """No sound can be learnt from the verdicts that there are; the reason of each is in the message."""


@dataclass(frozen=True)
class Heads:
    """The heads of some sounds, all of the same vectors.

    Attributes
    ----------
    sounds
        Names of the sounds.
    weights, intercept
        A window's score is ``scaled vector · weights + intercept``; float32, shape (n_sounds, n_scaled), and float64,
        shape (n_sounds,).
    slope, offset
        Its probability is ``1 / (1 + exp(-(slope · score + offset)))``; float64, shape (n_sounds,).
    scaling
        How vectors are scaled first.
    vectors
        ``config_id`` of the run of each vector set, in order.
    figures
        The tables :data:`lake.schema.DETECTOR_TABLES`, float64, shape (n_sounds,).
    precision
        That ``detector_precision`` is the threshold of.
    """

    sounds: tuple[str, ...]
    weights: NDArray[np.float32]
    intercept: NDArray[np.float64]
    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    scaling: Scaling
    vectors: tuple[str, ...]
    figures: Mapping[str, NDArray[np.float64]]
    precision: float

    def scores(self, vectors: Vectors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scores and probabilities of windows.

        Parameters
        ----------
        vectors
            As they are stored, the sets side by side, float32, shape (n_windows, n_features).

        Returns
        -------
        tuple
            Both float32, shape (n_windows, n_sounds).
        """
        score = scaled(vectors, self.scaling) @ self.weights.T + self.intercept
        with np.errstate(over="ignore"):
            probability = 1 / (1 + np.exp(-(self.slope * score + self.offset)))
        return score.astype(np.float32), probability.astype(np.float32)


def heads_bytes(heads: Heads) -> bytes:
    """Return the file of heads, npz; the same heads are the same bytes."""
    arrays: dict[str, Any] = {
        "sounds": np.array(heads.sounds), "vectors": np.array(heads.vectors), "weights": heads.weights,
        "intercept": heads.intercept, "slope": heads.slope, "offset": heads.offset,
        "precision": np.float64(heads.precision), **packed_scaling(heads.scaling), **heads.figures,
    }  # fmt: skip
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def read_heads(folder: str) -> Heads:
    """Return the heads in the output of a ``learn`` run.

    Raises
    ------
    InputError
        If the folder holds no heads.
    StoreError
        If the file is not the one that the ledger lists, or does not decode.
    """
    data = read_held(folder, HEADS_FILE)
    if data is None:
        raise InputError(f"{folder}: expected the heads of a `learn` run ({HEADS_FILE}), found none.")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            vectors = tuple(map(str, arrays["vectors"]))
            return Heads(
                sounds=tuple(map(str, arrays["sounds"])), weights=arrays["weights"], intercept=arrays["intercept"],
                slope=arrays["slope"], offset=arrays["offset"], scaling=unpacked_scaling(arrays, len(vectors)),
                vectors=vectors, figures={name: arrays[name] for name in DETECTOR_TABLES},
                precision=float(arrays["precision"]),
            )  # fmt: skip
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{folder}/{HEADS_FILE}: expected heads, found damaged bytes ({error}).") from error
