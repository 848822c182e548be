"""The forms that sound is exported in, in one table: the command, its help and the page on exports are made of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Of = Literal["clusters", "sounds"]
"""Source of an export: windows of a clustering, or spans of named sound of a study."""


@dataclass(frozen=True)
class Format:
    """One form of an export.

    Attributes
    ----------
    name
        As ``--to`` names it.
    suffix
        Of its file; empty for a folder of files.
    of
        What can be exported so.
    audience, lost, checked
        Who takes it, what the form cannot hold, and the reader of the other side that the tests read it back with.
    needs_spans
        Whether it is of spans, which the user chooses by ``--verified`` or ``--threshold``.
    other_suffix
        That the file may have in place of ``suffix``.
    """

    name: str
    suffix: str
    of: tuple[Of, ...]
    audience: str
    lost: str
    checked: str

    needs_spans: bool = True
    other_suffix: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of files."""
        return not self.suffix


_BOTH: Final[tuple[Of, ...]] = ("clusters", "sounds")
_ALL: Final = (
    Format("csv", ".csv", _BOTH, "R, spreadsheets, everything else", "nothing of the table; no vectors", "pandas"),
    Format("parquet", ".parquet", _BOTH, "Python, R, DuckDB", "nothing of the table; no vectors", "pyarrow"),
    Format(
        "raven", "", _BOTH, "Raven, a table for each recording",
        "site, position and reviewers; the second part of a span across a join", "crowsetta",
    ),
    Format(
        "raven-combined", ".txt", _BOTH, "Raven, and tools that take one table (`Begin Path`, `File Offset (s)`)",
        "as `raven`", "crowsetta",
    ),
    Format(
        "audacity", "", _BOTH, "Audacity, a file of labels for each recording", "all but seconds and label",
        "crowsetta",
    ),
    Format(
        "audacity-spectral", "", _BOTH, "the same with frequencies (Audacity 2.1 and later)",
        "all but seconds, frequencies and label", "crowsetta",
    ),
    Format(
        "embedding-atlas", ".parquet", ("clusters",), "Apple's Embedding Atlas: windows with their vectors",
        "spectrograms and sound; a window across a join has one row",
        "pyarrow; Embedding Atlas 0.26 by hand (rows, charts and projection; its map needs WebGPU)",
    ),
    Format(
        "hoplite", "", ("clusters",), "perch-hoplite 1.0: a database of windows with their vectors",
        "clusters and verdicts; a window across a join has one row; vectors are float16",
        "dawnchorus's own reader; perch-hoplite itself by hand",
    ),
    Format(
        "generic-seq", ".csv", _BOTH, "crowsetta, vak and what reads its `generic-seq`",
        "all but recording, seconds and label", "crowsetta",
    ),
    Format(
        "aoef", ".json", ("sounds",), "whombat and soundevent: annotations, or predictions of detectors",
        "spans without a recording; the number of channels (written as 1); reviewers but the first", "soundevent",
    ),
    Format(
        "camtrap-dp", "", ("sounds",), "Camtrap DP 1.0.2: Agouti, R `camtrapdp`, GBIF",
        "spans without a recording, and of deployments without coordinates; fractions of a second; frequencies",
        "frictionless, against the terms of 1.0.2",
    ),
    Format(
        "darwin-core", ".zip", ("sounds",), "GBIF: occurrences with Audiovisual Core",
        "sounds without a scientific name; fractions of a second; effort, and what was heard and answered no",
        "python-dwca-reader",
    ),
    Format(
        "clips", "", ("sounds",), "training elsewhere: a folder for each sound, and `clips.csv`",
        "what is around the clips; with `--verified` alone, windows without any sound (`--negatives` adds them)",
        "soundfile, guano",
    ),
    Format(
        "deployments", ".csv", ("sounds",), "Camtrap DP's `deployments.csv`; `catalog --deployments` reads it",
        "fractions of a second", "dawnchorus's own reader", needs_spans=False,
    ),
    Format(
        "phenology", "", ("sounds",), "reports: pictures of local hour by date for each sound, and their numbers",
        "which windows they were", "unchecked: pictures", needs_spans=False,
    ),
    Format(
        "report", ".pdf", ("sounds",), "people: effort, faults, sounds, counts, methods and citation, to print",
        "the tables, which a bundle has", "the print of Chromium, by hand", needs_spans=False, other_suffix=".html",
    ),
)  # fmt: skip
FORMATS: Final = {one.name: one for one in _ALL}


def names_for(of: Of) -> list[str]:
    """Return the names of the formats for something."""
    return [one.name for one in _ALL if of in one.of]


def as_markdown() -> Iterator[str]:
    """Yield the lines of the table of formats, for the page on exports."""
    yield "| `--to` | of | `--out` | for | what is lost | checked with |"
    yield "|---|---|---|---|---|---|"
    for one in _ALL:
        out = "a folder" if one.is_folder else " or ".join(f"`{end}`" for end in (one.suffix, one.other_suffix) if end)
        yield f"| `{one.name}` | {', '.join(one.of)} | {out} | {one.audience} | {one.lost} | {one.checked} |"
