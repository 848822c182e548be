"""The ``embed`` job: cube, model and store around the pure core."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from jobs.common.dictionary import load_dictionary, require_fit
from jobs.common.partitions import map_partitions, share
from jobs.common.processes import place
from jobs.common.processors import blas_backend
from jobs.common.progress import progress
from jobs.common.run import Options, Outcome, Run, is_committed, listed
from jobs.embed.config import Config
from jobs.embed.core import Encode, Maps, dictionary_encoder, encode_logmel, encode_statistics, faulty
from jobs.embed.plan import Day, Plan, is_dictionary, make_plan, model_digest, token_grid
from lake.claims import claim
from lake.constants import STATUS
from lake.errors import InputError, StoreError, TryAgainError
from lake.ledger import Entry, Ledger
from lake.read import grid_of, open_array, open_cube, open_embeddings, read_rows
from lake.schema import ArraySpec, StoreSpec, embedding_spec
from lake.storage import Storage
from lake.write import commit, write_block

NUMPY = "numpy"
"""Backend of what no processor changes."""
WINDOWS_PER_PROCESS = 5_000
"""With fewer, a process takes longer to start than to embed them."""


@dataclass(frozen=True)
class Partition:
    """One UTC day of one recorder, as a worker gets it."""

    store: Storage
    ledger: Ledger
    spec: StoreSpec
    config: Config
    cube_url: str
    model_url: str
    model_digest: str
    is_dictionary: bool
    device: str
    backend: str
    day: Day

    @property
    def n_windows(self) -> int:
        """Windows to be embedded."""
        return len(self.day.cells)


def execute(run: Run, options: Options) -> Outcome:
    """Embed what is missing, and finalise the store unless this is one share of several."""
    plan = make_plan(run)
    keys = {(day.recorder, day.number) for day in _missing(run, plan)}
    mine = [day for day in share(plan.days, options.part) if (day.recorder, day.number) in keys]
    tasks = _partitions(run, plan, mine, keys, options) if mine else []
    is_done = not mine and (options.part is not None or _is_current(run, plan))
    run = options.begin(run, _outcome(plan, Counter(), did=not is_done))
    if is_done:
        return _outcome(plan, Counter(), did=False)
    run.ledger.settle_grid(plan.grid, plan.recorders)
    counts = _embed(run, [replace(task, ledger=run.ledger) for task in tasks], options)
    if options.part is None:
        _commit(run, plan)
    return _outcome(plan, counts, did=True, backend=tasks[0].backend if tasks else "")


def finalise(run: Run) -> Outcome:
    """Make the store readable after all shares are done.

    Raises
    ------
    StoreError
        With the list of all partitions that are missing.
    """
    plan = make_plan(run)
    missing = _missing(run, plan)
    if missing:
        names = [f"  {day.recorder} {plan.grid.day_of(int(day.cells[0]))}: {len(day.cells)} windows" for day in missing]
        raise StoreError(
            f"run {run.name!r}: {len(missing)} of {len(plan.days)} partitions are not embedded yet:\n"
            f"{listed(names)}\nRun them (`dawnchorus run MANIFEST {run.name}`), then finalise."
        )
    with claim(run.ledger.storage, run.name, (0, 1), plan.digest) as held:
        run = replace(run, held=held)
        if _is_current(run, plan):
            return _outcome(plan, Counter(), did=False)
        run.ledger.settle_grid(plan.grid, plan.recorders)
        _commit(run, plan)
        return _outcome(plan, Counter(), did=True)


def progress_of(run: Run) -> tuple[int, int]:
    """Return how many windows are embedded, and how many there are."""
    plan = make_plan(run)
    return plan.n_windows - sum(len(day.cells) for day in _missing(run, plan)), plan.n_windows


def write_partition(partition: Partition) -> Counter[str]:
    """Embed one day and write its block; return how many windows of each status it has."""
    day, spec = partition.day, partition.spec
    blocks = {array.name: np.full(array.block, array.fill, dtype=array.dtype) for array in spec.data}
    for array, values in zip(spec.data, _vectors(partition), strict=True):
        blocks[array.name][0, day.cells - day.number * spec.cells_per_block] = values
    names = {value: name for name, value in STATUS.items()}
    entry = Entry(
        recorder=day.recorder, block=day.number, inputs=day.inputs, files={}, cells=day.cells.tolist(), digests=[],
        index={"embedding_status": day.status.tolist()}, backend=partition.backend,
    )  # fmt: skip
    write_block(partition.store, partition.ledger, spec, blocks, entry, i_recorder=day.i_recorder)
    return Counter(names[value] for value in day.status.tolist())


def _partitions(
    run: Run, plan: Plan, mine: Sequence[Day], missing: set[tuple[str, int]], options: Options
) -> list[Partition]:
    """Return the days as workers get them, after refusing what cannot be embedded here."""
    config, cube, model = cast("Config", run.config), run.inputs["spectrograms"], run.inputs.get("model")
    device, backend = _place(run, options, sorted({day.recorder for day in plan.days}))
    _refuse_mix(run, missing, backend, mix=options.mix)
    spec = _spec(run, plan)
    _refuse_full(run, spec, sum(len(day.cells) for day in mine))
    tasks = [
        Partition(
            run.output, run.ledger, spec, config, cube.output.url, model.output.url if model else "",
            model_digest(run), is_dictionary(run), device, backend, day,
        )
        for day in mine
    ]  # fmt: skip
    if model is not None and not is_dictionary(run):
        from jobs.embed.network import require_model  # noqa: PLC0415 (the log-mel path runs without torch)

        require_model(
            model.output.url, config.weights, digest=tasks[0].model_digest, device=device, attention=config.attention
        )
    return tasks


def _embed(run: Run, tasks: Sequence[Partition], options: Options) -> Counter[str]:
    total = sum(task.n_windows for task in tasks)
    on_gpu = any(task.device.startswith("cuda") for task in tasks)
    workers = 1 if on_gpu else min(options.workers, -(-total // WINDOWS_PER_PROCESS))
    with progress(f"{run.name}: vectors", total, "windows") as advance:
        written = map_partitions(
            write_partition, tasks, workers=workers, advance=advance, n_units=lambda task: task.n_windows
        )
    return sum(written, Counter())


def _vectors(partition: Partition) -> list[NDArray[np.floating]]:
    """Return what the store's arrays hold of a day: vectors, shape (n_windows, n_features), and attention if asked."""
    day, size, dtype = partition.day, partition.config.batch_size, partition.config.dtype
    encode = _encoder(partition)
    codes = open_array(partition.cube_url, "spectrogram")
    out = np.empty((len(day.cells), partition.spec.sizes["feature"]), dtype=dtype)
    maps: list[Maps] = []
    for first in range(0, len(day.cells), size):
        cells = day.cells[first : first + size]
        batch = np.asarray(read_rows(codes, np.full(len(cells), day.i_recorder), cells), dtype=np.uint8)
        _refuse_rows(partition, cells[~batch.any(axis=(1, 2))], StoreError, "have a status but no codes in the cube")
        vectors, found = encode(batch)
        maps += [] if found is None else [found]
        with np.errstate(over="ignore"):  # what float16 cannot hold is refused just below
            out[first : first + size] = vectors.astype(dtype)
        wrong = cells[faulty(out[first : first + size])]
        _refuse_rows(partition, wrong, InputError, f"have a vector that is zero or not finite as {dtype}")
    return [out, np.concatenate(maps)] if maps else [out]


def _encoder(partition: Partition) -> Encode:
    if partition.config.features != "network":
        return {"logmel": encode_logmel, "statistics": encode_statistics}[partition.config.features]
    if partition.is_dictionary:
        return dictionary_encoder(partition.model_url)
    from jobs.embed.network import encoder  # noqa: PLC0415 (all else runs without torch)

    config = partition.config
    return encoder(
        partition.model_url, config.weights, config.readout,
        digest=partition.model_digest, device=partition.device, batch_size=config.batch_size,
        recorder=partition.day.recorder, attention=config.attention,
    )  # fmt: skip


def _place(run: Run, options: Options, recorders: Sequence[str]) -> tuple[str, str]:
    """Return device and backend, after checking that the model takes the cube's windows, of all of its recorders."""
    if cast("Config", run.config).features != "network":
        return "cpu", NUMPY
    cube, model = run.inputs["spectrograms"], run.inputs["model"]
    with open_cube(cube.output.url) as dataset:
        window_s, mel_hz = grid_of(dataset).window_ms / 1000, dataset["mel"].to_numpy()
        n_frames = dataset.sizes["frame"]
    if is_dictionary(run):
        try:
            require_fit(load_dictionary(model.output.url)[1], window_s=window_s, mel_hz=mel_hz, n_frames=n_frames)
        except InputError as error:
            raise InputError(f"run {run.name!r}: {model.name!r} does not fit cube {cube.name!r}: {error}") from error
        return "cpu", blas_backend()
    import torch  # noqa: PLC0415 (all else runs without torch)

    from jobs.common import backbone, devices, inputs  # noqa: PLC0415 (all else runs without torch)

    try:
        card = backbone.load_card(model.output.url)
        inputs.check_scale(card, window_s=window_s, mel_hz=mel_hz)
        _require_backgrounds(card.background_db, recorders)
    except InputError as error:
        raise InputError(f"run {run.name!r}: model {model.name!r} does not fit cube {cube.name!r}: {error}") from error
    device = devices.choose_device(options.device)
    if device == "cuda":  # of several on a host, each process of a launcher takes its own
        device = f"cuda:{place(os.environ).local_rank % torch.cuda.device_count()}"
    return device, devices.backend_of(device)


def _require_backgrounds(background_db: Mapping[str, object] | None, recorders: Sequence[str]) -> None:
    strangers = [] if background_db is None else sorted(set(recorders) - set(background_db))
    if strangers:
        raise InputError(
            f"it takes each recorder's background off, and knows none of {', '.join(strangers)}. Train again with "
            'recordings of all recorders, or with background = "none".'
        )


def _missing(run: Run, plan: Plan) -> list[Day]:
    written = run.ledger.written()
    known = {key: entry.inputs for key, entry in written.items()}
    return [day for day in plan.days if known.get((day.recorder, day.number)) != day.inputs]


def _is_current(run: Run, plan: Plan) -> bool:
    """Tell whether the finalised store holds all that the ledger lists, on the cube's grid."""
    if not is_committed(run):
        return False
    with open_embeddings(run.output.url) as dataset:
        return grid_of(dataset) == plan.grid and tuple(dataset["recorder"].to_numpy().tolist()) == plan.recorders


def _spec(run: Run, plan: Plan) -> StoreSpec:
    config, grid = cast("Config", run.config), plan.grid
    attrs = {
        **run.store_attrs,
        "grid": grid.attrs,
    }
    spec = embedding_spec(grid, n_features=plan.n_features, dtype=config.dtype, attrs=attrs)
    if not config.attention:
        return spec
    tokens = token_grid(run)
    dims = ("recorder", "time", "token_mel", "token_frame")
    told = {"long_name": "attention of the class token in the last block, mean over heads", "units": "1"}
    chunks, block = (*spec.data[0].chunks[:2], *tokens), (*spec.data[0].block[:2], *tokens)
    maps = ArraySpec("attention", dims, "float16", float("nan"), chunks, block, told)
    sizes = {**spec.sizes, "token_mel": tokens[0], "token_frame": tokens[1]}
    return replace(spec, sizes=sizes, data=(*spec.data, maps))


def _commit(run: Run, plan: Plan) -> None:
    tables = {"feature": np.arange(plan.n_features, dtype=np.int32)}
    commit(run.output, run.ledger, _spec(run, plan), plan.recorders, tables)


def _refuse_mix(run: Run, missing: set[tuple[str, int]], backend: str, *, mix: bool) -> None:
    kept = {entry.backend for key, entry in run.ledger.written().items() if key not in missing}
    others = sorted(kept - {backend})
    if others and not mix:
        raise TryAgainError(
            f"run {run.name!r} was begun on {', '.join(others)}; this machine computes as {backend}, whose vectors "
            "differ in the last digits. Go on where it was begun, or add --mix."
        )


def _refuse_full(run: Run, spec: StoreSpec, n_windows: int) -> None:
    free = run.output.free_bytes()
    wanted = n_windows * sum(int(np.prod(data.block[2:])) * np.dtype(data.dtype).itemsize for data in spec.data)
    if free is not None and free < wanted:
        raise TryAgainError(
            f"{run.output.url}: about {wanted / 1e9:.1f} GB will be written, {free / 1e9:.1f} GB are free. "
            "Free some space, or put the lake elsewhere."
        )


def _refuse_rows(
    partition: Partition, cells: NDArray[np.int64], error: type[InputError | StoreError], what: str
) -> None:
    if len(cells):
        where = f"{partition.day.recorder} {partition.spec.grid.day_of(int(cells[0]))}"
        advice = {
            StoreError: "Type `dawnchorus verify MANIFEST`.",
            InputError: "Store them as float32 in a run of another name, or train the model again.",
        }
        raise error(
            f"{partition.store.url}: {len(cells)} windows of {where} {what} (first at cell {int(cells[0])}). "
            f"{advice[error]}"
        )


def _outcome(plan: Plan, counts: Counter[str], *, did: bool, backend: str = "") -> Outcome:
    written = {f"windows_{name}": counts[name] for name in ("ok", "partial")} if counts else {}
    return Outcome(did=did, counts={**written, "windows_in_all": plan.n_windows}, backend=backend)
