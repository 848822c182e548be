"""Which days of which recorder have to be embedded, and what they are made from; no torch, no pixels."""

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from jobs.common.dictionary import WEIGHTS_FILE, read_dictionary_card
from jobs.common.frames.card import read_frame_card
from jobs.common.network.card import CARD_FILE, WEIGHT_FILES, read_card
from jobs.common.network.readouts import OF_FRAMES, WIDTHS
from jobs.common.run import Run
from jobs.common.sources import label
from jobs.embed.config import Config
from jobs.embed.core import MOST_BANDS, N_LOGMEL, N_STATISTICS
from lake.constants import STATUS
from lake.errors import InputError, StoreError
from lake.grid import Grid
from lake.identity import short_hash
from lake.ledger import Ledger
from lake.read import grid_of, open_cube, recorder_names

Kind = Literal["none", "dictionary", "tokens", "frames"]
"""Of model: one of tokens (`dino`) and one of frames (`contrast`) need torch."""


@dataclass(frozen=True)
class Day:
    """The usable windows of one UTC day of one recorder: one block of the embedding store.

    Attributes
    ----------
    recorder, i_recorder, number
        The recorder, its place in the stores, and the day's number on the grid.
    cells, status
        Time index (int64) and status (int8) of each window, shape (n_windows,).
    inputs
        Digest of the windows' codes and of the model.
    """

    recorder: str
    i_recorder: int
    number: int
    cells: NDArray[np.int64]
    status: NDArray[np.int8]
    inputs: str


@dataclass(frozen=True)
class Plan:
    """The content of an embedding store: the cube's grid and recorders, and all days with usable windows."""

    grid: Grid
    recorders: tuple[str, ...]
    days: tuple[Day, ...]
    n_features: int

    @property
    def blocks(self) -> tuple[Day, ...]:
        """The days: each is one block of the store."""
        return self.days

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return sum(len(day.cells) for day in self.days)


def make_plan(run: Run[Config]) -> Plan:
    """Lay out the store of a run as its cube stands now.

    Raises
    ------
    InputError
        If the model is missing or superfluous, or the cube has no usable window.
    StoreError
        If the cube or the model is not finished.
    """
    config, cube = run.config, run.inputs["spectrograms"]
    model = model_digest(run)
    with open_cube(cube.output.url) as dataset:
        grid, recorders = grid_of(dataset), tuple(recorder_names(dataset))
        n_mels = dataset.sizes["mel"]
    days = read_days(cube.ledger, grid, recorders, partial=config.partial, salt=model)
    if not days:
        kind = "ok or partial" if config.partial else "ok (run with partial = true to take partial ones)"
        raise InputError(f"run {run.name!r}: the cube {cube.name!r} has no window that is {kind}; nothing to embed.")
    return Plan(grid, recorders, days, n_features_of(run, config, n_mels))


def read_days(ledger: Ledger, grid: Grid, recorders: tuple[str, ...], *, partial: bool, salt: str) -> tuple[Day, ...]:
    """Return the days that have usable windows, sorted by the store's recorders and time.

    Parameters
    ----------
    ledger
        The cube's ledger; what it lists beyond the finalised cube is left for the next run.
    grid, recorders
        The cube's, as finalised.
    partial
        Whether partial windows are taken.
    salt
        What else a vector depends on.
    """
    wanted = [STATUS["ok"], STATUS["partial"]] if partial else [STATUS["ok"]]
    numbers = {recorder: i for i, recorder in enumerate(recorders)}
    days = []
    for recorder, _, entries in ledger.entries():
        if recorder not in numbers:
            continue
        cells = np.array([cell for entry in entries.values() for cell in entry.cells], dtype=np.int64)
        status = np.array([s for entry in entries.values() for s in entry.index["status"]], dtype=np.int8)
        digests = np.array([digest for entry in entries.values() for digest in entry.digests], dtype=object)
        keep = np.isin(status, wanted) & (cells < grid.n_cells)
        if keep.any():
            rows = np.flatnonzero(keep)[np.argsort(cells[keep], kind="stable")]
            made_of = [salt, cells[rows].tolist(), status[rows].tolist(), digests[rows].tolist()]
            number = int(cells[rows[0]]) // grid.cells_per_day
            days.append(Day(recorder, numbers[recorder], number, cells[rows], status[rows], short_hash(made_of)))
    return tuple(sorted(days, key=lambda day: (day.i_recorder, day.number)))


def model_digest(run: Run[Config]) -> str:
    """Return the digest of the model's card and weights; empty where none is used.

    Raises
    ------
    InputError
        If there is a model and none is used, or the other way round.
    StoreError
        If the model is not finished.
    """
    config = run.config
    model = run.inputs.get("model")
    if config.features != "network":
        if model is not None:
            raise InputError(
                f"run {run.name!r}: features = {config.features!r} uses no model, but inputs name {model.name!r}. "
                "Leave out `model`, or set features = 'network'."
            )
        return ""
    if model is None:
        raise InputError(
            f"run {run.name!r}: features = 'network' needs a `model` among its inputs, found none. "
            "Name a contrast, dino or dictionary run there, or set features = 'statistics'."
        )
    if kind_of(run) == "dictionary" and config.weights != "teacher":
        raise InputError(
            f"run {run.name!r}: weights = {config.weights!r}, but the model {model.name!r} is a dictionary, which has "
            "none from before. Leave out weights."
        )
    _require_readout(run, model.name)
    files = model.ledger.files()
    wanted = (CARD_FILE, WEIGHTS_FILE if kind_of(run) == "dictionary" else WEIGHT_FILES[config.weights])
    if files is None or any(key not in files for key in wanted):
        raise StoreError(
            f"run {run.name!r}: its model {model.name!r} is not finished ({', '.join(wanted)} expected). "
            f"Type `dawnchorus run MANIFEST {model.name}`."
        )
    return short_hash([files[key] for key in wanted])


def refuse_other_vectors(run: Run[Config]) -> None:
    """Refuse to gather vectors that another model made, or of cubes that the run's own cube does not gather.

    Raises
    ------
    InputError
        With every vector set of which this is so.
    """
    cube, model = run.inputs["spectrograms"], model_digest(run)
    gathered = {one.place: one.name for one in cube.sources("spectrograms")}
    lines = []
    for source in run.sources("embeddings"):
        theirs = source.inputs["spectrograms"]
        if theirs.place not in gathered:
            known = " and ".join(map(repr, gathered.values())) or "no cube"
            lines.append(f"  {label(run, source)} is of {label(run, theirs)}; {cube.name!r} gathers {known}")
        if model_digest(cast("Run[Config]", source)) != model:
            names = [one.inputs["model"].output.url if "model" in one.inputs else "no model" for one in (source, run)]
            lines.append(f"  {label(run, source)} was made with {names[0]}, which holds other weights than {names[1]}")
    if lines:
        raise InputError(
            f"run {run.name!r} cannot gather these vectors:\n" + "\n".join(lines) + "\n"
            "Gather the cubes first, in the run that `spectrograms` names, and embed all of them with one model."
        )


def kind_of(run: Run[Config]) -> Kind:
    """Return which kind of model makes a run's vectors."""
    model = run.inputs.get("model")
    if run.config.features != "network" or model is None:
        return "none"
    if model.job == "dictionary":
        return "dictionary"
    return "frames" if model.job == "contrast" else "tokens"


def _require_readout(run: Run[Config], model: str) -> None:
    """Refuse a readout of another kind of network."""
    readout, kind = run.config.readout, kind_of(run)
    if kind == "frames" and readout not in OF_FRAMES:
        raise InputError(
            f"run {run.name!r}: readout = {readout!r} is of a network of tokens, and {model!r} is one of frames. "
            'Set readout = "output" or "stem"; a run of each, joined, describes most.'
        )
    if kind == "frames" and run.config.attention:
        raise InputError(f"run {run.name!r}: attention: {model!r} has no class token. Set attention = false.")
    if kind != "frames" and readout in OF_FRAMES:
        raise InputError(
            f"run {run.name!r}: readout = {readout!r} is of a network of frames, as contrast trains it; {model!r} is "
            "none. Leave out readout."
        )


def n_features_of(run: Run[Config], config: Config, n_mels: int) -> int:
    """Return the number of features; a model's card says it in plain JSON."""
    if config.features == "logmel":
        return N_LOGMEL * n_mels
    if config.features == "statistics":
        return N_STATISTICS * min(n_mels, MOST_BANDS)
    folder = run.inputs["model"].output.url
    if kind_of(run) == "dictionary":
        return read_dictionary_card(folder)[1]
    if kind_of(run) == "frames":
        card = read_frame_card(folder)
        return 2 * (card.n_output if config.readout == "output" else card.n_stem)
    return read_card(folder)[1] * WIDTHS[config.readout]


def token_grid(run: Run[Config]) -> tuple[int, int]:
    """Return how many tokens the run's model makes of a window, along mel bands and frames."""
    card, _ = read_card(run.inputs["model"].output.url)
    return card.input_size[0] // card.patch_size[0], card.input_size[1] // card.patch_size[1]
