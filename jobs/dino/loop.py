"""The training around its steps: reading, metrics, checkpoints, and stopping in time."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch

from jobs.common.backbone import ModelCard, save_backbone
from jobs.dino import checkpoint, journal
from jobs.dino.config import Config
from jobs.dino.data import Batch, Source, batches, require_windows
from jobs.dino.health import PATIENCE, diagnosis, signals
from jobs.dino.schedule import n_steps, pace
from jobs.dino.train import Seen, State, advance, new_state, packed, restore
from lake.errors import InputError, StoreError, TryAgainError
from lake.storage import Storage

KEEP_CHECKPOINTS: Final = 2


@dataclass(frozen=True)
class Surroundings:
    """How a training is executed; nothing here changes a number.

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


@dataclass(frozen=True)
class _Plan:
    """What stays the same over the whole training."""

    storage: Storage
    source: Source
    config: Config
    around: Surroundings
    n_steps: int


@dataclass
class _Progress:
    """What changes from step to step."""

    state: State
    card: ModelCard
    elapsed_s: float = 0.0
    bad_since: int | None = None
    last_checkpoint: str | None = None


@dataclass
class _Watch:
    """Seconds and windows since the last line of metrics."""

    began_s: float
    waited_s: float = 0.0
    n_windows: int = 0


def fit(
    storage: Storage,
    source: Source,
    config: Config,
    *,
    make_card: Callable[[], ModelCard],
    around: Surroundings,
) -> dict[str, Any]:
    """Train to the end, from the newest checkpoint if there is one, and write the backbone.

    Parameters
    ----------
    storage
        The run's folder: checkpoints, metrics, ``initial.safetensors``, ``backbone.safetensors`` and
        ``config.json``.
    source, config
        What is trained on, and how.
    make_card
        Computes the model's card; called only where no checkpoint holds it.
    around
        How it is executed.

    Returns
    -------
    dict
        Facts about the training.

    Raises
    ------
    TryAgainError
        If it was told to stop, or the disk is full. It can go on.
    InputError
        If it diverged or collapsed, if there are too few windows, the windows changed, or another
        backend began.
    IdentityError, StoreError, StoreFormatError
        If the newest checkpoint is another run's, or cannot be read.
    """
    require_windows(source, config)
    plan = _Plan(storage, source, config, around, n_steps(source.n_windows, config))
    cuda = [around.device] if around.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(config.seed)
        progress = _begun(plan, make_card)
        journal.trim(storage, progress.state.step)
        with closing(batches(source, config, range(progress.state.step, plan.n_steps))) as stream:
            _go(plan, progress, stream)
    teacher = progress.state.pair.teacher
    save_backbone(storage.url, teacher.backbone, progress.card)
    seen = journal.read(storage)
    return {
        "run": around.run,
        "config_id": around.config_id,
        "n_windows": source.n_windows,
        "n_steps": plan.n_steps,
        "n_samples": plan.n_steps * config.batch_size,
        "n_parameters": sum(value.numel() for value in teacher.backbone.parameters()),
        "elapsed_s": round(progress.elapsed_s, 1),
        "backend": around.backend,
        "last": seen[-1] if seen else {},
    }


def _begun(plan: _Plan, make_card: Callable[[], ModelCard]) -> _Progress:
    """Return the newest checkpoint's state, or the one before the first step."""
    storage, config, around = plan.storage, plan.config, plan.around
    found = checkpoint.latest(
        storage, config_id=around.config_id, digest=plan.source.digest, n_windows=plan.source.n_windows
    )
    if found is None:
        card = make_card()
        state = new_state(card, config, around.device)
        _require_space(storage, state)
        save_backbone(storage.url, state.pair.student.backbone, card, "initial")
        return _Progress(state, card)
    name = checkpoint.keys(storage)[-1]
    if found["backend"] != around.backend and not around.mix:
        raise InputError(
            f"{storage.path(name)}: this training began on {found['backend']}, here is {around.backend}, whose"
            " numbers differ a little. Go on there, or type the same command with --mix."
        )
    card = ModelCard.model_validate_json(found["card"])
    state = new_state(card, config, around.device)
    try:
        restore(state, found, around.device)
    except (RuntimeError, ValueError) as error:
        raise StoreError(
            f"{storage.path(name)}: not a checkpoint of this network. Delete the folder's checkpoints to start"
            " again, or give the run a new name."
        ) from error
    return _Progress(state, card, found["elapsed_s"], found["bad_since"], name)


def _require_space(storage: Storage, state: State) -> None:
    """Refuse to begin where not even the checkpoints fit."""
    weights = sum(value.numel() * value.element_size() for value in state.pair.student.parameters())
    needed = 4 * weights * (KEEP_CHECKPOINTS + 1)  # student, teacher and two moments; one more while it is written
    free = storage.free_bytes()
    if free is not None and free < needed:
        raise TryAgainError(
            f"{storage.url}: checkpoints need {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free. Free some space"
            " and type the same command again."
        )


def _go(plan: _Plan, progress: _Progress, stream: Iterator[Batch]) -> None:
    """Do the steps that are left."""
    state, around = progress.state, plan.around
    watch = _Watch(time.perf_counter())
    saved_s = time.perf_counter()
    began_s = saved_s - progress.elapsed_s
    while state.step < plan.n_steps:
        seen = _do_one(plan, progress, stream, watch)
        is_last = state.step == plan.n_steps
        if is_last or state.step == 1 or state.step % around.log_every == 0:
            _look(plan, progress, seen, watch)
            watch = _Watch(time.perf_counter())
        around.on_progress(state.step, plan.n_steps)
        reason = around.why_stop()
        now_s = time.perf_counter()
        if is_last or reason or now_s - saved_s >= around.checkpoint_every_s:
            progress.elapsed_s = now_s - began_s
            _save(plan, progress)
            saved_s = time.perf_counter()
        if reason and not is_last:
            raise TryAgainError(
                f"run {around.run!r}: stopped after step {state.step} of {plan.n_steps}: {reason}."
                " Type the same command again: it goes on from there."
            )


def _do_one(plan: _Plan, progress: _Progress, stream: Iterator[Batch], watch: _Watch) -> Seen:
    """Read a batch and do a step with it."""
    asked_s = time.perf_counter()
    batch = next(stream)
    watch.waited_s += time.perf_counter() - asked_s
    watch.n_windows += len(batch.codes)
    codes = torch.from_numpy(batch.codes).to(plan.around.device, non_blocking=True)
    seen = advance(
        progress.state,
        codes,
        batch.samples,
        card=progress.card,
        config=plan.config,
        n_steps=plan.n_steps,
    )
    if plan.around.device.type == "cpu":  # elsewhere this would wait for the device
        _require_sound(plan, progress)
    return seen


def _look(plan: _Plan, progress: _Progress, seen: Seen, watch: _Watch) -> None:
    """Write a line of metrics, and end a training that has collapsed."""
    _require_sound(plan, progress)
    step = progress.state.step
    now = pace(step - 1, plan.n_steps, plan.config)
    found = signals(seen.loss, seen.teacher, seen.features)
    took_s = time.perf_counter() - watch.began_s
    entry = {
        "step": step,
        **found,
        "lr": now.lr,
        "weight_decay": now.weight_decay,
        "teacher_momentum": now.teacher_momentum,
        "teacher_temperature": now.teacher_temperature,
        "gradient_norm": seen.gradient_norm.item(),
        "center_norm": progress.state.center.norm().item(),
        "windows_per_s": watch.n_windows / took_s,
        "data_wait": watch.waited_s / took_s,
    }
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


def _require_sound(plan: _Plan, progress: _Progress) -> None:
    """End a training whose loss or gradient is no number; the bad step changed nothing."""
    if bool(progress.state.is_sound):
        return
    precision = "" if plan.config.precision == "fp32" else ', or precision = "fp32"'
    raise InputError(
        f"run {plan.around.run!r}: the loss or its gradient is no finite number at step {progress.state.step};"
        f" the weights were left as they were. The last checkpoint is {progress.last_checkpoint or 'none'}."
        f" Set a lower lr{precision}, and give the run a new name."
    )


def _save(plan: _Plan, progress: _Progress) -> None:
    """Write a checkpoint of a sound state."""
    _require_sound(plan, progress)
    content = {
        **packed(progress.state, plan.around.device),
        "card": progress.card.model_dump_json(),
        "config_id": plan.around.config_id,
        "digest": plan.source.digest,
        "n_windows": plan.source.n_windows,
        "backend": plan.around.backend,
        "elapsed_s": progress.elapsed_s,
        "bad_since": progress.bad_since,
    }
    progress.last_checkpoint = checkpoint.save(plan.storage, content, keep=KEEP_CHECKPOINTS)
