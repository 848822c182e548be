"""The command line. Each command imports what it needs, so an image without torch starts as well."""

import json
import os
import re
import sys
import traceback
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.begin import DeploymentsOpt, GuessOpt, ZoneOpt, parse_zones
from jobs.cli.begin import commands as begin_commands
from jobs.cli.clusters import commands as cluster_commands
from jobs.cli.ends import explained, open_standard_streams
from jobs.cli.events import commands as event_commands
from jobs.cli.export import commands as export_commands
from jobs.cli.help import Commands
from jobs.cli.lake import ForceOpt
from jobs.cli.locales import use_utf8
from jobs.cli.neighbours import wait_passively
from jobs.cli.review import commands as review_commands
from jobs.cli.similar import commands as similar_commands
from jobs.cli.trace import commands
from jobs.cli.verdicts import verdicts as verdict_commands
from jobs.common.terminal import VERBOSE, closed_door, complain, print_json, print_line, print_lines
from lake.errors import DawnchorusError, QuarantineError, UsageError
from lake.lengths import lasting
from lake.outputs import refuse_others

if TYPE_CHECKING:
    from jobs.common.job import Option

app = typer.Typer(
    cls=Commands, name="dawnchorus", no_args_is_help=True, pretty_exceptions_enable=False,
    rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]},
    help="Months of passive sound recordings in; sounds to look at, listen to, verify and count out.",
)  # fmt: skip
app.registered_commands += commands.registered_commands
app.add_typer(begin_commands)
app.add_typer(cluster_commands)
app.add_typer(event_commands)
app.add_typer(export_commands)
app.add_typer(review_commands)
app.add_typer(similar_commands)
app.add_typer(verdict_commands, name="verdicts")

ManifestArg = Annotated[Path, typer.Argument(help="the manifest, a TOML file")]
RunsArg = Annotated[list[str] | None, typer.Argument(help="runs; all of them if none is named")]
WORKERS_HELP = "processes that work side by side on this machine"
WorkersOpt = Annotated[int, typer.Option(min=1, help=WORKERS_HELP)]
PartitionOpt = Annotated[str | None, typer.Option(help="i/n: only this share of the partitions, without finalising")]
JsonOpt = Annotated[bool, typer.Option("--json", help="print facts as JSON")]


def main() -> None:
    """Run the command line; every error that a user can meet becomes a message and an exit code."""
    open_standard_streams()
    use_utf8()
    wait_passively()
    with closed_door():
        try:
            with explained():  # what typer itself prints, too
                app()
        except DawnchorusError as error:
            if os.environ.get(VERBOSE):
                traceback.print_exc()
            complain(f"dawnchorus: {error}")
            sys.exit(error.exit_code)
        except Exception:  # noqa: BLE001 (a bug: its traceback holds names, and goes through the door like all else)
            traceback.print_exc()
            sys.exit(DawnchorusError.exit_code)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if version:
        print_line(metadata.version("dawnchorus"))
        raise typer.Exit


@app.command()
def version() -> None:
    """Print the versions of the program and of what it computes with."""
    from importlib.util import find_spec

    print_line(f"dawnchorus {metadata.version('dawnchorus')}")
    print_line(f"python {sys.version.split()[0]}")
    for name in ("numpy", "xarray", "zarr", "soundfile", "av", "scikit-learn", "torch"):
        is_here = find_spec({"scikit-learn": "sklearn"}.get(name, name)) is not None
        print_line(f"{name} {metadata.version(name) if is_here else '(not installed)'}")


@app.command()
def catalog(
    audio: Annotated[list[str], typer.Argument(help="folders of recordings; paths or URLs")],
    out: Annotated[Path, typer.Option(help="the table to write")] = Path("recordings.csv"),
    zone: ZoneOpt = None,
    deployments: DeploymentsOpt = None,
    guess: GuessOpt = None,
    retry: Annotated[
        bool, typer.Option("--retry-quarantined", help="examine again what could not be used, though it is unchanged")
    ] = False,
    effort: Annotated[Path | None, typer.Option(help="draw recorder by day, hours recorded: a PNG")] = None,
    workers: WorkersOpt = 2,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """List what is there, when it was recorded, and what is wrong with it."""
    from jobs.common.progress import counting
    from jobs.runner.registry import needing

    if effort is not None and effort.suffix.lower() != ".png":
        raise UsageError(f"--effort {effort}: expected a picture's name that ends in .png.")
    if effort is not None and not force:
        refuse_others(effort.absolute().parent, [effort.name], option="--effort")
    with needing("the catalog", "spectrograms"), counting("catalog", "files") as tell:
        from jobs.catalog.command import run_catalog
        from jobs.catalog.summary import describe
        from jobs.common.effort import draw_effort
        from lake.recordings import read_recordings

        notes: list[str] = []
        facts = run_catalog(
            audio, out, zones=parse_zones(zone), deployments=deployments, workers=workers, guesses=guess or [],
            retry=retry, force=force, on_progress=tell, on_note=notes.append,
        )  # fmt: skip
    summary = f"{facts['n_files']} files, {lasting(3600 * facts['hours'])}, {facts['n_placed']} with a time in UTC"
    if as_json:
        print_json(facts)
    else:
        for line in [*describe(facts), f"{out}: {summary}"]:
            print_line(line)
    for note in notes:
        complain(f"note: {note}")
    if effort is not None:
        draw_effort(read_recordings(out), effort, force=force)
    if json.loads(Path(facts["receipt"]).read_text(encoding="utf-8"))["passed_over"]["unlisted"]:
        raise QuarantineError(f"{out} is written, without the folders that cannot be listed.")


@app.command()
def run(
    manifest: ManifestArg,
    runs: RunsArg = None,
    workers: Annotated[int | None, typer.Option(min=1, help=f"{WORKERS_HELP}; 2")] = None,
    scheduler: Annotated[str | None, typer.Option(help="address of a Dask scheduler: its workers work")] = None,
    scheduler_file: Annotated[Path | None, typer.Option(help="the file that a Dask scheduler wrote")] = None,
    tls: Annotated[Path | None, typer.Option(help="folder with the scheduler's key, see `certificate`")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="take a scheduler without TLS")] = False,
    partition: PartitionOpt = None,
    ranks: Annotated[int, typer.Option(min=1, help="processes that train together, or take a share each")] = 1,
    node: Annotated[str | None, typer.Option(help="i/n: this machine's number, of several", hidden=True)] = None,
    meet: Annotated[Path | None, typer.Option(help="a folder that those machines share", hidden=True)] = None,
    max_memory: Annotated[str | None, typer.Option(help="what all workers may take, e.g. 8GB; most of it")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="do a finished run again")] = False,
    mix: Annotated[bool, typer.Option("--mix", help="go on with what another kind of processor began")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda")] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="no sound beside an atlas: it may hold speech")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done and what it takes")] = False,
) -> None:
    """Execute all runs of a manifest in order, or those named; what is done is skipped."""
    from jobs.common.memory import parse_size
    from jobs.common.processes import OWN, place
    from jobs.common.run import Options
    from jobs.common.schedulers import parse_scheduler
    from jobs.runner.dryrun import describe_runs
    from jobs.runner.execute import chosen, execute_runs, require_followed
    from jobs.runner.manifest import read_manifest
    from jobs.runner.ranks import launch_ranks

    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UsageError(f"--device {device!r}: expected cpu or cuda (cuda:1 for the second graphics card).")
    part, given = parse_partition(partition), parse_scheduler(scheduler, scheduler_file, tls, insecure=insecure)
    if given is not None and (workers is not None or part is not None):
        other = "--partition" if workers is None else "--workers"
        raise UsageError(f"a scheduler has its own workers and gives them all partitions; leave out {other}.")
    options = Options(
        workers=workers or 2,
        part=part,
        refresh=refresh,
        mix=mix,
        device=device,
        max_memory_bytes=parse_size(max_memory),
        audio=not no_audio,
    )
    asked: dict[Option, bool] = {
        "scheduler": given is not None, "max-memory": max_memory is not None, "refresh": refresh, "mix": mix,
        "device": device is not None, "no-audio": no_audio,
    }  # fmt: skip
    require_followed(
        chosen(read_manifest(manifest), runs or []), [option for option, is_asked in asked.items() if is_asked]
    )
    if (ranks > 1 or node is not None) and not dry_run and place(os.environ).launcher != OWN:
        if part is not None or given is not None:
            raise UsageError("--ranks starts processes of its own; leave out --partition and --scheduler.")
        launch_ranks(read_manifest(manifest), runs or [], ranks, parse_partition(node, "--node"), meet)
    if dry_run:
        describe_runs(read_manifest(manifest), runs or [], options, print_line)
        return
    with ExitStack() as held:
        if given is not None:
            from jobs.common.machines import connected

            held.enter_context(connected(given))
        execute_runs(read_manifest(manifest), runs or [], options, print_line)


@app.command()
def certificate(folder: Annotated[Path, typer.Argument(help="a new folder, for one run")]) -> None:
    """Make a key and certificate for the traffic of one Dask cluster, and say how to start it with them."""
    from jobs.common.machines import how_to_start, write_certificate

    write_certificate(folder)
    print_lines(how_to_start(folder))


@app.command()
def finalise(manifest: ManifestArg, run_name: Annotated[str, typer.Argument(metavar="RUN", help="the run")]) -> None:
    """Make a run readable after all its --partition shares are done."""
    from jobs.runner.execute import finalise_run
    from jobs.runner.manifest import read_manifest

    finalise_run(read_manifest(manifest), run_name, print_line)


@app.command()
def config(
    job: Annotated[str, typer.Argument(metavar="JOB", help="a job, such as spectrograms, embed or cluster")] = "",
    as_json: JsonOpt = False,
) -> None:
    """Print the settings of a job with default, unit, range and meaning, as TOML to paste into a manifest."""
    from jobs.runner.explain import nearest
    from jobs.runner.registry import JOBS
    from jobs.runner.settings import as_toml, settings_of

    if not job:
        raise UsageError(
            f"config: name a job, such as `dawnchorus config cluster`; there are {', '.join(sorted(JOBS))}."
        )
    if job not in JOBS:
        raise UsageError(f"{job!r}: no such job{nearest(job, JOBS)}")
    if as_json:
        print_json({"job": job, "settings": [vars(setting) for setting in settings_of(JOBS[job].config)]})
    else:
        print_lines(as_toml(JOBS[job]))


@app.command()
def status(manifest: ManifestArg, as_json: JsonOpt = False) -> None:
    """Say of every run whether it is done, partial, stale and why, missing, or damaged (then with exit code 4)."""
    from jobs.review.people import people_states
    from jobs.runner.manifest import read_manifest
    from jobs.runner.state import refuse_damaged, states

    study = read_manifest(manifest)
    found = [*states(study), *people_states(study)]
    if as_json:
        print_json([vars(state) for state in found])
    else:
        width = max((len(state.name) for state in found), default=0)
        for state in found:
            print_line(
                f"{state.name:<{width}}  {state.job:<12}  {state.state}{': ' + state.detail if state.detail else ''}"
            )
    refuse_damaged(found)


@app.command()
def verify(manifest: ManifestArg, runs: RunsArg = None) -> None:
    """Compare what the runs have written with their ledgers; what differs is named, with exit code 4."""
    from jobs.runner.execute import verify_runs
    from jobs.runner.manifest import read_manifest

    verify_runs(read_manifest(manifest), runs or [], print_line)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="where the lake goes")] = Path("data/demo"),
    only_recordings: Annotated[
        bool, typer.Option("--only-recordings", help="make the study and its table; run nothing")
    ] = False,
    workers: WorkersOpt = 2,
    force: ForceOpt = False,
) -> None:
    """Make the demo study and run the whole chain, to a page to look at; `init` is for recordings of yours."""
    from jobs.runner.registry import needing

    with needing("the demo", "spectrograms" if only_recordings else "full"):
        from jobs.workflows.quickstart import prepare_study, quickstart

        if only_recordings:
            prepare_study(folder, workers, print_line, force=force)
        else:
            quickstart(folder, workers=workers, say=print_line, force=force)


def parse_partition(text: str | None, option: str = "--partition") -> tuple[int, int] | None:
    """Return i and n of ``i/n``."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not int(found[1]) < int(found[2]):
        raise UsageError(f"{option} {text!r}: expected i/n with 0 <= i < n, for example 0/4 to 3/4.")
    return int(found[1]), int(found[2])
