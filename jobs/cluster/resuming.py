"""Where a clustering that was killed goes on: its statistics, and every so often the state of its fit."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.batches import Place
from jobs.cluster.kmeans import State
from jobs.common import checkpoint
from jobs.common.processors import blas_backend
from jobs.common.run import Run
from lake.identity import content_id, short_hash
from lake.ledger import Entry, Ledger
from lake.scaling import Scale, Scaling, Vectors

EVERY_S = 30.0
"""Seconds between checkpoints: as much as a kill can cost of the statistics and of the fit."""
VERSION = 1
SURVEY, FIT = "survey", "fit"

Arrays = Mapping[str, NDArray[Any]]
Written = dict[tuple[str, int], Entry]
"""The blocks of a run by recorder and number."""


@dataclass
class Checkpoints:
    """The checkpoints of one run.

    Attributes
    ----------
    ledger, made_of
        The run's ledger, with its claim; and the digest of all that its numbers follow from.
    saved_s
        When the last one was written, or the run began, on the monotonic clock.
    """

    ledger: Ledger
    made_of: str
    saved_s: float = field(default_factory=time.monotonic)
    has_survey: bool = False

    def survey(self) -> tuple[Scaling, Vectors] | None:
        """Return the scaling and the sample that were found before, if they were saved."""
        arrays = checkpoint.load(self.ledger, SURVEY, made_of=self.made_of)
        self.has_survey = arrays is not None
        return None if arrays is None else (_scaling_of(arrays), arrays["sample"])

    def fit(self, seed: int) -> tuple[State, Place] | None:
        """Return where the fit and its batches stood, if that was saved."""
        arrays = checkpoint.load(self.ledger, FIT, made_of=self.made_of)
        return None if arrays is None else _fit_of(arrays, seed)

    def save_survey(self, scaling: Scaling, sample: Vectors) -> None:
        """Save the scaling and the sample if it is time to."""
        if self._is_due():
            self._save_survey(scaling, sample)

    def save_fit(self, scaling: Scaling, sample: Vectors, state: State, place: Place) -> None:
        """Save where the fit and its batches stand if it is time to, after what they depend on."""
        if self._is_due():
            if not self.has_survey:
                self._save_survey(scaling, sample)
            checkpoint.save(self.ledger, FIT, _arrays_of_fit(state, place), made_of=self.made_of)
            self.saved_s = time.monotonic()

    def _is_due(self) -> bool:
        return time.monotonic() - self.saved_s >= EVERY_S

    def _save_survey(self, scaling: Scaling, sample: Vectors) -> None:
        arrays = {**_arrays_of_scaling(scaling), "sample": sample}
        checkpoint.save(self.ledger, SURVEY, arrays, made_of=self.made_of)
        self.saved_s, self.has_survey = time.monotonic(), True


def checkpoints(run: Run, made: list[Written]) -> Checkpoints:
    """Return the checkpoints of a run that holds its claim, and reads stores with these blocks."""
    contents = [
        content_id([(f"{recorder} {block} {key}", digest) for (recorder, block), entry in one.items()
                    for key, digest in entry.files.items()])
        for one in made
    ]  # fmt: skip
    return Checkpoints(run.ledger, short_hash([VERSION, run.config_id, contents, blas_backend()]))


def _arrays_of_scaling(scaling: Scaling) -> Arrays:
    arrays: dict[str, NDArray[Any]] = {
        "shrinkage": np.asarray(scaling.shrinkage, dtype=np.float64),
        "unit": np.asarray([scale.unit for scale in scaling.scales]),
    }
    for i, scale in enumerate(scaling.scales):
        arrays |= {f"mean{i}": scale.mean, f"deviation{i}": scale.deviation}
        if scale.components is not None:
            arrays[f"components{i}"] = scale.components
    return arrays


def _scaling_of(arrays: Arrays) -> Scaling:
    scales = [
        Scale(arrays[f"mean{i}"], arrays[f"deviation{i}"], bool(unit), arrays.get(f"components{i}"))
        for i, unit in enumerate(arrays["unit"])
    ]
    return Scaling(tuple(scales), tuple(arrays["shrinkage"].tolist()))


def _arrays_of_fit(state: State, place: Place) -> Arrays:
    return {
        "centroids": state.centroids,
        "taken": state.taken,
        "random": np.array(json.dumps(state.random.bit_generator.state)),
        "counts": np.array([state.n_batches, state.n_since, place.n_pools, place.n_batches], dtype=np.int64),
        "left": place.left,
    }


def _fit_of(arrays: Arrays, seed: int) -> tuple[State, Place]:
    random = np.random.default_rng(seed)
    random.bit_generator.state = json.loads(str(arrays["random"]))
    n_batches, n_since, n_pools, n_cut = arrays["counts"].tolist()
    state = State(arrays["centroids"], arrays["taken"], random, n_batches, n_since)
    return state, Place(n_pools, n_cut, arrays["left"])
