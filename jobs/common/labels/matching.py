"""Match paths from other programs to recordings: the longest common end wins, never a mere namesake."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote

from jobs.common.audio.suffixes import AUDIO_SUFFIXES
from lake.errors import InputError
from lake.text import nearest, normal

MOST_NAMED = 3

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """The recordings that names lead to.

    Attributes
    ----------
    row
        Row of the recording by name; names of no recording are not in it.
    unknown
        Names of no recording, in order.
    """

    row: Mapping[str, int]
    unknown: Sequence[str]


@dataclass(frozen=True)
class _Index:
    """The recordings' paths, their parts in one Unicode form, and rows by file name and by file name without suffix."""

    parts: Sequence[Parts]
    by_path: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_file: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_stem: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def match_recordings(names: Iterable[str], paths: Sequence[str], *, root: str = "", what: str = "labels") -> Matched:
    """Find the recordings that names mean.

    Parameters
    ----------
    names
        Paths as programs wrote them: absolute or not, of Windows or not, file URLs; or ends of paths, with the suffix,
        with another suffix or without.
    paths
        Of the recordings, below their root.
    root
        Folder of the recordings; its name decides between names that differ in nothing else.
    what
        For messages: what carries the names.

    Returns
    -------
    Matched
        A name means the recordings whose path has the same end, compared folder by folder as far as both reach; of
        several, the one with the longest common end. The letter case of suffixes does not matter, nor whether letters
        are composed. A recording with another suffix is meant if no other has its name in its folder.

    Raises
    ------
    InputError
        With all names that may mean several recordings.
    """
    index = _index(paths)
    found: dict[str, int] = {}
    unknown: list[str] = []
    problems: list[str] = []
    for name in dict.fromkeys(names):
        rows = _rows_of(name, index, paths)
        if not rows and "%" in name:
            rows = _rows_of(unquote(name), index, paths)
        if len(rows) > 1:
            named = ", ".join(paths[i] for i in rows[:MOST_NAMED])
            problems.append(f"{name!r} may be {named}{' …' * (len(rows) > MOST_NAMED)}")
        elif rows:
            found[name] = rows[0]
        else:
            unknown.append(name)
    more, strangers = _contradictions(found, index, root, paths)
    problems += more
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems[:20])
        raise InputError(
            f"{len(problems)} names of recordings in {what} may mean several; name more of their paths, as the cube "
            f"has them:\n{listed}"
        )
    return Matched({name: row for name, row in found.items() if name not in strangers}, [*unknown, *sorted(strangers)])


def told_unknown(unknown: Sequence[str], paths: Sequence[str]) -> str:
    """Return names of no recording for a message, each with the recording that it is most like."""
    named = []
    for name in unknown[:MOST_NAMED]:
        stem = _stem(_parts(name)[-1]) if _parts(name) else name
        same = [path for path in paths if _stem(path.rpartition("/")[2]) == stem] or paths[:2000]
        near = nearest(name, same, 1) or same[:1]
        named.append(f"{name} (nearest: {', '.join(near)})" if near else name)
    return ", ".join(named) + (f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else "")


def _index(paths: Sequence[str]) -> _Index:
    index = _Index([tuple(normal(path).split("/")) for path in paths])
    for i, parts in enumerate(index.parts):
        index.by_path["/".join(parts)].append(i)
        index.by_file[_folded(parts[-1])].append(i)
        index.by_stem[_stem(parts[-1])].append(i)
    return index


def _rows_of(name: str, index: _Index, paths: Sequence[str]) -> list[int]:
    """Return the rows that a name may mean."""
    same = index.by_path.get(normal(name), [])
    if same:
        return [i for i in same if paths[i] == name] or same
    parts = _parts(name)
    if not parts:
        return []
    file, stem = parts[-1], _stem(parts[-1])
    rows = _longest(parts, {*index.by_file.get(_folded(file), []), *index.by_stem.get(file, [])}, index)
    if rows or stem == file:
        return rows
    return _longest(parts, set(index.by_stem.get(stem, [])), index)


def _longest(parts: Parts, rows: set[int], index: _Index) -> list[int]:
    """Return those of some rows whose path agrees with a name as far as both reach, and for longest."""
    ranked: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for i in sorted(rows):
        n = min(len(parts), len(index.parts[i]))
        mine, theirs = parts[len(parts) - n : -1], index.parts[i][len(index.parts[i]) - n : -1]
        if mine == theirs:
            ranked[n, len(index.parts[i]) == len(parts), index.parts[i][-1] == parts[-1]].append(i)
    return ranked[max(ranked)] if ranked else []


def _contradictions(
    found: Mapping[str, int], index: _Index, root: str, paths: Sequence[str]
) -> tuple[list[str], set[str]]:
    """Return problems, and names of no recording, among names that mean one recording but differ beyond its path."""
    beyond: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, row in found.items():
        parts, n = _parts(name), len(index.parts[row])
        if len(parts) > n and normal(name) != "/".join(index.parts[row]):
            beyond[row][parts[-n - 1]].append(name)
    problems: list[str] = []
    strangers: set[str] = set()
    of_root = normal(PurePosixPath(root).name) if root else ""
    for row, folders in beyond.items():
        if len(folders) < 2:
            continue
        if of_root in folders:
            strangers |= {name for folder, names in folders.items() if folder != of_root for name in names}
        else:
            named = " and ".join(repr(names[0]) for names in list(folders.values())[:MOST_NAMED])
            problems.append(f"{named} would both be {paths[row]}")
    return problems, strangers


def _parts(name: str) -> Parts:
    """Return the parts of a path of any system, in one Unicode form."""
    text = name.strip()
    if text.lower().startswith("file:"):
        text = unquote(text[len("file:") :])
    out: list[str] = []
    for part in normal(text).replace("\\", "/").split("/"):
        if part == ".." and out:
            out.pop()
        elif part not in {"", ".", ".."}:
            out.append(part)
    return tuple(out)


def _suffix(file: str) -> str:
    """Return the suffix of a recording's file name; empty if it is none of a recording."""
    suffix = PurePosixPath(file).suffix
    return suffix if suffix.lower() in AUDIO_SUFFIXES else ""


def _stem(file: str) -> str:
    return file.removesuffix(_suffix(file))


def _folded(file: str) -> str:
    return _stem(file) + _suffix(file).lower()
