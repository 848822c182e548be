"""The command that exports: windows of a clustering, or named sound of a study, in the forms that others read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.lake import (
    ClusterOpt,
    DateOpt,
    ForceOpt,
    HourOpt,
    JsonOpt,
    LocalOpt,
    RecorderOpt,
    SiteOpt,
    require_folder,
)
from jobs.common.terminal import complain, print_json, print_line
from lake.errors import UsageError
from lake.exports.formats import FORMATS, Of, names_for

if TYPE_CHECKING:
    from jobs.exports.choice import Choice, Said
    from jobs.exports.target import Target, Written

commands = typer.Typer()


@commands.command()
def export(
    source: Annotated[
        str, typer.Argument(help="a study's manifest (its named sounds), or …/clusters/RUN.zarr (its windows)")
    ],
    out: Annotated[Path | None, typer.Option(help="a folder, or a file that ends as the form does")] = None,
    to: Annotated[str, typer.Option(help=f"one of {', '.join(FORMATS)}; docs/exports.md says for whom")] = "csv",
    bundle: Annotated[Path | None, typer.Option(help="a new folder for a repository: all tables and methods")] = None,
    verified: Annotated[bool, typer.Option("--verified", help="only what people verified")] = False,
    threshold: Annotated[
        str | None, typer.Option(help="events of a detector: best-f1, precision, or a probability from 0 to 1")
    ] = None,
    negatives: Annotated[
        bool, typer.Option("--negatives", help="clips: also spans in which nobody heard what they were asked about")
    ] = False,
    detections: Annotated[str | None, typer.Option(help="run of detections, if the manifest has several")] = None,
    sound: Annotated[list[str] | None, typer.Option(help="only this sound; can be given again")] = None,
    gap: Annotated[float, typer.Option(min=0, help="seconds between two windows that are still one event")] = 0.0,
    min_length: Annotated[float, typer.Option(min=0, help="seconds that an event has at least")] = 0.0,
    recorder: RecorderOpt = None,
    date: DateOpt = None,
    hour: HourOpt = None,
    local: LocalOpt = False,
    site: SiteOpt = None,
    cluster: ClusterOpt = None,
    cube: Annotated[str | None, typer.Option(help="the cube, or the run of it; found by itself if it is one")] = None,
    root: Annotated[Path | None, typer.Option(help="folder of the recordings; the manifest's if not set")] = None,
    round_coordinates: Annotated[
        int | None, typer.Option(min=0, max=6, help="decimals of a degree to keep; 2 is about a kilometre")
    ] = None,
    title: Annotated[str, typer.Option(help="title of the study; the folder of its manifest if not set")] = "",
    creator: Annotated[list[str] | None, typer.Option(help="who made the data; can be given again")] = None,
    licence: Annotated[str, typer.Option(help="SPDX name of the data's licence, such as CC-BY-4.0")] = "",
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Write windows, or named sounds of a study, in the forms that other programs and archives read."""
    from jobs.exports.choice import Choice, Said
    from jobs.exports.target import Target
    from lake.query.events import Joining
    from lake.query.find import parse_wanted

    wanted = parse_wanted(recorder or (), site or (), cluster or (), date, hour, local=local)
    choice = Choice(
        verified, threshold, detections, cube, tuple(sound or ()), Joining(gap, min_length), wanted, negatives
    )
    said = Said(title, tuple(creator or ()), licence, round_coordinates)
    of: Of = "sounds" if source.endswith(".toml") else "clusters"
    _check(source, of, to, out, bundle, choice)
    place = bundle or out or Path()
    target = Target(FORMATS[to], place, root, force)
    if bundle is not None or to == "report":
        written = _whole(Path(source), target, choice, said)
    elif of == "clusters":
        written = _of_store(source, target, choice, said)
    else:
        written = _of_study(Path(source), target, choice, said)
    for note in written.notes:
        complain(f"note: {note}")
    if as_json:
        print_json({"out": str(place), "n_files": written.n_files, "n_rows": written.n_rows})
    else:
        print_line(f"{place}: {written.n_rows} rows in {written.n_files} files")


def _check(source: str, of: Of, to: str, out: Path | None, bundle: Path | None, choice: "Choice") -> None:
    """Refuse, before long work, what does not go together, and a place that cannot be written to."""
    if to not in FORMATS:
        raise UsageError(f"--to {to!r}: expected one of {', '.join(names_for(of))}.")
    if (out is None) == (bundle is None):
        raise UsageError("export: name a folder or file with --out, or a new folder with --bundle.")
    if bundle is not None and of == "clusters":
        raise UsageError(f"--bundle: a bundle is of a study; name its manifest in place of {source}.")
    form = FORMATS[to]
    if of not in form.of:
        other = "a manifest" if of == "clusters" else "…/clusters/RUN.zarr"
        raise UsageError(f"--to {to}: name {other} in place of {source}; of that: {', '.join(names_for(of))}.")
    ends = [end for end in (form.suffix, form.other_suffix) if end]
    if out is not None and ends and out.suffix not in ends:
        raise UsageError(f"--out {out}: expected a name that ends in {' or '.join(ends)}.")
    place = out or bundle or Path()
    require_folder(place.absolute().parent, place)
    if of == "clusters" and choice.asks_for_sounds:
        raise UsageError(
            "--verified, --threshold, --sound and --detections are of named sounds; name the manifest in place of "
            f"{source}."
        )
    if choice.with_negatives and to != "clips":
        raise UsageError(f"--negatives: only `--to clips` takes spans without a sound, not {to}.")
    if of == "sounds" and choice.wanted.clusters:
        raise UsageError("--cluster: clusters are of a store; name …/clusters/RUN.zarr in place of the manifest.")
    if of == "sounds" and form.needs_spans and bundle is None and not choice.is_verified and choice.threshold is None:
        raise UsageError("export: say which spans: --verified, --threshold (best-f1, precision, 0 to 1), or both.")


def _of_store(source: str, target: "Target", choice: "Choice", said: "Said") -> "Written":
    """Export windows of a clustering."""
    from jobs.exports.windows import windows_of_store, write_windows

    return write_windows(windows_of_store(source, choice, said), target)


def _of_study(manifest: Path, target: "Target", choice: "Choice", said: "Said") -> "Written":
    """Export named sounds of a study."""
    from jobs.exports.command import collect, open_study
    from jobs.exports.files import write_collection, write_deployments, write_phenology
    from jobs.runner.manifest import read_manifest

    study = open_study(read_manifest(manifest), choice)
    if target.form.name == "deployments":
        return write_deployments(study, said, target)
    if target.form.name == "phenology":
        return write_phenology(study, choice, target)
    return write_collection(collect(study, choice, said), study, target)


def _whole(manifest: Path, target: "Target", choice: "Choice", said: "Said") -> "Written":
    """Write all of a study: a report to print, or a folder for a repository."""
    from jobs.exports.bundle import write_bundle
    from jobs.exports.report import write_report
    from jobs.runner.manifest import read_manifest

    write = write_report if target.form.name == "report" else write_bundle
    return write(read_manifest(manifest), choice, said, target)
