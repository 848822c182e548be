"""From folders of audio to a table of recordings.

What a file says about itself (its bytes) and what its name says are gathered apart and put together at the
end, so that further witnesses (headers, sidecar files) can be added beside them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from jobs.catalog.folders import absolute, find_recordings, name_recorders
from jobs.catalog.names import NameFacts, parse_name
from jobs.catalog.times import Start, format_offset, resolve_start
from jobs.catalog.zones import check_zones, choose_zones
from jobs.common.audio import AudioError, AudioInfo, probe
from lake.errors import InputError
from lake.recordings import make_recordings

BATCH_FILES = 256
"""Files handed to the workers at once."""

OnProgress = Callable[[int, int], None]
"""Called with the number of files done and of all files."""
OnUnreadable = Callable[[str, str], None]
"""Called with the path and the message of each file that cannot be read."""


@dataclass(frozen=True)
class FileFacts:
    """What the bytes of a file say.

    Attributes
    ----------
    sha256
        Of the file; empty if it cannot be opened.
    audio
        What decodes; ``None`` if nothing does.
    problems
        Codes of :data:`lake.recordings.PROBLEMS`.
    message
        Why nothing decodes.
    """

    sha256: str = ""
    audio: AudioInfo | None = None
    problems: tuple[str, ...] = ()
    message: str = ""


def catalog(
    folders: Sequence[Path],
    *,
    zones: Mapping[str, str],
    root: Path,
    workers: int = 1,
    on_progress: OnProgress | None = None,
    on_unreadable: OnUnreadable | None = None,
) -> pd.DataFrame:
    """List the recordings in folders: when and on which recorder they were made, and what is wrong with them.

    Parameters
    ----------
    folders
        Folders, or single files; see :func:`jobs.catalog.folders.find_recordings`.
    zones
        IANA zone of the recorders' clocks by folder or recorder; see :func:`jobs.catalog.zones.choose_zones`.
    root
        Folder above all recordings; paths in the table are relative to it.
    workers
        Files examined at once. The table does not depend on it.
    on_progress, on_unreadable
        Told about each file that is done, and about each that cannot be read.

    Returns
    -------
    pandas.DataFrame
        A table of recordings (:mod:`lake.recordings`), sorted by path. A file that cannot be read is a row
        like others, with the reason in ``problems``. Of recordings with the same bytes, all but the first
        by path are ``duplicate``.

    Raises
    ------
    InputError
        If a folder holds no recordings, one lies outside ``root``, or a zone is unknown or names no folder.
    """
    check_zones(zones)
    files = find_recordings(folders)
    top = absolute(root)
    outside = [str(file) for file in files if not file.is_relative_to(top)]
    if outside:
        raise InputError(
            f"{top} should hold all recordings, but {outside[0]} and {len(outside) - 1} others are elsewhere."
        )
    names = [parse_name(file) for file in files]
    recorders = name_recorders(files, [facts.recorder for facts in names], folders)
    chosen = choose_zones(zones, [file.parent for file in files], recorders)
    starts = [resolve_start(facts, zone) for facts, zone in zip(names, chosen, strict=True)]
    rows = []
    first_of: dict[str, Path] = {}
    examined = _examine_all(files, workers)
    for i, (file, facts) in enumerate(zip(files, examined, strict=True)):
        row = _row(names[i], starts[i], facts)
        row |= {"path": _text(file.relative_to(top).as_posix()), "recorder": _text(recorders[i])}
        if facts.audio and first_of.setdefault(facts.sha256, file) != file:
            row["problems"] = ";".join(filter(None, [str(row["problems"]), "duplicate"]))
        rows.append(row)
        if facts.message and on_unreadable:
            on_unreadable(str(row["path"]), facts.message)
        if on_progress:
            on_progress(i + 1, len(files))
    return make_recordings(rows)


def examine(file: Path) -> FileFacts:
    """Read a file: its digest, and what decodes. Whatever is wrong with it, that is the answer."""
    if _text(str(file)) != str(file):
        return FileFacts(
            problems=("name_not_utf8",), message=f"{_text(str(file))}: the name is not UTF-8; rename the file."
        )
    try:
        audio = probe(file)
    except AudioError as error:
        return FileFacts(_digest(file), None, (error.problem,), str(error))
    sha256 = _digest(file)
    if not sha256:
        return FileFacts(problems=("unreadable",), message=f"{file}: cannot be read to its end; check the disk.")
    return FileFacts(sha256, audio, audio.problems)


def _digest(file: Path) -> str:
    """Return the SHA-256 of a file; empty if it is none, or cannot be read."""
    if not file.is_file():
        return ""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def _examine_all(files: Iterable[Path], workers: int) -> Iterator[FileFacts]:
    """Examine files side by side, in their order, a bounded number ahead."""
    waiting = iter(files)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(waiting, BATCH_FILES)):
            yield from pool.map(examine, batch)


def _row(name: NameFacts, start: Start, file: FileFacts) -> dict[str, object]:
    row: dict[str, object] = {
        "start_utc": start.utc,
        "start_local": start.local,
        "utc_offset": format_offset(start.offset),
        "time_source": start.source,
        "time_conflict": start.conflict,
        "sha256": file.sha256,
        "problems": ";".join([*file.problems, *start.problems]),
        "latitude": name.latitude,
        "longitude": name.longitude,
    }
    if file.audio:
        row |= {
            "duration_s": round(file.audio.duration_s, 6),
            "sample_rate_hz": file.audio.sample_rate_hz,
            "n_channels": file.audio.n_channels,
            "n_samples": file.audio.n_samples,
            "format": file.audio.format,
            "reading": file.audio.reading,
        }
    return row


def _text(name: str) -> str:
    """Return a name as text: bytes that are no UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()
