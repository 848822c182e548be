"""A bundle: a folder ready for a repository, with tables, methods, citation, licence and checksums."""

import io
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from glob import escape
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np
import pandas as pd

from jobs.common.counts import COUNTS_FILE, counts_of
from jobs.common.heads import TABLE_FILE
from jobs.common.run import Run
from jobs.exports.choice import Choice, Said
from jobs.exports.command import Study, collection_of, found_spans, open_study
from jobs.exports.target import Target, Written
from jobs.review.command import counts as verdict_counts
from jobs.runner.manifest import Manifest
from jobs.runner.registry import JOBS
from lake.batch_files import batch_names
from lake.batches import n_answered, read_batch
from lake.deployments import camtrap_deployments
from lake.digest import sha256, sha256_of
from lake.errors import UsageError
from lake.escapes import as_written
from lake.exports.collection import About, Collection
from lake.exports.methods import Facts, methods_text
from lake.exports.ro_crate import FILE as CRATE
from lake.exports.ro_crate import ro_crate
from lake.exports.spans import rounded
from lake.heard import shares_speech
from lake.held import read_held
from lake.receipts import latest_receipt
from lake.recordings import read_recordings, recordings_csv
from lake.sounds import SPEECH
from lake.tables import defused_table
from lake.verdicts import last_decisions

CHECKSUMS: Final = "SHA256SUMS"
RULE: Final = "precision"
"""Threshold of the events if the user names none."""
LEFT_AFTER_S: Final = 3600
TABLES: Final = {
    "tables/verified.csv": "spans of sound that people verified, with recording, place and local time",
    "tables/events.csv": "events of the detectors, with what people said of them",
    "tables/verdicts.csv": "the last decision of each person on each span and sound",
    "tables/counts.csv": "windows with each sound by site and period, with intervals",
    "tables/histories": "detection histories: heard or not, by site and occasion",
    "tables/detectors.csv": "the detectors: verdicts, accuracy, thresholds",
    "tables/recordings.csv": "the recordings: recorder, time, length, rate, SHA-256 and what is wrong with them",
    "tables/deployments.csv": "where each recorder stood and when, in the columns of Camtrap DP",
    "tables/sounds.csv": "the sounds, and their scientific names",
    "runs.json": "each run: settings, identities, versions",
    "METHODS.md": "what was done, made from the receipts",
    "CITATION.cff": "how to cite",
    "ro-crate-metadata.json": "the runs as a Workflow Run RO-Crate",
    "metadata.json": "title, creators, licence, rounding of coordinates",
}
"""What a bundle may hold, for its README."""
_IN_RECEIPT: Final = (
    "run", "job", "algorithm", "config", "config_id", "content_id", "inputs", "counts", "quarantined", "notes",
    "written", "python", "versions", "git_commit", "image", "backend", "seed",
)  # fmt: skip
"""What is published of a receipt: neither the host nor its paths."""
_POSITION: Final = re.compile(r"[-+]\d{1,2}\.\d+[-+]\d{1,3}\.\d+")
_SPDX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")

Files = dict[str, bytes]


def write_bundle(manifest: Manifest, choice: Choice, said: Said, target: Target) -> Written:
    """Write a bundle of a study: whole, or not at all.

    Raises
    ------
    UsageError
        If the folder is there and not empty, unless ``--force`` is given and it is a bundle that nobody changed; or if
        the licence is no SPDX name.
    """
    if said.licence and not _SPDX.fullmatch(said.licence):
        raise UsageError(f"--licence {said.licence!r}: expected an SPDX name such as CC-BY-4.0 or CC0-1.0.")
    _require_free(target)
    study = open_study(manifest, choice)
    rule = choice.threshold or (RULE if study.detections is not None else None)
    choice = replace(choice, threshold=rule)
    files, n_rows = bundle_files(study, choice, said)
    with _aside(target) as folder:
        for key, data in files.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return Written(n_rows, len(files), [*study.notes, *_notes(said)])


def _notes(said: Said) -> Iterator[str]:
    if not said.creators:
        yield "the bundle names no creator; add --creator NAME"
    if not said.licence:
        yield "the bundle names no licence, so nobody may use it; add --licence, such as CC-BY-4.0 or CC0-1.0"


def bundle_files(study: Study, choice: Choice, said: Said) -> tuple[Files, int]:
    """Return the files of a bundle by key, and the number of spans in it."""
    events = choice.threshold is not None
    of_people = collection_of(study, choice, said, found_spans(study, replace(choice, threshold=None)))
    found = collection_of(study, choice, said, found_spans(study, choice)) if events else None
    about = of_people.about if found is None else found.about
    files: Files = {"tables/verified.csv": _csv(of_people.spans), **_tables(study, of_people, said)}
    n_rows = len(of_people.spans)
    if found is not None:
        files["tables/events.csv"] = _csv(found.spans)
        n_rows += len(found.spans)
    runs = _runs(study)
    receipts = [receipt for run in runs if (receipt := latest_receipt(run.lake, run.name)) is not None]
    without = sorted({run.name for run in runs} - {receipt["run"] for receipt in receipts})
    if without:
        study.notes.append(f"runs without a receipt are not in the methods: {', '.join(without)}")
    published = [{key: receipt.get(key) for key in _IN_RECEIPT} for receipt in receipts]
    files["runs.json"] = _json(published)
    files["METHODS.md"] = methods_text(_facts(study, of_people, published, about)).encode()
    files["CITATION.cff"] = _citation(about).encode()
    files["metadata.json"] = _json(_metadata(about))
    files["README.md"] = _readme(about, files).encode()
    purposes = {receipt["job"]: _purpose(receipt["job"]) for receipt in receipts}
    files[CRATE] = ro_crate(about, receipts, list(files), purposes).encode()
    files[CHECKSUMS] = "".join(f"{sha256(data)}  {key}\n" for key, data in sorted(files.items())).encode()
    return files, n_rows


def _tables(study: Study, collection: Collection, said: Said) -> Files:
    """Return the tables that are not of spans."""
    decimals = said.decimals
    uncertainty_m = None if decimals is None else collection.about.uncertainty_m
    deployments = camtrap_deployments(collection.deployments, uncertainty_m=uncertainty_m)
    sounds = pd.DataFrame(
        [(one.sound, one.scientific_name, one.key, "|".join(one.aliases)) for one in study.sounds.values()],
        columns=["sound", "scientific_name", "key", "aliases"],
    )
    files = {
        "tables/recordings.csv": _recordings(study, collection, decimals),
        "tables/deployments.csv": _csv(deployments), "tables/sounds.csv": _csv(sounds),
        "tables/verdicts.csv": _csv(_public_verdicts(study)),
    }  # fmt: skip
    for run in _of_job(study.manifest, "count"):
        folder = run.output
        for key in folder.list_keys():
            if key == COUNTS_FILE or (key.startswith("histories/") and key.endswith(".csv")):
                data = read_held(folder.url, key)
                files[f"tables/{key}"] = data if data is not None else folder.read(key)
    heads = _heads(study)
    return files if heads is None else {**files, "tables/detectors.csv": heads}


def _recordings(study: Study, collection: Collection, decimals: int | None) -> bytes:
    given = study.cube_run.recordings
    if decimals is not None and collection.recordings["path"].str.contains(_POSITION).any():
        study.notes.append("names of recordings hold positions, which are not rounded; rename the files, or say so")
    if given is None or not given.table.is_file():
        return _csv(collection.recordings)
    return recordings_csv(rounded(read_recordings(given.table), decimals), given.table)


def _public_verdicts(study: Study) -> pd.DataFrame:
    """Return the last decisions, without those on speech and on spans that share time with it."""
    last = last_decisions(study.verdicts)
    begin_ms = last["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    end_ms = begin_ms + np.rint(last["duration_s"].to_numpy(np.float64) * 1000).astype(np.int64)
    is_speech = shares_speech(study.verdicts, last["recorder"], begin_ms, end_ms) | (last["sound"] == SPEECH).to_numpy()
    return last[~is_speech].reset_index(drop=True)


def _of_job(manifest: Manifest, job: str) -> list[Run]:
    """Return the finished run of a job if it is the only one."""
    runs = [run for run in manifest.runs.values() if run.job == job and latest_receipt(run.lake, run.name) is not None]
    return runs if len(runs) == 1 else []


def _heads(study: Study) -> bytes | None:
    run = None if study.detections is None else study.detections.inputs.get("heads")
    return None if run is None else read_held(run.output.url, TABLE_FILE)


def _runs(study: Study) -> list[Run]:
    """Return the runs that the tables come from, those that others are made from first."""
    ends = [study.cube_run, *([study.detections] if study.detections else []), *_of_job(study.manifest, "count")]
    names = {run.name for end in ends for run in end.above()}
    return [run for run in study.manifest.runs.values() if run.name in names]


def _facts(study: Study, collection: Collection, receipts: list[dict[str, Any]], about: About) -> Facts:
    tallies, _ = verdict_counts(study.manifest)
    settled = tallies[(tallies["reviewer"] == "settled") & (tallies["sound"] != SPEECH)].drop(columns="reviewer")
    lake = study.cube_run.lake
    batches = [read_batch(lake, name) for name in batch_names(lake)]
    rows = [
        (one.name, one.asked["order"], len(one.table), n_answered(one, study.verdicts), one.asked.get("seed"))
        for one in batches
    ]
    heads, counts = _heads(study), _of_job(study.manifest, "count")
    return Facts(
        recordings=collection.recordings, n_sites=len(set(collection.deployments["site"]) - {""}), runs=receipts,
        verdicts=settled.reset_index(drop=True), reviewers=int(study.verdicts["reviewer"].nunique()),
        batches=pd.DataFrame(rows, columns=["batch", "order", "windows", "answered", "seed"]),
        purposes={receipt["job"]: _purpose(receipt["job"]) for receipt in receipts},
        heads=pd.DataFrame() if heads is None else _detectors(heads),
        counts=counts_of(counts[0]) if counts else pd.DataFrame(),
        sentences=[one for one in (about.chosen, about.rounding, *(f"{note}." for note in study.notes)) if one],
    )  # fmt: skip


def _purpose(job: str) -> str:
    """Return what a job does: the first line of its package's docstring."""
    if job not in JOBS:
        return ""
    line = (import_module(JOBS[job].package).__doc__ or "").partition("\n")[0]
    text = line.removeprefix(f"The ``{job}`` job: ")
    return text[:1].upper() + text[1:]


def _detectors(table: bytes) -> pd.DataFrame:
    """Return what is published of the table of heads."""
    columns = [
        "sound", "n_yes", "n_no", "average_precision", "average_precision_low", "average_precision_high",
        "threshold_best_f1", "threshold_precision", "precision", "flags", "refused",
    ]  # fmt: skip
    found = pd.read_csv(io.BytesIO(table), dtype=dict.fromkeys(("sound", "flags", "refused"), str)).fillna(
        {"flags": "", "refused": ""}
    )
    return found.assign(sound=found["sound"].map(as_written))[columns]


def _citation(about: About) -> str:
    """Return a file for citation (https://citation-file-format.github.io, 1.2); JSON's texts are YAML's."""
    authors = "".join(f"  - name: {json.dumps(name)}\n" for name in about.creators or ("(not named)",))
    licence = f"license: {about.licence}\n" if about.licence else ""
    return (
        f"cff-version: 1.2.0\nmessage: If you use these data, please cite them.\ntype: dataset\n"
        f"title: {json.dumps(about.title)}\nauthors:\n{authors}date-released: {about.created:%Y-%m-%d}\n{licence}"
    )


def _metadata(about: About) -> dict[str, Any]:
    return {
        "title": about.title, "creators": list(about.creators), "license": about.licence or None,
        "created": about.created_utc, "program": about.program, "spans": about.chosen,
        "coordinates_rounded_to_decimals": about.decimals,
        "coordinate_uncertainty_m": None if about.decimals is None else about.uncertainty_m,
    }  # fmt: skip


def _readme(about: About, files: Mapping[str, bytes]) -> str:
    there = [
        (key, text) for key, text in TABLES.items() if any(one == key or one.startswith(f"{key}/") for one in files)
    ]
    licence = about.licence or "no licence was named: ask before you use these data"
    lines = [
        f"# {about.title}", "", f"Creators: {', '.join(about.creators) or '(not named)'}. Licence: {licence}.",
        *([about.rounding] if about.rounding else []), "",
        f"Written on {about.created:%Y-%m-%d} by {about.program}.", "",
        *(f"- `{key}`: {text}" for key, text in there), f"- `{CHECKSUMS}`: `sha256sum -c {CHECKSUMS}`", "",
        "Times are UTC but for columns that end in `local`.",
        "A text that a spreadsheet would run has an apostrophe in front.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _csv(table: pd.DataFrame) -> bytes:
    return defused_table(table).to_csv(index=False).encode()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _require_free(target: Target) -> None:
    """Refuse a folder that is there, unless it is a bundle that nobody changed, and it may be replaced."""
    folder = target.out
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"--bundle {folder}: expected a new folder, found something else. Name another.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    changed = list(_changed(folder))
    if not target.force or changed:
        told = f"; it is no bundle, or was changed ({', '.join(changed[:5])})" if changed else "; --force replaces it"
        raise UsageError(f"--bundle {folder}: expected a new folder, found one with files. Name another{told}.")


def _changed(folder: Path) -> Iterator[str]:
    """Yield the files of a folder that its checksums do not list, or that are others than they say."""
    sums = folder / CHECKSUMS
    if not sums.is_file():
        yield f"no {CHECKSUMS}"
        return
    lines = [line.partition("  ") for line in sums.read_text(encoding="utf-8").splitlines()]
    listed = {key: digest for digest, _, key in lines}
    for path in sorted(folder.rglob("*")):
        key = path.relative_to(folder).as_posix()
        if path.is_file() and key != CHECKSUMS and listed.get(key) != sha256_of(path):
            yield key


@contextmanager
def _aside(target: Target) -> Iterator[Path]:
    """Give a new folder that takes the bundle's name once it is filled; nothing is left of it if that fails."""
    folder = target.out.absolute()
    _remove_left(folder)
    aside = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        aside.chmod(0o755)
        yield aside
        if folder.exists() and any(folder.iterdir()):
            before = aside.with_name(f"{aside.name}.before")
            folder.replace(before)
            aside.replace(folder)
            shutil.rmtree(before)
        else:
            aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_left(folder: Path) -> None:
    """Remove what killed exports of this name left half-written: folders that nobody wrote to for an hour."""
    for left in folder.parent.glob(f".{escape(folder.name)}.????????"):
        newest = max((path.stat().st_mtime for path in (left, *left.rglob("*"))), default=0.0)
        if left.is_dir() and time.time() - newest > LEFT_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)
