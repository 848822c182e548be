"""What of a study is exported: spans that people verified, or that a detector finds, with all that is known of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata

import numpy as np
import pandas as pd
import xarray as xr

from jobs.common.run import Run
from jobs.exports.choice import Choice, Said
from jobs.review.windows import open_windows
from jobs.runner.manifest import Manifest
from lake.deployments import deployments_from, read_deployments
from lake.errors import InputError
from lake.exports.collection import About, Collection, deployments_of, recordings_of
from lake.exports.spans import detected_spans, negative_spans, placed, verified_spans
from lake.heard import shares_speech
from lake.query.events import find_events, thresholds_of
from lake.query.find import Wanted, is_wanted_time
from lake.query.select import open_any, resolve_recorder
from lake.read import recorder_names
from lake.recordings import read_recordings
from lake.sounds import SPEECH, Sound, read_sounds
from lake.text import near_or_all
from lake.verdicts import read_verdicts


@dataclass
class Study:
    """The runs and tables that an export is made of."""

    manifest: Manifest
    cube_run: Run
    detections: Run | None
    cube: xr.Dataset
    verdicts: pd.DataFrame
    sounds: dict[str, Sound]
    notes: list[str] = field(default_factory=list)

    def scores(self) -> xr.Dataset | None:
        """Return the detections, opened as numbers."""
        return None if self.detections is None else open_any(self.detections.output.url)


def open_study(manifest: Manifest, choice: Choice) -> Study:
    """Open what an export is made of.

    Raises
    ------
    InputError
        If runs are missing or must be named, or a sound is not known.
    """
    detections = (
        _detections(manifest, choice) if choice.threshold is not None else _finished_detections(manifest, choice)
    )
    above = [] if detections is None else [run for run in detections.above() if run.kind == "spectrograms"]
    run = above[0] if above and choice.cube is None else open_windows(manifest, choice.cube).run
    verdicts = read_verdicts(run.lake)
    sounds, notes = _sounds(manifest)
    known = {*sounds, *verdicts["sound"], *(_names_of(detections) if detections else ())} - {SPEECH}
    unknown = [name for name in choice.sounds if name not in known]
    if unknown:
        raise InputError(f"sound {unknown[0]!r} is not of this study; {near_or_all(unknown[0], sorted(known))}.")
    return Study(manifest, run, detections, open_any(run.output.url), verdicts, sounds, notes)


def collect(study: Study, choice: Choice, said: Said) -> Collection:
    """Return the spans that were chosen, with their places.

    Raises
    ------
    InputError
        If there is none.
    """
    spans = found_spans(study, choice)
    if spans.empty:
        raise InputError(f"nothing to export: {_why_empty(study, choice)}.")
    return collection_of(study, choice, said, spans)


def found_spans(study: Study, choice: Choice) -> pd.DataFrame:
    """Return the spans that were chosen, as :func:`lake.exports.spans.placed` gives them; there may be none.

    Spans that share time with what somebody marked as speech are never among them.
    """
    spans = _chosen(study, choice)
    if choice.with_negatives and len(found := negative_spans(study.verdicts, choice.sounds)):
        spans = pd.concat([spans, found], ignore_index=True) if len(spans) else found
    start_ms, end_ms = (
        spans[name].to_numpy().astype("datetime64[ms]").astype(np.int64) for name in ("start_utc", "end_utc")
    )
    is_speech = shares_speech(study.verdicts, spans["recorder"], start_ms, end_ms)
    if is_speech.any():
        study.notes.append(f"{int(is_speech.sum())} spans are left out, as somebody marked their sound as speech")
    return _kept(placed(spans[~is_speech].reset_index(drop=True), study.cube), study.cube, choice.wanted)


def collection_of(study: Study, choice: Choice, said: Said, spans: pd.DataFrame) -> Collection:
    """Return spans with their recordings and deployments; positions are rounded as it was said."""
    recordings = recordings_of(study.cube)
    deployments = deployments_of(study.cube, recordings, _known_deployments(study))
    spans, recordings, deployments = _with_positions(study, spans, recordings, deployments)
    high_hz = float(study.cube["mel"].to_numpy()[-1])
    about = about_export(study, choice, said)
    found = Collection(spans, deployments, recordings, study.sounds, high_hz, about, study.notes)
    return found.with_rounded_positions()


def about_export(study: Study, choice: Choice, said: Said) -> About:
    """Return what is said of an export; without a title the study is called by the folder of its manifest."""
    scores, detector = study.scores(), ""
    if scores is not None and study.detections is not None and choice.threshold is not None:
        detector = f"dawnchorus {study.detections.name}, heads {str(scores.attrs.get('heads_id', ''))[:12]}"
    program = f"dawnchorus {metadata.version('dawnchorus')}"
    title = said.title or study.manifest.path.resolve().parent.name
    now = datetime.now(UTC).replace(microsecond=0)
    return About(title, said.creators, said.licence, now, said.decimals, program, _sentence(choice), detector)


def _sentence(choice: Choice) -> str:
    if choice.threshold is None:
        return "Spans of sound that people verified: all who heard them said yes."
    rule = {
        "best-f1": "the score at which F1 is best among held-out verdicts",
        "precision": "the score at which the stated precision is reached, by a logistic fit to held-out verdicts",
    }.get(choice.threshold, f"a probability of {choice.threshold}")
    only = " Only those are kept that a person verified." if choice.is_verified else ""
    return (
        f"Windows that a detector scores at or above {rule}, joined where they are at most {choice.joining.gap_s:g} s "
        f"apart.{only} Those that people answered no to are left out."
    )


def _detections(manifest: Manifest, choice: Choice) -> Run:
    known = {run.name: run for run in manifest.runs.values() if run.kind == "detections"}
    if choice.run is not None and choice.run not in known:
        raise InputError(f"--detections {choice.run}: expected a run of `detect`; {near_or_all(choice.run, known)}.")
    if choice.run is None and len(known) != 1:
        listed = ", ".join(known) or "none"
        raise InputError(
            f"{manifest.path}: a threshold is of detections; expected one run of `detect`, found {listed}. "
            + ("Name one with --detections." if known else "Use --verified, or add runs of `learn` and `detect`.")
        )
    return known[choice.run or next(iter(known))]


def _finished_detections(manifest: Manifest, choice: Choice) -> Run | None:
    """Return the run of detections that is there, if it is but one or named."""
    if choice.run is not None:
        return _detections(manifest, choice)
    runs = [run for run in manifest.runs.values() if run.kind == "detections" and run.output.exists("zarr.json")]
    return runs[0] if len(runs) == 1 else None


def _sounds(manifest: Manifest) -> tuple[dict[str, Sound], list[str]]:
    """Return the sounds of the study's table by name, and a note if there is no table."""
    try:
        return {one.sound: one for one in read_sounds(manifest.path).sounds}, []
    except InputError:
        if (manifest.path.resolve().parent / "sounds.csv").exists():
            raise
        return {}, ["there is no sounds.csv beside the manifest, so no sound has a scientific name"]


def _names_of(detections: Run) -> list[str]:
    return [str(name) for name in open_any(detections.output.url)["sound"].to_numpy()]


def _chosen(study: Study, choice: Choice) -> pd.DataFrame:
    scores = study.scores()
    if choice.threshold is None or scores is None:
        return verified_spans(study.verdicts, choice.sounds)
    _, without = thresholds_of(scores, choice.threshold, choice.sounds)
    if without:
        study.notes.append(
            f"no threshold {choice.threshold!r} for {', '.join(without)}: see `flags` and `refused` of the heads"
        )
    events = find_events(scores, study.cube, choice.threshold, sounds=choice.sounds, joining=choice.joining)
    spans = detected_spans(events, study.verdicts)
    is_no = spans["verdict"] == "no"
    if is_no.any():
        study.notes.append(f"{int(is_no.sum())} events are left out, as people answered no to all of them")
    return spans[spans["verdict"] == "yes" if choice.is_verified else ~is_no].reset_index(drop=True)


def _kept(spans: pd.DataFrame, cube: xr.Dataset, wanted: Wanted) -> pd.DataFrame:
    """Return the spans of the recorders, sites, days and hours that are wanted."""
    keep = np.ones(len(spans), dtype=np.bool_)
    if wanted.recorders:
        known = recorder_names(cube)
        keep &= spans["recorder"].isin([resolve_recorder(name, known) for name in wanted.recorders]).to_numpy()
    if wanted.sites:
        sites = {str(site) for site in cube.variables["site"].to_numpy()} - {""}
        unknown = [site for site in wanted.sites if site not in sites]
        if unknown:
            raise InputError(f"site {unknown[0]!r} is not in the cube; {near_or_all(unknown[0], sorted(sites))}.")
        keep &= spans["site"].isin(wanted.sites).to_numpy()
    times = spans["start_local"] if wanted.is_local else spans["start_utc"]
    keep &= is_wanted_time(times.to_numpy().astype("datetime64[ms]"), wanted)
    return spans[keep].reset_index(drop=True)


def _known_deployments(study: Study) -> pd.DataFrame | None:
    recordings = study.cube_run.recordings
    if recordings is None or recordings.deployments is None or not recordings.deployments.is_file():
        return None
    return read_deployments(recordings.deployments)


def _with_positions(
    study: Study, spans: pd.DataFrame, recordings: pd.DataFrame, deployments: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fill in deployments from the positions of recordings, for recorders that have no deployment."""
    given = study.cube_run.recordings
    lacking = set(recordings.loc[recordings["deployment"] == "", "recorder"])
    if not lacking or given is None or not given.table.is_file():
        return spans, recordings, deployments
    listed = read_recordings(given.table)
    found = deployments_from(listed[listed["recorder"].isin(lacking)])
    found = found[~found["deployment"].isin(deployments["deployment"])]
    for row in found.to_dict("records"):
        for table in (spans, recordings):
            is_here = (table["recorder"] == row["recorder"]) & (table["deployment"] == "")
            is_here &= (table["start_utc"] >= row["start"]) & (table["start_utc"] <= row["end"])
            for name in {"deployment", "latitude", "longitude"} & set(table.columns):
                table.loc[is_here, name] = row[name]
    return spans, recordings, pd.concat([deployments, found], ignore_index=True)[deployments.columns]


def _why_empty(study: Study, choice: Choice) -> str:
    n_yes = int((study.verdicts["verdict"] == "yes").sum())
    if choice.wanted != Wanted() or choice.sounds:
        return "no span is all of what was asked for; ask for other sounds, recorders, sites or days"
    if choice.threshold is None or choice.is_verified:
        told = "the lake has no verdict `yes`" if not n_yes else f"none of {n_yes} verdicts `yes` holds"
        return f"{told}. Bring some in with `dawnchorus verdicts add`, or export above a --threshold"
    return f"no window scores above the threshold {choice.threshold!r}; lower it"
