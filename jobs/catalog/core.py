"""From folders of audio to a table of recordings.

What the bytes of a file, its name, and the card it was on say about it are gathered apart, and put together here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path, PurePath

import pandas as pd

from jobs.catalog.copies import alike, mark_copies, mark_same_sound
from jobs.catalog.earlier import of_this_study
from jobs.catalog.examine import FileFacts
from jobs.catalog.folders import as_text
from jobs.catalog.reading import Examine, digest_sounds, examine_apart, examine_files
from jobs.catalog.recorders import Row, Seen, may_be_serial, name_recorders
from jobs.catalog.rows import Heard, listen, make_row, site_zones
from jobs.catalog.sources import Sources
from jobs.catalog.zones import ALL, Place, check_keys, choose_zones
from lake.keys import outward
from lake.recordings import make_recordings
from lake.text import normal

OnProgress = Callable[[int, int], None]
"""Called with the number of files done and of all files."""
OnUnreadable = Callable[[str, str], None]
"""Called with the path and the message of each file that cannot be read."""
OnFirmware = Callable[[str, str], None]
"""Called with the recorder and the firmware, or the serial, of each file that has them."""
OnNote = Callable[[str], None]
"""Called with a message."""


def catalog(
    sources: Sources,
    *,
    zones: Mapping[str, tzinfo],
    root: PurePath,
    workers: int = 1,
    guesses: Sequence[str] = (),
    deployments: pd.DataFrame | None = None,
    rows: Sequence[Row] = (),
    cache: Path | None = None,
    retry: bool = False,
    on_progress: OnProgress | None = None,
    on_unreadable: OnUnreadable | None = None,
    on_firmware: OnFirmware | None = None,
    on_serial: OnFirmware | None = None,
    on_note: OnNote = lambda _: None,
    examine_one: Examine = examine_apart,
) -> pd.DataFrame:
    """List recordings: when and on which recorder they were made, and what is wrong with them.

    Parameters
    ----------
    sources
        The recordings; see :func:`jobs.catalog.sources.survey`.
    zones
        Zone of the recorders' clocks by folder or recorder; see :func:`jobs.catalog.zones.choose_zones`.
    root
        Folder above all recordings; paths in the table are relative to it.
    workers
        Files examined at once, each in a process of its own. The table does not depend on it.
    guesses
        Forms of dates in names that the user vouches for: :data:`jobs.catalog.names.GUESSES`.
    deployments
        Table of deployments: their zones place local times that nothing else does.
    rows
        Those of the table that is there already: they keep their recorders; see
        :func:`jobs.catalog.recorders.name_recorders`.
    cache
        File that keeps what was found in each file; see :mod:`jobs.catalog.cache`.
    retry
        Whether to examine again, although they have not changed, files of which nothing could be used.
    on_progress, on_unreadable, on_firmware, on_serial
        Told about each file that is done, each that cannot be read, and each whose recorder's firmware, or serial, is
        known.
    on_note
        Called with each message about recorders that shared a name.
    examine_one
        Examines a file; by default in a process that can be killed.

    Returns
    -------
    pandas.DataFrame
        A table of recordings (:mod:`lake.recordings`), sorted by path. A file that cannot be read is a row
        like others, with the reason in ``problems``. Of recordings with the same bytes, or the same samples, one is
        used: see :mod:`jobs.catalog.copies`.

    Raises
    ------
    InputError
        If a recording lies outside ``root``, or a zone names no folder and no recorder.
    """
    n_root = len(root.as_posix().rstrip("/")) + 1

    def tell(path: PurePath, message: str) -> None:
        if on_unreadable:
            on_unreadable(as_text(path.as_posix()[n_root:]), message)

    heard = listen(sources, guesses, root, tell)
    _check_early(zones, heard, rows)
    facts: list[FileFacts] = []
    makers = [one.maker for one in heard]
    for found in examine_files(sources, makers, workers=workers, cache=cache, retry=retry, examine_one=examine_one):
        facts.append(found)
        if on_progress:
            on_progress(len(facts), len(heard))
    seen = [one.seen(file) for one, file in zip(heard, facts, strict=True)]
    recorders, notes = name_recorders(seen, of_this_study(rows, seen))
    for note in notes:
        on_note(note)
    chosen = choose_zones(zones, _places(heard, recorders, seen))
    sites = site_zones(deployments)
    made = []
    numbers: list[int] = []  # of the files that have a row
    for i, (one, file, recorder) in enumerate(zip(heard, facts, recorders, strict=True)):
        path = as_text(one.path.as_posix()[n_root:])
        if outward(path):  # such as C:\x.wav, which an archive made of a folder's name and a file's
            tell(one.path, f"{path}: is in no table, as {outward(path)} on other systems; rename the file.")
            continue
        row = make_row(one, file, chosen[i], sites.get(normal(recorder), []))
        row |= {"path": path, "recorder": as_text(recorder)}
        made.append(row)
        numbers.append(i)
        firmware = file.header.firmware or (one.card.firmware if one.card else "")
        _tell_fact(on_firmware, str(row["recorder"]), firmware)
        _tell_fact(on_serial, str(row["recorder"]), seen[i].serial)
        if file.message:
            tell(one.path, file.message)
    mark_copies(made)
    groups = alike(made)
    wanted = [numbers[i] for group in groups for i in group]
    sounds = digest_sounds(sources, facts, wanted, workers=workers, cache=cache)
    mark_same_sound(made, groups, {i: sounds[number] for i, number in enumerate(numbers) if number in sounds})
    return make_recordings(made)


def _tell_fact(on_fact: OnFirmware | None, recorder: str, fact: str) -> None:
    if on_fact and fact:
        on_fact(recorder, fact)


def _check_early(zones: Mapping[str, tzinfo], heard: Sequence[Heard], rows: Sequence[Row]) -> None:
    """Refuse, before any recording is read, zones of places that there are not; a header may yet have a serial."""
    if zones.keys() - {ALL}:
        seen = [one.seen() for one in heard]
        recorders, _ = name_recorders(seen, of_this_study(rows, seen))
        check_keys(zones, _places(heard, recorders, seen), but=may_be_serial)


def _places(heard: Sequence[Heard], recorders: Sequence[str], seen: Sequence[Seen]) -> list[Place]:
    return [
        Place(one.folder, recorder, known.serial) for one, recorder, known in zip(heard, recorders, seen, strict=True)
    ]
