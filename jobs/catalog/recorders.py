"""The recorder of each recording: files of one serial are one recorder, files of two serials never are.

The rule is a pure function over folders, serials and the rows of the table that is there already.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import PurePath

from lake.text import loose, normal

SEPARATOR = "_"
"""Joins the parts of a longer name: safe in file names, and in spreadsheets, where ``1/2`` and ``1-2`` are dates."""
_JUNK = frozenset({"", "0", "-", "none", "unknown", "n/a", "na", "null", "serial", "undefined"})
_MAKERS_SERIALS = re.compile(r"S[M4][0-9A-Z]\d{5,6}|2M[A-Z]\d{5}|[0-9A-F]{16}")
_FRONTIER_LABS = re.compile(r"0*[1-9]\d{3,7}")


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence for the recorder that made a file.

    Attributes
    ----------
    path, home
        Absolute path, and the folder that stands for the recorder.
    serial
        Of the recorder; empty if unknown.
    word
        A prefix of the name that is no serial: a word that a user set.
    sha256
        Of the file; empty if unknown.
    """

    path: PurePath
    home: PurePath
    serial: str = ""
    word: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table that is there already.

    Attributes
    ----------
    seen
        What it says of its file; the serial only if its name, or the receipt, has it.
    recorder
        Its recorder.
    start_s, end_s
        When it was recorded, seconds of any one clock; ``None`` if unknown.
    """

    seen: Seen
    recorder: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One recorder: a serial, or a folder and, where the folder holds several, a word."""

    serial: str = ""
    home: str = ""
    word: str = ""


def usable_serial(text: str) -> str:
    """Return a serial without blanks; empty if it is a placeholder such as ``0000`` or ``unknown``."""
    serial = text.strip()
    return "" if loose(serial) in _JUNK or not any(char.isalnum() for char in serial) else serial


def serial_in_name(prefix: str, maker: str) -> str:
    """Return the prefix of a recording's name if it has the form of a maker's serials, else nothing.

    ``S4A03895`` (Wildlife Acoustics), ``24A04F085FDF2793`` (AudioMoth) and, in Frontier Labs' names, four to eight
    digits. Words that users set, such as ``SwiftOne`` or ``NORTH``, may be those of many recorders.
    """
    is_serial = _MAKERS_SERIALS.fullmatch(prefix) or (maker == "FL" and _FRONTIER_LABS.fullmatch(prefix))
    return prefix if is_serial else ""


def may_be_serial(text: str) -> bool:
    """Return whether a text has the form of a serial, which only a header may hold."""
    return text.isdecimal() or _MAKERS_SERIALS.fullmatch(text) is not None


def contradicts(named: str, written: str) -> bool:
    """Return whether the serial in a name and the one in the header are of one form, and differ."""
    forms = {_form(named), _form(written)}
    return len(forms) == 1 and forms != {""} and loose(named) != loose(written)


def _form(serial: str) -> str:
    if serial.isdecimal():
        return "digits"
    if _MAKERS_SERIALS.fullmatch(serial):
        return "AudioMoth" if len(serial) == 16 else "Song Meter"
    return ""


def name_recorders(files: Sequence[Seen], rows: Sequence[Row] = ()) -> tuple[list[str], list[str]]:
    """Choose the recorder of each file.

    Parameters
    ----------
    files
        The recordings, in any order.
    rows
        Those of the table that is there already.

    Returns
    -------
    tuple of two lists of str
        The recorder of each file, and what is to be said about recorders that share a name.

    Notes
    -----
    A file's recorder is the one that its row has: the row of its path, or of its content where the path is gone. Other
    files of that recorder follow. A new recorder is called by the name of its folder, if that folder holds no other
    recorder and no other folder has the name; else by its serial; without a serial by its folder, made longer by the
    parts above until folders differ. Where rows give one name to two recorders whose recordings overlap, only
    the one with more rows keeps it: a unit cannot be at two places.
    """
    units = find_units(files)
    found = _own_rows(files, rows)
    lost, notes = _settle(units, found)
    own = [None if row and (unit, row.recorder) in lost else row for unit, row in zip(units, found, strict=True)]
    used = {row.seen.path for row in found if row}
    claims = _claims(files, units, own, [row for row in rows if row.seen.path not in used])
    names = _names(files, units, claims, rows)
    at_home = _by_home(files, units, own)
    return [
        row.recorder if row else at_home.get((unit, file.home, bool(file.serial)), names[unit])
        for file, unit, row in zip(files, units, own, strict=True)
    ], notes


def find_units(files: Sequence[Seen]) -> list[Unit]:
    """Return the recorder of each file, unnamed.

    A file without a serial belongs to the one serial of its folder, if there is but one and no word in its name says
    otherwise; else to the folder or, where the folder holds several words or serials, to its word there.
    """
    serials: defaultdict[PurePath, set[str]] = defaultdict(set)
    words: defaultdict[PurePath, set[str]] = defaultdict(set)
    words_of_serials: defaultdict[PurePath, set[str]] = defaultdict(lambda: {""})
    for file in files:
        if file.serial:
            serials[file.home].add(loose(file.serial))
            words_of_serials[file.home].add(file.word)
        elif file.word:
            words[file.home].add(file.word)

    def unit(file: Seen) -> Unit:
        if file.serial:
            return Unit(serial=loose(file.serial))
        here = serials.get(file.home, set())
        if len(here) == 1 and file.word in words_of_serials[file.home]:
            return Unit(serial=next(iter(here)))
        is_shared = len(here) + len(words.get(file.home, ())) > 1
        return Unit(home=file.home.as_posix(), word=file.word if is_shared else "")

    return [unit(file) for file in files]


def _own_rows(files: Sequence[Seen], rows: Sequence[Row]) -> list[Row | None]:
    """Return the row of each file: that of its path and content, else of its content elsewhere, else of its path."""
    by_path = {row.seen.path: row for row in rows}
    here = {file.path for file in files}
    moved: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.seen.sha256 and row.seen.path not in here:
            moved[row.seen.sha256].append(row)

    def own(file: Seen) -> Row | None:
        same_path = by_path.get(file.path)
        if same_path and (not same_path.seen.sha256 or same_path.seen.sha256 == file.sha256):
            return same_path
        same_content = moved.get(file.sha256, ()) if file.sha256 else ()
        ranked = [(-_common_end(row.seen.path, file.path), row.seen.path, row) for row in same_content]
        return min(ranked, key=itemgetter(0, 1))[2] if ranked else same_path

    return [own(file) for file in files]


def _common_end(one: PurePath, other: PurePath) -> int:
    """Return how many parts two paths share, from their ends."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one.parts), len(other.parts)))


Claims = defaultdict[Unit, Counter[str]]


def _claims(files: Sequence[Seen], units: Sequence[Unit], own: Sequence[Row | None], gone: Sequence[Row]) -> Claims:
    """Return the names that rows give to each recorder, by number of rows.

    Rows of files with a serial count before those of files without, and these before those of files that are gone.
    """
    claims: Claims = defaultdict(Counter)
    at: defaultdict[str, set[Unit]] = defaultdict(set)
    sure: set[Unit] = set()
    for file, unit, row in sorted(zip(files, units, own, strict=True), key=lambda one: not one[0].serial):
        at[file.home.as_posix()].add(unit)
        if row and (file.serial or unit not in sure):
            sure.update({unit} if file.serial else ())
            claims[unit][row.recorder] += 1
    known, by_gone = set(units), defaultdict[Unit, Counter[str]](Counter)
    for row in gone:
        maker = _unit_of_gone(row.seen, known, at)
        if maker is not None and not claims[maker]:
            by_gone[maker][row.recorder] += 1
    return claims | by_gone


def _unit_of_gone(seen: Seen, known: set[Unit], at: Mapping[str, set[Unit]]) -> Unit | None:
    """Return the recorder that made a file that is gone: of its serial, else of its folder and word."""
    here = at.get(seen.home.as_posix(), set())
    if seen.serial and Unit(serial=loose(seen.serial)) in known:
        return Unit(serial=loose(seen.serial))
    if len(here) == 1 and not (seen.serial and next(iter(here)).serial):
        return next(iter(here))
    if seen.serial:
        return None
    choices = [Unit(home=seen.home.as_posix(), word=word) for word in (seen.word, "")]
    return next((unit for unit in choices if unit in here), None)


def _settle(units: Sequence[Unit], own: Sequence[Row | None]) -> tuple[set[tuple[Unit, str]], list[str]]:
    """Return the names that rows give to several recorders that cannot be one, with who loses it, and what to say."""
    lost: set[tuple[Unit, str]] = set()
    notes = []
    holders: defaultdict[str, dict[Unit, list[Row]]] = defaultdict(dict)
    for unit, row in zip(units, own, strict=True):
        if row:
            holders[row.recorder].setdefault(unit, []).append(row)
    for name, rows_of in sorted(holders.items()):
        ordered = sorted(rows_of, key=lambda unit: (-len(rows_of[unit]), unit))
        for i, unit in enumerate(ordered):
            holding = (other for other in ordered[:i] if (other, name) not in lost)
            others = [other for other in holding if not _share_a_home(unit, other, rows_of)]
            clash = next((other for other in others if _overlap(rows_of[unit], rows_of[other])), None)
            there = [_place(rows_of[one]) for one in (clash or unit, unit)]
            if clash:
                lost.add((unit, name))
                notes.append(
                    f"recorder {name!r} of the table was two that recorded at the same time, in {there[0]} and in "
                    f"{there[1]}: the latter gets a name of its own. A cube that was made from it holds one of the two "
                    "only: give its run a new name."
                )
            elif unit.serial and any(other.serial for other in others):
                notes.append(
                    f"recorder {name!r} of the table has recordings of several serials, among them those of "
                    f"{_serials(ordered)}: its rows keep the name. Remove the table to separate them."
                )
    return lost, notes


def _share_a_home(one: Unit, other: Unit, rows_of: Mapping[Unit, Sequence[Row]]) -> bool:
    """Return whether one of two recorders has no serial and a folder of the other."""
    if one.serial and other.serial:
        return False
    homes, others = ({row.seen.home for row in rows_of[unit]} for unit in (one, other))
    return bool(homes & others)


def _overlap(rows: Iterable[Row], others: Iterable[Row]) -> bool:
    """Return whether recordings of one overlap recordings of the other by more than a second."""
    spans = sorted(
        (row.start_s, row.end_s, i)
        for i, those in enumerate((rows, others))
        for row in those
        if row.start_s is not None and row.end_s is not None
    )
    ends = [float("-inf")] * 2
    for start_s, end_s, i in spans:
        if start_s < ends[1 - i] - 1:
            return True
        ends[i] = max(ends[i], end_s)
    return False


def _place(rows: Sequence[Row]) -> str:
    return min(row.seen.home for row in rows).as_posix()


def _serials(units: Iterable[Unit]) -> str:
    return ", ".join(sorted(unit.serial.upper() for unit in units if unit.serial))


def _by_home(
    files: Sequence[Seen], units: Sequence[Unit], own: Sequence[Row | None]
) -> dict[tuple[Unit, PurePath, bool], str]:
    """Return the name that a recorder's rows have most often in one of its folders, with a serial and without."""
    counted: defaultdict[tuple[Unit, PurePath, bool], Counter[str]] = defaultdict(Counter)
    for file, unit, row in zip(files, units, own, strict=True):
        if row:
            counted[unit, file.home, bool(file.serial)][row.recorder] += 1
    return {place: _most(names) for place, names in counted.items()}


def _most(names: Counter[str]) -> str:
    return min(names, key=lambda name: (-names[name], name))


def _names(files: Sequence[Seen], units: Sequence[Unit], claims: Claims, rows: Sequence[Row]) -> dict[Unit, str]:
    """Return the name of each recorder: the one that its rows have, else a new one."""
    names = {unit: _most(claims[unit]) for unit in sorted(set(units)) if claims[unit]}
    taken = {normal(row.recorder) for row in rows} | {normal(name) for name in names.values()}
    homes: defaultdict[Unit, set[PurePath]] = defaultdict(set)
    serials: dict[str, str] = {}
    for file, unit in zip(files, units, strict=True):
        homes[unit].add(file.home)
        if file.serial:
            shown = serials.get(unit.serial, file.serial)
            serials[unit.serial] = min(shown, file.serial, key=lambda serial: (-len(serial), serial))
    candidates = _candidates(homes, serials)
    for unit in sorted(homes):
        if unit not in names:
            names[unit] = next(name for name in candidates(unit) if normal(name) not in taken)
            taken.add(normal(names[unit]))
    return names


def _candidates(homes: Mapping[Unit, set[PurePath]], serials: Mapping[str, str]) -> Callable[[Unit], Iterator[str]]:
    """Return what yields the names that a recorder may have, the best first; it does not end."""
    all_homes = {home for own in homes.values() for home in own}
    same_base: defaultdict[str, set[PurePath]] = defaultdict(set)
    for home in all_homes:
        same_base[normal(_base(home))].add(home)
    held = Counter(home for own in homes.values() for home in own)
    words = Counter(normal(unit.word) for unit in homes if unit.word)
    all_serials = {normal(serial) for serial in serials.values()}

    def candidates(unit: Unit) -> Iterator[str]:
        own = sorted(homes[unit])
        base = normal(_base(own[0]))
        is_alone = same_base[base] == set(own) and base not in all_serials - {normal(serials.get(unit.serial, ""))}
        longer = list(_longer(own[0], same_base[base]))
        if unit.serial:
            if is_alone and all(held[home] == 1 for home in own):
                yield base
            yield normal(serials[unit.serial])
            longer = [f"{name}{SEPARATOR}{serials[unit.serial]}" for name in longer]
        elif unit.word:
            if words[normal(unit.word)] == 1 and normal(unit.word) not in same_base.keys() | all_serials:
                yield normal(unit.word)
            longer = [f"{name}{SEPARATOR}{normal(unit.word)}" for name in longer]
        elif is_alone:
            yield base
        yield from longer
        n = 2
        while True:
            yield f"{longer[-1]}{SEPARATOR}{n}"
            n += 1

    return candidates


def _longer(home: PurePath, same: Iterable[PurePath]) -> Iterator[str]:
    """Yield a folder's name with parts above it, from the shortest that no other folder of the name shares."""
    others = [other for other in same if other != home]
    for n in range(1 if not others else 2, len(home.parts) + 1):
        end = home.parts[-n:]
        if all(other.parts[-n:] != end for other in others):
            yield normal(SEPARATOR.join(part.strip("/") or "root" for part in end))
    yield normal(SEPARATOR.join(part.strip("/") or "root" for part in home.parts))


def _base(home: PurePath) -> str:
    return home.name if home.name.strip() else "root"
