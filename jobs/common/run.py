"""The contract of an execution: what a job is given and what it returns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from jobs.common.config import JobConfig, introduced_as
from jobs.common.resources import Resources
from lake.claims import Claim
from lake.digest import sha256
from lake.graph import above
from lake.layout import Lake
from lake.ledger import Ledger
from lake.receipts import latest_receipt
from lake.run_records import GRID_RECORD, RUN_RECORD, UNFINISHED
from lake.storage import Storage

C = TypeVar("C", bound=JobConfig, default=JobConfig)
C_co = TypeVar("C_co", bound=JobConfig, covariant=True, default=JobConfig)


@dataclass(frozen=True)
class Recordings:
    """The recordings of a manifest: table, folder, deployments.

    Attributes
    ----------
    table
        ``recordings.csv``.
    root
        Folder that its paths are relative to.
    deployments
        ``deployments.csv``, if there is one.
    span_ms
        First and last instant of the study, milliseconds since 1970, where the manifest names them.
    """

    table: Path
    root: Path
    deployments: Path | None = None
    span_ms: tuple[int | None, int | None] = (None, None)

    @property
    def record(self) -> dict[str, Any]:
        """Their entry in a receipt."""
        return {
            "table": str(self.table),
            "table_sha256": _sha256_of(self.table),
            "root": str(self.root),
            "deployments": str(self.deployments) if self.deployments else None,
            "deployments_sha256": _sha256_of(self.deployments),
            "span_ms": list(self.span_ms),
        }


def _sha256_of(path: Path | None) -> str | None:
    return sha256(path.read_bytes()) if path is not None and path.is_file() else None


@dataclass(frozen=True)
class Image:
    """The container image that a run is to be made in.

    Attributes
    ----------
    name
        Name of its file, without ``.sif``.
    sha256
        Digest of its file; where the manifest names one, no other image will do.
    """

    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class Run(Generic[C_co]):
    """One run of a manifest, resolved: its configuration, its identity and the runs it reads.

    Attributes
    ----------
    name, job, kind
        The run's name, its job, and the folder of the lake that its output stands in.
    config, algorithm, config_id
        What decides its numbers, and its identity.
    inputs
        The run in each input role; of a list of runs the first under the role's name, the others under ``role+2`` on.
    recordings, labels
        The manifest's recordings, and its table of labels.
    files
        Files besides those that it reads, by key.
    max_quarantined, resources
        The share of recordings that may be set aside, and what the run asks of a scheduler; never part of
        the identity.
    image
        The container image that the manifest names for it; never part of the identity.
    stays
        Whether it stays as it is once it is finished, whatever changed of its inputs (``refresh = "never"``); never
        part of the identity.
    held
        The claim of this process on the run, while it has one: its ledger refuses to be written without it.
    """

    lake: Lake
    name: str
    job: str
    kind: str
    config: C_co
    algorithm: int
    config_id: str
    inputs: Mapping[str, "Run"]
    recordings: Recordings | None = None
    labels: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    max_quarantined: float = 0.05
    resources: Resources = field(default_factory=Resources)
    image: Image | None = None
    stays: bool = False
    held: Claim | None = None

    @property
    def output(self) -> Storage:
        """The storage of the run's output."""
        return self.lake.output(self.kind, self.name)

    @property
    def ledger(self) -> Ledger:
        """The run's ledger."""
        return Ledger(self.lake.ledger(self.name), self.held)

    @property
    def place(self) -> tuple[str, str]:
        """Return its lake and name, which no other run has."""
        return self.lake.storage.url, self.name

    def above(self) -> Iterator["Run[Any]"]:
        """Return the run and all that it is made from, each once, nearest first."""
        return above(self, lambda run: run.inputs.values(), key=lambda run: run.place)

    def sources(self, role: str) -> list["Run"]:
        """Return the runs that come in under a role: one, or those of a list in the manifest."""
        return [one for name, one in self.inputs.items() if main_role(name) == role]

    @property
    def record(self) -> dict[str, Any]:
        """The run's record, as the ledger keeps it."""
        return {
            "job": self.job,
            "algorithm": self.algorithm,
            "config": self.config.model_dump(mode="json"),
            "inputs": identities(self.kind, self.inputs),
            "config_id": self.config_id,
        }

    @property
    def introduced(self) -> dict[str, Any]:
        """Settings that came after the job's first release, with the value of runs before them."""
        return introduced_as(type(self.config))

    @property
    def store_attrs(self) -> dict[str, Any]:
        """The attributes of a store of this run."""
        return {"config": self.record["config"], "config_id": self.config_id}


def identities(kind: str, inputs: Mapping[str, Run]) -> dict[str, str]:
    """Return the ``config_id`` of each input that is part of a run's identity, by role.

    Stores of the run's own kind that it gathers are not: like recordings, more of them may come, and they decide no
    number.
    """
    return {role: run.config_id for role, run in inputs.items() if not main_role(role) == kind == run.kind}


def main_role(name: str) -> str:
    """Return the role of the manifest that an input belongs to: ``vectors`` of ``vectors+2``."""
    role, _, number = name.rpartition("+")
    return role if role and number.isdecimal() else name


class Begin(Protocol):
    """Takes a run and what is known of its outcome before the work is done; returns the run with its claim."""

    def __call__(self, run: Run[C], expected: "Outcome", /) -> Run[C]:
        """Claim the run and store its record, once."""


def write_at_once(run: Run[C], _expected: "Outcome", /) -> Run[C]:
    """Begin without a claim and without a record."""
    return run


@dataclass(frozen=True)
class Options:
    """Options of an execution; none of them changes a number.

    Attributes
    ----------
    workers
        Processes that work side by side.
    part
        ``(i, n)``: only the i-th of n shares of the partitions, and no finalising.
    refresh
        Run a pinned job again although it is done.
    mix
        Go on with a run that another backend began.
    device
        ``cpu`` or ``cuda``; chosen by what is there if ``None``.
    max_memory_bytes
        Memory that all processes of this machine may take together; most of what it has if ``None``.
    audio
        Whether an atlas may hold sound; recorders catch speech.
    begin
        A job calls it after it has checked its settings and inputs, right before it first writes: it claims the run
        and stores its record. It goes on with the run that is returned, whose ledger knows the claim. More calls change
        nothing. A dry run stops here.
    """

    workers: int = 1
    part: tuple[int, int] | None = None
    refresh: bool = False
    mix: bool = False
    device: str | None = None
    max_memory_bytes: int | None = None
    audio: bool = True
    begin: Begin = write_at_once


@dataclass(frozen=True)
class Outcome:
    """The outcome of an execution.

    Attributes
    ----------
    did
        Whether anything was computed; without, no receipt is left.
    counts
        Windows, recordings and so on by what became of them.
    quarantined
        Reason by path of recordings that were set aside.
    n_recordings
        Recordings in all, which the share of those set aside refers to.
    backend
        What computed the numbers.
    notes
        What a person should know of it, a line each: what was left out of the inputs, and why.
    advice
        What a person may want to do next; `status` says it as long as the run stays so.
    """

    did: bool
    counts: Mapping[str, Any]
    quarantined: Mapping[str, str] = field(default_factory=dict)
    n_recordings: int = 0
    backend: str = ""
    notes: Sequence[str] = ()
    advice: str = ""


def is_replaceable(run: Run, stored: Mapping[str, Any]) -> bool:
    """Return whether a stored record is of other settings under which nothing but the record was ever written."""
    if stored["config_id"] == run.config_id:
        return False
    leftovers = {RUN_RECORD, GRID_RECORD, UNFINISHED}
    leftovers |= {*run.ledger.checkpoint_keys()}
    keys = [key for key in run.ledger.storage.list_keys() if key not in leftovers and not key.startswith("claims/")]
    return not keys and not run.output.list_keys() and not run.lake.receipts(run.name).list_keys()


def is_committed(run: Run, content: str | None = None) -> bool:
    """Return whether a store has been finalised with all that its ledger lists, and a receipt says so.

    Parameters
    ----------
    run
        The run.
    content
        The ``content_id`` of its ledger, if it is known already: to find it, all of the ledger is read.
    """
    receipt = latest_receipt(run.lake, run.name)
    if receipt is None or run.ledger.committed() is None or not run.output.exists("zarr.json"):
        return False
    return bool(receipt.get("content_id") == (content or run.ledger.content()) and not run.ledger.lost())


def listed(lines: Sequence[str], most: int = 20) -> str:
    """Return lines as text, the many after the first few as a count."""
    more = [f"  … and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([*lines[:most], *more])
