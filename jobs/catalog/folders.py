"""Which files are recordings, and which recorder made each."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path, PurePath

from fsspec.implementations.local import LocalFileSystem

from jobs.catalog.remote import begins_as
from jobs.catalog.sidecars import is_sidecar
from lake.errors import InputError

AUDIO_SUFFIXES = (
    ".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".rf64",
    ".snd", ".w64", ".wac", ".wav", ".wave", ".wma", ".wv",
)  # fmt: skip
"""Suffixes of recordings, in lower case. ``.wac`` has no decoder here: it is listed, so that it is not missed."""
SYSTEM_FOLDERS = frozenset({"$recycle.bin", "system volume information", "lost+found"})
"""Folders that operating systems leave on cards."""
NAMELESS_FOLDERS = frozenset({"audio", "data", "flac", "raw", "recordings", "sounds", "wav"})
"""Folders whose names, in lower case, say nothing about a recorder."""

UNFINISHED = "data"
"""What Frontier Labs' recorders call the file that they are writing; it keeps the name when the power goes."""
UNFINISHED_HEADS = frozenset({b"fLaC", b"RIFF", b"\0\0\0\0", b""})
"""How such a file begins; others of the name are no sound."""

_DATE_FOLDER = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[_ T-].*)?")


def find_recordings(given: Sequence[Path]) -> list[Path]:
    """Return all recordings below folders, as :func:`find_files` does, without the files beside them."""
    return find_files(given)[0]


def find_files(given: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return all recordings below folders, and the files that say something about them, sorted by path.

    Parameters
    ----------
    given
        Folders, or single files. Files count by their suffix, one of :data:`AUDIO_SUFFIXES`, or as
        :data:`UNFINISHED`; a name that starts with a dot is hidden, and links to folders are not followed.

    Returns
    -------
    tuple of two lists of Path
        Absolute paths, each once.

    Raises
    ------
    InputError
        If one of them does not exist, cannot be listed or holds no recording; the message names them all.
    """
    found: dict[str, Path] = {}
    beside: dict[str, Path] = {}
    problems: list[str] = []
    for folder in given:
        if folder.is_file():
            found[str(absolute(folder))] = absolute(folder)
            continue
        if not folder.is_dir():
            problems.append(f"{folder}: expected a folder of recordings, found nothing there.")
            continue
        names = list(_walk(folder, problems))
        below = [path for path in names if _is_recording(path)]
        found |= {str(path): path for path in below}
        beside |= {str(path): path for path in names if is_sidecar(path.name)}
        if not below:
            problems.append(nothing_found(str(folder), names))
    if problems:
        raise InputError("\n".join(problems))
    return [found[path] for path in sorted(found)], [beside[path] for path in sorted(beside)]


def nothing_found(folder: str, others: Iterable[PurePath]) -> str:
    """Say which files a folder without recordings holds."""
    suffixes = Counter(_suffix(path.name) or "without a suffix" for path in others)
    listed = ", ".join(f"{n} {suffix}" for suffix, n in sorted(suffixes.items())) or "no files"
    return (
        f"{folder}: expected recordings (names ending in {' '.join(AUDIO_SUFFIXES)}, in any case), "
        f"found {listed}. Name the folder that holds them."
    )


def is_hidden(path: PurePath) -> bool:
    """Tell whether a file, or a folder in its path, is hidden or one that operating systems leave."""
    return any(part.startswith(".") or part.lower() in SYSTEM_FOLDERS for part in path.parts)


def has_audio_suffix(name: str) -> bool:
    """Tell whether a name ends as a recording's does."""
    return _suffix(name) in AUDIO_SUFFIXES


def name_recorders(files: Sequence[PurePath], prefixes: Sequence[str], given: Sequence[PurePath]) -> list[str]:
    """Choose the recorder of each recording.

    Parameters
    ----------
    files
        Absolute paths.
    prefixes
        What each name, or header, says about its recorder; empty where it says nothing.
    given
        The folders that the user named.

    Returns
    -------
    list of str

    Notes
    -----
    The recorder is the folder that the file is in. Folders of a date (``20210622``, ``20210622_STUDY``,
    ``2021-06-22``) are passed over towards the root, and so are, below the folder that the user named,
    :data:`NAMELESS_FOLDERS`. Only where one such folder holds files of several prefixes (serials, device
    ids, or words that users set on their recorders) is the recorder the prefix; files without one keep the
    folder.
    """
    stops = {absolute(folder) if isinstance(folder, Path) else folder for folder in given}
    folders = parents_of(files)
    home_of = {folder: _home(folder, stops) for folder in dict.fromkeys(folders)}
    homes = [home_of[folder] for folder in folders]
    seen: defaultdict[PurePath, set[str]] = defaultdict(set)
    for home, prefix in zip(homes, prefixes, strict=True):
        seen[home].update({prefix} - {""})
    return [
        prefix if prefix and len(seen[home]) > 1 else home.name if home.name.strip() else "root"
        for home, prefix in zip(homes, prefixes, strict=True)
    ]


def parents_of(files: Iterable[PurePath]) -> list[PurePath]:
    """Return the folder of each file; files of one folder share one object, which is hashed and compared in no time."""
    known: dict[str, PurePath] = {}
    folders = []
    for file in files:
        key = os.path.dirname(str(file))  # noqa: PTH120 (a path made for each file takes twice as long)
        folders.append(known.get(key) or known.setdefault(key, file.parent))
    return folders


def as_text(name: str) -> str:
    """Return a name as text: bytes that are no UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def absolute(path: Path) -> Path:
    """Return a path without ``.`` and ``..``; links stay, because their names may be the recorders'."""
    return Path(os.path.normpath(path.absolute()))


def _walk(top: Path, problems: list[str]) -> Iterator[Path]:
    """Yield all files below a folder that are not hidden."""

    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed ({error.strerror}). Make it readable.")

    for folder, folders, names in os.walk(absolute(top), onerror=note):
        folders[:] = [name for name in folders if not is_hidden(PurePath(name))]
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _is_recording(path: Path) -> bool:
    if path.name != UNFINISHED:
        return has_audio_suffix(path.name)
    return begins_as(LocalFileSystem(), str(path), as_text(str(path)), UNFINISHED_HEADS)


def _suffix(name: str) -> str:
    stem, dot, suffix = name.lower().rpartition(".")
    return dot + suffix if stem else ""


def _home(folder: PurePath, stops: set[PurePath]) -> PurePath:
    """Return the folder that stands for the recorder."""
    home = folder
    while home.name:
        is_nameless = home.name.lower() in NAMELESS_FOLDERS and home not in stops
        if not (is_nameless or folder_date(home)):
            return home
        home = home.parent
    return folder


def folder_date(folder: PurePath) -> date | None:
    """Return the date that a folder is named after, such as ``20210622_STUDY``."""
    match = _DATE_FOLDER.fullmatch(folder.name)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None
