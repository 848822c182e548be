"""The commands that ask people: ``review`` chooses windows and makes their page, ``loop`` learns from answers first."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.verdicts import JsonOpt, ManifestArg
from jobs.common.terminal import complain, print_json, print_line, print_lines
from lake.errors import UsageError

if TYPE_CHECKING:
    from jobs.review.ask import Asked

commands = typer.Typer()

SoundOpt = Annotated[list[str] | None, typer.Option(help="ask about this sound; can be given again")]
NumberOpt = Annotated[int, typer.Option("--n", min=1, help="windows to hear")]
OrderOpt = Annotated[
    str, typer.Option(help="typical, explore, far, margin, top, precision, random, count, or auto: by what is known")
]
SeedOpt = Annotated[int, typer.Option(min=0, help="another number draws other windows")]
OutOpt = Annotated[Path | None, typer.Option(help="folder of the page; review/BATCH next to the manifest")]
PageOpt = Annotated[bool, typer.Option("--page/--no-page", help="whether the page is made")]
CubeOpt = Annotated[str | None, typer.Option(help="run of spectrograms, if the manifest has several")]
SilentOpt = Annotated[bool, typer.Option("--no-audio", help="a page without sound")]


@commands.command()
def review(
    manifest: ManifestArg,
    sound: SoundOpt = None,
    n: NumberOpt = 100,
    order: OrderOpt = "auto",
    seed: SeedOpt = 0,
    windows: Annotated[Path | None, typer.Option(help="only the windows of this table: recorder, time_utc")] = None,
    batch: Annotated[str | None, typer.Option(help="make the page of a batch that the lake has again")] = None,
    out: OutOpt = None,
    page: PageOpt = True,
    cube: CubeOpt = None,
    clusters: Annotated[str | None, typer.Option(help="run of clusters; else the one that an atlas shows")] = None,
    vectors: Annotated[str | None, typer.Option(help="run of vectors for far; else those of the clusters")] = None,
    detections: Annotated[str | None, typer.Option(help="run of detections; else the first that is done")] = None,
    no_audio: SilentOpt = False,
    workers: Annotated[int, typer.Option(min=1, help="threads that draw and cut")] = 2,
    as_json: JsonOpt = False,
) -> None:
    """Choose windows to hear next, keep them in the lake as a batch, and make a page that asks for verdicts."""
    from jobs.review.ask import AUTO, Request, choose_batch, kept_batch
    from jobs.runner.manifest import read_manifest

    _require_order(order)
    if batch is not None and (sound or windows or order != AUTO):
        raise UsageError("--batch: the batch is chosen already; leave out --sound, --order and --windows.")
    study = read_manifest(manifest)
    if batch is not None:
        asked = kept_batch(study, batch, cube)
    else:
        request = Request(order, n, seed, tuple(sound or ()), windows, cube, clusters, vectors, detections)
        asked = choose_batch(study, request, shlex.join(["dawnchorus", *sys.argv[1:]]))
    index = _page_of(asked, _folder(manifest, asked, out) if page else None, audio=not no_audio, workers=workers)
    if as_json:
        print_json(_facts(asked, index))
    else:
        _say(asked, index, f"dawnchorus verdicts add {shlex.quote(str(manifest))} FILE")


@commands.command()
def loop(
    manifest: ManifestArg,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE…]", help="tables of verdicts, or labels; none to go on with what the lake has"),
    ] = None,
    reviewer: Annotated[str, typer.Option(help="who decided, where a file does not say so")] = "",
    sound: SoundOpt = None,
    n: NumberOpt = 100,
    order: OrderOpt = "auto",
    seed: SeedOpt = 0,
    detections: Annotated[str | None, typer.Option(help="run of detections, if the manifest has several")] = None,
    cube: CubeOpt = None,
    out: OutOpt = None,
    page: PageOpt = True,
    no_audio: SilentOpt = False,
    workers: Annotated[int, typer.Option(min=1, help="processes and threads that work side by side")] = 2,
    as_json: JsonOpt = False,
) -> None:
    """Add verdicts, learn from them, score all windows, and ask about the next: one round of listening."""
    from jobs.common.run import Options
    from jobs.review.ask import Request, choose_batch
    from jobs.review.command import add
    from jobs.review.deliver import Given
    from jobs.runner.manifest import read_manifest
    from jobs.workflows.loop import detector_runs, learn_and_detect, rows_of, summary
    from lake.sounds import read_sounds
    from lake.verdicts import read_verdicts, settled

    _require_order(order)
    study = read_manifest(manifest)
    runs, sounds = detector_runs(study, detections), read_sounds(study.path)
    n_added = 0
    if files:
        done = add(study, files, Given(reviewer, now=datetime.now(UTC)), cube=cube)
        n_added = done.delivery.n_added
        for note in done.read.notes:
            complain(f"note: {note}")
        if not as_json:
            print_line(f"added      {n_added} of {len(done.read.table)} verdicts")
    learnt = learn_and_detect(study, runs, Options(workers=workers), complain if as_json else print_line)
    rows = rows_of(learnt, sounds.names, settled(read_verdicts(runs[0].lake)))
    if not as_json:
        print_lines("\n".join(["", *summary(learnt, rows), ""]))
    scored = None if learnt.problem else runs[1].name
    request = Request(order, n, seed, tuple(sound or ()), cube=cube, detections=scored)
    asked = choose_batch(study, request, shlex.join(["dawnchorus", *sys.argv[1:]]))
    index = _page_of(asked, _folder(manifest, asked, out) if page else None, audio=not no_audio, workers=workers)
    if as_json:
        print_json({"n_added": n_added, "sounds": rows, "problem": learnt.problem, "next": _facts(asked, index)})
    else:
        _say(asked, index, f"dawnchorus loop {shlex.quote(str(manifest))} FILE")


def _require_order(order: str) -> None:
    from jobs.review.ask import AUTO, ORDERS

    if order not in {AUTO, *ORDERS}:
        raise UsageError(f"--order {order!r}: expected one of {', '.join([AUTO, *ORDERS])}.")


def _folder(manifest: Path, asked: "Asked", out: Path | None) -> Path:
    return out or manifest.resolve().parent / "review" / asked.batch.name


def _page_of(asked: "Asked", folder: Path | None, *, audio: bool, workers: int) -> str | None:
    """Make the page of a batch, if it has a folder, and return the path of its index; notes go to standard error."""
    notes = [] if folder is None else _make_page(folder, asked, audio=audio, workers=workers)
    for note in [*asked.notes, *notes]:
        complain(f"note: {note}")
    return None if folder is None else str(folder / "index.html")


def _make_page(folder: Path, asked: "Asked", *, audio: bool, workers: int) -> list[str]:
    """Make the page of a batch, unless it is there already; return notes."""
    from jobs.review.page import write_page

    batch, index = asked.batch, folder / "index.html"
    if index.is_file() and batch.name in index.read_text(encoding="utf-8", errors="replace"):
        return [f"{folder}: the page of this batch is there already and stays as it is; remove it to make it again."]
    written = write_page(
        folder, batch_id=batch.name, sounds=batch.sounds, rows=batch.table, windows=asked.windows,
        known=asked.sounds.names, every_sound=bool(batch.asked["every_sound"]), audio=audio, workers=workers,
    )  # fmt: skip
    return list(written.notes)


def _facts(asked: "Asked", index: str | None) -> dict[str, object]:
    """Return which windows were chosen and why, as plain values for JSON."""
    batch = asked.batch
    return {"batch": batch.name, "n": len(batch.table), "asked": batch.asked, "why": asked.why, "page": index}


def _say(asked: "Asked", index: str | None, then: str) -> None:
    """Say which windows were chosen and why, and what to do next."""
    batch = asked.batch
    order = f"{batch.asked['order']}{': ' + asked.why if asked.why else ''}"
    print_line(f"batch      {batch.name}: {len(batch.table)} of {batch.asked['n_population']} windows")
    print_line(f"order      {order}")
    print_line(f"sounds     {', '.join(batch.sounds)}")
    if index is not None:
        print_line(f"look       {index}")
        print_line(f"then       {then}, with the table that the page gives")
