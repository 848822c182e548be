"""The command on events: windows in which detectors score high, joined, as a table or for Raven and Audacity."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.lake import ForceOpt, JsonOpt, check_out, give, without_speech, write_table
from jobs.common.terminal import complain, print_json, print_line
from lake.errors import InputError, UsageError
from lake.outputs import write_outputs

commands = typer.Typer()
FORMATS = ("csv", "raven", "audacity")


@commands.command()
def events(
    manifest: Annotated[Path, typer.Argument(help="the manifest, a TOML file")],
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="a run that wrote detections")],
    threshold: Annotated[
        str, typer.Option(help="best-f1, precision (as stated for the heads), or a probability from 0 to 1")
    ] = "precision",
    sound: Annotated[list[str] | None, typer.Option(help="only this sound; can be given again")] = None,
    gap: Annotated[float, typer.Option(min=0, help="seconds between two windows that are still one event")] = 0.0,
    min_length: Annotated[float, typer.Option(min=0, help="seconds that an event has at least")] = 0.0,
    to: Annotated[str, typer.Option(help=f"one of {', '.join(FORMATS)}")] = "csv",
    out: Annotated[Path | None, typer.Option(help="a file for csv, a folder for raven and audacity")] = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """List events: neighbouring windows in which a detector scores above a threshold."""
    from jobs.runner.execute import chosen
    from jobs.runner.manifest import read_manifest
    from lake.exports.audacity import audacity_sheets
    from lake.exports.raven import raven_sheets
    from lake.query.events import Joining, find_events, in_recordings, thresholds_of
    from lake.query.select import open_any

    if to not in FORMATS:
        raise UsageError(f"--to {to!r}: expected one of {', '.join(FORMATS)}.")
    if to != "csv" and out is None:
        raise UsageError(f"--to {to}: name a folder with --out.")
    if to == "csv":
        check_out(out, force=force)
    (run,) = chosen(read_manifest(manifest), [run_name])
    if run.kind != "detections":
        raise InputError(f"run {run_name!r}: expected a run that writes detections, found {run.job!r}.")
    store = open_any(run.output.url)
    above = next((one for one in run.above() if one.kind == "spectrograms" and one.output.exists("zarr.json")), None)
    cube = open_any(above.output.url) if above else None
    _, without = thresholds_of(store, threshold, sound or ())
    table = find_events(store, cube, threshold, sounds=sound or (), joining=Joining(gap, min_length))
    table = without_speech(table, run.lake, table["start_utc"], table["end_utc"])
    if without:
        complain(f"note: no threshold {threshold!r} for {', '.join(without)}: see `flags` and `refused` of the heads.")
    if to == "csv" or out is None:
        if out is None:
            give(table, None, force=force, as_json=as_json)
            return
        write_table(table, out, force=force)
        n_files = 1
    else:
        high_hz = float(cube["mel"].to_numpy()[-1]) if cube is not None else 0.0
        rows = in_recordings(table)
        sheets = list(raven_sheets(rows, high_hz=high_hz) if to == "raven" else audacity_sheets(rows))
        write_outputs(out, {sheet.key: sheet.text.encode() for sheet in sheets}, force=force)
        n_files = len(sheets)
    if as_json:
        print_json({"out": str(out), "n_files": n_files, "n_events": len(table)})
    else:
        print_line(f"{out}: {len(table)} events in {n_files} files")
