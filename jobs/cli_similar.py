"""The command that finds windows by example: the nearest to a window, to a clip, or by a detector."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from jobs.cli_lake import ForceOpt, JsonOpt, check_out, give
from jobs.common.terminal import complain, print_json, print_line
from lake.errors import InputError, UsageError
from lake.outputs import write_outputs

if TYPE_CHECKING:
    import pandas as pd

    from lake.nearest import Metric
    from lake.similar import Normalise

commands = typer.Typer()
FORMATS = ("csv", "raven")


@commands.command()
def similar(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE…", help="…/embeddings/RUN.zarr; the vectors of several are joined")
    ],
    recorder: Annotated[str | None, typer.Option(help="recorder of the window")] = None,
    time: Annotated[str | None, typer.Option(help="time in UTC that the window begins at, or holds")] = None,
    audio: Annotated[
        Path | None, typer.Option(help="sound file to compare with in place of a window of the stores")
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="second of --audio that its window begins at; 0 if not set")
    ] = None,
    sound: Annotated[
        str | None, typer.Option(help="sound whose detector ranks the windows; STORE is …/detections/RUN.zarr then")
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="windows to list")] = 20,
    euclidean: Annotated[bool, typer.Option("--euclidean", help="Euclidean distance instead of cosine")] = False,
    normalise: Annotated[
        str, typer.Option(help="whiten, none, or auto: whiten vectors that were made here, leave imported ones")
    ] = "auto",
    apart: Annotated[
        float | None, typer.Option(min=0, help="seconds within which the recorder's own windows are left out")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="threads that read")] = 2,
    to: Annotated[str, typer.Option(help=f"one of {', '.join(FORMATS)}; csv is any table")] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="a .csv, .parquet or .json file instead of printing; a folder for raven")
    ] = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """List the windows nearest to one window or to a clip, or those that a detector scores highest."""
    from jobs.common.progress import progress
    from jobs.registry import ALL, needing
    from lake.places import with_places
    from lake.read import open_embeddings, usable_windows
    from lake.similar import highest, similar_to
    from lake.similar import similar as nearest

    _check(to, out, force=force)
    if sound is not None:
        _check_sound(stores, to, (recorder, time, audio, start, apart))
        table = with_places(highest(stores[0], sound, n=n, say=_note), stores[0])
        give(table, out, force=force, as_json=as_json)
        return
    _check_example(recorder, time, audio, start, apart)
    if normalise not in {"auto", "whiten", "none"}:
        raise UsageError(f"--normalise {normalise!r}: expected auto, whiten or none.")
    how = cast("Normalise", normalise)
    with open_embeddings(stores[0]) as dataset:
        n_windows = len(usable_windows(dataset, status="embedding_status"))
    vector = None
    if audio is not None:
        # By name, as the registry loads jobs: all but a clip is compared without torch.
        with needing("similar --audio", ALL):
            example = import_module("jobs.example")
        vector = example.clip_vector(stores, audio, start or 0.0, recorder=recorder or "")
    with progress("similar", n_windows, "windows") as advance:
        metric: Metric = "euclidean" if euclidean else "cosine"
        if vector is not None:
            table = similar_to(
                stores, vector, n=n, metric=metric, normalise=how, threads=workers, advance=advance, say=_note
            )
        else:
            table = nearest(
                stores, str(recorder), str(time), n=n, metric=metric, normalise=how, apart_s=apart, threads=workers,
                advance=advance, say=_note,
            )  # fmt: skip
    _give(with_places(table, stores[0]), stores[0], to, out, force=force, as_json=as_json)


def _note(text: str) -> None:
    complain(f"note: {text}")


def _check_sound(stores: list[str], to: str, example: tuple[object, ...]) -> None:
    """Refuse an example together with a sound, several stores, and tables that `events` writes."""
    if any(value is not None for value in example):
        raise UsageError(
            "--sound: a detector needs no example; leave out --recorder, --time, --audio, --start, --apart."
        )
    if len(stores) != 1:
        raise UsageError(f"--sound: expected one store of detections, found {len(stores)}.")
    if to != "csv":
        raise UsageError(f"--sound: --to {to} needs a threshold; `dawnchorus events MANIFEST RUN --to {to}` has one.")


def _check_example(
    recorder: str | None, time: str | None, audio: Path | None, start: float | None, apart: float | None
) -> None:
    """Refuse what names no example, or two."""
    if audio is None:
        if start is not None:
            raise UsageError("--start: it is a second of a clip; name the clip with --audio.")
        if recorder is None or time is None:
            raise UsageError("similar: name a window with --recorder and --time, or a clip with --audio.")
    elif time is not None or apart is not None:
        raise UsageError("--audio: a clip is no window of the stores; leave out --time and --apart, or --audio.")


def _check(to: str, out: Path | None, *, force: bool) -> None:
    if to not in FORMATS:
        raise UsageError(f"--to {to!r}: expected one of {', '.join(FORMATS)}.")
    if to == "raven" and out is None:
        raise UsageError("--to raven: name a folder with --out.")
    if to == "csv":
        check_out(out, force=force)


def _give(table: "pd.DataFrame", store: str, to: str, out: Path | None, *, force: bool, as_json: bool) -> None:
    """Print the windows, or write them as a table or for Raven."""
    if to == "csv" or out is None:
        give(table, out, force=force, as_json=as_json)
        return
    from lake.exports.raven import raven_hits

    known = table[table["recording"] != ""]
    if known.empty:
        raise InputError(f"{store}: no recording of these windows is known, and Raven's tables need one. Use --to csv.")
    sheets = list(raven_hits(known, high_hz=_high_hz(store)))
    write_outputs(out, {sheet.key: sheet.text.encode() for sheet in sheets}, force=force)
    if as_json:
        print_json({"out": str(out), "n_files": len(sheets), "n_windows": len(known)})
    else:
        print_line(f"{out}: {len(known)} windows in {len(sheets)} files")


def _high_hz(store: str) -> float:
    from lake.chain import made_by
    from lake.query import open_any

    cube = made_by(store).nearest("spectrograms")
    return float(open_any(cube.output.url)["mel"].to_numpy()[-1]) if cube else 0.0
