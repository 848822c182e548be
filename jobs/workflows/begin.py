"""``dawnchorus init``: a folder of recordings becomes a study, with a table and a manifest that fits them."""

import json
import os
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.catalog.command import run_catalog
from jobs.catalog.summary import describe
from jobs.common.progress import counting
from jobs.runner.explain import nearest
from jobs.runner.manifest import Manifest, read_manifest
from jobs.runner.registry import JOBS
from jobs.runner.settings import settings_as_toml
from jobs.workflows.proposals import KINDS, Choice, PlannedRun, Sounds, kind_for, notes_on, propose, sounds_of
from lake.constants import KINDS as FOLDERS
from lake.errors import InputError, UsageError
from lake.lengths import lasting
from lake.outputs import write_outputs
from lake.recordings import read_recordings

MANIFEST, TABLE = "manifest.toml", "recordings.csv"
COLUMNS = 100
NOT_TAKEN = {"evaluate", "import", "learn", "detect", "count"}
"""Jobs that need labels, vectors or verdicts, which a new study has none of."""
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Wish:
    """The options of a new study.

    Attributes
    ----------
    folder, audio
        Of the study, and of its recordings.
    zones
        IANA zone by folder; the empty name stands for all folders.
    deployments
        The table of deployments.
    like
        A kind of study, or the path of a manifest whose settings are taken.
    guesses
        How ambiguous dates in names are meant.
    """

    folder: Path
    audio: Path
    zones: Mapping[str, str]
    deployments: Path | None = None
    like: str | None = None
    guesses: Sequence[str] = ()


def begin(wish: Wish, *, workers: int, say: Callable[[str], None]) -> Path:
    """Write the table of the recordings and a manifest that fits them into the folder of a new study.

    Returns
    -------
    pathlib.Path
        The manifest.

    Raises
    ------
    UsageError
        If the folder holds a study already, or is inside that of the recordings.
    InputError
        If the recordings, or the manifest to take settings from, cannot be used.
    """
    model = _model(wish.like)
    _check_folder(wish)
    table = wish.folder / TABLE
    with counting("catalog", "files") as tell:
        facts = run_catalog(
            [wish.audio], table, zones=wish.zones, deployments=wish.deployments, guesses=wish.guesses, workers=workers,
            on_progress=tell, on_note=lambda note: say(f"note: {note}"),
        )  # fmt: skip
    for line in describe(facts):
        say(line)
    try:
        sounds = sounds_of(read_recordings(table))
        kind = kind_for(sounds) if wish.like is None or isinstance(model, Manifest) else wish.like
        title = f"Sound clusters: {wish.audio.resolve().name}"
        runs = _taken(model, title) if isinstance(model, Manifest) else propose(sounds, kind, title)
    except InputError as error:
        raise InputError(f"{wish.audio}: {error}") from error
    text = _manifest(wish, sounds, runs, like=_described(wish.like, kind, model))
    write_outputs(wish.folder, {MANIFEST: text.encode()}, option="FOLDER")
    read_manifest(wish.folder / MANIFEST)
    for line in _summary(wish, sounds, runs):
        say(line)
    return wish.folder / MANIFEST


def _check_folder(wish: Wish) -> None:
    """Refuse a folder that holds a study, or would be searched for recordings."""
    folder, audio = wish.folder.resolve(), wish.audio.resolve()
    if not audio.is_dir():
        raise InputError(f"--audio {wish.audio}: expected a folder of recordings, found none.")
    if folder.is_relative_to(audio):
        raise UsageError(
            f"{wish.folder}: expected a folder outside of the recordings, found one in {wish.audio}. Name another, "
            "such as data/NAME: nothing is written among recordings."
        )
    for path in (folder, audio, *([wish.deployments.resolve()] if wish.deployments else [])):
        if not _is_text(str(path)):
            raise InputError(f"{path}: expected a path in UTF-8, which a manifest can name. Rename the folder.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{wish.folder}: expected a folder, found a file. Name another.")
    taken = [name for name in (MANIFEST, *FOLDERS, "ledgers") if (folder / name).exists()]
    if taken:
        raise UsageError(
            f"{wish.folder}: expected a new folder, found {', '.join(taken)} of a study, which stays as it is. "
            f"`dawnchorus run {shlex.quote(str(wish.folder / MANIFEST))}` continues it; or name another folder."
        )


def _model(like: str | None) -> str | Manifest | None:
    """Return the kind of study, or the manifest, that settings are taken from."""
    if like is None or like in KINDS:
        return like
    if not Path(like).exists() and not like.endswith(".toml"):
        raise UsageError(f"--like {like}: expected {', '.join(KINDS)} or a manifest{nearest(like, KINDS)}")
    return read_manifest(Path(like))


def _described(like: str | None, kind: str, model: str | Manifest | None) -> str:
    if isinstance(model, Manifest):
        return f"Its settings are those of {json.dumps(like, ensure_ascii=False)}."
    chosen = "chosen by --like" if like else "chosen for the sample rates; --like names another"
    return f"Made for {KINDS[kind].sounds} ({kind}: {chosen})."


def _taken(model: Manifest, title: str) -> list[PlannedRun]:
    """Return the runs of another manifest that a new study can make, with all of their settings."""
    runs: list[PlannedRun] = []
    for name, run in model.runs.items():
        roles: dict[str, list[str]] = {}
        for role, source in run.inputs.items():
            roles.setdefault(role.partition("+")[0], []).append(source.name)
        if run.job in NOT_TAKEN or not {one for names in roles.values() for one in names} <= {r.name for r in runs}:
            continue
        values = run.config.model_dump(mode="json")
        choices = {key: Choice(value, "") for key, value in values.items()}
        if run.job == "atlas":
            choices["title"] = Choice(title, "the name of the folder of recordings")
        inputs = {role: names[0] if len(names) == 1 else names for role, names in roles.items()}
        kept = {key: str(path) for key, path in run.files.items() if key != "labels"}
        runs.append(PlannedRun(name, run.job, "", inputs, choices, kept))
    if not runs:
        raise InputError(f"--like {model.path}: expected a run that makes spectrograms, found none to take.")
    return runs


def _manifest(wish: Wish, sounds: Sounds, runs: Sequence[PlannedRun], *, like: str) -> str:
    """Return the text of the manifest."""
    found = (
        f"{sounds.n_files} files, {lasting(3600 * sounds.hours)}, recorders: {sounds.n_recorders}, {sounds.rates}"
        + (f", {sounds.first} to {sounds.last}" if sounds.first else ", no time in UTC")
    )  # fmt: skip
    share = _quarantine_share(sounds)
    lines = [
        *_comment(f"Made by `dawnchorus init` for {found}. {like} Every setting is written with what it means, what "
                  "it may be and why; where no reason stands, it has its default. No command changes this file: it is "
                  "yours. A finished run keeps its settings; for others, give the run a new name. Paths are relative "
                  "to this file."),
        'lake = "."',
        *_comment(f"share of recordings that may be set aside before a run ends with exit code 5; {sounds.n_usable} of "
                  f"{sounds.n_files} can be used today"),
        f"max_quarantined = {share:g}" if share % 1 else f"max_quarantined = {share:.1f}",
        "",
        "[recordings]",
        f"table = {json.dumps(TABLE)}",
        f"root = {_text(_path_from(wish.folder, wish.audio))}",
    ]  # fmt: skip
    if wish.deployments:
        lines.append(f"deployments = {_text(_path_from(wish.folder, wish.deployments))}")
    for run in runs:
        lines += ["", *_run(run)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _run(run: PlannedRun) -> Iterator[str]:
    key = run.name if BARE_KEY.fullmatch(run.name) else _text(run.name)
    if run.purpose:
        yield from _comment(run.purpose)
    yield f"[runs.{key}]"
    yield f"job = {_text(run.job)}"
    for table, items in (("inputs", run.inputs), ("files", run.files)):
        if items:
            yield f"{table} = {{ {', '.join(f'{role} = {_text(value)}' for role, value in items.items())} }}"
    yield f"[runs.{key}.config]"
    values = {name: choice.value for name, choice in run.choices.items()}
    reasons = {name: choice.reason for name, choice in run.choices.items() if choice.reason}
    yield from settings_as_toml(JOBS[run.job], values, reasons)


def _summary(wish: Wish, sounds: Sounds, runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Yield what was chosen, and the lines to type next."""
    manifest = wish.folder / MANIFEST
    yield ""
    for run in runs:
        if run.job != "spectrograms":
            continue
        values = {name: choice.value for name, choice in run.choices.items()}
        yield f"windows    {values['window_s']:g} s every {values['hop_s']:g} s"
        yield f"band       {values['f_min_hz']:,.0f} to {values['f_max_hz']:,.0f} Hz"
        for note in notes_on(sounds, values["f_max_hz"]):
            yield f"note: {note}"
    yield f"runs       {', '.join(run.name for run in runs)}"
    yield f"manifest   {manifest}"
    yield from (f"page       {wish.folder}/atlas/{run.name}/index.html" for run in runs if run.job == "atlas")
    yield ""
    yield f"Type next:                          {shlex.join(['dawnchorus', 'run', str(manifest)])}"
    again = ["dawnchorus", "catalog", str(wish.audio), "--out", str(wish.folder / TABLE)]
    for folder, zone in wish.zones.items():
        again += ["--zone", f"{folder}={zone}" if folder else zone]
    again += [word for guess in wish.guesses for word in ("--guess", guess)]
    again += ["--deployments", str(wish.deployments)] if wish.deployments else []
    yield f"When there are more recordings:     {shlex.join(again)}"
    yield "                                    and the line above again"


def _quarantine_share(sounds: Sounds) -> float:
    """Return the share of recordings that may be set aside: those that are today, and a twentieth more."""
    unusable = (sounds.n_files - sounds.n_usable) / sounds.n_files
    return min(round(0.05 + -(-unusable // 0.05) * 0.05, 2), 1.0)


def _path_from(folder: Path, path: Path) -> str:
    """Return a path relative to a folder if it is in it, else from the root."""
    folder, path = folder.resolve(), path.resolve()
    return Path(os.path.relpath(path, folder)).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, COLUMNS)]
