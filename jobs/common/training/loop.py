"""The training around its steps: reading, metrics, checkpoints, and stopping in time."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import numpy as np
import torch

from jobs.common.network.card import WEIGHT_FILES
from jobs.common.training import checkpoint, group, journal
from jobs.common.training.data import Batch, Source, batches, require_shares, require_windows
from jobs.common.training.learner import Card, Method, Seen
from jobs.common.training.plot import draw
from jobs.common.training.probe import sample
from jobs.common.training.settings import Settings
from jobs.common.training.watch import Surroundings, Training, Watch
from lake.digest import sha256
from lake.errors import InputError, StoreError, TryAgainError
from lake.storage import Storage

DRAW_EVERY_S: Final = 60.0
"""Seconds between two pictures at least; the last one is always drawn."""


def fit(
    storage: Storage, source: Source, config: Settings, method: Method[Card, Seen], around: Surroundings
) -> dict[str, Any]:
    """Train to the end, from the newest checkpoint if there is one, and write the network.

    Parameters
    ----------
    storage
        The run's folder: checkpoints, metrics, ``initial.safetensors``, ``backbone.safetensors`` and
        ``config.json``.
    source, config
        What is trained on, and how.
    method
        What makes the card, and what is trained.
    around
        How it is executed.

    Returns
    -------
    dict
        Facts about the training.

    Raises
    ------
    TryAgainError
        If it was asked to stop, or the disk is full. It can go on.
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
        training = _begun(storage, source, config, method, around)
        if group.rank() == 0:
            journal.trim(storage, training.step)
        steps = range(training.step, training.n_steps)
        place = {"rank": group.rank(), "n_ranks": group.n_ranks()}
        with closing(batches(source, config, steps, **place)) as stream:
            _go(training, stream)
    return group.of_first(_finished(training) if group.rank() == 0 else {})


def _finished(training: Training[Seen]) -> dict[str, Any]:
    """Write the network and return the facts."""
    learner, around = training.learner, training.around
    learner.save(training.storage.url)
    seen = journal.read(training.storage)
    return {
        "run": around.run,
        "config_id": around.config_id,
        "n_windows": training.source.n_windows,
        "n_steps": training.n_steps,
        "n_samples": training.n_steps * training.config.batch_size,
        "n_parameters": learner.n_parameters,
        "elapsed_s": round(training.elapsed_s, 1),
        "backend": around.backend,
        "n_processes": group.n_ranks(),
        **learner.facts,
        "last": seen[-1] if seen else {},
    }


def _begun(
    storage: Storage, source: Source, config: Settings, method: Method[Card, Seen], around: Surroundings
) -> Training[Seen]:
    """Return a training at its newest checkpoint, or before the first step."""
    found = None
    if not around.is_anew:
        config_id, digest = around.config_id, source.digest
        found = checkpoint.latest(storage, config_id=config_id, digest=digest, n_windows=source.n_windows)
    total = config.steps_of(source.n_windows)
    step = 0 if found is None else int(found["step"])
    _require_same_place(storage, step)
    _seed(config, step)
    if found is None:
        if group.rank() == 0:
            _require_space(storage, method)
            around.begin()
            for key in storage.list_keys() if around.is_anew else []:
                storage.remove(key)
        card = method.card.model_validate_json(
            group.of_first(method.make_card().model_dump_json() if group.rank() == 0 else "")
        )
        learner, digest = method.make_learner(card, total, True), ""
        if group.rank() == 0:
            digest = learner.save(storage.url, "initial")
        probed = sample(source, config, learner.width)
        return Training(storage, source, config, around, learner, card, total, probed, initial_sha256=digest)
    name = str(found["key"])
    if found["backend"] != around.backend and not around.mix:
        raise InputError(
            f"{storage.path(name)}: this training began on {found['backend']}, here is {around.backend}, whose"
            " numbers differ a little. Go on there, or type the same command with --mix."
        )
    card = method.card.model_validate_json(found["card"])
    learner = method.make_learner(card, total, False)
    try:
        learner.restore(found)
    except (RuntimeError, ValueError) as error:
        raise StoreError(
            f"{storage.path(name)}: not a checkpoint of this network. Delete the folder's checkpoints to start"
            " again, or give the run a new name."
        ) from error
    digest = str(found.get("initial_sha256", ""))
    _require_initial(storage, digest)
    around.begin()
    probed = sample(source, config, learner.width)
    return Training(
        storage, source, config, around, learner, card, total, probed, elapsed_s=found["elapsed_s"],
        bad_since=found["bad_since"], last_checkpoint=name, initial_sha256=digest,
    )  # fmt: skip


def _require_initial(storage: Storage, digest: str) -> None:
    """Refuse to go on with other initial weights than the training began with; checkpoints of format 1 do not say."""
    name = WEIGHT_FILES["initial"]
    data = storage.read_or_none(name) if digest else None
    if digest and (data is None or sha256(data) != digest):
        found = "no file" if data is None else "other bytes"
        raise StoreError(
            f"{storage.path(name)}: expected the weights that the training began with (SHA-256 {digest[:12]}…), found"
            f" {found}. Restore the file from a copy; or remove the folder's checkpoints to start again."
        )


def _seed(config: Settings, step: int) -> None:
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


def _require_space(storage: Storage, method: Method[Card, Seen]) -> None:
    """Refuse what a method cannot begin with, and a disk on which not even its checkpoints fit."""
    needed = method.checked() * (checkpoint.KEEP + 1)  # one more while it is written
    free = storage.free_bytes()
    if free is not None and free < needed:
        raise TryAgainError(
            f"{storage.url}: checkpoints need {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free. Free some space"
            " and type the same command again."
        )


def _go(training: Training[Seen], stream: Iterator[Batch]) -> None:
    """Do the steps that are left."""
    around = training.around
    watch, saved_s = Watch(), time.perf_counter()
    began_s, drawn_s = saved_s - training.elapsed_s, saved_s
    while training.step < training.n_steps:
        seen = _do_one(training, stream, watch)
        is_last = training.step == training.n_steps
        if training.is_looked_at():
            _look(training, seen, watch)
            watch = Watch()
        around.on_progress(training.step, training.n_steps)
        reason = around.why_stop()
        now_s = time.perf_counter()
        stops, is_due = group.any_of([reason is not None, now_s - saved_s >= around.checkpoint_every_s])
        if is_last or stops or is_due:
            training.elapsed_s = now_s - began_s
            training.save()
            saved_s = time.perf_counter()
            if group.rank() == 0 and (is_last or stops or saved_s - drawn_s >= DRAW_EVERY_S):
                draw(training.storage)
                drawn_s = saved_s
        if stops and not is_last:
            raise TryAgainError(
                f"run {around.run!r}: stopped after step {training.step} of {training.n_steps}:"
                f" {reason or 'another process was asked to'}. Type the same command again: it goes on from there."
            )


def _do_one(training: Training[Seen], stream: Iterator[Batch], watch: Watch) -> Seen:
    """Read a batch and do a step with it."""
    asked_s = time.perf_counter()
    batch = next(stream)
    watch.waited_s += time.perf_counter() - asked_s
    watch.n_windows += len(batch.codes)
    places = training.source.places
    is_named = training.learner.needs_recorders and places is not None
    seen = training.learner.advance(batch, places.names(batch.windows) if places is not None and is_named else None)
    if training.around.device.type == "cpu":  # elsewhere this would wait for the device
        training.require_sound()
    return seen


def _look(training: Training[Seen], seen: Seen, watch: Watch) -> None:
    """Leave a line of metrics; what ends the training there is drawn first."""
    try:
        training.look(seen, watch)
    except InputError:
        if group.rank() == 0:
            draw(training.storage)
        raise
