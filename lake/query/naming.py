"""Names that people give to clusters: the table `<run>.names.csv` beside a clustering."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from lake.clustering import ATTRIBUTE, clustering_id_of
from lake.errors import InputError
from lake.escapes import as_written, defused
from lake.layout import lake_and_run
from lake.names import names_key
from lake.read import open_clusters
from lake.receipts import read_receipts
from lake.sheets import decoded, read_sheet, to_number
from lake.storage import Storage
from lake.text import near_or_all, same_name

COLUMNS = ("cluster", "name", "notes", "carried_from", "overlap", ATTRIBUTE)


@dataclass(frozen=True)
class Name:
    """One row of a table of names.

    Attributes
    ----------
    cluster
        Number of the cluster.
    name, notes
        What somebody wrote.
    carried_from
        ``<run>/<cluster>`` that the name was carried from, several with blanks between; empty where it was given here.
    overlap
        Share of the cluster's windows that had the name there; NaN where the name was given here.
    others
        Cells of further columns that somebody added, by column.
    """

    cluster: int
    name: str
    notes: str = ""
    carried_from: str = ""
    overlap: float = float("nan")
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Names:
    """The names of a clustering.

    Attributes
    ----------
    rows
        By cluster.
    notes
        What was believed or guessed when the table was read, a line each.
    """

    rows: Sequence[Name]
    notes: Sequence[str] = ()


def read_names(store: Storage) -> Names:
    """Return the names of a clustering, none if nobody has given any.

    The table may have been saved by a spreadsheet: separated by commas, semicolons or tabs, in UTF-8, UTF-16 or the
    code page of Windows, with decimal points or commas.

    Raises
    ------
    InputError
        With all rows that cannot be read: a cluster that is no number or is there twice; or if the names are of another
        clustering, by its ``clustering_id``, or may be, as the table has none.
    """
    folder, key = names_key(store)
    data = folder.read_or_none(key)
    if data is None:
        return Names(())
    where = folder.path(key)
    try:
        text, note = decoded(data)
        sheet = read_sheet(text)
    except ValueError as error:
        raise InputError(f"{where}: expected a table of names (CSV): {error}.") from error
    if not {"cluster", "name"} <= set(sheet.header):
        if not sheet.header:
            return Names(())
        raise InputError(f"{where}: expected the columns cluster, name and notes, found {', '.join(sheet.header)}.")
    with open_clusters(store.url, indexes=False) as clusters:
        n_clusters, identity = clusters.sizes["cluster_id"], clustering_id_of(clusters)
    rows: list[Name] = []
    problems: list[str] = []
    for number, row in sheet.rows:
        try:
            rows.append(_name_of(row))
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    times = Counter(name.cluster for name in rows)
    problems += [f"cluster {number} is there twice" for number in sorted(times) if times[number] > 1]
    found = {row[ATTRIBUTE] for _, row in sheet.rows if row.get(ATTRIBUTE)}
    believed = _require_own(store, where, identity, found, has_rows=bool(rows))
    if problems:
        raise InputError(f"{where} is not a table of names; correct these and try again:\n  " + "\n  ".join(problems))
    table = where.rpartition("/")[2]  # notes stand on pages, which are the same wherever the lake is
    notes = [f"{table}: {note}."] if note else []
    absent = [f"{name.cluster} ({name.name})" for name in rows if name.cluster >= n_clusters]
    if absent:
        notes.append(
            f"{table}: {len(absent)} names are of clusters that are not there: {', '.join(absent[:5])}; the clustering "
            f"has {n_clusters}, from 0 to {n_clusters - 1}."
        )
    return Names(rows, [*notes, *(believed if rows else [])])


def numbers_of(clusters: xr.Dataset, asked: Sequence[int | str]) -> list[int]:
    """Return the numbers of clusters that are asked for by number or by name; several may have the same name.

    Raises
    ------
    InputError
        If no cluster has such a name; or as :func:`read_names`.
    """
    numbers = [one for one in asked if isinstance(one, int)]
    wanted = [one for one in asked if isinstance(one, str)]
    if not wanted:
        return numbers
    store = Storage(str(clusters.encoding.get("source")))
    folder, key = names_key(store)
    rows = [row for row in read_names(store).rows if row.name]
    for name in wanted:
        found = [row.cluster for row in rows if same_name(row.name, name)]
        if not found:
            raise InputError(
                f"--cluster {name!r}: expected a number from 0 to {clusters.sizes['cluster_id'] - 1}, or a name in "
                f"{folder.path(key)}; {near_or_all(name, [row.name for row in rows])}."
            )
        numbers += found
    return numbers


def _name_of(row: Mapping[str, str]) -> Name:
    try:
        cluster = to_number(row["cluster"])
    except ValueError:
        cluster = -1.0
    if cluster < 0 or cluster != int(cluster):
        raise ValueError(f"cluster should be a number, found {row['cluster']!r}")
    try:
        overlap = to_number(row["overlap"]) if row.get("overlap") else float("nan")
    except ValueError as error:
        raise ValueError(f"overlap: {error}") from error
    name, notes, carried_from = (as_written(row.get(key, "")) for key in ("name", "notes", "carried_from"))
    others = {as_written(key): as_written(cell) for key, cell in row.items() if key and key not in COLUMNS}
    return Name(int(cluster), name, notes, carried_from, overlap, others)


def _require_own(store: Storage, where: str, identity: str, found: set[str], *, has_rows: bool) -> list[str]:
    """Refuse names of another clustering; return a note if it can only be believed that they are of this one."""
    others = sorted(found - {identity})
    if others:
        raise InputError(
            f"{where}: expected names of the clustering {identity}, found names of {', '.join(others)}: cluster "
            f"numbers mean other sounds there. Carry the names from the store that they were given for: dawnchorus "
            f"names OLD {store.url} --write. If that store is gone, move the table away and name the clusters anew."
        )
    if found or not has_rows:
        return []
    n_made = _n_made(store)
    if n_made > 1:
        raise InputError(
            f"{where}: the table has no column {ATTRIBUTE}, and {store.url} was made {n_made} times with other "
            f"results: the names may be of an earlier one. If they are of this one, add the column {ATTRIBUTE} with "
            f"{identity} in every row; if not, remove the table."
        )
    table = where.rpartition("/")[2]
    return [f"{table} has no column {ATTRIBUTE}; its names are taken for names of {identity}, the only one there was."]


def _n_made(store: Storage) -> int:
    """Return how many different fits a clustering's finished receipts tell of; 1 where there is no lake."""
    found = lake_and_run(store)
    if found is None:
        return 1
    receipts = [
        one
        for one in read_receipts(*found)
        if one.get("state") == "done" and "new_windows" not in (one.get("counts") or {})  # of a growth
    ]
    return max(1, len({str(one.get("content_id")) for one in receipts}))


def write_names(store: Storage, names: Sequence[Name]) -> str:
    """Write the names of a clustering, by cluster, with the ``clustering_id`` and columns of others; return where."""
    folder, key = names_key(store)
    with open_clusters(store.url, indexes=False) as clusters:
        identity = clustering_id_of(clusters)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    more = list(dict.fromkeys(column for name in names for column in name.others))
    writer.writerow([*COLUMNS, *map(defused, more)])
    for name in sorted(names, key=lambda one: one.cluster):
        overlap = "" if np.isnan(name.overlap) else f"{name.overlap:.3f}"
        texts = map(defused, (name.name, name.notes, name.carried_from))
        cells = (defused(name.others.get(column, "")) for column in more)
        writer.writerow([name.cluster, *texts, overlap, identity, *cells])
    folder.write(key, text.getvalue().encode())
    return folder.path(key)
