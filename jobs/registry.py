"""The jobs that a manifest can name: where their code is, what they read and write."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from jobs.common.config import JobConfig


@dataclass(frozen=True)
class JobEntry:
    """One job.

    Attributes
    ----------
    package
        Import path; its ``config`` and ``command`` modules are imported when they are needed.
    kind
        Folder of the lake that its outputs stand in.
    inputs
        The job that each input role must come from.
    optional
        Roles that may be left out.
    any_role
        The job whose runs may come in under any further role.
    extends
        Whether a run grows with its input; otherwise it stays as it is until refreshed.
    """

    package: str
    kind: str
    inputs: dict[str, str]
    optional: frozenset[str] = frozenset()
    any_role: str | None = None
    extends: bool = False

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


JOBS = {
    "spectrograms": JobEntry("jobs.spectrograms", "spectrograms", {}, extends=True),
    "dino": JobEntry("jobs.dino", "models", {"spectrograms": "spectrograms"}),
    "embed": JobEntry(
        "jobs.embed", "embeddings", {"spectrograms": "spectrograms", "model": "dino"},
        optional=frozenset({"model"}), extends=True,
    ),
    "cluster": JobEntry("jobs.cluster", "clusters", {"embeddings": "embed"}),
    "evaluate": JobEntry("jobs.evaluate", "scores", {}, any_role="cluster"),
    "atlas": JobEntry("jobs.atlas", "atlas", {"clusters": "cluster", "spectrograms": "spectrograms"}),
}  # fmt: skip
