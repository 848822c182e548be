"""A training as a job: from a cube to a model's folder."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
import xarray as xr

from jobs.common.network.card import CARD_FILE, WEIGHT_FILES
from jobs.common.network.devices import backend_of, choose_device, chosen_precision, peak_flops
from jobs.common.processes import ALONE, Place, place
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run
from jobs.common.signals import signals
from jobs.common.training import checkpoint, group, journal
from jobs.common.training.data import Places, Source, held
from jobs.common.training.group import joined
from jobs.common.training.learner import Method
from jobs.common.training.loop import fit
from jobs.common.training.reading import open_windows
from jobs.common.training.settings import Settings
from jobs.common.training.watch import Surroundings
from lake.constants import MS_PER_DAY, MS_PER_HOUR
from lake.digest import sha256
from lake.errors import IdentityError, InputError
from lake.read import Windows, grid_of, open_cube, recorder_names, usable_windows, values_at
from lake.records import damaged, seal, unseal
from lake.shards import layout_of
from lake.storage import Storage

SUMMARY_FILE: Final = "summary.json"
SUMMARY_ADVICE: Final = (
    "Restore it from a copy; or remove it and type the same command again: the training goes on from its last "
    "checkpoint."
)
PRODUCTS: Final = (CARD_FILE, *WEIGHT_FILES.values())
"""Files that other jobs read; the others in the folder describe the training."""
MEMORY_BYTES: Final = 2 * 2**30
STOPS: Final = signals("SIGTERM", "SIGINT", "SIGHUP")
"""Signals after which a training writes a checkpoint and ends."""


C = TypeVar("C", bound=Settings)
C_contra = TypeVar("C_contra", bound=Settings, contravariant=True)


class MakeMethod(Protocol[C_contra]):
    """How a job trains on a cube."""

    def __call__(
        self, cube: xr.Dataset, source: Source, config: C_contra, around: Surroundings, init: str | None, /
    ) -> Method[Any, Any]:
        """Return the method for the windows of a cube; ``init`` is the folder of a model to begin with."""


@dataclass(frozen=True)
class Kind(Generic[C_contra]):
    """A kind of training.

    Attributes
    ----------
    windows
        From a cube, its windows, settings and ``init`` to the windows as they are trained on.
    method
        How it trains on them.
    """

    windows: Callable[[xr.Dataset, Source, C_contra, str | None], Source]
    method: MakeMethod[C_contra]


def execute(run: Run[Any], options: Options, kind: Kind[Any]) -> Outcome:
    """Train the run's network, from where an earlier execution was stopped, and list its files.

    Raises
    ------
    As :func:`train`.
    """
    config, here = run.config, place(os.environ)
    cube_url = run.inputs["spectrograms"].output.url
    with open_cube(cube_url) as cube:
        total = config.steps_of(len(usable_windows(cube, partial=config.partial)))
    with progress(f"{run.name}: training", total, "steps") if here.rank == 0 else _silence() as advance:
        done = 0

        def begin() -> None:
            nonlocal run
            run = options.begin(run, Outcome(did=True, counts={}))

        def on_progress(step: int, _total: int) -> None:
            nonlocal done
            advance(step - done)
            done = step
            if run.held is not None:
                run.held.require()

        summary = train(
            kind,
            cube_url,
            run.output.url,
            config,
            config_id=run.config_id,
            run=run.name,
            device=options.device,
            refresh=options.refresh,
            mix=options.mix,
            on_progress=on_progress,
            here=here,
            meet_in=Path(run.ledger.storage.path(".meeting")),
            n_micro=run.resources.accumulate,
            n_threads=options.workers,
            compiled=run.resources.compiled,
            begin=begin,
            init=run.inputs["init"].output.url if "init" in run.inputs else None,
        )
    counts = {"windows": summary["n_windows"], "steps": summary["n_steps"]}
    if here.rank:
        return Outcome(did=False, counts=counts, backend=summary["backend"])
    run = options.begin(run, Outcome(did=True, counts=counts))
    digests = {key: sha256(run.output.read(key)) for key in run.output.list_keys()}
    others = {key: digest for key, digest in digests.items() if key not in PRODUCTS}
    run.ledger.settle_files({key: digests[key] for key in PRODUCTS}, others)
    return Outcome(did=True, counts=counts, backend=summary["backend"], notes=summary.get("notes", ()))


@dataclass(frozen=True)
class Extent:
    """Size of a training, as a dry run prints it.

    Attributes
    ----------
    shape
        Number of windows, mel bands and frames.
    n_processes, n_micro
        Processes that share each batch, and parts of a share.
    rate, source
        Windows/s of all processes, and where that figure is from; ``None`` where nobody measured it.
    """

    shape: tuple[int, int, int]
    n_processes: int
    n_micro: int
    rate: float | None
    source: str


def extent(run: Run[Any], options: Options) -> Extent:
    """Return what a run would train on.

    Parameters
    ----------
    run, options
        Its cube is finished. The number of processes is that of the manifest's nodes and GPUs.
    """
    with open_cube(run.inputs["spectrograms"].output.url) as cube:
        n_windows = len(usable_windows(cube, partial=run.config.partial))
        shape = (n_windows, cube.sizes["mel"], cube.sizes["frame"])
    seen = [entry["windows_per_s"] for entry in journal.read(run.output)]
    rate = float(np.median(seen[-20:])) if seen else None
    source = "this run's own metrics so far" if seen else "`python -m benchmarks.gpu` does, on a GPU"
    resources = run.resources
    n_processes = resources.nodes * max(1, resources.gpus) if options.device != "cpu" else resources.nodes
    return Extent(shape, n_processes, resources.accumulate, rate, source)


def train(
    kind: Kind[C],
    cube_path: str,
    out_folder: str,
    config: C,
    *,
    config_id: str,
    run: str,
    device: str | None = None,
    refresh: bool = False,
    mix: bool = False,
    deadline_s: float | None = None,
    memory_bytes: int = MEMORY_BYTES,
    log_every: int = 10,
    checkpoint_every_s: float = 300.0,
    on_progress: Callable[[int, int], None] | None = None,
    on_collapse: Literal["stop", "go on"] = "stop",
    here: Place = ALONE,
    meet_in: Path | None = None,
    n_micro: int = 1,
    n_threads: int = 1,
    compiled: bool = False,
    begin: Callable[[], None] = lambda: None,
    init: str | None = None,
) -> dict[str, Any]:
    """Train a network on the usable windows of a cube; go on where an earlier call was stopped.

    Parameters
    ----------
    kind
        What trains, and on what.
    cube_path
        A finished cube.
    out_folder
        The model's folder, on a local disk: gets ``backbone.safetensors``, ``initial.safetensors``,
        ``config.json``, ``metrics.jsonl``, ``checkpoints/`` and, last, ``summary.json``.
    config
        What decides the numbers.
    config_id, run
        Identity of the configuration with its inputs, and the run's name.
    device
        ``cpu``, ``cuda`` or ``cuda:1``; CUDA if it is there when ``None``.
    refresh
        Begin again if an earlier training is finished, or was on other windows; one that was stopped
        goes on.
    mix
        Go on with a training that another backend began.
    deadline_s
        Instant of ``time.monotonic`` after which it stops and can go on later.
    memory_bytes
        If all codes fit into so much memory they are read once and held, unless the steps read fewer windows.
    log_every, checkpoint_every_s
        Steps between lines of metrics, seconds between checkpoints.
    on_progress
        Called after every step with the steps done and their number in all.
    on_collapse
        Whether a training that has collapsed ends with an error or goes on.
    here
        This process among those that train together; each must call.
    meet_in
        The folder in which they find each other, where their launcher made no file for that.
    n_micro
        Equal parts that a process's share of a batch is computed in, one after the other, to need less memory.
    n_threads
        Threads that read windows.
    compiled
        Whether the networks are compiled by ``torch.compile``.
    begin
        Called by the first process once everything was checked, right before it first writes.
    init
        Folder of a model whose weights are those before the first step.

    Returns
    -------
    dict
        The summary: windows, steps, seconds, last metrics.

    Raises
    ------
    TryAgainError
        If it was stopped by a signal or the deadline, another process is gone, or the disk is full; call again.
    IdentityError
        If the folder holds a training with another configuration.
    InputError
        If the cube has too few windows or has changed, another backend began, CUDA is asked for and
        not there, or the training diverged or collapsed.
    StoreError, StoreFormatError
        If the cube or a checkpoint cannot be read.
    """
    storage = Storage(out_folder)
    if not storage.is_local:
        raise InputError(f"{out_folder}: expected a folder on a local disk. Train there and copy the model.")
    chosen = _device(device, here)
    backend = backend_of(str(chosen)) + ("-compiled" if compiled else "")
    with joined(here, chosen, meet_in):
        finished = group.of_first(_summary(storage, run, config_id) if here.rank == 0 else None)
        if finished is not None and not refresh:
            return finished
        with open_cube(cube_path) as cube, _stop_signals() as received:
            source = cube_source(cube_path, cube, partial_too=config.partial, n_threads=n_threads)
            source = kind.windows(cube, source, config, init)
            is_anew = refresh and here.rank == 0 and _is_over(storage, source, finished)
            n_read = config.steps_of(source.n_windows) * config.batch_size // here.n_ranks
            if n_read >= source.n_windows and source.n_bytes * here.n_ranks <= memory_bytes:
                source = held(source)
            around = Surroundings(
                run=run,
                config_id=config_id,
                device=chosen,
                backend=backend,
                mix=mix,
                log_every=log_every,
                checkpoint_every_s=checkpoint_every_s,
                on_progress=on_progress or (lambda _done, _total: None),
                why_stop=partial(_why_stop, received, deadline_s),
                on_collapse=on_collapse,
                n_micro=n_micro,
                compiled=compiled,
                begin=begin,
                is_anew=group.of_first(is_anew),
                peak_flops=peak_flops(str(chosen), chosen_precision(config.precision, str(chosen))),
            )
            summary = fit(storage, source, config, kind.method(cube, source, config, around, init), around)
        if here.rank == 0:
            storage.write(SUMMARY_FILE, seal(summary, indent=2))
    return summary


def _device(wanted: str | None, here: Place) -> torch.device:
    """Return the device of this process: of several on a host each takes its own."""
    chosen = torch.device(choose_device(wanted))
    if chosen.type != "cuda":
        return chosen
    if here.n_ranks > 1:
        chosen = torch.device("cuda", here.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(chosen)
    return chosen


def _is_over(storage: Storage, source: Source, finished: dict[str, Any] | None) -> bool:
    """Return whether a training is finished, or was on other windows."""
    return finished is not None or checkpoint.is_of_other_windows(storage, source.digest)


@contextmanager
def _silence() -> Iterator[Callable[[int], None]]:
    yield lambda _n: None


def cube_source(cube_path: str, cube: xr.Dataset, *, partial_too: bool, n_threads: int = 1) -> Source:
    """Return the usable windows of a cube; one that is missing or unreadable is never among them."""
    windows = usable_windows(cube, partial=partial_too)
    read = open_windows(cube_path, windows.recorder, windows.cell, n_threads=n_threads)
    digest = sha256(windows.recorder.tobytes() + windows.cell.tobytes())
    return Source(
        len(windows),
        cube.sizes["mel"],
        cube.sizes["frame"],
        read,
        digest,
        _places(cube, windows, cube_path),
    )


def _places(cube: xr.Dataset, windows: Windows, cube_path: str) -> Places:
    """Return where windows come from."""
    grid = grid_of(cube)
    layout = layout_of(cube_path)
    cells_per_shard = layout.cells_per_shard if layout else 1
    return Places(
        recorders=tuple(recorder_names(cube)),
        recorder=windows.recorder,
        recording=values_at(cube, "recording", windows.recorder, windows.cell).astype(np.int64),
        hour=(grid.origin_ms + windows.cell * grid.hop_ms) % MS_PER_DAY // MS_PER_HOUR,
        shard=windows.recorder.astype(np.int64) * (cube.sizes["time"] + 1) + windows.cell // cells_per_shard,
    )


def _summary(storage: Storage, run: str, config_id: str) -> dict[str, Any] | None:
    """Return a finished training's summary, or ``None`` while there is none."""
    text = storage.read_or_none(SUMMARY_FILE)
    if text is None:
        return None
    where = storage.path(SUMMARY_FILE)
    summary = unseal(text, where, SUMMARY_ADVICE)
    if "config_id" not in summary:
        raise damaged(where, f"expected config_id, found {', '.join(summary) or 'nothing'}", SUMMARY_ADVICE)
    if summary["config_id"] != config_id:
        raise IdentityError(
            f"{where}: run {run!r} was trained with configuration {summary['config_id']},"
            f" the manifest says {config_id}. Give the run a new name in the manifest."
        )
    return summary


def _why_stop(received: list[str], deadline_s: float | None) -> str | None:
    if received:
        return received[0]
    if deadline_s is not None and time.monotonic() >= deadline_s:
        return "its time is up"
    return None


@contextmanager
def _stop_signals() -> Iterator[list[str]]:
    """Collect the names of signals that stop a training, while it runs in the main thread; the second one acts."""
    received: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def receive(number: int, _frame: FrameType | None) -> None:
        received.append(signal.Signals(number).name)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
