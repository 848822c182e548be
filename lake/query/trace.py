"""From a window back to its files: which samples of which recording it is made of, and every run on the way."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from lake.chain import Made, made_by
from lake.constants import OFFSET_ARRAY, STATUS, STATUS_NAMES
from lake.errors import InputError, StoreError
from lake.grid import Grid, iso
from lake.ledger import Entry, Ledger
from lake.ownership import compose, own_segments
from lake.ownership import end_ms as recording_end_ms
from lake.query.select import Instant, place_of
from lake.read import grid_of, open_cube, open_embeddings, paths_of, recorder_names, table_rows
from lake.run_records import RUN_RECORD, UNFINISHED
from lake.schema import RECORDING_COLUMNS
from lake.verdicts import verdicts_on
from lake.whole import losses


@dataclass(frozen=True)
class Piece:
    """The part of a window that one recording gives.

    Attributes
    ----------
    path, sha256
        The file, below the recordings' root.
    first_sample, last_sample
        Range of samples; the last is exclusive.
    at_sample
        Where in the window they begin.
    sample_rate_hz
        Samples a second.
    start_utc
        Start of the recording.
    """

    path: str
    sha256: str
    first_sample: int
    last_sample: int
    at_sample: int
    sample_rate_hz: int
    start_utc: str


@dataclass(frozen=True)
class Window:
    """A window: its cell and time in milliseconds since 1970, what it is, its digest and its deployment's row."""

    cell: int
    start_ms: int
    end_ms: int
    status: str
    digest: str
    deployment: dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """A window and where it comes from.

    Attributes
    ----------
    recorder, start_utc, end_utc, cell
        The window.
    status
        ``ok``, ``partial`` or ``unreadable``.
    channel
        ``mix`` (the mean of all channels) or a channel's number.
    pieces
        What recordings give to it, in order of time: several at a join.
    deployment
        The row of the deployments table; empty if there is none.
    digest
        Of the window's decoded values in the cube, as the ledger has it; empty for a vector that was made elsewhere.
    runs
        Every run from the store that was asked up to the cube: job, config, ids, receipt, image.
    verdicts
        What people said of it: sound, verdict, reviewer, when, and the delivery.
    """

    recorder: str
    start_utc: str
    end_utc: str
    cell: int
    status: str
    channel: str | int
    pieces: tuple[Piece, ...]
    deployment: dict[str, Any]
    digest: str
    runs: tuple[dict[str, Any], ...]
    verdicts: tuple[dict[str, object], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def trace(url: str, recorder: str, time: Instant) -> Trace:
    """Trace one window of a store.

    Parameters
    ----------
    url
        A cube, an embedding or a cluster store inside its lake.
    recorder, time
        The window: a recorder's name, and an instant in UTC at its start or within it.

    Returns
    -------
    Trace
        Its ``pieces`` (path, SHA-256 and range of samples of each recording), ``deployment``, ``digest``, and ``runs``,
        every run from the store up to the cube with its config, ids, receipt and image; ``as_dict()`` is plain values.

    Raises
    ------
    InputError
        If the store is in no lake, has no cube behind it, or no such window.

    Examples
    --------
    >>> import dawnchorus
    >>> table = dawnchorus.query("data/demo/clusters/clusters.zarr", recorder="00004862")
    >>> window = dawnchorus.trace("data/demo/clusters/clusters.zarr", "00004862", table["time"][0])
    >>> window.pieces[0].path.startswith("00004862/")
    True
    >>> window.runs[0]["job"], window.runs[-1]["job"]
    ('cluster', 'spectrograms')
    """
    made = made_by(url)
    cube = made.nearest("spectrograms")
    _require_whole(made, cube)
    if cube is None:
        runs = ", ".join(repr(one.name) for one in made.above())
        raise InputError(f"{url}: no cube is known that it was made from, by the ledgers of {runs}.")
    with open_cube(cube.output.url) as dataset:
        grid, recorders = grid_of(dataset), recorder_names(dataset)
        rows = recordings_table(dataset, recorder)
    outside = next((one for one in made.above() if OFFSET_ARRAY in one.index_names), None)
    if outside is None:
        window = _window(cube, grid, recorder, place_of(recorders, grid, recorder, time).cell)
    else:
        window = _outside_window(outside, cube, grid, recorder, time)
    return Trace(
        recorder, iso(window.start_ms), iso(window.end_ms), window.cell, window.status,
        cube.record["config"].get("channel", "mix"), pieces(rows, window.start_ms, window.end_ms),
        window.deployment, window.digest, tuple(_told(one) for one in made.above()),
        tuple(verdicts_on(made.lake, recorder, window.start_ms, window.end_ms)),
    )  # fmt: skip


def pieces(recordings: list[dict[str, Any]], start_ms: int, end_ms: int) -> tuple[Piece, ...]:
    """Return what each recording gives to a span of time.

    Parameters
    ----------
    recordings
        Rows of the recordings table: path, sha256, start_ms, n_samples, sample_rate_hz.
    start_ms, end_ms
        The span, milliseconds since 1970.

    Notes
    -----
    By the rule that windows are computed by, :mod:`lake.ownership`, within what a cube stores: its table has no number
    of channels, so a recording of another number than the window's first is named though it was not mixed in; and
    it lacks recordings that are the first of no window.
    """
    near = [
        one
        for one in (
            _Row(row["path"], row["sha256"], row["start_ms"], row["n_samples"], row["sample_rate_hz"])
            for row in recordings
        )
        if one.start_ms < end_ms and recording_end_ms(one) > start_ms
    ]
    composed = compose(own_segments(near)[0], start_ms, end_ms - start_ms)
    return tuple(
        Piece(
            part.recording.path, part.recording.sha256, part.first_sample, part.first_sample + part.n_samples,
            part.at_sample, part.recording.sample_rate_hz, iso(part.recording.start_ms),
        )
        for part in (() if composed is None else composed.parts)
    )  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """A row of the recordings table."""

    path: str
    sha256: str
    start_ms: int
    n_samples: int
    sample_rate_hz: int
    n_channels: None = None


def recordings_table(cube: xr.Dataset, recorder: str) -> list[dict[str, Any]]:
    """Return the rows of the cube's recordings table that are one recorder's; ``StoreError`` as :func:`paths_of`."""
    mine = np.flatnonzero([str(name) == recorder for name in np.asarray(cube["recording_recorder"])])
    rows = table_rows(cube, RECORDING_COLUMNS, mine)
    return [{**row, "path": path} for row, path in zip(rows, paths_of(cube, mine), strict=True)]


def _require_whole(made: Made, cube: Made | None) -> None:
    """Refuse to read records that are not those of the runs, by their receipts; ``StoreError`` with the files."""
    wrong = []
    for one in (made, cube or made):
        ledger = Ledger(one.lake.ledger(one.name))
        if one.receipt and not ledger.storage.exists(UNFINISHED):
            wrong += losses(ledger, one.kind, one.receipt)
            expected, found = one.receipt.get("config_id"), one.record["config_id"]
            if expected not in {None, found}:
                path = ledger.storage.path(RUN_RECORD)
                wrong.append(f"{path}: expected the configuration of its last receipt, {expected}, found {found}")
    for one in made.above() if cube is None else ():
        sources = {role: source.get("run") for role, source in (one.receipt.get("inputs") or {}).items()}
        wrong += [
            f"{one.lake.ledger(source).path(RUN_RECORD)}: expected the record of the run that {one.name!r} was made "
            "from, found none or that of another configuration"
            for role, source in sources.items()
            if source and role not in one.inputs
        ]
    if wrong:
        raise StoreError("\n".join([*dict.fromkeys(wrong), "Restore them from a copy."]))


def _window(cube: Made, grid: Grid, recorder: str, cell: int) -> Window:
    """Return a window of the cube."""
    entry = _entry(cube, recorder, grid, cell)
    at, start_ms = entry.cells.index(cell), grid.start_ms(cell)
    status = STATUS_NAMES[entry.index["status"][at]]
    return Window(cell, start_ms, start_ms + grid.window_ms, status, entry.digests[at], _deployment(entry, at))


def _outside_window(outside: Made, cube: Made, theirs: Grid, recorder: str, time: Instant) -> Window:
    """Return the span of a vector that was made elsewhere: on a grid of its own, and beside its cell."""
    with open_embeddings(outside.output.url) as dataset:
        grid, recorders = grid_of(dataset), recorder_names(dataset)
        if OFFSET_ARRAY not in dataset:
            ledger = Ledger(outside.lake.ledger(outside.name)).storage.root
            raise StoreError(f"{ledger}/: expected lines of {outside.name!r}, found those of another run.")
        place = place_of(recorders, grid, recorder, time)
        status = int(dataset["embedding_status"][place.recorder, place.cell])
        offset_s = float(dataset[OFFSET_ARRAY][place.recorder, place.cell])
    if status == STATUS["missing"]:
        raise InputError(f"recorder {recorder!r} has no vector at {iso(grid.start_ms(place.cell))}.")
    start_ms = grid.start_ms(place.cell) + round(offset_s * 1000)
    cell = (start_ms - theirs.origin_ms) // theirs.hop_ms
    day = Ledger(cube.lake.ledger(cube.name)).day(recorder, theirs.day_of(cell)).values()
    deployment = next((_deployment(entry, entry.cells.index(cell)) for entry in day if cell in entry.cells), {})
    name = STATUS_NAMES[status]
    return Window(place.cell, start_ms, start_ms + grid.window_ms, name, "", deployment)


def _deployment(entry: Entry, at: int) -> dict[str, Any]:
    number = entry.index["deployment"][at]
    return entry.deployments[number] if number is not None and number >= 0 else {}


def _entry(cube: Made, recorder: str, grid: Grid, cell: int) -> Entry:
    """Return the ledger's entry of the block that holds a cell."""
    ledger = Ledger(cube.lake.ledger(cube.name))
    for entry in ledger.day(recorder, grid.day_of(cell)).values():
        if cell in entry.cells:
            return entry
    day = {cell for entry in ledger.day(recorder, grid.day_of(cell)).values() for cell in entry.cells}
    if not day:
        raise InputError(f"recorder {recorder!r} has no window on {grid.day_of(cell)}.")
    near = iso(grid.start_ms(min(day, key=lambda other: abs(other - cell))))
    raise InputError(f"recorder {recorder!r} has no window at {iso(grid.start_ms(cell))}; the nearest is {near}.")


def _told(made: Made) -> dict[str, Any]:
    """Return what there is to know of one run."""
    receipt = made.receipt
    return {
        "run": made.name,
        "job": made.job,
        "config_id": made.record["config_id"],
        "config": made.record["config"],
        "inputs": {role: source.name for role, source in made.inputs.items()},
        "content_id": receipt.get("content_id"),
        "written": receipt.get("written"),
        "git_commit": receipt.get("git_commit"),
        "image": receipt.get("image"),
        "versions": receipt.get("versions"),
        "backend": receipt.get("backend"),
    }
