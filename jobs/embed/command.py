"""The ``embed`` job: cube, model and store around the pure core."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.common import days, gathered, partitioned
from jobs.common.days import Written, missing_days
from jobs.common.dictionary import WEIGHTS_FILE, load_dictionary, require_fit
from jobs.common.frames import resampling
from jobs.common.frames.card import read_frame_card
from jobs.common.frames.resampling import Shape
from jobs.common.gathered import Gathered
from jobs.common.memory import size
from jobs.common.needs import LIBRARIES_BYTES, TORCH_BYTES, reads, store_space
from jobs.common.partitioned import Either, Partitioned, Work
from jobs.common.processes import place
from jobs.common.processors import blas_backend
from jobs.common.run import Options, Outcome, Run
from jobs.common.schedulers import current_client
from jobs.common.space import Space
from jobs.embed.config import Config
from jobs.embed.core import Encode, Maps, dictionary_encoder, encode_logmel, encode_statistics, faulty
from jobs.embed.plan import (
    Day,
    Kind,
    Plan,
    kind_of,
    make_plan,
    model_digest,
    n_features_of,
    refuse_other_vectors,
    token_grid,
)
from lake.constants import STATUS_NAMES
from lake.errors import InputError, StoreError, UsageError
from lake.grid import Grid
from lake.ledger import Entry
from lake.read import grid_of, open_cube, recorder_names
from lake.schema import embedding_spec, with_attention
from lake.shards import open_codes
from lake.specs import StoreSpec
from lake.write import commit, write_block

NUMPY = "numpy"
"""Backend of what no processor changes."""
WINDOWS_PER_PROCESS = 5_000
"""With fewer, a process takes longer to start than to embed them."""
LEVEL_COPIES = 4
"""Of a batch's levels in float32: as read, scaled, resized, and as the network goes through them."""
N_TABLE_FILES = 40
"""Coordinates, tables and metadata of a store."""


@dataclass(frozen=True, kw_only=True)
class Partition(partitioned.Partition):
    """One UTC day of one recorder, as a worker gets it."""

    config: Config
    cube_url: str
    model_url: str
    model_digest: str
    kind: Kind
    device: str
    day: Day


Missing = days.Day[Day]


class Embed(Partitioned[Config, Plan, Missing, Partition]):
    """The job's own part; :class:`Partitioned` does the rest."""

    step = "vectors"
    source = "the cube"
    differ = "vectors differ in the last digits"

    def plan(self, run: Run[Config]) -> Plan:
        """Return all that the store is to hold, as the cube stands now."""
        return make_plan(run)

    def missing(self, plan: Plan, written: Written, part: tuple[int, int] | None = None) -> list[Missing]:
        """Return the days that are not embedded, or from other windows or with another model."""
        return missing_days(plan, written, part)

    def require(self, work: Work[Config, Plan, Missing]) -> str:
        """Refuse a model that does not fit the cube, or is damaged; return the backend."""
        run, config = work.run, work.run.config
        _require_fit(run, sorted({day.recorder for day in work.plan.days}))
        device = _device(run, work.options)
        if device.startswith("cuda") and current_client() is not None:
            raise UsageError(
                f"run {run.name!r}: this machine's GPU would embed, and the scheduler's workers have nothing to do. "
                "Add --device cpu, or leave out the scheduler."
            )
        kind = kind_of(run)
        if kind == "frames":
            from jobs.embed import frames  # noqa: PLC0415 (all else runs without torch)

            frames.require_model(
                run.inputs["model"].output.url, config.weights, digest=model_digest(run), device=device
            )
        elif kind == "tokens":
            from jobs.embed.network import require_model  # noqa: PLC0415 (the log-mel path runs without torch)

            require_model(
                run.inputs["model"].output.url, config.weights,
                digest=model_digest(run), device=device, attention=config.attention,
            )  # fmt: skip
        return _backend_of(kind, device)

    def tasks(self, work: Work[Config, Plan, Missing], backend: str) -> list[Partition]:
        """Return the days as workers get them."""
        run, model = work.run, work.run.inputs.get("model")
        return [
            Partition(
                store=run.output, ledger=run.ledger, backend=backend,
                spec=_spec(run, work.plan.grid, work.plan.n_features),
                config=run.config, cube_url=run.inputs["spectrograms"].output.url,
                model_url=model.output.url if model else "", model_digest=model_digest(run),
                kind=kind_of(run), device=_device(run, work.options), day=block,
            )
            for day in work.days for block in day.blocks
        ]  # fmt: skip

    def write(self, task: Partition) -> Counter[str]:
        """Embed a day and write its block."""
        return write_partition(task)

    def backend_here(self, task: Partition) -> str:
        """Return the backend that this process embeds on."""
        return _backend_of(task.kind, task.device)

    def space(self, work: Work[Config, Plan, Missing]) -> Space:
        """Return the most that vectors take on disk: a shard of each array, a ledger file and index files a day."""
        spec, n_days = _spec(work.run, work.plan.grid, work.plan.n_features), len(work.days)
        takes = store_space(spec, n_recorders=len(work.plan.recorders), n_windows=work.n_windows, n_days=n_days)
        return Space(takes.n_bytes, (len(spec.data) + len(spec.index) + 1) * n_days + N_TABLE_FILES)

    def memory(self, work: Work[Config, Plan, Missing]) -> None:
        """Return nothing: what a network needs is not known before it runs."""

    def workers(self, work: Work[Config, Plan, Missing], tasks: Sequence[Partition]) -> int:
        """Return how many processes are of use: one with a GPU, and none that takes longer to start than to work."""
        if any(task.device.startswith("cuda") for task in tasks):
            return 1
        if current_client() is not None:
            return work.options.workers
        return min(work.options.workers, -(-work.n_windows // WINDOWS_PER_PROCESS))

    def commit(self, run: Run[Config], plan: Plan) -> None:
        """Write index variables and coordinates."""
        tables = {"feature": np.arange(plan.n_features, dtype=np.int32)}
        commit(run.output, run.ledger, _spec(run, plan.grid, plan.n_features), plan.recorders, tables)

    def outcome(self, run: Run[Config], plan: Plan, *, did: bool, counts: Mapping[str, int], backend: str) -> Outcome:  # noqa: ARG002 (the signature that Partitioned calls)
        """Return the windows of each status that were embedded, and those in all."""
        written = {f"windows_{name}": counts.get(name, 0) for name in ("ok", "partial")} if counts else {}
        return Outcome(did=did, counts={**written, "windows_in_all": plan.n_windows}, backend=backend)

    def heading(self, work: Work[Config, Plan, Missing]) -> list[str]:
        """Return what is read, and windows and features in all."""
        plan = work.plan
        n_windows = f"{plan.n_windows} windows of {len(plan.recorders)} recorders"
        memory = f"memory: about {size(_memory_bytes(work.run, work.plan))} a worker"
        return [*reads(work.run), f"{n_windows}, {plan.n_features} features each", memory]


class GatheredVectors(Gathered[Config]):
    """Vectors of a gathered cube, those of the cubes that it was gathered from."""

    role = "embeddings"
    differ = Embed.differ

    def axes(self, run: Run[Config]) -> tuple[Grid, tuple[str, ...]]:
        """Return grid and recorders of the gathered cube, after refusing vectors of other cubes or another model."""
        refuse_other_vectors(run)
        with open_cube(run.inputs["spectrograms"].output.url) as cube:
            return grid_of(cube), tuple(recorder_names(cube))

    def spec(self, run: Run[Config], grid: Grid) -> StoreSpec:
        """Return the schema of the store."""
        with open_cube(run.inputs["spectrograms"].output.url) as cube:
            return _spec(run, grid, n_features_of(run, run.config, cube.sizes["mel"]))

    def commit(self, run: Run[Config], plan: gathered.Plan) -> None:
        """Write index variables and coordinates."""
        spec = self.spec(run, plan.grid)
        tables = {"feature": np.arange(spec.sizes["feature"], dtype=np.int32)}
        commit(run.output, run.ledger, spec, plan.recorders, tables)


EMBED = Embed()
EITHER = Either(EMBED, GatheredVectors(), GatheredVectors.role)
execute, finalise, progress_of, describe = EITHER.execute, EITHER.finalise, EITHER.progress_of, EITHER.describe


def _memory_bytes(run: Run[Config], plan: Plan) -> int:
    """Return the memory of a worker, about: libraries, the model, a batch as levels, and a day's vectors."""
    model = run.inputs.get("model")
    with open_cube(run.inputs["spectrograms"].output.url) as cube:
        batch = run.config.batch_size * cube.sizes["mel"] * cube.sizes["frame"]
    n_bytes = LEVEL_COPIES * 4 * batch + 4 * plan.grid.cells_per_day * plan.n_features
    if model is None:
        return LIBRARIES_BYTES + n_bytes
    weights = next(iter({"backbone.safetensors", WEIGHTS_FILE} & set(model.output.list_keys())))
    base = LIBRARIES_BYTES if kind_of(run) == "dictionary" else TORCH_BYTES
    return base + n_bytes + 2 * len(model.output.read(weights))


def write_partition(partition: Partition) -> Counter[str]:
    """Embed one day and write its block; return how many windows of each status it has."""
    day, spec = partition.day, partition.spec
    blocks = {array.name: np.full(array.block, array.fill, dtype=array.dtype) for array in spec.data}
    for array, values in zip(spec.data, _vectors(partition), strict=True):
        blocks[array.name][0, day.cells - day.number * spec.cells_per_block] = values
    names = STATUS_NAMES
    entry = Entry(
        recorder=day.recorder, block=day.number, inputs=day.inputs, files={}, cells=day.cells.tolist(), digests=[],
        index={"embedding_status": day.status.tolist()}, backend=partition.backend,
    )  # fmt: skip
    write_block(partition.store, partition.ledger, spec, blocks, entry, i_recorder=day.i_recorder)
    return Counter(names[value] for value in day.status.tolist())


def _vectors(partition: Partition) -> list[NDArray[np.floating]]:
    """Return what the store's arrays hold of a day: vectors, shape (n_windows, n_features), and attention if asked."""
    day, size, dtype = partition.day, partition.config.batch_size, partition.config.dtype
    encode = _encoder(partition)
    read_codes = open_codes(partition.cube_url)
    out = np.empty((len(day.cells), partition.spec.sizes["feature"]), dtype=dtype)
    maps: list[Maps] = []
    for first in range(0, len(day.cells), size):
        cells = day.cells[first : first + size]
        batch = read_codes(np.full(len(cells), day.i_recorder), cells)
        _refuse_rows(partition, cells[~batch.any(axis=(1, 2))], StoreError, "have a status but no codes in the cube")
        vectors, found = encode(batch)
        maps += [] if found is None else [found]
        with np.errstate(over="ignore"):  # what float16 cannot hold is refused just below
            out[first : first + size] = vectors.astype(dtype)
        wrong = cells[faulty(out[first : first + size])]
        _refuse_rows(partition, wrong, InputError, f"have a vector that is zero or not finite as {dtype}")
    return [out, np.concatenate(maps)] if maps else [out]


def _encoder(partition: Partition) -> Encode:
    return _made_encoder(
        partition.config, partition.model_url, partition.model_digest, partition.device, partition.day.recorder,
        kind=partition.kind, cube_url=partition.cube_url,
    )  # fmt: skip


def encoder_of(run: Run[Config], recorder: str = "") -> Encode:
    """Return the function that makes vectors of codes as a run does it, on the CPU.

    Parameters
    ----------
    run
        An ``embed`` run.
    recorder
        Whose background is subtracted, by a model that subtracts those of recorders.

    Raises
    ------
    InputError
        If the model knows no background of that recorder.
    StoreError
        If the model is not finished, or damaged.
    """
    model, kind = run.inputs.get("model"), kind_of(run)
    if kind == "tokens" and model is not None:
        from jobs.common.network import backbone  # noqa: PLC0415 (all else runs without torch)

        known = backbone.load_card(model.output.url).background_db
        if known is not None and recorder not in known:
            raise InputError(
                f"model {model.name!r} subtracts each recorder's background, and knows none of {recorder!r}. "
                f"Name one of its recorders with --recorder: {', '.join(sorted(known))}."
            )
    url = model.output.url if model else ""
    cube_url = run.inputs["spectrograms"].output.url
    return _made_encoder(run.config, url, model_digest(run), "cpu", recorder, kind=kind, cube_url=cube_url)


def _made_encoder(
    config: Config, model_url: str, digest: str, device: str, recorder: str, *, kind: Kind, cube_url: str
) -> Encode:
    if config.features != "network":
        return {"logmel": encode_logmel, "statistics": encode_statistics}[config.features]
    if kind == "dictionary":
        return dictionary_encoder(model_url)
    if kind == "frames":
        from jobs.embed import frames  # noqa: PLC0415 (all else runs without torch)

        return frames.encoder(
            model_url, config.weights, config.readout, _shape(cube_url), digest=digest, device=device,
            batch_size=config.batch_size,
        )  # fmt: skip
    from jobs.embed.network import encoder  # noqa: PLC0415 (all else runs without torch)

    return encoder(
        model_url, config.weights, config.readout, digest=digest, device=device, batch_size=config.batch_size,
        recorder=recorder, attention=config.attention,
    )  # fmt: skip


def _require_fit(run: Run[Config], recorders: Sequence[str]) -> None:
    """Refuse a model that does not take the cube's windows, of all of its recorders."""
    if run.config.features != "network":
        return
    cube, model = run.inputs["spectrograms"], run.inputs["model"]
    shape = _shape(cube.output.url)
    window_s, mel_hz = shape.window_s, shape.mel_hz
    kind = kind_of(run)
    try:
        if kind == "dictionary":
            dictionary = load_dictionary(model.output.url)[1]
            require_fit(dictionary, window_s=window_s, mel_hz=mel_hz, n_frames=shape.n_frames)
            return
        if kind == "frames":
            resampling.require_fit(read_frame_card(model.output.url), shape)
            return
        from jobs.common.network import backbone, inputs  # noqa: PLC0415 (all else runs without torch)

        card = backbone.load_card(model.output.url)
        inputs.check_scale(card, window_s=window_s, mel_hz=mel_hz)
        _require_backgrounds(card.background_db, recorders)
    except InputError as error:
        what = repr(model.name) if kind == "dictionary" else f"model {model.name!r}"
        raise InputError(f"run {run.name!r}: {what} does not fit cube {cube.name!r}: {error}") from error


def _device(run: Run[Config], options: Options) -> str:
    """Return the device that computes the vectors: of several GPUs, each process of a launcher takes its own."""
    if kind_of(run) in {"none", "dictionary"}:
        return "cpu"
    import torch  # noqa: PLC0415 (all else runs without torch)

    from jobs.common.network.devices import choose_device  # noqa: PLC0415 (all else runs without torch)

    device = choose_device(options.device)
    return f"cuda:{place(os.environ).local_rank % torch.cuda.device_count()}" if device == "cuda" else device


def _shape(cube_url: str) -> Shape:
    """Return the bands and frames of a cube's windows."""
    with open_cube(cube_url) as dataset:
        return Shape(dataset["mel"].to_numpy(), dataset.sizes["frame"], grid_of(dataset).window_ms / 1000)


def _backend_of(kind: Kind, device: str) -> str:
    """Return the backend that this process computes vectors on."""
    if kind == "none":
        return NUMPY
    if kind == "dictionary":
        return blas_backend()
    from jobs.common.network import devices  # noqa: PLC0415 (all else runs without torch)

    return devices.backend_of(device)


def _require_backgrounds(background_db: Mapping[str, object] | None, recorders: Sequence[str]) -> None:
    strangers = [] if background_db is None else sorted(set(recorders) - set(background_db))
    if strangers:
        raise InputError(
            f"it takes each recorder's background off, and knows none of {', '.join(strangers)}. Train again with "
            'recordings of all recorders, or with background = "none".'
        )


def _spec(run: Run[Config], grid: Grid, n_features: int) -> StoreSpec:
    config = run.config
    attrs = {**run.store_attrs, "grid": grid.attrs}
    spec = embedding_spec(grid, n_features=n_features, dtype=config.dtype, attrs=attrs)
    if not config.attention:
        return spec
    n_mels, n_frames = token_grid(run)
    return with_attention(spec, n_token_mels=n_mels, n_token_frames=n_frames)


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
