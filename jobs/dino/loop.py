"""The training around its steps: reading, metrics, checkpoints, and stopping in time."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch

from jobs.common.backbone import save_backbone
from jobs.common.card import WEIGHT_FILES, ModelCard
from jobs.common.inputs import gaps_of
from jobs.common.training import checkpoint, group, journal
from jobs.common.training.data import Batch, Source, batches, require_shares, require_windows
from jobs.common.training.plot import draw
from jobs.common.training.probe import sample
from jobs.common.training.watch import Plan, Progress, Surroundings, Watch, is_looked_at, look, require_sound
from jobs.dino.config import Config
from jobs.dino.flops import flops_per_window
from jobs.dino.schedule import n_steps
from jobs.dino.sizes import parameters
from jobs.dino.train import Seen, advance, new_state, packed, restore
from lake.digest import sha256
from lake.errors import InputError, StoreError, TryAgainError
from lake.storage import Storage

DRAW_EVERY_S: Final = 60.0
"""Seconds between two pictures at least; the last one is always drawn."""


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
    require_shares(config, group.n_ranks(), around.n_micro)
    cuda = [around.device] if around.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        total = n_steps(source.n_windows, config)
        progress = _begun(storage, source, config, make_card, around)
        width = int(progress.state.pair.teacher.backbone.num_features)
        blocks = len(progress.state.pair.teacher.backbone.blocks)
        around = replace(around, flops_per_window=flops_per_window(config, width, blocks))
        plan = Plan(storage, source, config, around, total, sample(source, config, width))
        if group.rank() == 0:
            journal.trim(storage, progress.state.step)
        steps = range(progress.state.step, total)
        place = {"rank": group.rank(), "n_ranks": group.n_ranks()}
        with closing(batches(source, config, steps, **place)) as stream:
            _go(plan, progress, stream)
    return group.of_first(_finished(plan, progress) if group.rank() == 0 else {})


def _finished(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Write the backbone and return the facts."""
    teacher, around, config = progress.state.pair.teacher, plan.around, plan.config
    save_backbone(plan.storage.url, teacher.backbone, progress.card)
    seen = journal.read(plan.storage)
    return {
        "run": around.run,
        "config_id": around.config_id,
        "n_windows": plan.source.n_windows,
        "n_steps": plan.n_steps,
        "n_samples": plan.n_steps * config.batch_size,
        "n_parameters": sum(value.numel() for value in teacher.backbone.parameters()),
        "elapsed_s": round(progress.elapsed_s, 1),
        "backend": around.backend,
        "n_processes": group.n_ranks(),
        "last": seen[-1] if seen else {},
    }


def _begun(
    storage: Storage, source: Source, config: Config, make_card: Callable[[], ModelCard], around: Surroundings
) -> Progress:
    """Return the newest checkpoint's state, or the one before the first step."""
    found = None
    if not around.is_anew:
        config_id, digest = around.config_id, source.digest
        found = checkpoint.latest(storage, config_id=config_id, digest=digest, n_windows=source.n_windows)
    step = 0 if found is None else int(found["step"])
    _require_same_place(storage, step)
    _seed(config, step)
    if found is None:
        if group.rank() == 0:
            _require_space(storage, config)
            around.begin()
            for key in storage.list_keys() if around.is_anew else []:
                storage.remove(key)
        card = ModelCard.model_validate_json(group.of_first(make_card().model_dump_json() if group.rank() == 0 else ""))
        state, digest = new_state(card, config, around.device, compiled=around.compiled), ""
        if group.rank() == 0:
            digest = save_backbone(storage.url, state.pair.student.backbone, card, "initial")
        return Progress(state, card, initial_sha256=digest)
    name = str(found["key"])
    if found["backend"] != around.backend and not around.mix:
        raise InputError(
            f"{storage.path(name)}: this training began on {found['backend']}, here is {around.backend}, whose"
            " numbers differ a little. Go on there, or type the same command with --mix."
        )
    card = ModelCard.model_validate_json(found["card"])
    state = new_state(card, config, around.device, compiled=around.compiled)
    try:
        restore(state, found, around.device)
    except (RuntimeError, ValueError) as error:
        raise StoreError(
            f"{storage.path(name)}: not a checkpoint of this network. Delete the folder's checkpoints to start"
            " again, or give the run a new name."
        ) from error
    digest = str(found.get("initial_sha256", ""))
    _require_initial(storage, digest)
    around.begin()
    return Progress(state, card, found["elapsed_s"], found["bad_since"], name, digest)


def _require_initial(storage: Storage, digest: str) -> None:
    """Refuse to go on beside other initial weights than the training began with; checkpoints of format 1 do not say."""
    name = WEIGHT_FILES["initial"]
    data = storage.read_or_none(name) if digest else None
    if digest and (data is None or sha256(data) != digest):
        found = "no file" if data is None else "other bytes"
        raise StoreError(
            f"{storage.path(name)}: expected the weights that the training began with (SHA-256 {digest[:12]}…), found"
            f" {found}. Restore the file from a copy; or remove the folder's checkpoints to start again."
        )


def _seed(config: Config, step: int) -> None:
    """Give torch's generators, which drop_path draws from, a state of this process's own."""
    if group.rank() == 0:
        torch.manual_seed(config.seed)
    else:
        torch.manual_seed(int(np.random.SeedSequence([config.seed, group.rank(), step]).generate_state(1)[0]))


def _require_same_place(storage: Storage, step: int) -> None:
    """Refuse to go on where processes see different checkpoints, as where their folder is not shared."""
    steps = group.of_all(step)
    if len(set(steps)) > 1:
        raise InputError(
            f"{storage.url}: the processes see checkpoints of different steps ({', '.join(map(str, steps))}). Put the"
            " lake on a disk that all of them share."
        )


def _require_space(storage: Storage, config: Config) -> None:
    """Refuse a network that cannot be built, and a disk on which not even its checkpoints fit."""
    backbone, head, *_ = parameters(config)
    weights = 4 * (backbone + head)
    needed = 4 * weights * (checkpoint.KEEP + 1)  # student, teacher and two moments; one more while it is written
    free = storage.free_bytes()
    if free is not None and free < needed:
        raise TryAgainError(
            f"{storage.url}: checkpoints need {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free. Free some space"
            " and type the same command again."
        )


def _go(plan: Plan, progress: Progress, stream: Iterator[Batch]) -> None:
    """Do the steps that are left."""
    state, around = progress.state, plan.around
    watch, saved_s = Watch(), time.perf_counter()
    began_s, drawn_s = saved_s - progress.elapsed_s, saved_s
    while state.step < plan.n_steps:
        seen = _do_one(plan, progress, stream, watch)
        is_last = state.step == plan.n_steps
        if is_looked_at(plan, state.step):
            _look(plan, progress, seen, watch)
            watch = Watch()
        around.on_progress(state.step, plan.n_steps)
        reason = around.why_stop()
        now_s = time.perf_counter()
        stops, is_due = group.any_of([reason is not None, now_s - saved_s >= around.checkpoint_every_s])
        if is_last or stops or is_due:
            progress.elapsed_s = now_s - began_s
            _save(plan, progress)
            saved_s = time.perf_counter()
            if group.rank() == 0 and (is_last or stops or saved_s - drawn_s >= DRAW_EVERY_S):
                draw(plan.storage)
                drawn_s = saved_s
        if stops and not is_last:
            raise TryAgainError(
                f"run {around.run!r}: stopped after step {state.step} of {plan.n_steps}:"
                f" {reason or 'another process was told to'}. Type the same command again: it goes on from there."
            )


def _do_one(plan: Plan, progress: Progress, stream: Iterator[Batch], watch: Watch) -> Seen:
    """Read a batch and do a step with it."""
    asked_s = time.perf_counter()
    batch = next(stream)
    watch.waited_s += time.perf_counter() - asked_s
    watch.n_windows += len(batch.codes)
    places = plan.source.places
    needs_recorder = progress.card.background_db is not None and places is not None
    is_here = plan.around.device.type == "cpu"
    seen = advance(
        progress.state,
        torch.from_numpy(batch.codes).to(plan.around.device, non_blocking=True),
        batch.samples,
        card=progress.card,
        config=plan.config,
        n_steps=plan.n_steps,
        recorder=places.names(batch.windows) if places is not None and needs_recorder else None,
        has_gap=None if is_here else gaps_of(batch.codes),
        n_micro=plan.around.n_micro,
    )
    if is_here:  # elsewhere this would wait for the device
        require_sound(plan, progress)
    return seen


def _look(plan: Plan, progress: Progress, seen: Seen, watch: Watch) -> None:
    """Leave a line of metrics; what ends the training there is drawn first."""
    try:
        look(plan, progress, seen, watch)
    except InputError:
        if group.rank() == 0:
            draw(plan.storage)
        raise


def _save(plan: Plan, progress: Progress) -> None:
    """Write a checkpoint of a sound state; every process must call it, the first one writes."""
    require_sound(plan, progress)
    content = {
        **packed(progress.state, plan.around.device),
        "card": progress.card.model_dump_json(),
        "config_id": plan.around.config_id,
        "digest": plan.source.digest,
        "n_windows": plan.source.n_windows,
        "backend": plan.around.backend,
        "elapsed_s": progress.elapsed_s,
        "bad_since": progress.bad_since,
        "initial_sha256": progress.initial_sha256,
    }
    if group.rank() == 0:
        progress.last_checkpoint = checkpoint.save(plan.storage, content, keep=checkpoint.KEEP)
