"""Tables of labels as programs write them: which program's a table is, and what each of its rows says."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lake.sheets import Sheet, read_sheet, to_number, to_seconds

T = TypeVar("T")
NOTHING = frozenset(
    {"", "nocall", "no call", "no_call", "no-call", "no detection", "no detections", "nodetection", "noid", "no id"}
    | {"nan", "na", "n/a", "null"}
)
"""Values that mean "nothing" in tables of BirdNET and Kaleidoscope, and in empty cells of R and pandas; lower case."""
UNLABELLED = "unlabelled"
_CONFIDENCE = re.compile(r"(.*?\S)\s*(?:[;:,]\s*|\s)[(\[]?(?:conf(?:idence)?\s*[=:]?\s*)?([01]\.\d{2,})[)\]]?")
"""A label with a confidence of at least two decimals at its end."""


@dataclass(frozen=True)
class Entry:
    """One row of a table of labels.

    Attributes
    ----------
    start_s, end_s
        Seconds after the start of the recording, or of the sequence of recordings.
    label
        Empty where the program heard nothing.
    file
        As the program wrote it; empty if the table names none.
    group, confidence
        As :class:`jobs.common.labels.marks.Mark` has them.
    in_sequence
        Whether the seconds may count from the start of the first of several recordings.
    """

    start_s: float
    end_s: float
    label: str
    file: str = ""
    group: str = ""
    confidence: float = 1.0
    in_sequence: bool = False


class Cells:
    """The cells of a row by column, whatever the letter case of the column's name."""

    def __init__(self, row: Mapping[str, str]) -> None:
        self.names = {_plain_name(name): name for name in row}
        self.row = row

    def text(self, *columns: str) -> str:
        """Return the text of the first of some columns that has any; empty if none has."""
        cells = (self.row[self.names[name]] for name in columns if name in self.names)
        return next(filter(None, cells), "")

    def label(self, *columns: str) -> str:
        """Return the first label in some columns that is one; empty if none is."""
        cells = (self.text(name) for name in columns)
        return next((cell for cell in cells if not is_nothing(cell)), "")

    def seconds(self, column: str) -> float:
        """Return the seconds in a cell."""
        return self._read(column, to_seconds)

    def confidence(self) -> float:
        """Return the confidence, 1 where there is none."""
        return self._read("confidence", to_number) if self.text("confidence") else 1.0

    def _read(self, column: str, read: Callable[[str], float]) -> float:
        try:
            return read(self.text(column))
        except ValueError as error:
            raise ValueError(f"{self.names.get(column, column)}: {error}") from error


@dataclass(frozen=True)
class Dialect:
    """A kind of table with a header.

    Attributes
    ----------
    title
        Of the kind.
    signs
        Sets of columns, in lower case; a table that has all of one set is of the kind.
    needs
        Columns that the kind needs, as its program writes them: one of each group.
    read
        Return what a row says.

    Raises
    ------
    ValueError
        By ``read``, if a cell is not what it should be.
    """

    title: str
    signs: tuple[frozenset[str], ...]
    needs: tuple[tuple[str, ...], ...]
    read: Callable[[Cells], Entry]


def is_nothing(label: str) -> bool:
    """Return whether a label says that nothing was heard, such as ``nocall`` or ``nocall_nocall``."""
    plain = label.strip().lower()
    return plain in NOTHING or all(part.strip() in NOTHING for part in re.split("[_,;]", plain))


def entries_of(text: str) -> tuple[str, list[tuple[int, Entry]], list[str]]:
    """Return the kind of a table, its rows by number, and what is wrong in it.

    Returns
    -------
    title
        Of the kind; empty if it is none that is known.
    entries
        Row number (the first line is 1) and what it says.
    problems
        Of rows, or of the whole table.
    """
    if is_audacity(text):
        lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "\\"]
        return "Audacity's labels", *_each(lines, _audacity)
    dialect = dialect_of(text)
    if dialect is None:
        return "", [], []
    try:
        sheet = read_sheet(text, quotes=dialect is not RAVEN or "\t" not in text.partition("\n")[0])
    except ValueError as error:
        return dialect.title, [], [str(error)]
    columns = {_plain_name(name) for name in sheet.header}
    missing = [group for group in dialect.needs if columns.isdisjoint(map(_plain_name, group))]
    if missing:
        return dialect.title, [], [f"{_told_missing(missing)}; there are {', '.join(sheet.header)}"]
    rows = _raven_rows(sheet) if dialect is RAVEN else [(number, Cells(row)) for number, row in sheet.rows]
    entries, problems = _each(rows, dialect.read)
    if dialect is RAVEN and entries and not any(entry.label for _, entry in entries) and not _has_labels(rows):
        entries = [(number, replace(entry, label=UNLABELLED)) for number, entry in entries]
    return dialect.title, entries, problems


def dialect_of(text: str) -> Dialect | None:
    """Return the kind of a table by its header; ``None`` if it is none that is known, or has none."""
    try:
        header = read_sheet(text.lstrip("\r\n").partition("\n")[0]).header
    except ValueError:
        return None
    columns = {_plain_name(name) for name in header}
    return next((one for one in DIALECTS if any(sign <= columns for sign in one.signs)), None)


def is_audacity(text: str) -> bool:
    """Return whether a text begins as Audacity's labels do: start, tab, end, tab, label."""
    first = next((line for line in text.splitlines() if line.strip()), "").split("\t")
    try:
        return len(first) > 2 and all(float(cell.replace(",", ".")) or True for cell in first[:2])
    except ValueError:
        return False


def _told_missing(groups: Sequence[Sequence[str]]) -> str:
    told = []
    for first, *others in groups:
        told.append(f"column {first} is missing" + (f" (or {', '.join(others)})" if others else ""))
    return ", ".join(told)


def _each(rows: Sequence[tuple[int, T]], read: Callable[[T], Entry]) -> tuple[list[tuple[int, Entry]], list[str]]:
    entries: list[tuple[int, Entry]] = []
    problems: list[str] = []
    for number, row in rows:
        try:
            entry = read(row)
        except ValueError as error:
            problems.append(f"row {number}: {error}")
            continue
        entries.append((number, entry))
        if entry.label and entry.end_s < entry.start_s:
            problems.append(
                f"row {number}: {entry.label!r} ends at {entry.end_s:g} s, before its start at {entry.start_s:g} s"
            )
    return entries, problems


def _plain_name(column: str) -> str:
    """Return a column's name in lower case, without the star that Kaleidoscope adds."""
    return column.strip().rstrip("*").strip().lower()


def _audacity(line: str) -> Entry:
    start, end, *rest = [cell.strip() for cell in line.split("\t")]
    label, confidence = (rest[0] if rest else ""), 1.0
    if len(rest) > 1 and rest[1]:
        confidence = to_number(rest[1])
    elif found := _CONFIDENCE.fullmatch(label):
        label, confidence = found[1], to_number(found[2])
    return Entry(to_seconds(start), to_seconds(end), "" if is_nothing(label) else label, confidence=confidence)


def _plain(cells: Cells) -> Entry:
    label = cells.label("label")
    if not cells.text("recording"):
        raise ValueError("recording: expected a path, found none")
    return Entry(
        cells.seconds("start_s"), cells.seconds("end_s"), label, cells.text("recording"), cells.text("group")
    )  # fmt: skip


def _export(cells: Cells) -> Entry:
    label = cells.label("name") or f"cluster {cells.text('cluster')}"
    return Entry(cells.seconds("start_s"), cells.seconds("end_s"), label, cells.text("recording"))


RAVEN_LABELS = ("annotation", "common name", "species", "label", "tags", "scientific name")


def _raven(cells: Cells) -> Entry:
    label = cells.label(*RAVEN_LABELS)
    start_s = cells.seconds("begin time (s)")
    end_s = cells.seconds("end time (s)") if cells.text("end time (s)") else start_s + cells.seconds("delta time (s)")
    offset = cells.text("file offset (s)")
    if offset:  # a table over several files counts from the first one's start
        length_s = end_s - start_s
        start_s = cells.seconds("file offset (s)")
        end_s = start_s + length_s
    file = cells.text("begin path", "begin file", "file")
    return Entry(start_s, end_s, label, file, "", cells.confidence(), in_sequence=bool(file) and not offset)


def _raven_rows(sheet: Sheet) -> list[tuple[int, Cells]]:
    """Return the rows of a Raven table, each selection once: it has a row for every view, one of them the waveform."""
    rows = [(number, Cells(row)) for number, row in sheet.rows]

    def selection(cells: Cells) -> tuple[str, ...]:
        return cells.text("selection"), cells.text("begin time (s)"), cells.text("begin path", "begin file", "file")

    seen = {selection(cells) for _, cells in rows if not _is_waveform(cells)}
    return [(i, cells) for i, cells in rows if not _is_waveform(cells) or selection(cells) not in seen]


def _is_waveform(cells: Cells) -> bool:
    return cells.text("view").startswith("Waveform")


def _has_labels(rows: Sequence[tuple[int, Cells]]) -> bool:
    return any(cells.text(*RAVEN_LABELS) for _, cells in rows)


def _birdnet(cells: Cells) -> Entry:
    label = cells.label("common name", "scientific name")
    start_s, end_s = cells.seconds("start (s)"), cells.seconds("end (s)")
    return Entry(start_s, end_s, label, cells.text("file"), "", cells.confidence())


def _r_table(cells: Cells) -> Entry:
    label = cells.label("common_name", "scientific_name")
    if not label:  # a recording without a detection has a row without times
        return Entry(0.0, 0.0, "")
    return Entry(cells.seconds("start"), cells.seconds("end"), label, cells.text("filepath"), "", cells.confidence())


def _predictions(cells: Cells) -> Entry:
    label = cells.label("common_name", "species_name", "species", "scientific_name", "label")
    file = cells.text("input", "filepath", "file_path", "file", "path", "filename")
    return Entry(cells.seconds("start_time"), cells.seconds("end_time"), label, file, "", cells.confidence())


def _kaleidoscope(cells: Cells) -> Entry:
    label = cells.label("manual id", "top1match", "auto id", "common_name", "scientific_name")
    if not label:
        return Entry(0.0, 0.0, "")
    file = "/".join(part for part in (cells.text("indir"), cells.text("folder"), cells.text("in file")) if part)
    start_s = cells.seconds("offset")
    return Entry(start_s, start_s + cells.seconds("duration"), label, file, "", cells.confidence())


def _signs(*columns: set[str]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(one) for one in columns)


RAVEN = Dialect(
    "a Raven selection table", _signs({"begin time (s)"}, {"end time (s)"}),
    (("Begin Time (s)",), ("End Time (s)", "Delta Time (s)")), _raven,
)  # fmt: skip
DIALECTS = (
    Dialect(
        "a table of `dawnchorus export`", _signs({"recording", "start_s", "end_s", "cluster", "name"}), (), _export
    ),
    Dialect(
        "recording,start_s,end_s,label",
        _signs(*({"recording", "start_s", "end_s", "label"} - {one} for one in ("end_s", "start_s", "label"))),
        (("recording",), ("start_s",), ("end_s",), ("label",)), _plain,
    ),
    RAVEN,
    Dialect(
        "BirdNET's CSV", _signs({"start (s)"}, {"end (s)"}),
        (("Start (s)",), ("End (s)",), ("Common name", "Scientific name"), ("Confidence",)), _birdnet,
    ),
    Dialect(
        "BirdNET's table for R", _signs({"filepath", "start"}, {"filepath", "end"}),
        (("start",), ("end",), ("common_name", "scientific_name"), ("confidence",)), _r_table,
    ),
    Dialect(
        "a table of predictions (birdnet, birdnetlib)",
        _signs({"start_time", "confidence"}, {"end_time", "confidence"}),
        (("start_time",), ("end_time",), ("common_name", "species_name", "species", "scientific_name", "label")),
        _predictions,
    ),
    Dialect(
        "Kaleidoscope's CSV", _signs({"in file"}),
        (("OFFSET",), ("DURATION",), ("MANUAL ID", "TOP1MATCH", "AUTO ID", "common_name", "scientific_name")),
        _kaleidoscope,
    ),
)  # fmt: skip
"""In the order in which they are tried."""
