"""Labels as other programs write them: positions in recordings, from one table or a folder of tables."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs.common.labels.dialects import DIALECTS, Entry, dialect_of, entries_of, is_audacity
from jobs.common.run import listed
from lake.errors import InputError
from lake.escapes import as_written
from lake.sheets import decoded

SUFFIXES = (".csv", ".txt", ".tsv")
"""Of tables of labels, in lower case."""
ENDINGS = (
    ".dawnchorus.selections", ".selections", ".BirdNET.selection.table", ".BirdNET.results.r",
    ".BirdNET.results.kaleidoscope",
    ".BirdNET.results", ".labels",
)  # fmt: skip
"""Endings that programs add to a recording's name, before the suffix."""
MOST_NAMED = 5


@dataclass(frozen=True)
class Mark:
    """One labelled interval of a recording.

    Attributes
    ----------
    recording
        Path of the recording as the program wrote it, or where the table stands and its name, without a suffix.
    start_s, end_s
        Seconds after the recording's start.
    label
        What was heard.
    group
        What must not be split between training and test, such as a source of clips; may be empty.
    confidence
        Of the program that labelled; 1 where a person did.
    table, row
        Where it stands.
    in_sequence
        Whether the seconds may count from the start of the first of the recordings that the table names.
    """

    recording: str
    start_s: float
    end_s: float
    label: str
    group: str
    confidence: float
    table: str
    row: int
    in_sequence: bool = False

    @property
    def where(self) -> str:
        """Table and row, for messages."""
        return f"{self.table}, row {self.row}"


@dataclass(frozen=True)
class Marks:
    """All labelled intervals of one or several tables.

    Attributes
    ----------
    marks
        In the order of the tables and their rows.
    notes
        What was passed over, and what was guessed, a line each.
    """

    marks: Sequence[Mark]
    notes: Sequence[str]


def read_marks(path: Path) -> Marks:
    """Read a table of labelled intervals, or a folder of such tables.

    Parameters
    ----------
    path
        A file of one of :data:`jobs.common.labels.dialects.DIALECTS` or of Audacity's labels, or a folder whose
        ``.csv``, ``.txt`` and ``.tsv`` files are read, in any letter case. A table that names no file belongs to the
        recording with the same name, in a folder with the same name as the table's. In a folder, hidden files, empty
        tables and files that are no tables of labels are passed over.

    Raises
    ------
    InputError
        With all rows that cannot be read; or if there is no label.
    """
    if not path.exists():
        raise InputError(f"{path}: expected labels, found no file; name a table, or a folder of tables.")
    files, passed = _tables_below(path) if path.is_dir() else ([path], {})
    marks: list[Mark] = []
    notes: list[str] = []
    problems: list[str] = []
    n_nothing = 0
    for file in files:
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            text, note = decoded(file.read_bytes())
        except ValueError:
            passed[name] = "no text"
            continue
        kind, entries, wrong = entries_of(text)
        if not kind or not (entries or wrong):
            passed[name] = _why_not(text, kind)
            continue
        notes += [f"{name}: {note}."] if note else []
        problems += [f"{name}, {problem}" for problem in wrong]
        n_nothing += sum(not entry.label for _, entry in entries)
        own = _own_name(PurePosixPath(name.replace("\\", "/")))
        marks += [_mark(entry, own, name, number) for number, entry in entries if entry.label]
    left = _passed_over(passed)
    if problems:
        raise InputError(
            f"{path}: {len(problems)} problems in tables of labels; correct these and try again:\n"
            + listed([f"  {problem}" for problem in problems])
        )
    if n_nothing:
        notes.append(f"{n_nothing} rows say that nothing was heard (such as nocall); they are no labels.")
    if not marks:
        expected = "; ".join([*(dialect.title for dialect in DIALECTS), "Audacity's labels"])
        said = " ".join([*left, *notes]) or f"No file ends in {', '.join(SUFFIXES)}."
        raise InputError(
            f"{path}: expected labelled intervals, found none. {said} Tables that can be read: {expected}."
        )
    return Marks(marks, [*left, *notes])


def is_plain_table(path: Path) -> bool:
    """Return whether a file is the table of labels in UTC: it has times in UTC, or is of no other kind."""
    if not path.is_file():
        return not path.is_dir()
    try:
        text, _ = decoded(path.read_bytes())
    except ValueError:
        return False
    return _is_in_utc(text) or not (is_audacity(text) or dialect_of(text))


def _is_in_utc(text: str) -> bool:
    first = text.partition("\n")[0].lower()
    return "recorder" in first and ("start_utc" in first or "end_utc" in first)


def _tables_below(path: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the files below a folder that may be tables, and why others are passed over, by name."""
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    hidden = [file for file in found if any(part.startswith(".") for part in file.relative_to(path).parts)]
    passed = {str(file.relative_to(path)): "hidden" for file in hidden}
    return [file for file in found if file not in hidden], passed


def _why_not(text: str, kind: str) -> str:
    if not text.strip():
        return "empty"
    if kind:
        return "no rows"
    return "labels in UTC: name that table by itself" if _is_in_utc(text) else f"no table of labels: {text[:30]!r}"


def _passed_over(passed: dict[str, str]) -> list[str]:
    """Return a note of the files that were passed over; none if none were."""
    if not passed:
        return []
    reasons = Counter(why.partition(":")[0] for why in passed.values())
    counted = ", ".join(f"{n} {why}" for why, n in sorted(reasons.items()))
    named = ", ".join(f"{name} ({why})" for name, why in list(passed.items())[:MOST_NAMED])
    more = f" and {len(passed) - MOST_NAMED} more" if len(passed) > MOST_NAMED else ""
    files = "1 file is" if len(passed) == 1 else f"{len(passed)} files are"
    return [f"{files} passed over ({counted}): {named}{more}."]


def _own_name(table: PurePosixPath) -> PurePosixPath:
    """Return the path of the recording that a table stands for, without a suffix."""
    name = table.name[: -len(table.suffix)] if table.suffix else table.name
    ending = next((one for one in ENDINGS if name.lower().endswith(one.lower())), "")
    name = name[: len(name) - len(ending)]
    if ending == ".selections" and (stem := name.rpartition(".Table."))[1] and stem[2].isdigit():
        name = stem[0]
    return table.with_name(name or table.name)


def _mark(entry: Entry, own: PurePosixPath, table: str, row: int) -> Mark:
    file, label = as_written(entry.file), as_written(entry.label)  # as our own exports defuse them
    return Mark(
        _recording(own, file), entry.start_s, entry.end_s, label, entry.group, entry.confidence, table, row,
        entry.in_sequence,
    )  # fmt: skip


def _recording(own: PurePosixPath, file: str) -> str:
    """Return the recording that a row is of: the file that it names, in the table's folder if it names no folder."""
    if not file:
        return str(own)
    return file.replace("\\", "/") if "/" in file or "\\" in file else str(own.with_name(file))
