"""Labels as other programs write them: positions in recordings, from Raven, Audacity, BirdNET or a plain table."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from lake.errors import InputError
from lake.escapes import as_written

LABEL_COLUMNS = (
    "Annotation",
    "annotation",
    "Common Name",
    "Common name",
    "Species",
    "species",
    "Label",
    "label",
    "Tags",
)
FILE_COLUMNS = ("Begin Path", "Begin File", "File")
SUFFIXES = (".csv", ".txt", ".tsv")
ENDINGS = (
    ".Table.1.selections",
    ".dawnchorus.selections",
    ".selections",
    ".BirdNET.selection.table",
    ".BirdNET.results",
    ".labels",
)


@dataclass(frozen=True)
class Mark:
    """One labelled interval of a recording.

    Attributes
    ----------
    recording
        Path, or the end of a path, of the recording; a name without its suffix where a table is beside its recording.
    start_s, end_s
        Seconds after the recording's start.
    label
        What was heard.
    group
        What must not be split between training and test, such as a source of clips; may be empty.
    confidence
        Of the program that labelled; 1 where a person did.
    where
        File and row, for messages.
    """

    recording: str
    start_s: float
    end_s: float
    label: str
    group: str
    confidence: float
    where: str


def read_marks(path: Path) -> list[Mark]:
    """Read a table of labelled intervals, or a folder of such tables.

    Parameters
    ----------
    path
        A file, or a folder whose ``.csv``, ``.txt`` and ``.tsv`` files are read. Recognised by their first line:
        ``recording,start_s,end_s,label[,group]`` (CSV); Raven selection tables (tabs, ``Begin Time (s)``); BirdNET's
        CSV (``Start (s),End (s),…``); Audacity labels (start, tab, end, tab, label; no header). A table that
        names no file belongs to the recording with the same name.

    Raises
    ------
    InputError
        With all rows that cannot be read, or if a file is none of these.
    """
    if not path.exists():
        raise InputError(f"{path}: expected labels, found no file; name a table, or a folder of tables.")
    files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: expected tables of labels ({', '.join(SUFFIXES)}), found none.")
    marks: list[Mark] = []
    problems: list[str] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            problems.append(f"{file}: not UTF-8; save the table as UTF-8")
            continue
        found, wrong = _parsed(file, text)
        marks += found
        problems += wrong
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems[:20])
        raise InputError(f"{path}: {len(problems)} problems in tables of labels; mend these and try again:\n{listed}")
    if not marks:
        raise InputError(f"{path}: expected labelled intervals, found none.")
    return marks


def is_plain_table(path: Path) -> bool:
    """Tell whether a file is the table of labels in UTC: it has a column ``recorder``, or cannot be told."""
    if not path.is_file():
        return not path.is_dir()
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
    return "recorder" in first.split(",") or not _kind(first)


Row = tuple[float, float, str, str, float, str]
"""Start, end, label, group, confidence, file."""


def _parsed(file: Path, text: str) -> tuple[list[Mark], list[str]]:
    kind = _kind(text.partition("\n")[0])
    if not kind:
        told = "recording,start_s,end_s,label; a Raven selection table; BirdNET's CSV; or Audacity's labels"
        return [], [f"{file}: expected {told}, found {text[:60]!r}"]
    own = file.name.removesuffix(file.suffix)
    own = next((own.removesuffix(ending) for ending in ENDINGS if own.endswith(ending)), own)
    marks: list[Mark] = []
    problems: list[str] = []
    for number, read in KINDS[kind](text):
        where = f"{file.name}, row {number}"
        try:
            start_s, end_s, label, group, confidence, recording = read()
        except (ValueError, KeyError, IndexError) as error:
            problems.append(f"{where}: cannot be read ({error})")
            continue
        label, recording = as_written(label), as_written(recording)  # as our own exports defuse them
        if not 0 <= start_s <= end_s or not label.strip():
            problems.append(f"{where}: expected a label from start to end, found {label!r}, {start_s} to {end_s}")
            continue
        recording = str(PurePosixPath(recording.replace("\\", "/"))) if recording else own
        marks.append(Mark(recording, start_s, end_s, label.strip(), group, confidence, where))
    return marks, problems


def _kind(first: str) -> str:
    names = next(csv.reader([first]), [])
    if {"recording", "start_s", "end_s", "label"} <= set(names):
        return "plain"
    if "Begin Time (s)" in first.split("\t"):
        return "raven"
    if {"Start (s)", "End (s)"} <= set(names):
        return "birdnet"
    parts = first.rstrip("\r\n").split("\t")
    try:
        return "audacity" if len(parts) >= 2 and float(parts[0]) <= float(parts[1]) else ""
    except ValueError:
        return ""


Reads = Sequence[tuple[int, Callable[[], Row]]]


def _plain(text: str) -> Reads:
    def read(row: dict[str, str]) -> Row:
        return float(row["start_s"]), float(row["end_s"]), row["label"], row.get("group") or "", 1.0, row["recording"]

    return [(i, partial(read, row)) for i, row in enumerate(csv.DictReader(io.StringIO(text)), 2)]


def _raven(text: str) -> Reads:
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))

    def read(row: dict[str, str]) -> Row:
        label = next((row[name] for name in LABEL_COLUMNS if row.get(name)), "")
        file = next((row[name] for name in FILE_COLUMNS if row.get(name)), "")
        start_s, end_s = float(row["Begin Time (s)"]), float(row["End Time (s)"])
        if row.get("File Offset (s)"):  # a table over several files counts from the first one's start
            start_s, end_s = float(row["File Offset (s)"]), float(row["File Offset (s)"]) + end_s - start_s
        return start_s, end_s, label or "unlabelled", "", float(row.get("Confidence") or 1), file

    kept = [(i, row) for i, row in enumerate(rows, 2) if not (row.get("View") or "Spectrogram").startswith("Waveform")]
    return [(i, partial(read, row)) for i, row in kept]


def _birdnet(text: str) -> Reads:
    def read(row: dict[str, str]) -> Row:
        label = row.get("Common name") or row.get("Scientific name") or ""
        return (
            float(row["Start (s)"]),
            float(row["End (s)"]),
            label,
            "",
            float(row["Confidence"]),
            row.get("File") or "",
        )

    return [(i, partial(read, row)) for i, row in enumerate(csv.DictReader(io.StringIO(text)), 2)]


def _audacity(text: str) -> Reads:
    def read(line: str) -> Row:
        parts = line.split("\t")
        return float(parts[0]), float(parts[1]), parts[2], "", 1.0, ""

    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("\\")]
    return [(i, partial(read, line)) for i, line in lines]


KINDS: dict[str, Callable[[str], Reads]] = {
    "plain": _plain, "raven": _raven, "birdnet": _birdnet, "audacity": _audacity,
}  # fmt: skip
