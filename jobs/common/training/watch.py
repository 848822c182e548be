"""Watch a running training: write metrics, and stop it when it has collapsed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from jobs.common.network.devices import peak_memory_bytes
from jobs.common.training import checkpoint, group, journal
from jobs.common.training.data import Source
from jobs.common.training.learner import Learner, Seen
from jobs.common.training.probe import embedded, signs
from jobs.common.training.settings import Settings
from lake.errors import InputError
from lake.storage import Storage

N_PROBES: Final = 8
"""Times that a fixed sample of windows is looked at during a training, about."""

PATIENCE: Final = 50
"""Steps after the warm-up that the signs may be bad in a row."""


@dataclass(frozen=True)
class Surroundings:
    """How a training is executed; nothing here changes a number beyond its last digits.

    Attributes
    ----------
    run, config_id
        The run's name and the identity of its configuration.
    device, backend
        What trains, and what kind of numbers it computes.
    mix
        Whether a training that another backend began is continued.
    log_every
        Steps between two lines of metrics.
    checkpoint_every_s
        Seconds between two checkpoints.
    on_progress
        Called after every step with the steps done and their number in all.
    why_stop
        Asked after every step; a reason ends the training for now.
    on_collapse
        Whether a collapsed training ends.
    n_micro
        Equal parts that a process's share of a batch is computed in, one after the other.
    compiled
        Whether the networks are compiled.
    begin
        Called once everything was checked, right before the folder is first written to.
    is_anew
        Whether what the folder holds is removed first.
    peak_flops
        Operations/s that the device could reach; ``None`` where unknown.
    """

    run: str
    config_id: str
    device: torch.device
    backend: str
    mix: bool = False
    log_every: int = 10
    checkpoint_every_s: float = 300.0
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    why_stop: Callable[[], str | None] = lambda: None
    on_collapse: Literal["stop", "go on"] = "stop"
    n_micro: int = 1
    compiled: bool = False
    begin: Callable[[], None] = lambda: None
    is_anew: bool = False
    peak_flops: float | None = None


@dataclass
class Watch:
    """Seconds and windows since the last line of metrics."""

    began_s: float = field(default_factory=time.perf_counter)
    waited_s: float = 0.0
    n_windows: int = 0


@dataclass
class Training(Generic[Seen]):
    """One training: what it was given, and where it is.

    Attributes
    ----------
    storage, source, config, around
        The run's folder, the windows, the settings, and how it is executed.
    learner, card
        What is trained, and the card of its model.
    n_steps, probed
        Steps in all; numbers of the windows that are looked at now and then.
    elapsed_s
        Seconds that it took so far, over all of its executions.
    bad_since
        Step from which on its signs are bad.
    last_checkpoint, initial_sha256
        Key of the newest checkpoint; digest of the weights before the first step.
    """

    storage: Storage
    source: Source
    config: Settings
    around: Surroundings
    learner: Learner[Seen]
    card: BaseModel
    n_steps: int
    probed: NDArray[np.int64]
    elapsed_s: float = 0.0
    bad_since: int | None = None
    last_checkpoint: str | None = None
    initial_sha256: str = ""

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self.learner.state.step

    def is_looked_at(self) -> bool:
        """Return whether the last step is written to the metrics."""
        return self.step in {1, self.n_steps} or self.step % self.around.log_every == 0

    def is_probed(self) -> bool:
        """Return whether the sample of windows is measured after the last step."""
        every = self.around.log_every * max(1, round(self.n_steps / N_PROBES / self.around.log_every))
        return self.step in {1, self.n_steps} or self.step % every == 0

    def look(self, seen: Seen, watch: Watch) -> None:
        """Write a line of metrics, and end a training that has collapsed; every process must call it.

        Raises
        ------
        InputError
            If the loss is no number, or the training has collapsed.
        """
        self.require_sound()
        found = group.of_first(self.learner.signals(seen))
        entry = {"step": self.step, **found, **self.learner.rates(seen), **self._speed(watch)}
        if self.is_probed():
            features = embedded(
                self.learner.encoder(), self.source, self.probed, self.learner.width, named=self.learner.needs_recorders
            )
            entry.update(signs(features, self.source.places, self.probed))
        if group.rank() == 0:
            journal.append(self.storage, entry)
        warmed_up = self.step > round(self.config.lr_warmup * self.n_steps)
        wrong = self.learner.diagnosis(found) if warmed_up else None
        if wrong is None:
            self.bad_since = None
            return
        self.bad_since = self.step if self.bad_since is None else self.bad_since
        if self.step - self.bad_since >= PATIENCE and self.around.on_collapse == "stop":
            raise InputError(
                f"run {self.around.run!r}: {wrong}, since step {self.bad_since} of {self.n_steps}. The last"
                f" checkpoint is {self.last_checkpoint or 'none'}. Change the configuration and give the run"
                " a new name."
            )

    def _speed(self, watch: Watch) -> dict[str, float]:
        """Return windows/s of all processes; and of this one the share of waiting, the device's speed, memory."""
        took_s = time.perf_counter() - watch.began_s
        own = watch.n_windows / took_s
        speed = {"windows_per_s": own * group.n_ranks(), "data_wait": watch.waited_s / took_s}
        if self.learner.flops_per_window is not None:
            speed["flops_per_s"] = own * self.learner.flops_per_window
            if self.around.peak_flops is not None:
                speed["mfu"] = speed["flops_per_s"] / self.around.peak_flops
        return {**speed, "memory_bytes": peak_memory_bytes(str(self.around.device))}

    def require_sound(self) -> None:
        """End a training whose loss or gradient is no number; the bad step changed nothing.

        Raises
        ------
        InputError
            If it is so.
        """
        if bool(self.learner.state.is_sound):
            return
        precision = "" if self.config.precision == "fp32" else ', or precision = "fp32"'
        raise InputError(
            f"run {self.around.run!r}: the loss or its gradient is no finite number at step {self.step};"
            f" the weights were left as they were. The last checkpoint is {self.last_checkpoint or 'none'}."
            f" Set a lower lr{precision}, and give the run a new name."
        )

    def save(self) -> None:
        """Write a checkpoint of a sound state; every process must call it, the first one writes."""
        self.require_sound()
        content = {
            **self.learner.packed(),
            "card": self.card.model_dump_json(),
            "config_id": self.around.config_id,
            "digest": self.source.digest,
            "n_windows": self.source.n_windows,
            "backend": self.around.backend,
            "elapsed_s": self.elapsed_s,
            "bad_since": self.bad_since,
            "initial_sha256": self.initial_sha256,
        }
        if group.rank() == 0:
            self.last_checkpoint = checkpoint.save(self.storage, content, keep=checkpoint.KEEP)
