"""Describe what a run reads, writes and needs: the lines of a dry run, and bounds on a store's size."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np

from jobs.common import space
from jobs.common.memory import size
from jobs.common.run import Run
from jobs.common.space import Space
from lake.constants import S_PER_DAY
from lake.specs import ArraySpec, StoreSpec

LIBRARIES_BYTES = 300_000_000
"""Memory of a process that has loaded the libraries of a job without torch."""
TORCH_BYTES = 600_000_000
"""The same with torch."""
FILE_BYTES = 1_000
"""An upper bound on a file's bytes other than values: frames, checksums, cells without a window."""
COUNTER_RATIO = 100
"""Times with bit shuffle take a hundred and fiftieth."""
DOCUMENT_BYTES = 4_000
"""More than the metadata of one array take; they are stored twice."""


SEASON_GAP_DAYS = 60
"""Days without a recording after which another season begins."""
LONG_GRID_CELLS = 10_000_000
"""From so many cells on, people are informed of what a time grid costs."""
INDEX_BYTES = 33
"""Memory that plain xarray takes for a cell of the grid when it opens a store: measured at 38 and 66 million."""


def seasons_of(days: Iterable[int]) -> list[tuple[int, int]]:
    """Return first and last day of each season: days with recordings, more than `SEASON_GAP_DAYS` from the others."""
    known = np.unique(np.fromiter(days, dtype=np.int64))
    parts = np.split(known, np.flatnonzero(np.diff(known) > SEASON_GAP_DAYS) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if len(part)]


def grid_notes(n_cells: int, hop_s: float, seasons: Sequence[tuple[int, int]] = ()) -> list[str]:
    """Return what a long time grid costs, in words; nothing for one that costs little.

    Parameters
    ----------
    n_cells
        Cells along time.
    hop_s
        Distance of two, in seconds.
    seasons
        First and last day of each season; see :func:`seasons_of`.
    """
    if n_cells < LONG_GRID_CELLS:
        return []
    years = n_cells * hop_s / (365.25 * S_PER_DAY)
    note = (
        f"the time grid has {n_cells / 1e6:.1f} million cells of {hop_s:g} s over {years:.1f} years. Our commands read "
        f"the days that have recordings; plain xarray takes {size(n_cells * INDEX_BYTES)} of memory to open a store"
    )
    if len(seasons) > 1:
        longest = round(max(last - first + 1 for first, last in seasons) * S_PER_DAY / hop_s)
        note += (
            f". The recordings lie in {len(seasons)} seasons: a cube of each takes {size(longest * INDEX_BYTES)} at "
            "most. Write a table and a manifest for each, and gather their windows for one clustering: "
            "docs/growing.md, Several seasons"
        )
    return [note]


def reads(run: Run) -> list[str]:
    """Return a line with the runs and files that a run reads."""
    names = [f"{source.name} ({role})" for role, source in run.inputs.items()]
    return [f"to read: {', '.join([*names, *map(str, run.files.values())])}"]


def described(
    run: Run, *, read: Sequence[str], written: str, takes: Space, memory_bytes: int = LIBRARIES_BYTES
) -> list[str]:
    """Return the lines of a dry run.

    Parameters
    ----------
    run
        The run.
    read, written
        What is read and written, in words.
    takes
        What the output takes on disk at most.
    memory_bytes
        What the process takes, about; that of its libraries alone if left out.
    """
    return [
        f"to read: {', '.join(read)}",
        f"to write: {written}",
        space.described(run.output, takes),
        f"memory: about {size(memory_bytes)}",
    ]


def store_space(
    spec: StoreSpec, *, n_recorders: int, n_windows: int, n_days: int, rows: Mapping[str, int] | None = None
) -> Space:
    """Return what a store takes at most, its values not compressed.

    Parameters
    ----------
    spec
        Its schema, with all that its tables hold.
    n_recorders, n_windows, n_days
        Its recorders and windows, and the days of a recorder that have windows.
    rows
        Rows of tables by their dimension, where the schema does not have them.
    """
    sizes = {"recorder": n_recorders, "time": spec.grid.n_cells, **spec.sizes, **(rows or {})}
    n_bytes, n_files = 2 * DOCUMENT_BYTES * (len(spec.arrays) + 1), len(spec.arrays) + 1
    for array in (*spec.data, *spec.index):
        n_bytes += n_windows * prod(array.block[2:]) * np.dtype(array.dtype).itemsize
        n_bytes += n_days * (FILE_BYTES + 16 * prod(array.block) // prod(array.chunks))
        n_files += n_days
    for table in spec.tables:
        shape = [sizes.get(dim, chunk) for dim, chunk in zip(table.dims, table.chunks, strict=True)]
        n_here = prod(-(-n // chunk) for n, chunk in zip(shape, table.chunks, strict=True))
        values = prod(shape) * _itemsize(table)
        n_bytes += (values // COUNTER_RATIO if table.is_counter else values) + n_here * FILE_BYTES
        n_files += n_here
    return Space(n_bytes, n_files)


def _itemsize(table: ArraySpec) -> int:
    """Return the bytes of a value; of text, what names take."""
    return 256 if table.dtype == "str" else np.dtype(table.dtype).itemsize
