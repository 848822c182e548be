"""The methods of a study as text: what was run with which settings, who heard what, and how it was counted.

All of it is made from receipts, verdicts and tables; nothing is filled in that they do not say.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from lake.escapes import printable
from lake.lengths import lasting

METHODS: Final = {
    "hypergeometric": "windows drawn with equal probabilities: exact interval",
    "weighted beta": "windows drawn with unequal probabilities: inverse-probability estimate, interval of a beta law",
    "difference": "inverse-probability estimate of what the detector missed and invented, added to its own count",
    "model-assisted": "the season's count by the detector's probabilities: right if it errs alike in all periods",
    "none heard": "no window with the sound was heard by chance: exact upper limit",
    "all heard": "all windows were heard",
    "no sample": "no window was drawn: limits without an estimate",
    "no effort": "nothing was recorded",
}
"""Methods of counts."""


@dataclass(frozen=True)
class Facts:
    """Facts from which the methods are written.

    Attributes
    ----------
    recordings
        ``recorder``, ``start_utc``, ``duration_s`` of each recording that windows were cut from.
    n_sites
        Sites that are known.
    runs
        The last receipt of each run, those that others are made from first.
    verdicts
        ``sound``, ``yes``, ``no``, ``unsure``, ``disputed``: what holds.
    reviewers
        How many people answered.
    batches
        ``name``, ``order``, ``n_asked``, ``n_answered`` of each batch.
    purposes
        What each job does, in a sentence, by its name.
    heads
        The table of detectors; empty if there is none.
    counts
        The table of counts; empty if there is none.
    sentences
        More that is to be said, such as how spans were chosen and coordinates rounded.
    """

    recordings: pd.DataFrame
    n_sites: int
    runs: Sequence[Mapping[str, Any]]
    verdicts: pd.DataFrame
    reviewers: int
    batches: pd.DataFrame
    purposes: Mapping[str, str]
    heads: pd.DataFrame
    counts: pd.DataFrame
    sentences: Sequence[str] = field(default=())


def methods_text(facts: Facts) -> str:
    """Return the methods as Markdown."""
    parts = [
        "# Methods\n", *_recordings(facts), *_runs(facts), *_verdicts(facts), *_detectors(facts), *_counts(facts),
        *(["## What is in the tables\n"] if facts.sentences else []), *(f"{one}\n" for one in facts.sentences),
    ]  # fmt: skip
    return printable("\n".join(parts), lines=True)


def _recordings(facts: Facts) -> Iterator[str]:
    table = facts.recordings
    yield "## Recordings\n"
    if table.empty:
        yield "No recording is known.\n"
        return
    length_s = float(table["duration_s"].sum())
    first, last = table["start_utc"].min(), table["start_utc"].max()
    sites = f" at {facts.n_sites} sites" if facts.n_sites else ""
    yield (
        f"{len(table)} recordings in which windows begin, of {table['recorder'].nunique()} recorders{sites}: "
        f"{lasting(length_s)}, with starts from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC.\n"
    )


def _runs(facts: Facts) -> Iterator[str]:
    yield "## Processing\n"
    if not facts.runs:
        yield "No run has a receipt.\n"
    for receipt in facts.runs:
        yield f"### {receipt['run']}\n"
        yield f"{facts.purposes.get(receipt['job'], '')} Job `{receipt['job']}`{_inputs(receipt)}.\n".lstrip()
        counts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in (receipt.get("counts") or {}).items())
        aside = ", ".join(f"{key} {value}" for key, value in (receipt.get("quarantined") or {}).items())
        lines = [
            ("Numbers", counts),
            ("Recordings set aside", aside),
            ("Settings", _settings(receipt.get("config") or {})),
            ("Identity", f"config {receipt.get('config_id')}, content {receipt.get('content_id')}"),
            ("Made", f"{str(receipt.get('written', ''))[:19]} UTC, by {_software(receipt)}"),
        ]
        yield "\n".join(f"- {name}: {text}" for name, text in lines if text) + "\n"


def _inputs(receipt: Mapping[str, Any]) -> str:
    names = [one.get("run") for one in (receipt.get("inputs") or {}).values()]
    return f", from {', '.join(map(str, names))}" if names else ""


def _settings(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in sorted(config.items()))


def _software(receipt: Mapping[str, Any]) -> str:
    versions = dict(receipt.get("versions") or {})
    parts = [f"dawnchorus {versions.pop('dawnchorus', '(version unknown)')}"]
    if receipt.get("git_commit"):
        parts.append(f"commit {receipt['git_commit']}")
    if receipt.get("image"):
        parts.append(f"image SHA-256 {receipt['image'].get('sha256')}")
    parts.append(f"Python {receipt.get('python', '(unknown)')}")
    return ", ".join([*parts, *(f"{name} {version}" for name, version in sorted(versions.items()))])


def _verdicts(facts: Facts) -> Iterator[str]:
    yield "## Verdicts\n"
    if facts.verdicts.empty:
        yield "Nobody judged any window.\n"
        return
    total = facts.verdicts[["yes", "no", "unsure"]].sum()
    yield (
        f"{facts.reviewers} {'people' if facts.reviewers != 1 else 'person'} judged windows. What holds (the last "
        f"decision of each; unsure where people differ): {int(total['yes'])} yes, {int(total['no'])} no, "
        f"{int(total['unsure'])} unsure.\n"
    )
    yield _table(facts.verdicts)
    if len(facts.batches):
        yield "Windows were drawn in batches:\n"
        yield _table(facts.batches)


def _detectors(facts: Facts) -> Iterator[str]:
    if facts.heads.empty:
        return
    yield "## Detectors\n"
    yield (
        "One for each sound, logistic on scaled vectors. Figures are of verdicts that a detector did not see, with "
        "95 % intervals; thresholds are scores: that of best F1, and that at which the stated precision is reached "
        "(logistic fit, Wood and Kahl 2024).\n"
    )
    yield _table(facts.heads)


def _counts(facts: Facts) -> Iterator[str]:
    if facts.counts.empty:
        return
    yield "## Counts\n"
    seasons = facts.counts[facts.counts["kind"] == "season"]
    heard = int(seasons["n_heard"].groupby(seasons["sound"]).sum().max())
    yield (
        f"The unit is a {seasons['unit'].iloc[0]}. {len(seasons)} seasons ({seasons['sound'].nunique()} sounds, "
        f"{seasons['site'].nunique()} sites); at most {heard} windows were heard for a sound.\n"
    )
    cells = facts.counts[["kind", "method"]].value_counts(sort=False).reset_index(name="n")
    lines = [
        f"- {row['kind']}: {row['n']} cells, {row['method']}: {METHODS.get(row['method'], 'see docs/counts.md')}"
        for row in cells.to_dict("records")
    ]
    yield "\n".join(lines) + "\n"


def _table(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return "" if pd.isna(value) else f"{value:.4g}"
        return printable(str(value)).replace("|", "\\|")

    head = [f"| {' | '.join(map(str, table.columns))} |", "|" + "---|" * len(table.columns)]
    rows = [f"| {' | '.join(cell(value) for value in row)} |" for row in table.itertuples(index=False)]
    return "\n".join([*head, *rows]) + "\n"
