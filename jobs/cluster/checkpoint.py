"""Checkpoints of a clustering in its ledger's folder: a killed fit resumes after its last finished pass."""

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.batches import Position
from jobs.cluster.kmeans import State
from jobs.common.terminal import complain
from lake.digest import has_own_digest, with_digest
from lake.errors import TryAgainError
from lake.ledger import Ledger
from lake.run_records import CHECKPOINTS
from lake.scaling import Scale, Scaling, Vectors

SURVEY: Final = f"{CHECKPOINTS}/survey.npz"
FIT: Final = f"{CHECKPOINTS}/fit.npz"
VERSION: Final = 1

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one clustering.

    Attributes
    ----------
    ledger
        The run's ledger; its claim is asked for before each write.
    identity
        Digest of the settings and of the vectors; checkpoints of another one are passed over.
    backend
        Kind of processor; checkpoints of another kind are passed over unless ``mix``.
    mix
        Whether a fit goes on on another kind of processor.
    is_shared
        Whether other processes label with what is kept, so that another kind of processor is refused.
    """

    ledger: Ledger
    identity: str
    backend: str
    mix: bool = False
    is_shared: bool = False

    def survey(self) -> tuple[Scaling, Vectors] | None:
        """Return the scaling and the scaled sample, ``None`` if they are not kept."""
        found = self._read(SURVEY)
        if found is None:
            return None
        about, arrays = found
        scales = tuple(
            Scale(arrays[f"mean_{i}"], arrays[f"deviation_{i}"], unit=unit, components=arrays.get(f"components_{i}"))
            for i, unit in enumerate(about["unit"])
        )
        return Scaling(scales, tuple(about["shrinkage"])), arrays["sample"]

    def keep_survey(self, scaling: Scaling, sample: Vectors) -> None:
        """Write the scaling and the scaled sample."""
        arrays: Arrays = {"sample": sample}
        for i, scale in enumerate(scaling.scales):
            arrays |= {f"mean_{i}": scale.mean, f"deviation_{i}": scale.deviation}
            arrays |= {} if scale.components is None else {f"components_{i}": scale.components}
        about = {"unit": [scale.unit for scale in scaling.scales], "shrinkage": list(scaling.shrinkage)}
        self._write(SURVEY, about, arrays)

    def fit(self) -> tuple[State, Position] | None:
        """Return where the fit stands, and the place of its next batch; ``None`` if that is not kept."""
        found = self._read(FIT)
        if found is None:
            return None
        about, arrays = found
        random = np.random.default_rng()
        random.bit_generator.state = about["random"]
        state = State(arrays["centroids"], arrays["taken"], about["n_since"], about["n_batches"], random)
        return state, Position(about["pool"], arrays["left"])

    def keep_fit(self, state: State, position: Position) -> None:
        """Write where the fit stands."""
        about = {
            "n_since": state.n_since, "n_batches": state.n_batches, "random": state.random.bit_generator.state,
            "pool": position.pool,
        }  # fmt: skip
        self._write(FIT, about, {"centroids": state.centroids, "taken": state.taken, "left": position.left})

    def _write(self, key: str, about: dict[str, Any], arrays: Arrays) -> None:
        told = {**about, "version": VERSION, "identity": self.identity, "backend": self.backend}
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)
        np.savez(buffer, about=text, allow_pickle=False, **arrays)
        self.ledger.require_claim()
        self.ledger.storage.write(key, with_digest(buffer.getvalue()))

    def _read(self, key: str) -> tuple[dict[str, Any], Arrays] | None:
        """Return what a checkpoint of this clustering holds; ``None`` if there is none, or one that is of no use."""
        data = self.ledger.storage.read_or_none(key)
        if data is None:
            return None
        where, damaged = self.ledger.storage.path(key), "not a checkpoint, or a damaged one: this pass begins again"
        if not has_own_digest(data):
            complain(f"warning: {where}: {damaged}")
            return None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                arrays: Arrays = dict(held)
            about = json.loads(arrays.pop("about").tobytes())
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            complain(f"warning: {where}: {damaged} ({error})")
            return None
        if about["version"] != VERSION or about["identity"] != self.identity:
            return None  # of other settings, vectors or another release
        if about["backend"] != self.backend and not self.mix:
            if self.is_shared:
                raise TryAgainError(
                    f"{where} was computed on {about['backend']}; this machine computes as {self.backend}, whose "
                    "vectors differ in the last digits. Go on where it was begun, or add --mix."
                )
            complain(
                f"note: {where} was computed on {about['backend']}, this machine computes as {self.backend}: "
                "this pass begins again. To go on with it, add --mix."
            )
            return None
        return about, arrays
