"""The sounds that a study asks about: ``sounds.csv``, a table that its user writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lake.errors import InputError
from lake.escapes import as_written
from lake.sheets import decoded, read_sheet
from lake.text import loose, near_or_all

FILE = "sounds.csv"
COLUMNS = ("sound", "scientific_name", "key", "aliases")
SPEECH = "speech"
"""Known in every study: windows that somebody marked as speech are kept out of pages, batches and exports."""


@dataclass(frozen=True)
class Sound:
    """One kind of sound.

    Attributes
    ----------
    sound
        Its name in this study.
    scientific_name, key
        Of the species, and what another database calls it (a GBIF key, a six-letter code); may be empty.
    aliases
        Other names that labels use.
    """

    sound: str
    scientific_name: str = ""
    key: str = ""
    aliases: Sequence[str] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the sound, each once."""
        found = (self.sound, self.scientific_name, self.key, *self.aliases)
        return tuple(dict.fromkeys(name for name in found if name))


@dataclass(frozen=True)
class Sounds:
    """The sounds of a study, in the order of their table."""

    path: Path
    sounds: Sequence[Sound]
    _by_name: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = {loose(name): one.sound for one in self.sounds for name in one.names}
        object.__setattr__(self, "_by_name", {loose(SPEECH): SPEECH, **known})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sounds."""
        return tuple(one.sound for one in self.sounds)

    def resolve(self, name: str) -> str:
        """Return the sound that is called so: by its name, species, key or an alias, whatever the letter case.

        Raises
        ------
        ValueError
            If there is none; with the names that are nearest.
        """
        found = self._by_name.get(loose(name))
        if found is None:
            raise ValueError(f"sound {name!r} is not in {self.path.name}; {near_or_all(name, self.names)}")
        return found


def read_sounds(manifest: Path) -> Sounds:
    """Read the table of sounds in a manifest's folder.

    Parameters
    ----------
    manifest
        The manifest's file. The table is CSV, as any spreadsheet saves it, with the column ``sound``;
        ``scientific_name``, ``key`` and ``aliases`` (joined by ``;`` or ``|``) may be left out.

    Raises
    ------
    InputError
        If there is no table, or with all that is wrong with it.
    """
    path = manifest.resolve().parent / FILE
    try:
        text, _ = decoded(path.read_bytes())
        sheet = read_sheet(text)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: expected the table of the sounds that are asked about, found no file. Write it with the columns "
            f"{','.join(COLUMNS)}, one sound a row; all but the first may be empty."
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: expected a table of sounds (CSV): {error}.") from error
    unknown = [column for column in sheet.header if column and column not in COLUMNS]
    if "sound" not in sheet.header or unknown:
        found = ", ".join(sheet.header) or "nothing"
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {found}.")
    rows = [(number, _sound({key: as_written(cell) for key, cell in row.items()})) for number, row in sheet.rows]
    problems = [f"row {number}: the sound has no name" for number, sound in rows if not sound.sound]
    owner: dict[str, str] = {loose(SPEECH): SPEECH}
    for number, sound in rows:
        for name in sound.names:
            other = owner.setdefault(loose(name), sound.sound)
            if other != sound.sound:
                problems.append(f"row {number}: {name!r} is a name of {other!r} already")
    twice = {sound.sound for i, (_, sound) in enumerate(rows) if any(one.sound == sound.sound for _, one in rows[:i])}
    problems += [f"the sound {name!r} is there twice" for name in sorted(twice) if name]
    if problems:
        raise InputError(f"{path} is not a table of sounds; correct these:\n" + "\n".join(f"  {p}" for p in problems))
    if not rows:
        raise InputError(f"{path}: expected at least one sound, found none.")
    return Sounds(path, [sound for _, sound in rows])


def _sound(row: Mapping[str, str]) -> Sound:
    aliases = [name.strip() for name in row.get("aliases", "").replace("|", ";").split(";")]
    return Sound(row["sound"], row.get("scientific_name", ""), row.get("key", ""), [name for name in aliases if name])
