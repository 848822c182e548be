"""The pass over all windows that gives each its cluster, a recorder's day at a time; days that stand are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.cluster.config import Config
from jobs.cluster.core import Clustering
from jobs.cluster.exemplars import Candidates
from jobs.cluster.labels import Counted, Day, Labeller, Totals, no_totals, summed
from jobs.cluster.source import Kept
from jobs.common.processors import blas_backend
from jobs.common.progress import progress
from jobs.common.run import Outcome, Run
from lake.digest import sha256
from lake.errors import IdentityError
from lake.identity import short_hash
from lake.ledger import Entry
from lake.scaling import Vectors
from lake.specs import StoreSpec
from lake.vectors import VectorSets, by_day, open_vectors


def vector_sets(run: Run[Config]) -> VectorSets:
    """Open the vectors of a run."""
    return open_vectors([one.output.url for one in run.sources("embeddings")], partial=run.config.partial)


def centroids_digest(stored: Vectors) -> str:
    """Return the digest of centroids as their store holds them; labels of others are not these."""
    return sha256(stored.tobytes())


@dataclass(frozen=True)
class Passes:
    """The centroids, scaling and bounds that windows are assigned by.

    Attributes
    ----------
    run, kept, clustering, spec
        The run, its vectors, the clustering, and the schema of the store.
    centroids
        Digest of the centroids: :func:`centroids_digest`.
    """

    run: Run[Config]
    kept: Kept
    clustering: Clustering
    spec: StoreSpec
    centroids: str

    def days(self, *, mix: bool, is_growth: bool = False) -> list[Day]:
        """Return the partitions, each with the files of its labels if those are of these centroids and vectors.

        Parameters
        ----------
        mix
            Whether labels of another kind of processor stand.
        is_growth
            Whether all labels that the store has are of these centroids.
        """
        return days_of(self.run, self.kept.sets, self.centroids, mix=mix, is_growth=is_growth)

    def label(self, days: Sequence[Day]) -> tuple[Totals, Candidates]:
        """Label every window and write every block; return what the labels say."""
        totals = no_totals(self.clustering.n_clusters, len(self.kept.sets.recorders))
        return totals, summed(self._labelled(days), totals, self.run.config.n_exemplars)

    def share(self, days: Sequence[Day]) -> Outcome:
        """Label the days of a share that are not labelled yet."""
        missing = [day for day in days if not day.files]
        n_windows = sum(day.n_windows for day in self._labelled(missing))
        return Outcome(did=bool(missing), counts={"windows": n_windows}, backend=blas_backend())

    def _labelled(self, days: Sequence[Day]) -> Iterator[Counted]:
        """Label days and write their blocks; yield what was counted of each, in order."""
        config, sets = self.run.config, self.kept.sets
        label = Labeller(
            read=self.kept.read_scaled(self.clustering.scaling), centroids=self.clustering.centroids,
            store=self.run.output, ledger=self.run.ledger, spec=self.spec,
            recorders=sets.recorders, status_url=sets.urls[0], token=self.kept.reader.token,
            span_ms=round(config.exemplar_span_s * 1000), n_near=config.n_exemplars,
        )  # fmt: skip
        with progress(f"{self.run.name}: labels", sum(day.n_windows for day in days), "windows") as advance:
            for counted in self.kept.team.in_order(label, days):
                advance(counted.n_windows)
                yield counted


def days_of(run: Run[Config], sets: VectorSets, centroids: str, *, mix: bool, is_growth: bool) -> list[Day]:
    """Return the partitions of a run; see :meth:`Passes.days`.

    Raises
    ------
    IdentityError
        If the ledger lists partitions that the vectors do not have.
    """
    made = [one.ledger.written() for one in run.sources("embeddings")]
    written, backend = run.ledger.written(), blas_backend()
    days, begun = [], 0
    for spans in by_day(sets.spans):
        recorder, number = spans[0].recorder, spans[0].day
        place = (sets.recorders[recorder], number)
        inputs = short_hash([centroids, *(sorted(one[place].files.items()) for one in made)])
        entry: Entry | None = written.pop(place, None)
        stands = entry is not None and entry.inputs == inputs and (mix or is_growth or entry.backend == backend)
        files = entry.files if entry is not None else {}
        before = files if is_growth and not stands else {}
        days.append(Day(recorder, tuple(enumerate(spans, begun)), inputs, files if stands else {}, before))
        begun += len(spans)
    if written:
        gone = [f"{name} {sets.grid.day_of(number * sets.grid.cells_per_day)}" for name, number in sorted(written)]
        raise IdentityError(
            f"run {run.name!r}: the ledger lists windows of {len(gone)} partitions that its vectors do not have "
            f"({', '.join(gone[:3])}{', …' if len(gone) > 3 else ''}). Restore them, or give the run a new name."
        )
    return days
