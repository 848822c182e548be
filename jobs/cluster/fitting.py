"""The first passes: statistics and the sample, then the fit; each goes on from its checkpoint if there is one."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.batches import Position, batches_from
from jobs.cluster.checkpoint import Checkpoints
from jobs.cluster.config import Config
from jobs.cluster.core import Clustering, first_centroids
from jobs.cluster.kmeans import Schedule, begun, schedule, steps
from jobs.cluster.source import Kept, Part, Read
from jobs.common.progress import progress
from jobs.common.run import Run
from jobs.common.terminal import complain
from lake.claims import claim, live_claims
from lake.errors import TryAgainError
from lake.run_records import CHECKPOINTS
from lake.scaling import (
    N_AXES,
    Moments,
    Normalise,
    Scaling,
    Vectors,
    merge,
    scale_of,
    scaled,
    whitening,
    with_components,
)
from lake.vectors import VectorSets
from lake.whitening import ROWS_OF_PRODUCTS, groups_of, set_moments

CHECKPOINT_EVERY_S = 60.0
"""Seconds between two checkpoints of the fit, at least."""
LOOK_EVERY_S = 2.0
"""Seconds between two looks at a fit that another share makes."""


@dataclass(frozen=True)
class Fitting:
    """The vectors and settings that centroids are fitted from.

    Attributes
    ----------
    run, kept, normalise, n_clusters
        The run, its vectors, how they are scaled, and the number of clusters.
    checkpoints
        What earlier processes have done of it.
    """

    run: Run[Config]
    kept: Kept
    normalise: Normalise
    n_clusters: int
    checkpoints: Checkpoints

    def centroids(self) -> tuple[Clustering, Vectors]:
        """Return the centroids and the scaled sample, uniform over all windows."""
        survey = self.checkpoints.survey()
        if survey is None:
            survey = self._survey()
            self.checkpoints.keep_survey(*survey)
        scaling, sample = survey
        return Clustering(scaling, self._fit(scaling, sample)), sample

    def centroids_of_shares(self) -> tuple[Clustering, Vectors]:
        """Return the same for a share: one of the shares fits, the others wait for it."""
        shared = self.run.ledger.storage.below(CHECKPOINTS)
        said = False
        with ExitStack() as held:
            while not self._is_fitted():
                try:
                    held.enter_context(claim(shared, self.run.name, (0, 1), self.run.config_id))
                    break
                except TryAgainError:
                    if not live_claims(shared) and not self._is_fitted():
                        raise
                if not said:
                    complain(f"{self.run.name}: another share fits the centroids; this one waits for them")
                    said = True
                time.sleep(LOOK_EVERY_S)
            return self.centroids()

    def _is_fitted(self) -> bool:
        found = self.checkpoints.fit()
        return found is not None and found[0].n_batches == self._plan.n_batches

    @property
    def _plan(self) -> Schedule:
        config = self.run.config
        return schedule(
            self.kept.sets.n_windows, self.n_clusters, config.batch_size, config.n_epochs, config.max_batches
        )

    def _survey(self) -> tuple[Scaling, Vectors]:
        """Return how to scale vectors, and the scaled sample."""
        run, config, sets, normalise = self.run, self.run.config, self.kept.sets, self.normalise
        n_windows = sets.n_windows
        n_sample = min(n_windows, max(config.n_init_windows, 10 * self.n_clusters))
        rows = np.sort(np.random.default_rng([config.seed, 0]).choice(n_windows, n_sample, replace=False))
        over_all: list[Moments] = []
        samples = []
        look = partial(_look, self.kept.read_raw, sets.n_features, products=normalise == "whiten")
        with progress(f"{run.name}: statistics", n_windows, "windows") as advance:
            groups = groups_of(sets, ROWS_OF_PRODUCTS if normalise == "whiten" else 1)
            for vectors, found in self.kept.team.in_order(look, (_group(sets, group, rows) for group in groups)):
                over_all = [*map(merge, over_all, found)] if over_all else found
                samples.append(vectors)
                advance(found[0].n)
        sample = np.concatenate(samples)
        if normalise == "whiten":
            scaling = whitening(over_all, shrinkage=config.shrinkage, n_axes=config.n_components or N_AXES)
        else:
            scales = [scale_of(each, normalise) for each in over_all]
            if config.n_components is not None:
                scales = [with_components(scales[0], sample, config.n_components)]
            scaling = Scaling(tuple(scales))
        return scaling, scaled(sample, scaling)

    def _fit(self, scaling: Scaling, sample: Vectors) -> Vectors:
        config, sets, threads, plan = self.run.config, self.kept.sets, self.kept.team.threads, self._plan
        found = self.checkpoints.fit()
        if found is None:
            found = begun(first_centroids(sample, self.n_clusters, config.seed), config.seed), Position()
        state, position = found
        n_left = plan.n_batches - state.n_batches
        if not n_left:
            return state.centroids
        stream = batches_from(
            position, self.kept.pool_reader(scaling), [len(span.cells) for span in sets.spans], plan.batch_size,
            buffer_windows=config.buffer_windows, seed=config.seed, threads=threads,
        )  # fmt: skip
        kept_s = time.monotonic()
        then: Position | None = None

        def vectors() -> Iterator[Vectors]:
            nonlocal then
            for batch in islice(stream, n_left):
                then = batch.then
                yield batch.vectors

        with (
            closing(stream),
            progress(f"{self.run.name}: fit", plan.n_batches * plan.batch_size, "windows") as advance,
        ):
            advance(state.n_batches * plan.batch_size)
            for _ in steps(vectors(), state, config, plan, threads=threads):
                advance(plan.batch_size)
                if then is not None and time.monotonic() - kept_s >= CHECKPOINT_EVERY_S:
                    self.checkpoints.keep_fit(state, then)
                    kept_s = time.monotonic()
        self.checkpoints.keep_fit(state, Position())
        return state.centroids


@dataclass(frozen=True)
class _Group:
    """Spans that are looked at together, and which of their windows are in the sample."""

    parts: tuple[Part, ...]
    sampled: NDArray[np.int64]


def _group(sets: VectorSets, numbers: list[int], rows: NDArray[np.int64]) -> _Group:
    parts = tuple((i, sets.spans[i]) for i in numbers)
    first, last = parts[0][1].first_row, parts[-1][1].first_row + len(parts[-1][1].cells)
    return _Group(parts, rows[np.searchsorted(rows, first) : np.searchsorted(rows, last)] - first)


def _look(read: Read, n_features: Sequence[int], group: _Group, *, products: bool) -> tuple[Vectors, list[Moments]]:
    """Return the sampled vectors of some spans, and the moments of each set over all of their windows."""
    parts = [read(part) for part in group.parts]
    vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return vectors[group.sampled], set_moments(vectors, n_features, products=products)
