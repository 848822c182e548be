"""Bringing verdicts into the lake: from our own tables and from label files, all checked before any is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from jobs.common.labels.intervals import read_labels
from jobs.common.labels.marks import is_plain_table, read_marks
from jobs.common.labels.placing import PADDED_S, place_marks, recordings_of
from jobs.common.run import listed
from jobs.review.cells import instant, milliseconds
from jobs.review.windows import Windows
from lake.digest import sha256_of
from lake.errors import InputError
from lake.escapes import as_written
from lake.grid import iso
from lake.sheets import decoded, read_sheet, to_number
from lake.sounds import Sounds
from lake.tables import make_table
from lake.verdicts import COLUMNS, VERDICTS

NEEDED = ("recorder", "time_utc", "sound", "verdict")
_WORDS = {**{word: word for word in VERDICTS}, **{word[0]: word for word in VERDICTS}}

Row = dict[str, object]


@dataclass(frozen=True)
class Given:
    """Options for reading files of verdicts.

    Attributes
    ----------
    reviewer
        Who decided, where a file does not say so.
    sounds
        Only these; all if empty.
    exhaustive
        Whether windows of a labelled recording that have no label of a sound are ``no``.
    min_overlap_s
        Seconds that a span must share with a window to count for it.
    now
        When labels were decided that do not say so.
    """

    reviewer: str = ""
    sounds: Sequence[str] = ()
    exhaustive: bool = False
    min_overlap_s: float = 0.5
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Read:
    """Verdicts with the columns of :data:`lake.verdicts.COLUMNS`, and notes."""

    table: pd.DataFrame
    notes: Sequence[str]


def read_files(paths: Sequence[Path], windows: Windows, sounds: Sounds, known: pd.DataFrame, given: Given) -> Read:
    """Read and check files of verdicts.

    Parameters
    ----------
    paths
        Tables with the columns :data:`NEEDED` and others of a delivery, or labels of any program that
        :func:`jobs.common.labels.marks.read_marks` reads.
    windows, sounds
        What they must be of.
    known
        The verdicts that the lake has, so that a file that was delivered once is known again.
    given
        How they are taken.

    Raises
    ------
    InputError
        With all that is wrong in any of the files.
    """
    rows: list[Row] = []
    notes: list[str] = []
    problems: list[str] = []
    wanted = {sounds.resolve(name) for name in _resolvable(given.sounds, sounds, problems)}
    for path in paths:
        reader = _own_rows if _is_own(path) else _label_rows
        source = sha256_of(path) if path.is_file() else ""
        before = known.loc[known["source"] == source, "decided_at"] if source else known["decided_at"][:0]
        decided = pd.Timestamp(before.min()) if len(before) else pd.Timestamp(given.now).tz_localize(None).floor("s")
        try:
            found, more, wrong = reader(path, windows, sounds, wanted, given)
        except InputError as error:
            problems.append(str(error))
            continue
        for row in found:
            row["decided_at"] = row.get("decided_at") or decided
            row["source"] = source
        rows += found
        notes += [f"{path.name}: {note}" for note in more]
        problems += [f"{path.name}, {problem}" for problem in wrong]
    if problems:
        raise InputError(
            f"{len(problems)} problems; nothing was added. Correct these and try again:\n"
            + listed([f"  {problem}" for problem in problems])
        )
    return Read(make_table(rows, COLUMNS), notes)


def _resolvable(names: Sequence[str], sounds: Sounds, problems: list[str]) -> list[str]:
    found = []
    for name in names:
        try:
            sounds.resolve(name)
            found.append(name)
        except ValueError as error:
            problems.append(f"--sound: {error}")
    return found


def _is_own(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        header = read_sheet(decoded(path.read_bytes())[0].partition("\n")[0]).header
    except ValueError:
        return False
    return {"verdict", "sound"} <= set(header)


def _own_rows(
    path: Path, windows: Windows, sounds: Sounds, wanted: set[str], given: Given
) -> tuple[list[Row], list[str], list[str]]:
    """Return the rows of a table of verdicts, notes, and what is wrong."""
    try:
        text, note = decoded(path.read_bytes())
        sheet = read_sheet(text)
    except ValueError as error:
        raise InputError(f"{path}: expected a table of verdicts (CSV): {error}.") from error
    missing = [column for column in NEEDED if column not in sheet.header]
    if missing:
        raise InputError(f"{path}: expected the columns {', '.join(NEEDED)}; {', '.join(missing)} is missing.")
    rows, wrong = [], []
    for number, cells in sheet.rows:
        row, problems = _own_row({key: as_written(cell) for key, cell in cells.items()}, windows, sounds, given)
        wrong += [f"row {number}: {problem}" for problem in problems]
        if not problems and (not wanted or row["sound"] in wanted):
            rows.append(row)
    return rows, [f"{note}."] if note else [], wrong


def _own_row(cells: Mapping[str, str], windows: Windows, sounds: Sounds, given: Given) -> tuple[Row, list[str]]:
    """Return a row of a table of verdicts, and what is wrong in it."""
    row: Row = {"batch": cells.get("batch", "")}
    windows = windows.of_batch(cells.get("batch", ""))
    problems: list[str] = []

    def take(key: str, read: Callable[[str], object], default: object = None) -> None:
        try:
            row[key] = read(cells[key]) if cells.get(key) else default
        except ValueError as error:
            problems.append(str(error))

    take("recorder", windows.recorder_of)
    take("time_utc", instant)
    take("duration_s", to_number, windows.grid.window_ms / 1000)
    take("sound", sounds.resolve)
    take("verdict", _verdict)
    take("reviewer", str, given.reviewer or None)
    take("decided_at", instant)
    take("seconds", to_number)
    take("draw", _whole)
    problems += [f"{key} is empty" for key in NEEDED if key in row and row[key] is None]
    if row["reviewer"] is None:
        problems.append("reviewer is empty; say who decided with --reviewer")
    if not problems:
        problems = [*_trace(row, cells.get("digest", ""), windows), *_asked(row, windows)]
    return row, problems


def _asked(row: Row, windows: Windows) -> list[str]:
    """Return what is wrong with the batch and the draw of a row: they must name its window, or both be empty."""
    name, draw = str(row["batch"]), row["draw"]
    if not name and draw is None:
        return []
    if not name or draw is None:
        return [f"batch {name!r} and draw {draw}: expected both, or neither; load the table that the page gave"]
    try:
        known = windows.batch(name)
    except InputError as error:
        return [f"{str(error).rstrip('.')}; a verdict that was asked for in another lake belongs there"]
    if not 0 <= int(str(draw)) < len(known.table):
        return [f"draw {draw}: batch {name!r} has the draws 0 to {len(known.table) - 1}"]
    asked = known.table.iloc[int(str(draw))]
    if (asked["recorder"], asked["time_utc"]) == (row["recorder"], row["time_utc"]):
        return []
    here = f"{row['recorder']} at {iso(milliseconds(row['time_utc']))}"
    there = f"{asked['recorder']} at {iso(milliseconds(asked['time_utc']))}"
    told = f"draw {draw} of batch {name!r} is the window of {there}, the row is of {here}: cells were moved"
    return [f"{told}; load the table that the page gave"]


def _trace(row: Row, digest: str, windows: Windows) -> list[str]:
    """Add to a row what traces its window; return what is wrong."""
    recorder, start_ms = str(row["recorder"]), milliseconds(row["time_utc"])
    length_ms = round(float(str(row["duration_s"])) * 1000)
    if length_ms != windows.grid.window_ms:
        here = windows.grid.window_ms / 1000
        return [f"a window of {length_ms / 1000:g} s; those of {windows.run.name!r} have {here:g} s: of another run?"]
    try:
        cell = windows.cell_of(recorder, start_ms)
        row["recording"], row["offset_s"] = windows.recording_of(recorder, start_ms, start_ms + length_ms)
    except ValueError as error:
        return [str(error)]
    row["digest"] = windows.digest_of(recorder, cell)
    if digest and digest != row["digest"]:
        told = f"the window of {recorder} at {iso(start_ms)} was heard with the digest {digest}"
        return [f"{told}, and has {row['digest']}: it is of another lake, or was made again with other settings"]
    return []


def _label_rows(
    path: Path, windows: Windows, sounds: Sounds, wanted: set[str], given: Given
) -> tuple[list[Row], list[str], list[str]]:
    """Return labels as verdicts, notes, and what is wrong."""
    if not given.reviewer:
        raise InputError(f"{path}: labels do not say who decided; say it with --reviewer NAME.")
    spans, notes, wrong = _plain_spans(path) if is_plain_table(path) else _marked_spans(path, windows)
    rows: list[Row] = []
    n_passed, n_kept = 0, 0
    unknown: dict[str, str] = {}
    for where, recorder, start_ms, end_ms, label in spans:
        try:
            sound = sounds.resolve(label)
        except ValueError as error:
            unknown.setdefault(label, f"{where}: {error}")
            continue
        if wanted and sound not in wanted:
            n_passed += 1
            continue
        try:
            mine = windows.recorder_of(recorder)
            recording, offset_s = windows.recording_of(mine, start_ms, end_ms, most_beyond_s=PADDED_S)
        except ValueError as error:
            wrong.append(f"{where}: {error}")
            continue
        n_kept += not len(windows.covered(mine, start_ms, end_ms, min_overlap_ms=round(given.min_overlap_s * 1000)))
        row = _row(mine, (start_ms, end_ms), sound, "yes", given.reviewer)
        rows.append(row | {"recording": recording, "offset_s": offset_s})
    if wanted:
        n_passed += len(unknown)
    else:
        wrong += unknown.values()
    notes += [f"{n_passed} labels are of other sounds; they are passed over."] if n_passed else []
    if n_kept:
        notes.append(
            f"{n_kept} of {len(rows)} spans share less than {given.min_overlap_s:g} s with every window: they are "
            "kept, and count for none."
        )
    if given.exhaustive and not wrong:
        rows += _absences(rows, windows, given)
    return rows, notes, wrong


Span = tuple[str, str, int, int, str]
"""Its source, recorder, start and end in milliseconds since 1970, and label."""


def _plain_spans(path: Path) -> tuple[list[Span], list[str], list[str]]:
    labels = read_labels(path)
    spans = [
        (f"{recorder} at {iso(int(start))}", recorder, int(start), int(end), labels.names[number])
        for recorder, found in labels.by_recorder.items()
        for start, end, number in zip(found.start_ms, found.end_ms, found.label, strict=True)
    ]
    return spans, [], []


def _marked_spans(path: Path, windows: Windows) -> tuple[list[Span], list[str], list[str]]:
    read = read_marks(path)
    cube = recordings_of(windows.cube, str(windows.run.recordings.root) if windows.run.recordings else "")
    found = place_marks(read.marks, cube, min_confidence=0.0)
    outside = [note for note in found.notes if "lie outside" in note]
    spans = [
        (mark.where, cube.recorder[row], int(start), int(end), mark.label)
        for mark, row, start, end in zip(found.marks, found.row, found.start_ms, found.end_ms, strict=True)
    ]
    return spans, [*read.notes, *(note for note in found.notes if note not in outside)], outside


def _absences(rows: Sequence[Row], windows: Windows, given: Given) -> list[Row]:
    """Return ``no`` for the windows of labelled recordings that share nothing with any span of a sound."""
    heard: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        heard.setdefault((str(row["recorder"]), str(row["recording"])), []).append(row)
    found: list[Row] = []
    sounds = sorted({str(row["sound"]) for row in rows})
    for (recorder, recording), mine in heard.items():
        for cell in windows.usable(windows.recorders.index(recorder)):
            start_ms = windows.start_ms(windows.recorders.index(recorder), int(cell))
            end_ms = start_ms + windows.grid.window_ms
            path, offset_s = windows.recording_of(recorder, start_ms, end_ms)
            if path != recording:
                continue
            for sound in sounds:
                if not any(_overlaps(row, start_ms, end_ms) for row in mine if row["sound"] == sound):
                    trace = {"recording": path, "offset_s": offset_s, "digest": windows.digest_of(recorder, int(cell))}
                    found.append(_row(recorder, (start_ms, end_ms), sound, "no", given.reviewer) | trace)
    return found


def _overlaps(row: Row, start_ms: int, end_ms: int) -> bool:
    begin_ms = milliseconds(row["time_utc"])
    return begin_ms < end_ms and begin_ms + round(float(str(row["duration_s"])) * 1000) > start_ms


def _row(recorder: str, span_ms: tuple[int, int], sound: str, verdict: str, reviewer: str) -> Row:
    return {
        "recorder": recorder, "time_utc": pd.Timestamp(span_ms[0], unit="ms"),
        "duration_s": (span_ms[1] - span_ms[0]) / 1000, "sound": sound, "verdict": verdict, "reviewer": reviewer,
    }  # fmt: skip


def _verdict(cell: str) -> str:
    found = _WORDS.get(cell.strip().lower())
    if found is None:
        raise ValueError(f"expected yes, no or unsure, found {cell!r}")
    return found


def _whole(cell: str) -> int:
    value = to_number(cell)
    if value != int(value) or value < 0:
        raise ValueError(f"draw: expected a whole number, found {cell!r}")
    return int(value)
