"""Which files are recordings, and which recorder made each."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path

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

_DATE_FOLDER = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[_ T-].*)?")


def find_recordings(given: Sequence[Path]) -> list[Path]:
    """Return all recordings below folders, sorted by path.

    Parameters
    ----------
    given
        Folders, or single files. Files count by their suffix, one of :data:`AUDIO_SUFFIXES`; a name that
        starts with a dot is hidden, and links to folders are not followed.

    Returns
    -------
    list of Path
        Absolute paths, each once.

    Raises
    ------
    InputError
        If one of them does not exist, cannot be listed or holds no recording; the message names them all.
    """
    found: set[Path] = set()
    problems: list[str] = []
    for folder in given:
        if folder.is_file():
            found.add(absolute(folder))
            continue
        if not folder.is_dir():
            problems.append(f"{folder}: expected a folder of recordings, found nothing there.")
            continue
        others: Counter[str] = Counter()
        below = _walk(folder, others, problems)
        found.update(below)
        if not below:
            listed = ", ".join(f"{n} {suffix}" for suffix, n in sorted(others.items())) or "no files"
            problems.append(
                f"{folder}: expected recordings (names ending in {' '.join(AUDIO_SUFFIXES)}, in any case), "
                f"found {listed}. Name the folder that holds them."
            )
    if problems:
        raise InputError("\n".join(problems))
    return sorted(found)


def name_recorders(files: Sequence[Path], prefixes: Sequence[str], given: Sequence[Path]) -> list[str]:
    """Choose the recorder of each recording.

    Parameters
    ----------
    files
        Absolute paths.
    prefixes
        What each name says about its recorder; empty where it says nothing.
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
    stops = {absolute(folder) for folder in given}
    homes = [_home(file.parent, stops) for file in files]
    seen: defaultdict[Path, set[str]] = defaultdict(set)
    for home, prefix in zip(homes, prefixes, strict=True):
        seen[home].update({prefix} - {""})
    return [
        prefix if prefix and len(seen[home]) > 1 else home.name if home.name.strip() else "root"
        for home, prefix in zip(homes, prefixes, strict=True)
    ]


def absolute(path: Path) -> Path:
    """Return a path without ``.`` and ``..``; links stay, because their names may be the recorders'."""
    return Path(os.path.normpath(path.absolute()))


def _walk(top: Path, others: Counter[str], problems: list[str]) -> list[Path]:
    """Return the recordings below a folder, and count the files of other kinds."""
    below = []

    def note(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed ({error.strerror}). Make it readable.")

    for folder, folders, names in os.walk(absolute(top), onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS]
        for name in names:
            if name.startswith("."):
                continue
            stem, dot, suffix = name.lower().rpartition(".")
            suffix = dot + suffix if stem else ""
            if suffix in AUDIO_SUFFIXES:
                below.append(Path(folder, name))
            else:
                others[suffix or "without a suffix"] += 1
    return below


def _home(folder: Path, stops: set[Path]) -> Path:
    """Return the folder that stands for the recorder."""
    home = folder
    while home.name:
        is_nameless = home.name.lower() in NAMELESS_FOLDERS and home not in stops
        if not (is_nameless or _is_date(home.name)):
            return home
        home = home.parent
    return folder


def _is_date(name: str) -> bool:
    match = _DATE_FOLDER.fullmatch(name)
    if not match:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True
