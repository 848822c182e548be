"""From a window back to its files: which samples of which recording it is made of, and every run on the way."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from lake.chain import Made, made_by
from lake.constants import STATUS
from lake.errors import InputError
from lake.grid import Grid, iso
from lake.ledger import Entry, Ledger
from lake.read import grid_of, open_cube, open_embeddings, paths_of
from lake.similar import place_of


@dataclass(frozen=True)
class Piece:
    """What one recording gives to a window.

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

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def trace(url: str, recorder: str, time: str) -> Trace:
    """Trace one window of a store.

    Parameters
    ----------
    url
        A cube, an embedding or a cluster store inside its lake.
    recorder, time
        The window: a recorder's name, and an instant in UTC at its start or within it.

    Raises
    ------
    InputError
        If the store is in no lake, has no cube behind it, or no such window.
    """
    made = made_by(url)
    cube = made.nearest("spectrograms")
    if cube is None:
        raise InputError(f"{url}: no cube is known that it was made from; nothing leads back to recordings.")
    with open_cube(cube.output.url) as dataset:
        grid, recorders = grid_of(dataset), [str(name) for name in dataset["recorder"].to_numpy()]
        rows = recordings_table(dataset, recorder)
    outside = next((one for one in made.above() if one.job == "import"), None)
    if outside is None:
        window = _window(cube, grid, recorder, place_of(recorders, grid, recorder, time).cell)
    else:
        window = _outside_window(outside, cube, grid, recorder, time)
    return Trace(
        recorder, iso(window.start_ms), iso(window.end_ms), window.cell, window.status,
        cube.record["config"].get("channel", "mix"), pieces(rows, window.start_ms, window.end_ms),
        window.deployment, window.digest, tuple(_told(one) for one in made.above()),
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
    As windows are cut: where recordings overlap, the one that started first owns the shared seconds; a recording of
    another rate than the first is not mixed in. A recording too short to be the first of any window is not in
    the cube's table, and cannot be told.
    """
    found: list[Piece] = []
    owned_to = -np.inf
    for row in sorted(recordings, key=lambda row: (row["start_ms"], row["sha256"])):
        rate, begin = int(row["sample_rate_hz"]), int(row["start_ms"])
        end = begin + row["n_samples"] / rate * 1000
        from_ms, to_ms = max(begin, owned_to), end
        owned_to = max(owned_to, end)
        if to_ms <= max(from_ms, start_ms) or from_ms >= end_ms or (found and rate != found[0].sample_rate_hz):
            continue
        at = max(round((from_ms - start_ms) * rate / 1000), 0)
        to = min(round((to_ms - start_ms) * rate / 1000), round((end_ms - start_ms) * rate / 1000))
        first = round((max(from_ms, start_ms) - begin) * rate / 1000)
        last = min(first + to - at, int(row["n_samples"]))
        if last > first:
            found.append(Piece(row["path"], row["sha256"], first, last, at, rate, iso(begin)))
    return tuple(found)


def recordings_table(cube: xr.Dataset, recorder: str) -> list[dict[str, Any]]:
    """Return the rows of the cube's recordings table that are one recorder's; ``StoreError`` as :func:`paths_of`."""
    mine = np.flatnonzero([str(name) == recorder for name in cube["recording_recorder"].to_numpy()])
    names = ("path", "sha256", "start_ms", "n_samples", "sample_rate_hz")
    columns = [cube[f"recording_{name}"].to_numpy()[mine].tolist() for name in names[1:]]
    columns.insert(0, paths_of(cube, mine))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _window(cube: Made, grid: Grid, recorder: str, cell: int) -> Window:
    """Return a window of the cube."""
    entry = _entry(cube, recorder, grid, cell)
    at, start_ms = entry.cells.index(cell), grid.start_ms(cell)
    status = {value: name for name, value in STATUS.items()}[entry.index["status"][at]]
    return Window(cell, start_ms, start_ms + grid.window_ms, status, entry.digests[at], _deployment(entry, at))


def _outside_window(outside: Made, cube: Made, theirs: Grid, recorder: str, time: str) -> Window:
    """Return the span of a vector that was made elsewhere: on a grid of its own, and beside its cell."""
    with open_embeddings(outside.output.url) as dataset:
        grid, recorders = grid_of(dataset), [str(name) for name in dataset["recorder"].to_numpy()]
        place = place_of(recorders, grid, recorder, time)
        status = int(dataset["embedding_status"][place.recorder, place.cell])
        offset_s = float(dataset["embedding_offset_s"][place.recorder, place.cell])
    if status == STATUS["missing"]:
        raise InputError(f"recorder {recorder!r} has no vector at {iso(grid.start_ms(place.cell))}.")
    start_ms = grid.start_ms(place.cell) + round(offset_s * 1000)
    cell = (start_ms - theirs.origin_ms) // theirs.hop_ms
    day = Ledger(cube.lake.ledger(cube.name)).day(recorder, theirs.day_of(cell)).values()
    deployment = next((_deployment(entry, entry.cells.index(cell)) for entry in day if cell in entry.cells), {})
    name = {value: name for name, value in STATUS.items()}[status]
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
