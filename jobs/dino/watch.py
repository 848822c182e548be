"""What is looked at while a training runs: a line of metrics now and then, and whether it still makes sense."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.common.card import ModelCard
from jobs.common.devices import peak_memory_bytes
from jobs.dino import group, journal
from jobs.dino.config import Config
from jobs.dino.data import Source
from jobs.dino.health import PATIENCE, diagnosis, signals
from jobs.dino.probe import signs
from jobs.dino.schedule import pace
from jobs.dino.train import Seen, State
from lake.errors import InputError
from lake.storage import Storage

N_PROBES: Final = 8
"""Times that a fixed sample of windows is looked at during a training, about."""


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
    flops_per_window, peak_flops
        What a window's training takes, and operations/s that the device could reach; ``None`` where unknown.
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
    flops_per_window: float | None = None
    peak_flops: float | None = None


@dataclass(frozen=True)
class Plan:
    """What stays the same over the whole training; ``probed`` are the windows that are looked at."""

    storage: Storage
    source: Source
    config: Config
    around: Surroundings
    n_steps: int
    probed: NDArray[np.int64]


@dataclass
class Progress:
    """What changes from step to step."""

    state: State
    card: ModelCard
    elapsed_s: float = 0.0
    bad_since: int | None = None
    last_checkpoint: str | None = None
    initial_sha256: str = ""


@dataclass
class Watch:
    """Seconds and windows since the last line of metrics."""

    began_s: float = field(default_factory=time.perf_counter)
    waited_s: float = 0.0
    n_windows: int = 0


def is_looked_at(plan: Plan, step: int) -> bool:
    """Return whether a step, counted from 1, leaves a line of metrics."""
    return step in {1, plan.n_steps} or step % plan.around.log_every == 0


def is_probed(plan: Plan, step: int) -> bool:
    """Return whether the sample of windows is looked at after a step that leaves a line."""
    every = plan.around.log_every * max(1, round(plan.n_steps / N_PROBES / plan.around.log_every))
    return step in {1, plan.n_steps} or step % every == 0


def look(plan: Plan, progress: Progress, seen: Seen, watch: Watch) -> None:
    """Write a line of metrics, and end a training that has collapsed; every process must call it.

    Raises
    ------
    InputError
        If the loss is no number, or the training has collapsed.
    """
    require_sound(plan, progress)
    step = progress.state.step
    found = group.of_first(signals(seen.loss, seen.teacher, seen.features))
    entry = {"step": step, **found, **_rates(plan, progress, seen), **_speed(plan, watch)}
    if is_probed(plan, step):
        entry.update(signs(progress.state.pair.teacher, plan.source, plan.probed, progress.card, plan.config))
    if group.rank() == 0:
        journal.append(plan.storage, entry)
    warmed_up = step > round(plan.config.lr_warmup * plan.n_steps)
    wrong = diagnosis(found, plan.config.n_prototypes) if warmed_up else None
    if wrong is None:
        progress.bad_since = None
        return
    progress.bad_since = step if progress.bad_since is None else progress.bad_since
    if step - progress.bad_since >= PATIENCE and plan.around.on_collapse == "stop":
        raise InputError(
            f"run {plan.around.run!r}: {wrong}, since step {progress.bad_since} of {plan.n_steps}. The last"
            f" checkpoint is {progress.last_checkpoint or 'none'}. Change the configuration and give the run"
            " a new name."
        )


def _rates(plan: Plan, progress: Progress, seen: Seen) -> dict[str, float]:
    now = pace(progress.state.step - 1, plan.n_steps, plan.config)
    return {
        "lr": now.lr,
        "weight_decay": now.weight_decay,
        "teacher_momentum": now.teacher_momentum,
        "teacher_temperature": now.teacher_temperature,
        "gradient_norm": seen.gradient_norm.item(),
        "center_norm": progress.state.center.norm().item(),
    }


def _speed(plan: Plan, watch: Watch) -> dict[str, float]:
    """Return windows/s of all processes; of this one the shares of waiting and of its device's speed, and memory."""
    took_s = time.perf_counter() - watch.began_s
    own = watch.n_windows / took_s
    around = plan.around
    speed = {"windows_per_s": own * group.n_ranks(), "data_wait": watch.waited_s / took_s}
    if around.flops_per_window is not None:
        speed["flops_per_s"] = own * around.flops_per_window
        if around.peak_flops is not None:
            speed["mfu"] = speed["flops_per_s"] / around.peak_flops
    return {**speed, "memory_bytes": peak_memory_bytes(str(around.device))}


def require_sound(plan: Plan, progress: Progress) -> None:
    """End a training whose loss or gradient is no number; the bad step changed nothing.

    Raises
    ------
    InputError
        If it is so.
    """
    if bool(progress.state.is_sound):
        return
    precision = "" if plan.config.precision == "fp32" else ', or precision = "fp32"'
    raise InputError(
        f"run {plan.around.run!r}: the loss or its gradient is no finite number at step {progress.state.step};"
        f" the weights were left as they were. The last checkpoint is {progress.last_checkpoint or 'none'}."
        f" Set a lower lr{precision}, and give the run a new name."
    )
