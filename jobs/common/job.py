"""The contract of a job: what it declares in ``config.JOB``, and what its ``command`` module offers."""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Final, Generic, Literal, Protocol

from typing_extensions import TypeVar

from jobs.common.config import JobConfig
from jobs.common.run import Options, Outcome, Run, main_role

C = TypeVar("C", bound=JobConfig, default=JobConfig)
C_contra = TypeVar("C_contra", bound=JobConfig, contravariant=True, default=JobConfig)

Processes = Literal["one", "share partitions", "train together"]
Reads = Literal["labels", "cluster_names", "verdicts"]
Option = Literal["scheduler", "partition", "ranks", "max-memory", "refresh", "mix", "device", "no-audio"]
"""Options of `run` that not every job can follow; with `partition` a job has `finalise`.

`--workers` is a bound, which each keeps that works alone.
"""

ANY_ROLE: Final = "*"
"""Role of an :class:`Input` that stands for every role that no other input has."""


@dataclass(frozen=True)
class Input:
    """Runs that a job reads under one role.

    Attributes
    ----------
    role
        Key in the ``inputs`` of the manifest, or :data:`ANY_ROLE`.
    kinds
        What such a run gives (:attr:`Job.gives`), whatever its job; what is named like the role if empty.
    optional
        Whether the manifest may leave it out.
    several
        Whether the manifest may list several runs, whose vectors are joined.
    jobs
        Jobs whose runs alone may come in; any that give such a thing if empty.
    is_usual
        Whether the run that `dawnchorus config` prints has it.
    """

    role: str
    kinds: tuple[str, ...] = ()
    optional: bool = False
    several: bool = False
    jobs: tuple[str, ...] = ()
    is_usual: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", self.kinds or (self.role,))


@dataclass(frozen=True)
class FileInput:
    """A file of its own that a run reads, under its key in the ``files`` of the manifest."""

    key: str
    optional: bool = False


class Whole(Protocol[C_contra]):
    """The command module of a job whose output is made as a whole."""

    def execute(self, run: Run[C_contra], options: Options, /) -> Outcome:
        """Make the output; call ``options.begin`` after all checks, right before the first write."""

    def describe(self, run: Run[C_contra], options: Options, /) -> list[str]:
        """Return lines on what `execute` would do, write and need, without writing anything."""


class Sharing(Whole[C_contra], Protocol[C_contra]):
    """The command module of a job whose partitions several processes can share (`run --partition`)."""

    def finalise(self, run: Run[C_contra], options: Options, /) -> Outcome:
        """Make the output readable after all shares are done; call ``options.begin`` as `execute` does."""


class Extending(Sharing[C_contra], Protocol[C_contra]):
    """The command module of a job whose output grows with its input, partition by partition."""

    def progress_of(self, run: Run[C_contra], /) -> tuple[int, int]:
        """Return how many windows are written, and how many there are to write."""


@dataclass(frozen=True, kw_only=True)
class Job(Generic[C]):
    """One job that a manifest can name.

    Attributes
    ----------
    name
        The job in manifests, ledgers and receipts.
    package
        Import path of its package; the module ``command`` in it is imported when it is needed.
    config, algorithm
        The model of its settings; and the number that is raised when other numbers come out of the same settings.
    writes
        Folder of the lake that its outputs stand in.
    gives
        What its outputs are to the jobs that read them; ``writes`` if empty.
    extra
        The extra of the distribution, and the image, that has what the job needs.
    inputs, files
        The runs and the files that it reads.
    reads
        What else of a study it reads: the table of labels, the names that people gave to its ``clusters``, and the
        verdicts of the lake.
    extends
        Whether a run grows with its input, as :class:`Extending`; otherwise it is made as a whole.
    is_remade
        Whether a finished run that is made as a whole is made again once what it read has changed; otherwise it stays
        as it is until ``--refresh``. For jobs that take seconds.
    of_place
        Files of its outputs that say where other files are, by key: they differ in another place, so `reproduce` does
        not compare them.
    follows
        Options of `run` that it follows, besides those that `extends` and `processes` decide.
    processes
        What the processes of a launcher (`run --ranks`, srun, mpiexec) do with a run: ``one`` makes it alone,
        each makes a share of the partitions, or all train together.
    """

    name: str
    package: str
    config: type[C]
    algorithm: int
    writes: str
    extra: str
    inputs: tuple[Input, ...] = ()
    files: tuple[FileInput, ...] = ()
    reads: frozenset[Reads] = field(default=frozenset())
    extends: bool = False
    is_remade: bool = False
    of_place: frozenset[str] = field(default=frozenset())
    follows: frozenset[Option] = field(default=frozenset())
    processes: Processes = "one"
    gives: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "gives", self.gives or self.writes)

    @property
    def options(self) -> frozenset[Option]:
        """All options of `run` that the job follows."""
        derived: set[Option] = {"partition"} if self.extends else {"refresh"}
        return self.follows | derived | ({"ranks"} if self.has_ranks or self.processes != "one" else set())

    @property
    def has_ranks(self) -> bool:
        """Return whether each process of a launcher can take a share: not where one share fits what the others use."""
        return self.extends and "refresh" not in self.follows

    @property
    def is_pinned(self) -> bool:
        """Return whether a finished run is judged by its receipt alone: it stays while its inputs are the same."""
        return "refresh" in self.options

    @property
    def is_model(self) -> bool:
        """Return whether a run makes what vectors are computed with: it is whole, however many windows come later."""
        return self.writes == "models" and "verdicts" not in self.reads

    def input_of(self, role: str) -> Input | None:
        """Return what may come in under a role of a manifest or of a run, or ``None``."""
        known = {one.role: one for one in self.inputs}
        return known.get(main_role(role), known.get(ANY_ROLE))

    def command(self) -> Whole[C]:
        """Import the job's command module, and with it what the job needs."""
        return import_module(f"{self.package}.command")

    def sharing(self) -> Sharing[C]:
        """Import the command module of a job that follows ``--partition``."""
        return import_module(f"{self.package}.command")

    def extending(self) -> Extending[C]:
        """Import the command module of a job that `extends`."""
        return import_module(f"{self.package}.command")
