"""The command that asks people: ``review`` chooses windows, keeps them as a batch, and makes the page for them."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli_verdicts import JsonOpt, ManifestArg
from jobs.common.terminal import complain, print_json, print_line
from lake.errors import UsageError

if TYPE_CHECKING:
    from jobs.review.ask import Asked

commands = typer.Typer()


@commands.command()
def review(
    manifest: ManifestArg,
    sound: Annotated[list[str] | None, typer.Option(help="ask about this sound; can be given again")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="windows to hear")] = 100,
    order: Annotated[
        str, typer.Option(help="explore, far, margin, top, precision, random, count, or auto: by what is known")
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="another number draws other windows")] = 0,
    windows: Annotated[Path | None, typer.Option(help="only the windows of this table: recorder, time_utc")] = None,
    batch: Annotated[str | None, typer.Option(help="make the page of a batch that the lake has again")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the page; review/BATCH beside the manifest")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="whether the page is made")] = True,
    cube: Annotated[str | None, typer.Option(help="run of spectrograms, if the manifest has several")] = None,
    clusters: Annotated[str | None, typer.Option(help="run of clusters; else the one that an atlas shows")] = None,
    vectors: Annotated[str | None, typer.Option(help="run of vectors for far; else those of the clusters")] = None,
    detections: Annotated[str | None, typer.Option(help="run of detections; else the first that is done")] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="a page without sound")] = False,
    workers: Annotated[int, typer.Option(min=1, help="threads that draw and cut")] = 2,
    as_json: JsonOpt = False,
) -> None:
    """Choose windows to hear next, keep them in the lake as a batch, and make a page that asks for verdicts."""
    from jobs.manifest import read_manifest
    from jobs.review.ask import AUTO, ORDERS, Request, choose_batch, kept_batch

    if order not in {AUTO, *ORDERS}:
        raise UsageError(f"--order {order!r}: expected one of {', '.join([AUTO, *ORDERS])}.")
    if batch is not None and (sound or windows or order != AUTO):
        raise UsageError("--batch: the batch is chosen already; leave out --sound, --order and --windows.")
    study = read_manifest(manifest)
    if batch is not None:
        asked = kept_batch(study, batch, cube)
    else:
        request = Request(order, n, seed, tuple(sound or ()), windows, cube, clusters, vectors, detections)
        asked = choose_batch(study, request, shlex.join(["dawnchorus", *sys.argv[1:]]))
    folder = (out or manifest.resolve().parent / "review" / asked.batch.name) if page else None
    notes = [] if folder is None else _make_page(folder, asked, audio=not no_audio, workers=workers)
    for note in [*asked.notes, *notes]:
        complain(f"note: {note}")
    _say(manifest, asked, folder, as_json=as_json)


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


def _say(manifest: Path, asked: "Asked", folder: Path | None, *, as_json: bool) -> None:
    """Say which windows were chosen and why, and what to do next."""
    batch = asked.batch
    index = None if folder is None else str(folder / "index.html")
    if as_json:
        print_json({"batch": batch.name, "n": len(batch.table), "asked": batch.asked, "why": asked.why, "page": index})
        return
    order = f"{batch.asked['order']}{': ' + asked.why if asked.why else ''}"
    print_line(f"batch      {batch.name}: {len(batch.table)} of {batch.asked['n_population']} windows")
    print_line(f"order      {order}")
    print_line(f"sounds     {', '.join(batch.sounds)}")
    if index is not None:
        print_line(f"look       {index}")
        print_line(f"then       dawnchorus verdicts add {manifest} FILE, with the table that the page gives")
