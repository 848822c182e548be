"""Run the demo study: from recordings to clusters in one command."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from jobs.catalog.command import run_catalog
from jobs.catalog.summary import describe
from jobs.common.progress import counting
from jobs.common.run import Options
from jobs.demo.config import DEMO, STUDY_SHA256
from jobs.demo.study import make_study
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import Manifest, read_manifest
from jobs.runner.state import finished
from jobs.workflows.proposals import TEMPLATE
from lake.constants import STATUS
from lake.lengths import lasting
from lake.outputs import write_outputs
from lake.read import grid_of, open_clusters, open_cube, usable_windows
from lake.recordings import is_usable, read_recordings

Say = Callable[[str], None]
SOUNDS: Final = "sounds"
"""The run of the page that has the sounds."""
SETS = {
    "logmel": "log-mel", "statistics": "statistics", "dictionary": "dictionary", "untrained": "untrained network",
    "trained": "DINO", "joined": "dictionary ‖ statistics",
}  # fmt: skip
"""Vector sets of the demo's evaluation, the simplest first, as its table calls them."""


def quickstart(folder: Path, *, workers: int, say: Say, force: bool = False) -> None:
    """Make the demo study and run the whole chain.

    Parameters
    ----------
    folder
        Where the lake goes.
    workers
        Processes that work side by side.
    say
        Prints a line.
    force
        Replace a table and a manifest that somebody changed.
    """
    from jobs.workflows.rehearsal import rehearse  # noqa: PLC0415 (`demo --only-recordings` runs without scikit-learn)
    from jobs.workflows.season import count_season  # noqa: PLC0415 (needs scikit-learn too)

    table, manifest = prepare_study(folder, workers, say, force=force)
    read = read_manifest(manifest)
    execute_runs(read, [], Options(workers=workers), say)
    heard = [*rehearse(read, workers, say), *count_season(read, workers, say)]
    for line in [*summary(read, table), *heard, *_sounds_page(read, workers, say)]:
        say(line)


def summary(manifest: Manifest, table: Path) -> list[str]:
    """Return what came out: windows, set-aside recordings, clusters, scores, the page, what to type next."""
    mels, clusters = manifest.runs["mels"], manifest.runs["clusters"]
    with open_cube(mels.output.url) as cube:
        status = cube["status"].to_numpy()
        ok, partial, unreadable = (int((status == STATUS[name]).sum()) for name in ("ok", "partial", "unreadable"))
        windows = usable_windows(cube)
        recorder = str(cube["recorder"][int(windows.recorder[0])].item())
        day = grid_of(cube).day_of(int(windows.cell[0]))
    below = sum(entry.counts.get("below_coverage", 0) for entry in mels.ledger.written().values())
    lines = [
        "",
        f"windows    {ok} ok, {partial} partial, {unreadable} unreadable, {below} missing (too little was recorded)",
        *_recordings(table),
    ]
    with open_clusters(clusters.output.url) as store:
        lines.append(f"clusters   {int((store['n_windows'] > 0).sum())} of {store.sizes['cluster_id']} with windows")
    if "scores" in manifest.runs:
        lines += _scores(Path(manifest.runs["scores"].output.url))
    url = clusters.inputs["embeddings"].output.url
    return [
        *lines,
        f"look       {manifest.runs['atlas'].output.url}/index.html",
        f"manifest   {_short(str(manifest.path.resolve()))}",
        "",
        "Type next, in any Python that has xarray and zarr:",
        "  import xarray as xr",
        f"  vectors = xr.open_dataset({_short(url)!r}, engine='zarr')",
        f"  vectors.embedding.sel(recorder={recorder!r}, time={day!r}).dropna('time')",
    ]


def _sounds_page(manifest: Manifest, workers: int, say: Say) -> list[str]:
    """Make the page that has the sounds, where they were counted, and return a line that says where it is."""
    run = manifest.runs.get(SOUNDS)
    if run is None or finished(run.inputs["counts"]) is None:
        return []
    if finished(run) is None:
        execute_runs(manifest, [SOUNDS], Options(workers=workers), say)
    return [f"listen     {run.output.url}/index.html (a page for each sound)"]


def _scores(folder: Path) -> list[str]:
    """Return the ladder of vector sets, and the agreement of the clusterings, with the truth."""
    rows = pd.read_csv(folder / "intervals.csv").set_index(["role", "split", "measure"])["value"].to_dict()
    clusterings = pd.read_csv(folder / "scores.csv").set_index("role")["ami"]
    table = [
        f"  {title:<26}{rows[role, 'all', 'kmeans_ami']:10.3f}{rows[role, 'recording', 'knn_accuracy']:10.3f}"
        for role, title in SETS.items()
        if {(role, "all", "kmeans_ami"), (role, "recording", "knn_accuracy")} <= set(rows)
    ]
    shown = ", ".join(f"{role} {ami:.3f}" for role, ami in clusterings.items())
    return [
        f"AMI        {shown} (agreement of the clusters with the truth; 1 is perfect, 0 is chance)",
        "",
        f"{'vectors':<28}{'AMI':>10}{'5-NN':>10}   (k-means, and nearest of other recordings, of labelled intervals)",
        *table,
        "",
    ]


def prepare_study(folder: Path, workers: int, say: Say, *, force: bool = False) -> tuple[Path, Path]:
    """Make the demo study and the table of its recordings, where they are not there yet, and its manifest.

    Returns
    -------
    tuple
        The paths of the table and the manifest.
    """
    with counting("demo study", "recordings") as tell:
        study = make_study(folder / "study", DEMO, workers=workers, on_progress=tell)
    if study.digest != STUDY_SHA256:
        say("demo study: it is not the one that the documented figures belong to (its digest differs)")
    table = folder / "recordings.csv"
    if study.is_new or not table.exists():
        zones = tomllib.loads((folder / "study/zones.toml").read_text(encoding="utf-8"))["zones"]
        deployments = folder / "study/deployments.csv"
        _catalog(folder / "study/audio", table, zones, workers, say, deployments=deployments, force=force)
    else:
        say("demo study: there already, nothing to do")
    return table, _write_manifest(folder, _template(), force=force)


def _catalog(
    audio: Path,
    table: Path,
    zones: Mapping[str, str],
    workers: int,
    say: Say,
    *,
    deployments: Path | None = None,
    force: bool,
) -> dict[str, Any]:
    with counting("catalog", "files") as tell:
        facts = run_catalog(
            [audio],
            table,
            zones=zones,
            deployments=deployments,
            workers=workers,
            force=force,
            on_progress=tell,
            on_note=say,
        )
    say(f"catalog: {facts['n_files']} files, {lasting(3600 * facts['hours'])}, in {table}")
    for line in describe(facts):
        say(f"  {line}")
    return facts


def _write_manifest(folder: Path, manifest: str, *, force: bool) -> Path:
    path = folder / "manifest.toml"
    if not path.is_file() or path.read_bytes() != manifest.encode():
        write_outputs(folder, {path.name: manifest.encode()}, force=force, option="--folder")
    return path


def _template() -> str:
    """Return the demo's manifest for the folder of its lake, where its paths are relative to that folder."""
    text = TEMPLATE.read_text(encoding="utf-8")
    return text.replace('"../data/demo"', '"."').replace('"../data/demo/', '"')


def _recordings(table: Path) -> list[str]:
    """Return which recordings were set aside and why, and what was noticed about the others."""
    recordings = read_recordings(table)
    usable = is_usable(recordings)
    return [
        f"set aside  {_listed(recordings[~usable])} of {len(recordings)} recordings",
        f"noticed    {_listed(recordings[usable & (recordings['problems'] != '')])} among the others",
    ]


def _listed(recordings: pd.DataFrame, most: int = 3) -> str:
    shown = [f"{row.path}: {row.problems}" for row in recordings.head(most).itertuples()]
    more = ["…"] if len(recordings) > most else []
    return f"{len(recordings)}" + (f" ({', '.join([*shown, *more])})" if shown else "")


def _short(url: str) -> str:
    """Return a path relative to the working folder where it is below it."""
    path = Path(url)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else url
