"""The jobs that a manifest can name: where their code is, what they read and write."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from jobs.common.config import JobConfig
from jobs.common.run import main_role
from lake.errors import InputError, TryAgainError


@dataclass(frozen=True)
class JobEntry:
    """One job.

    Attributes
    ----------
    package
        Import path; its ``config`` and ``command`` modules are imported when they are needed.
    kind
        Folder of the lake that its outputs stand in.
    extra
        The extra of the distribution, and the image, that has what the job needs.
    inputs
        The job that each input role must come from, or several joined by " or ".
    optional
        Roles that may be left out.
    any_role
        The job, or jobs, whose runs may come in under any further role.
    extends
        Whether a run grows with its input; otherwise it stays as it is until refreshed.
    labels, names
        Whether it reads the manifest's table of labels, and the names that people gave to its ``clusters``.
    shares
        Whether each of those processes takes a share of the partitions, as with ``--partition``, instead.
    files
        Files besides the recordings that it reads, by the key that the manifest names them under.
    optional_files
        Those that may be left out.
    joins
        Whether a role may list several runs, whose vectors are joined.
    together
        Whether the processes that one launcher starts (`run --ranks`, srun, mpiexec) work on one run together.
    """

    package: str
    kind: str
    extra: str
    inputs: dict[str, str]
    optional: frozenset[str] = frozenset()
    any_role: str | None = None
    extends: bool = False
    labels: bool = False
    names: bool = False
    together: bool = False
    shares: bool = False
    files: frozenset[str] = frozenset()
    optional_files: frozenset[str] = frozenset()
    joins: bool = False

    def takes(self, role: str) -> tuple[str, ...]:
        """Return the jobs whose runs may come in under a role."""
        wanted = self.inputs.get(main_role(role), self.any_role)
        return tuple(wanted.split(" or ")) if wanted else ()

    def config_model(self) -> type[JobConfig]:
        """Return the job's configuration model; never loads torch."""
        model: type[JobConfig] = import_module(f"{self.package}.config").Config
        return model

    def algorithm(self) -> int:
        """Return the number of the job's algorithm."""
        return int(import_module(f"{self.package}.config").ALGORITHM)

    def command(self) -> Any:  # noqa: ANN401 (a module)
        """Import the job's command module, and with it what the job needs."""
        return import_module(f"{self.package}.command")


SIGNS_OF_LITTLE_MEMORY = ("cannot allocate memory", "failed to map segment", "out of memory")


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """Turn the lack of a package that only some images have into a message.

    Raises
    ------
    InputError
        If a package that is not ours cannot be imported.
    TryAgainError
        If there is too little memory to load it.
    """
    try:
        yield
    except (ImportError, OSError) as error:
        if any(sign in str(error).lower() for sign in SIGNS_OF_LITTLE_MEMORY):
            raise TryAgainError(
                f"{what} does not find the memory to load its libraries ({error}). Raise the limit (`ulimit -v`), or "
                "take a machine that has more; then type the same command again."
            ) from error
        if not isinstance(error, ModuleNotFoundError):
            raise
        package = (error.name or "").split(".")[0]
        if package in {"", "jobs", "lake"}:
            raise
        raise InputError(
            f"{what} needs the package {package!r}, which is not installed here. "
            f"Use the image {extra!r}, or type `pip install 'dawnchorus[{extra}]'`."
        ) from error


JOBS = {
    "spectrograms": JobEntry("jobs.spectrograms", "spectrograms", "spectrograms", {}, extends=True),
    "dino": JobEntry("jobs.dino", "models", "dino", {"spectrograms": "spectrograms"}, together=True),
    "adopt": JobEntry(
        "jobs.adopt", "models", "dino", {"spectrograms": "spectrograms"}, files=frozenset({"weights"})
    ),
    "dictionary": JobEntry("jobs.dictionary", "models", "cluster", {"spectrograms": "spectrograms"}),
    "embed": JobEntry(
        "jobs.embed", "embeddings", "dino", {"spectrograms": "spectrograms", "model": "dino or adopt or dictionary"},
        optional=frozenset({"model"}), extends=True, shares=True,
    ),
    "import": JobEntry(
        "jobs.imports", "embeddings", "cluster", {"spectrograms": "spectrograms"}, files=frozenset({"table", "vectors"})
    ),
    "cluster": JobEntry("jobs.cluster", "clusters", "cluster", {"embeddings": "embed or import"}, joins=True),
    "evaluate": JobEntry(
        "jobs.evaluate", "scores", "cluster", {}, any_role="cluster or embed or import", labels=True, joins=True,
        optional_files=frozenset({"labels"}),
    ),
    "atlas": JobEntry(
        "jobs.atlas", "atlas", "cluster", {"clusters": "cluster", "spectrograms": "spectrograms"}, labels=True,
        names=True,
    ),
}  # fmt: skip
