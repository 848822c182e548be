"""Names that people give to clusters: a small table beside a clustering, carried to another one by overlap."""

import csv
import hashlib
import io
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lake.errors import InputError
from lake.escapes import as_written, defused
from lake.read import grid_of
from lake.storage import Storage

COLUMNS = ("cluster", "name", "notes", "carried_from", "overlap")


@dataclass(frozen=True)
class Name:
    """One row of ``names.csv``.

    Attributes
    ----------
    cluster
        Number of the cluster.
    name, notes
        What somebody wrote.
    carried_from
        ``<run>/<cluster>`` that the name was carried from; empty where it was given here.
    overlap
        Jaccard index of the two clusters' windows; NaN where the name was given here.
    """

    cluster: int
    name: str
    notes: str = ""
    carried_from: str = ""
    overlap: float = float("nan")


@dataclass(frozen=True)
class Match:
    """What became of one name.

    Attributes
    ----------
    name
        As it was.
    cluster
        The cluster that shares most windows with it, -1 if none shares any.
    overlap
        Jaccard index of the two.
    is_carried
        Whether the name goes to it.
    """

    name: Name
    cluster: int
    overlap: float
    is_carried: bool


def names_key(store: Storage) -> tuple[Storage, str]:
    """Return folder and key of the names of a cluster store: ``<run>.names.csv`` beside ``<run>.zarr``."""
    folder, _, name = store.root.rpartition("/")
    beside = object.__new__(Storage)
    beside.fs, beside.root, beside.is_local = store.fs, folder, store.is_local
    return beside, f"{name.removesuffix('.zarr')}.names.csv"


def names_digest(store: Storage) -> str | None:
    """Return the SHA-256 of a clustering's table of names; ``None`` if there is none."""
    folder, key = names_key(store)
    data = folder.read_or_none(key)
    return None if data is None else hashlib.sha256(data).hexdigest()


def read_names(store: Storage) -> list[Name]:
    """Return the names of a clustering, none if nobody has given any.

    Raises
    ------
    InputError
        If the table has other columns, or a row's cluster is no number or there twice.
    """
    folder, key = names_key(store)
    data = folder.read_or_none(key)
    if data is None:
        return []
    where = folder.path(key)
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8; save the table as UTF-8.") from error
    if rows and not {"cluster", "name"} <= set(rows[0]):
        raise InputError(
            f"{where}: expected the columns cluster, name and notes, found {', '.join(map(str, rows[0]))}."
        )
    names, problems = [], []
    for i, row in enumerate(rows, 2):
        if not str(row["cluster"]).isdigit():
            problems.append(f"row {i}: cluster should be a number, found {row['cluster']!r}")
            continue
        overlap = row.get("overlap") or "nan"
        names.append(
            Name(
                int(row["cluster"]),
                as_written(row["name"] or ""),
                as_written(row.get("notes") or ""),
                as_written(row.get("carried_from") or ""),
                float(overlap),
            )
        )
    numbers = [name.cluster for name in names]
    problems += [f"cluster {number} is there twice" for number in sorted({n for n in numbers if numbers.count(n) > 1})]
    if problems:
        raise InputError(f"{where} is not a table of names; mend these and try again:\n  " + "\n  ".join(problems))
    return names


def write_names(store: Storage, names: list[Name]) -> str:
    """Write the names of a clustering and return where; by cluster."""
    folder, key = names_key(store)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name in sorted(names, key=lambda one: one.cluster):
        overlap = "" if np.isnan(name.overlap) else f"{name.overlap:.3f}"
        writer.writerow([name.cluster, *map(defused, (name.name, name.notes, name.carried_from)), overlap])
    folder.write(key, text.getvalue().encode())
    return folder.path(key)


def overlap_table(old: xr.Dataset, new: xr.Dataset) -> NDArray[np.int64]:
    """Return how many windows each old and new cluster share, shape (n_old, n_new).

    Windows are told apart by recorder and time; those that only one clustering has do not count.

    Raises
    ------
    InputError
        If the two have other windows altogether.
    """
    grids = grid_of(old), grid_of(new)
    apart_ms = grids[1].origin_ms - grids[0].origin_ms
    if (grids[0].window_ms, grids[0].hop_ms) != (grids[1].window_ms, grids[1].hop_ms) or apart_ms % grids[0].hop_ms:
        raise InputError(
            f"the clusterings have other windows ({grids[0].attrs}, {grids[1].attrs}); "
            "names are carried by the windows that both have."
        )
    shift = apart_ms // grids[0].hop_ms
    n_old, n_new = old.sizes["cluster_id"], new.sizes["cluster_id"]
    table = np.zeros(n_old * n_new, dtype=np.int64)
    known = [str(name) for name in new["recorder"].to_numpy()]
    first, last = max(0, shift), min(old.sizes["time"], new.sizes["time"] + shift)
    for i, recorder in enumerate(str(name) for name in old["recorder"].to_numpy()):
        if recorder not in known or last <= first:
            continue
        a = old["cluster"][i, first:last].to_numpy().astype(np.int64)
        b = new["cluster"][known.index(recorder), first - shift : last - shift].to_numpy().astype(np.int64)
        both = (a >= 0) & (b >= 0)
        table += np.bincount(a[both] * n_new + b[both], minlength=n_old * n_new)
    return table.reshape(n_old, n_new)


def match_names(names: list[Name], shared: NDArray[np.int64], *, min_overlap: float) -> list[Match]:
    """Match each name with a cluster of another clustering.

    Parameters
    ----------
    names
        Of the old clustering.
    shared
        Windows that each old and new cluster share, shape (n_old, n_new).
    min_overlap
        Least Jaccard index that a name is carried with. Above 0.5 no two names can want the same cluster;
        below, the larger overlap has it.

    Raises
    ------
    InputError
        If a name is of a cluster that the clustering does not have.
    """
    unknown = [name.cluster for name in names if name.cluster >= len(shared)]
    if unknown:
        raise InputError(f"names.csv names cluster {unknown[0]}, the clustering has {len(shared)}, numbered from 0.")
    either = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None] - shared
    jaccard = shared / np.maximum(either, 1)
    best = [(float(jaccard[name.cluster].max()), int(jaccard[name.cluster].argmax())) for name in names]
    taken: set[int] = set()
    out: dict[int, Match] = {}
    for i in sorted(range(len(names)), key=lambda i: (-best[i][0], names[i].cluster)):
        overlap, cluster = best[i]
        is_carried = overlap >= min_overlap and overlap > 0 and cluster not in taken
        if is_carried:
            taken.add(cluster)
        out[i] = Match(names[i], cluster if overlap > 0 else -1, overlap, is_carried)
    return [out[i] for i in range(len(names))]


def carried(matches: list[Match], run: str) -> list[Name]:
    """Return the names that are carried, as rows of the new clustering's table."""
    return [
        Name(match.cluster, match.name.name, match.name.notes, f"{run}/{match.name.cluster}", match.overlap)
        for match in matches
        if match.is_carried
    ]
