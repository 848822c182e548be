"""Commands on what people said of windows: ``verdicts add`` and ``verdicts list``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from jobs.common.terminal import complain, print_json, print_line, print_lines

verdicts = typer.Typer(no_args_is_help=True, help="Bring verdicts of people into the lake, and count them.")

ManifestArg = Annotated[Path, typer.Argument(help="the study's manifest (TOML)")]
JsonOpt = Annotated[bool, typer.Option("--json", help="print facts as JSON")]


@verdicts.command("add")
def add_files(
    manifest: ManifestArg,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="tables of verdicts, or labels of Raven, Audacity, BirdNET, …")
    ],
    reviewer: Annotated[str, typer.Option(help="who decided, where a file does not say so")] = "",
    sound: Annotated[list[str] | None, typer.Option(help="only this sound; can be given again")] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive", help="every call was labelled: windows of a labelled recording without one are no"
        ),
    ] = False,
    min_overlap_s: Annotated[
        float, typer.Option("--min-overlap-s", min=0.001, help="seconds of a label that make a window count")
    ] = 0.5,
    cube: Annotated[str | None, typer.Option(help="run of spectrograms, if the manifest has several")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Check files of verdicts, all at once, and add what is new to the lake."""
    from jobs.review.command import add
    from jobs.review.deliver import Given
    from jobs.runner.manifest import read_manifest

    given = Given(reviewer, tuple(sound or ()), exhaustive, min_overlap_s, datetime.now(UTC))
    done = add(read_manifest(manifest), files, given, cube=cube)
    for note in done.read.notes:
        complain(f"note: {note}")
    n_read = len(done.read.table)
    if as_json:
        print_json({"delivery": done.delivery.key or None, "n_read": n_read, "n_added": done.delivery.n_added})
    elif not done.delivery.key:
        print_line(f"{n_read} verdicts read, the lake has them all; nothing to add")
    else:
        print_line(f"{done.delivery.n_added} of {n_read} verdicts added: verdicts/{done.delivery.key}")


@verdicts.command("list")
def list_counts(manifest: ManifestArg, as_json: JsonOpt = False) -> None:
    """Count the verdicts by sound and reviewer, and show how well reviewers agree."""
    from jobs.review.command import counts
    from jobs.runner.manifest import read_manifest

    table, agreed = counts(read_manifest(manifest))
    if as_json:
        kappas = agreed.astype(object).where(agreed.notna(), None)
        print_json({"counts": table.to_dict("records"), "agreement": kappas.to_dict("records")})
        return
    if table.empty:
        print_line("no verdicts yet; `dawnchorus verdicts add MANIFEST FILE` brings them in")
        return
    print_lines(table.to_string(index=False))
    if len(agreed):
        print_line("")
        print_lines(agreed.to_string(index=False, float_format="{:.2f}".format, na_rep="-"))
