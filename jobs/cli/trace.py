"""Commands on where windows come from, and what stands in for them: trace, names, import."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.lake import ForceOpt, JsonOpt, StoreArg, commands
from jobs.common.terminal import complain, print_json, print_line
from lake.errors import InputError, UsageError
from lake.outputs import refuse_others
from lake.storage import Storage

if TYPE_CHECKING:
    from lake.query.trace import Trace

__all__ = ["commands"]

RootOpt = Annotated[Path | None, typer.Option(help="folder that the recordings' paths are relative to")]


@commands.command()
def trace(
    store: StoreArg,
    recorder: Annotated[str | None, typer.Option(help="recorder of the window")] = None,
    time: Annotated[str | None, typer.Option(help="time in UTC that the window begins at, or holds")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="instead: the exemplar of this cluster, by number or name")
    ] = None,
    exemplar: Annotated[int, typer.Option(min=0, help="which exemplar, 0 is the nearest")] = 0,
    audio: Annotated[Path | None, typer.Option(help="write the window's sound: .flac or .wav")] = None,
    root: RootOpt = None,
    speech: Annotated[
        bool, typer.Option("--speech", help="write the sound also where somebody marked it as speech")
    ] = False,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Say which samples of which file a window is made of, and every run on the way to it."""
    from lake.query.trace import trace as traced

    if (recorder is None or time is None) == (cluster is None):
        raise UsageError("trace: name a window with --recorder and --time, or an exemplar with --cluster.")
    if audio is not None and (root is None or audio.suffix not in {".flac", ".wav"}):
        raise UsageError(f"--audio {audio}: expected a name that ends in .flac or .wav, and --root.")
    if audio is not None and not force:
        refuse_others(audio.absolute().parent, [audio.name], option="--audio")
    if cluster is not None:
        recorder, time = _exemplar(store, cluster, exemplar)
    found = traced(store, str(recorder), str(time))
    if _is_speech(store, found):
        complain("note: somebody marked the sound of this window as speech.")
        if audio is not None and not speech:
            raise UsageError(f"--audio {audio}: the window is marked as speech; nothing was written. Add --speech.")
    gain_db = 0.0
    if audio is not None and root is not None:
        from jobs.runner.registry import needing

        with needing(f"--audio {audio}", "spectrograms"):
            from jobs.common.audio.cutting import cut

            gain_db = cut(found, root, audio, force=force)
    if as_json:
        print_json({**found.as_dict(), "audio": str(audio) if audio else None, "audio_gain_db": gain_db})
        return
    lowered = f", gain {gain_db:g} dB: it goes beyond full scale, which FLAC cannot hold" if gain_db else ""
    for line in [*_lines(found), *([f"sound      {audio}{lowered}"] if audio else [])]:
        print_line(line)


@commands.command()
def names(
    store: Annotated[str, typer.Argument(help="a clustering, …/clusters/RUN.zarr, whose names are to be carried")],
    to: Annotated[str, typer.Argument(help="another clustering of the same windows")],
    min_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="share of a cluster's windows that had a name, at least")
    ] = 0.5,
    write: Annotated[bool, typer.Option("--write", help="write RUN.names.csv; without, only show")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Carry the names of clusters to another clustering, by the windows that they share."""
    from lake.chain import made_by
    from lake.names import names_key
    from lake.query.carrying import carried, match_names, overlap_table
    from lake.query.naming import read_names, write_names
    from lake.read import open_clusters

    old, new = Storage(store), Storage(to)
    given = read_names(old)
    folder, key = names_key(old)
    if not given.rows:
        raise InputError(f"{folder.path(key)}: expected names (columns cluster, name, notes), found none.")
    with open_clusters(store) as first, open_clusters(to) as second:
        matches = match_names(given.rows, overlap_table(first, second), min_overlap=min_overlap)
    present = read_names(new)
    there = {name.cluster: name for name in present.rows}
    kept = [name for name in carried(matches, made_by(store).name) if name.cluster not in there]
    for note in [*given.notes, *present.notes]:
        complain(note)
    if write:
        write_names(new, [*there.values(), *kept])
    if as_json:
        print_json([{**vars(m), "name": m.name.name, "from_cluster": m.name.cluster} for m in matches])
        return
    for match in matches:
        taken = match.is_carried and match.cluster in there
        became = f"cluster {match.cluster}, overlap {match.overlap:.2f}" if match.cluster >= 0 else "no cluster"
        verdict = "has a name already" if taken else "carried" if match.is_carried else "not carried"
        print_line(f"{', '.join(map(str, match.sources)):>5}  {match.name.name:<30}  {became}: {verdict}")
    where = names_key(new)
    print_line(f"{where[0].path(where[1])}: {f'{len(kept)} names added' if write else 'not written; add --write'}")


@commands.command(name="import")
def import_(
    manifest: Annotated[Path, typer.Argument(help="the manifest, a TOML file")],
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="a run whose job is `import`")],
    refresh: Annotated[bool, typer.Option("--refresh", help="do a finished run again")] = False,
) -> None:
    """Take in vectors that another program made, as a run of the manifest names them."""
    from jobs.common.run import Options
    from jobs.runner.execute import chosen, execute_runs
    from jobs.runner.manifest import read_manifest
    from jobs.runner.registry import JOBS

    study = read_manifest(manifest)
    (run,) = chosen(study, [run_name])
    job = JOBS[run.job]
    if job.writes != "embeddings" or not job.files:
        line = f"dawnchorus run {shlex.quote(str(manifest))} {run_name}"
        raise InputError(f"run {run_name!r} is a {run.job!r} run; `{line}` executes it.")
    execute_runs(study, [run_name], Options(refresh=refresh), print_line)


def _is_speech(store: str, found: "Trace") -> bool:
    """Return whether a window shares time with what somebody marked as speech."""
    import numpy as np
    import pandas as pd

    from lake.chain import made_by
    from lake.heard import shares_speech
    from lake.verdicts import read_verdicts

    start, end = (
        np.array([text.removesuffix("Z")], "M8[ms]").astype("i8") for text in (found.start_utc, found.end_utc)
    )
    return bool(shares_speech(read_verdicts(made_by(store).lake), pd.Series([found.recorder]), start, end)[0])


def _exemplar(store: str, asked: str, exemplar: int) -> tuple[str, str]:
    """Return recorder and time of the exemplar of a cluster, which is asked for by number or name."""
    from lake.grid import iso
    from lake.query.find import number_or_name
    from lake.query.naming import numbers_of
    from lake.read import grid_of, open_clusters, recorder_names

    with open_clusters(store) as dataset:
        shape = (dataset.sizes["cluster_id"], dataset.sizes["exemplar"])
        cluster, *others = numbers_of(dataset, [number_or_name(asked)])
        if others:
            raise UsageError(
                f"--cluster {asked!r}: clusters {cluster}, {str(others)[1:-1]} have this name; type a number."
            )
        if cluster >= shape[0] or exemplar >= shape[1]:
            raise InputError(f"{store}: has {shape[0]} clusters of {shape[1]} exemplars, numbered from 0.")
        i = int(dataset["exemplar_recorder"].to_numpy()[cluster, exemplar])
        if i < 0:
            raise InputError(f"{store}: cluster {cluster} has fewer than {exemplar + 1} windows.")
        cell = int(dataset["exemplar_cell"].to_numpy()[cluster, exemplar])
        return recorder_names(dataset)[i], iso(grid_of(dataset).start_ms(cell))


def _lines(found: "Trace") -> list[str]:
    """Return a trace as people read it."""
    lines = [f"window     {found.recorder}, {found.start_utc} to {found.end_utc}, {found.status}, cell {found.cell}"]
    for piece in found.pieces:
        span = f"samples {piece.first_sample} to {piece.last_sample} of {piece.sample_rate_hz} a second"
        lines += [f"recording  {piece.path}: {span}, from {piece.start_utc}", f"           sha256 {piece.sha256}"]
    lines.append(f"channel    {found.channel}")
    told: dict[str, Any] = {key: value for key, value in found.deployment.items() if value not in {None, ""}}
    lines.append(f"deployment {', '.join(f'{key} {value}' for key, value in told.items()) or 'unknown'}")
    lines.append(f"digest     {found.digest or 'of a vector that was made elsewhere'}")
    for run in found.runs:
        image = (run["image"] or {}).get("sha256") or "no image"
        lines.append(
            f"run        {run['run']} ({run['job']}), config {run['config_id']}, content {run['content_id']}, "
            f"{run['written'] or 'no receipt'}, {image}"
        )
    return lines
