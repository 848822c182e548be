"""The stores that a run gathers: their blocks on one grid, and what they must agree on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jobs.common.config import identity_config
from jobs.common.run import Run, listed
from lake.constants import MS_PER_DAY
from lake.digest import sha256
from lake.errors import InputError, StoreError
from lake.grid import Grid
from lake.identity import short_hash
from lake.ledger import Entry, Ledger
from lake.storage import Storage
from lake.write import row_key


@dataclass(frozen=True)
class Source:
    """A store whose windows are gathered.

    Attributes
    ----------
    name
        Its run, with its lake where that is another one.
    store, ledger
        The store and its ledger.
    recorders
        Its recorders, in its order.
    first_day
        Days from the origin of the gathered grid to its own.
    prefix
        Folder of its recordings below the root of this manifest; empty if the roots are the same.
    """

    name: str
    store: Storage
    ledger: Ledger
    recorders: tuple[str, ...]
    first_day: int
    prefix: str


@dataclass(frozen=True)
class Block:
    """One shard of each array, as the gathered store has it: see :class:`jobs.common.days.Block`."""

    recorder: str
    number: int
    cells: range | tuple[int, ...]
    inputs: str
    source: int
    files: tuple[str, ...]


def refuse_differences(run: Run, sources: Sequence[Run]) -> None:
    """Refuse stores of other settings than the run's; ``InputError`` names each setting of each store."""
    mine, lines = {"algorithm": run.algorithm, **identity_config(run.config)}, []
    known = {"algorithm": run.algorithm, **run.config.model_dump(mode="json")}
    for source in sources:
        theirs = {"algorithm": source.algorithm, **source.config.model_dump(mode="json")}
        lines += [
            f"  {label(run, source)}: {key} = {theirs.get(key)!r}, here {known.get(key)!r}"
            for key in sorted({*mine, *theirs, *known})
            if theirs.get(key) != known.get(key)
        ]
    if lines:
        raise InputError(
            f"run {run.name!r} gathers stores of other settings than its own:\n{listed(lines)}\n"
            "Windows of one study have one set of settings: write theirs here, or make those stores again with these."
        )


def label(run: Run, source: Run) -> str:
    """Return the name of a run that another one reads; of one in another lake, its URL."""
    return repr(source.name) if source.lake.storage.url == run.lake.storage.url else source.output.url


def settled_of(source: Run) -> tuple[Grid, tuple[str, ...]]:
    """Return grid and recorders of a store as its ledger has settled them."""
    settled = source.ledger.grid()
    if settled is None:
        raise StoreError(f"{source.output.url}: its ledger has no grid. Type `dawnchorus verify` in its study.")
    return settled[0], tuple(settled[1])


def source_of(run: Run, one: Run, grid: Grid) -> Source:
    """Return one of a run's stores as it lies on the gathered grid."""
    own, recorders = settled_of(one)
    return Source(
        label(run, one), one.output, one.ledger, recorders, (own.origin_ms - grid.origin_ms) // MS_PER_DAY,
        _prefix(run, one),
    )  # fmt: skip


def _prefix(run: Run, one: Run) -> str:
    """Return the folder of a source's recordings below this manifest's root, ending in a slash; empty if the same."""
    if run.recordings is None or one.recordings is None:
        return ""
    mine, theirs = run.recordings.root, one.recordings.root
    if mine == theirs or not theirs.is_relative_to(mine):
        return ""
    return f"{theirs.relative_to(mine).as_posix()}/"


def digest_of(entry: Entry, prefix: str) -> str:
    """Return the digest of all that decides a gathered block."""
    return short_hash([entry.inputs, sorted(entry.files.values()), prefix])


def blocks_of(
    number: int, source: Source, grid: Grid, recorders: tuple[str, ...], per_block: int
) -> Iterator[tuple[Block, Entry]]:
    """Yield the blocks of a source on the gathered grid, with their entries without cells."""
    shift = source.first_day * grid.cells_per_day
    known = set(recorders)
    for recorder, _, entries in source.ledger.entries():
        for entry in entries.values() if recorder in known else ():
            first, last = entry.cells[0] + shift, entry.cells[-1] + shift
            if first < 0 or last >= grid.n_cells:
                continue  # of vectors: windows that the gathered cube does not have yet
            span = range(first, last + 1)
            cells = span if len(span) == len(entry.cells) else tuple(cell + shift for cell in entry.cells)
            block = Block(
                recorder, entry.block + shift // per_block, cells, digest_of(entry, source.prefix), number,
                tuple(entry.files),
            )  # fmt: skip
            yield block, replace(entry, cells=[], digests=[], index={})


def refuse_overlaps(run: Run, sources: Sequence[Source], blocks: Sequence[Block], grid: Grid) -> None:
    """Refuse two stores with windows of the same recorder and day: which of them holds is not to be guessed."""
    owners: dict[tuple[str, int], set[int]] = {}
    for block in blocks:
        owners.setdefault((block.recorder, block.cells[0] // grid.cells_per_day), set()).add(block.source)
    lines = [
        f"  {recorder} {grid.day_of(day * grid.cells_per_day)}: {' and '.join(sources[i].name for i in sorted(found))}"
        for (recorder, day), found in sorted(owners.items())
        if len(found) > 1
    ]
    if lines:
        raise InputError(
            f"run {run.name!r}: {len(lines)} days of a recorder are in several stores that it gathers:\n"
            f"{listed(lines)}\nA day comes from one of them: leave its recordings out of the others' table, or name "
            "recorders apart that are not the same."
        )


def refuse_deployments(run: Run, sources: Sequence[Source], entries: Sequence[tuple[int, Entry]]) -> None:
    """Refuse a deployment that two stores describe differently."""
    latest: dict[str, dict[int, dict[str, object]]] = {}
    for source, entry in entries:
        for row in entry.deployments:
            latest.setdefault(row_key(row), {})[source] = row
    lines = []
    for name, rows in sorted(latest.items()):
        (first, mine), *others = sorted(rows.items())
        for source, theirs in others:
            differ = [f"{key} {mine.get(key)} and {theirs.get(key)}" for key in mine if mine[key] != theirs.get(key)]
            if differ:
                both = f"{sources[first].name} and {sources[source].name}"
                lines.append(f"  deployment {name!r} of {both}: {', '.join(differ)}")
    if lines:
        raise InputError(
            f"run {run.name!r}: the stores that it gathers describe deployments differently:\n{listed(lines)}\n"
            "Give each stay of a recorder a name of its own in the tables of deployments, or correct them."
        )


def shard_of(source: Source, key: str, entry: Entry) -> bytes | None:
    """Return a shard as its ledger lists it, ``None`` if it lists none."""
    if key not in entry.files:
        return None
    data = source.store.read_or_none(key)
    if data is None or sha256(data) != entry.files[key]:
        what = "found none" if data is None else "found another"
        raise StoreError(
            f"{source.store.path(key)}: expected the shard that the ledger lists, {what}. Restore it from a copy."
        )
    return data
