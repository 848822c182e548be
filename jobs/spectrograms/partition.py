"""Write one partition: the shards of one recorder's day, from recordings to ledger entries."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from jobs.common import partitioned
from jobs.common.audio.probe import AudioError
from jobs.spectrograms.assemble import Reader, Window, read_window
from jobs.spectrograms.config import Config
from jobs.spectrograms.core import Facts, window_codes
from jobs.spectrograms.plan import Block, Placed
from lake.blocks import block_key
from lake.constants import QUALITY, STATUS
from lake.digest import cell_digest
from lake.errors import StoreError
from lake.grid import iso
from lake.ledger import Entry
from lake.schema import RECORDING_COLUMNS
from lake.shards import Shard
from lake.specs import ArraySpec
from lake.write import read_block, row_key, write_shards

_OF_THREAD = threading.local()
Row = dict[str, Any]
Codes = NDArray[np.uint8]
FROM_AUDIO = ("status", "quality", "offset_s", "coverage", "level_db", "peak_db")
"""Index variables that come from the samples; the others come from the tables."""


@dataclass(frozen=True, kw_only=True)
class Partition(partitioned.Partition):
    """One UTC day of one recorder, as a worker gets it.

    Attributes
    ----------
    config
        The run's settings.
    root
        Folder that the recordings' paths are relative to.
    recordings
        The recorder's recordings that touch the day, by their key.
    deployments
        Rows of the deployments table by name.
    i_recorder
        Position of the recorder in the store.
    blocks
        Shards to be written.
    """

    config: Config
    root: Path
    recordings: Mapping[tuple[str, int], Placed]
    deployments: Mapping[str, Row]
    i_recorder: int
    blocks: tuple[Block, ...]


def write_partition(partition: Partition) -> Counter[str]:
    """Write the blocks of a partition and return what was counted.

    Raises
    ------
    InputError
        If a recording is gone, or is not the file that the table lists; the block that needs it, and those after
        it, are not written.
    """
    reader = Reader(partition.root)
    counts: Counter[str] = Counter()
    first = partition.blocks[0]
    before = partition.ledger.day(first.recorder, partition.spec.grid.day_of(first.cells[0]))
    (array,) = partition.spec.data
    shard = _empty_shard(array)
    try:
        for block in partition.blocks:
            entry = _compute(partition, block, reader, before.get(block.number), shard)
            reader.require_unchanged({segment.recording.path for segment in block.segments})
            shards = {array.name: shard.finish()}
            write_shards(
                partition.store, partition.ledger, partition.spec, shards, entry, i_recorder=partition.i_recorder
            )
            counts.update(entry.counts)
    finally:
        reader.close()
    return counts


def _empty_shard(array: ArraySpec) -> Shard:
    """Return this thread's shard of an array: its memory, if new, may cost a tenth of the work on a short day."""
    shard: Shard | None = getattr(_OF_THREAD, "shard", None)
    if shard is None or shard.spec != array:
        shard = _OF_THREAD.shard = Shard(array)
    shard.clear()
    return shard


def _compute(partition: Partition, block: Block, reader: Reader, before: Entry | None, shard: Shard) -> Entry:
    """Compute the windows of one block into a shard, and return its entry."""
    config, spec = partition.config, partition.spec
    first = block.number * config.cells_per_shard
    kept = _keep_ok(partition, before) if before else {}
    rows = _Rows(partition, block)
    for cell in block.cells:
        if cell in kept:
            codes, values = kept[cell]
            shard.put(cell - first, codes)
            rows.keep(cell, values, codes)
            continue
        try:
            window = read_window(spec.grid.start_ms(cell), config.window_ms, block.segments, reader)
        except AudioError:
            rows.unreadable(cell)
            continue
        if window is None or window.coverage < config.min_coverage:
            rows.counts["below_coverage"] += 1
            continue
        lead = window.recording
        codes, facts = window_codes(window.samples, window.runs, lead.sample_rate_hz, config, is_float=lead.is_float)
        shard.put(cell - first, codes)
        rows.add(cell, window, facts, codes)
    paths = {segment.recording.path for segment in block.segments}
    return rows.entry({path: problem for path, problem in reader.problems.items() if path in paths})


def _keep_ok(partition: Partition, before: Entry) -> dict[int, tuple[Codes, Row]]:
    """Return codes and index values of the ok windows of a shard that is written again: none of them may change."""
    ok = [i for i, status in enumerate(before.index["status"]) if status == STATUS["ok"]]
    if not ok:
        return {}
    old = read_block(partition.store, partition.spec.data[0], partition.i_recorder, before.block)
    kept: dict[int, tuple[Codes, Row]] = {}
    for i in ok:
        cell = before.cells[i]
        values = {name: column[i] for name, column in before.index.items()}
        values["recording"] = before.recordings[values["recording"]]
        codes = old[0, cell - before.block * partition.config.cells_per_shard]
        if cell_digest([codes]) != before.digests[i]:
            key = block_key(partition.spec.data[0], (partition.i_recorder, before.block, 0, 0))
            raise StoreError(
                f"{partition.store.path(key)}: its window at {iso(partition.spec.grid.start_ms(cell))} is not the one "
                "that the ledger lists. Restore the shard from a copy; or remove its ledger lines and run again."
            )
        kept[cell] = codes, values
    return kept


class _Rows:
    """Gathers the index values of one block."""

    def __init__(self, partition: Partition, block: Block) -> None:
        self.partition, self.block = partition, block
        self.counts: Counter[str] = Counter(below_coverage=block.n_below_coverage)
        self.cells: list[int] = []
        self.digests: list[str] = []
        self.columns: dict[str, list[Any]] = {array.name: [] for array in partition.spec.index}
        self.recordings: dict[str, Row] = {}
        self.deployments: dict[str, Row] = {}

    def add(self, cell: int, window: Window, facts: Facts, codes: Codes) -> None:
        """Add a window that was computed."""
        status = "ok" if window.coverage == 1 else "partial"
        quality = facts.quality | (QUALITY["overlap"] if cell in self.block.overlapped else 0)
        self.counts.update({status: 1, "levels_below_range": facts.n_low, "levels_above_range": facts.n_high})
        self.counts.update({name: 1 for name, bit in QUALITY.items() if quality & bit})
        values = (STATUS[status], quality, window.offset_s, round(window.coverage, 6), facts.level_db, facts.peak_db)
        self._append(cell, _table_row(window.recording), window.recording, values, codes)

    def unreadable(self, cell: int) -> None:
        """Add a window whose recording could not be decoded."""
        start_ms = self.partition.spec.grid.start_ms(cell)
        recording = next(s.recording for s in self.block.segments if s.to_ms > start_ms)
        self.counts["unreadable"] += 1
        values = (STATUS["unreadable"], 0, round((start_ms - recording.start_ms) / 1000, 6), None, None, None)
        empty = np.zeros(self.partition.spec.data[0].chunks, dtype=np.uint8)
        self._append(cell, _table_row(recording), recording, values, empty)

    def keep(self, cell: int, values: Row, codes: Codes) -> None:
        """Add a window that stands already; only what the tables say of it may be new."""
        self.counts["kept"] += 1
        row = values["recording"]
        from_audio = tuple(values[name] for name in FROM_AUDIO)
        self._append(cell, row, self.partition.recordings[row["sha256"], row["start_ms"]], from_audio, codes)

    def _append(self, cell: int, row: Row, recording: Placed, from_audio: tuple[Any, ...], codes: Codes) -> None:
        deployment = self.partition.deployments.get(recording.deployment)
        values = dict(zip(FROM_AUDIO, from_audio, strict=True))
        values["recording"] = _position(self.recordings, row)
        values["deployment"] = -1 if deployment is None else _position(self.deployments, deployment)
        zone = deployment["zone"] if deployment is not None else None
        start_ms = self.partition.spec.grid.start_ms(cell)
        values["utc_offset_s"] = _zone_offset_s(zone, start_ms) if zone else recording.utc_offset_s
        self.cells.append(cell)
        self.digests.append(cell_digest([codes]))
        for name, column in self.columns.items():
            column.append(values[name])

    def entry(self, problems: Mapping[str, str]) -> Entry:
        """Return the block's entry, without the files that are written."""
        return Entry(
            recorder=self.block.recorder, block=self.block.number, inputs=self.block.inputs, files={},
            digests=self.digests, cells=self.cells, index=self.columns, recordings=list(self.recordings.values()),
            deployments=list(self.deployments.values()), counts=dict(self.counts), backend=self.partition.backend,
            problems=problems,
        )  # fmt: skip


def _position(rows: dict[str, Row], row: Row) -> int:
    """Return the number of a row among those of an entry, after adding it if it is new."""
    rows.setdefault(row_key(row), row)
    return list(rows).index(row_key(row))


def _zone_offset_s(zone: str, instant_ms: int) -> int:
    """Return local time minus UTC at a site, whatever its recorder's clock was set to."""
    offset = datetime.fromtimestamp(instant_ms / 1000, ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _table_row(recording: Placed) -> Row:
    return {key: getattr(recording, key) for key, _ in RECORDING_COLUMNS.values()}
