"""The command that finds windows by example: the nearest to a window, to a clip, or by a detector."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from jobs.cli.lake import ForceOpt, JsonOpt, give, require_folder
from jobs.common.terminal import complain, print_json, print_line
from lake.errors import InputError, UsageError
from lake.outputs import refuse_others, write_outputs

if TYPE_CHECKING:
    import pandas as pd

    from lake.query.nearest import Metric
    from lake.query.search import Normalise, Search

commands = typer.Typer()
SUFFIXES = {".csv": "csv", ".parquet": "csv", ".json": "csv", ".txt": "raven", ".html": "page"}
FORMATS = ("csv", "raven", "page")
EXPECTED = ".csv, .parquet or .json for a table, .txt for Raven, .html for a page"


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
    index: Annotated[
        bool, typer.Option("--index/--no-index", help="whether the lake keeps codes of the vectors for later searches")
    ] = True,
    workers: Annotated[int, typer.Option(min=1, help="threads that read")] = 2,
    to: Annotated[str | None, typer.Option(help=f"one of {', '.join(FORMATS)}; else by the name of --out")] = None,
    out: Annotated[Path | None, typer.Option(help=f"write to a file: {EXPECTED}")] = None,
    root: Annotated[
        Path | None, typer.Option(help="folder of the recordings, for the players of a page; else as in the receipts")
    ] = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """List the windows nearest to one window or to a clip, or those that a detector scores highest."""
    from lake.query.places import with_places

    how = _form(to, out, force=force)
    example = None
    if sound is not None:
        from lake.query.similar import highest

        _check_sound(stores, how, (recorder, time, audio, start, apart))
        title, table = f"Windows by the detector of {sound}", highest(stores[0], sound, n=n, say=_note)
    else:
        _check_example(recorder, time, audio, start, apart)
        if normalise not in {"auto", "whiten", "none"}:
            raise UsageError(f"--normalise {normalise!r}: expected auto, whiten or none.")
        search = _open(stores, cast("Normalise", normalise), workers, index=index)
        metric: Metric = "euclidean" if euclidean else "cosine"
        if audio is not None:
            title = f"Windows like {audio.name}, from second {start or 0:g} on"
            table = _near_clip(search, audio, start or 0.0, recorder, n, metric)
        else:
            example = search.window_at(str(recorder), str(time))
            title = f"Windows like {example['recorder'][0]}, {example['time'][0]:%Y-%m-%d %H:%M:%S} UTC"
            with _progress(search) as advance:
                table = search.near_window(str(recorder), str(time), n=n, metric=metric, apart_s=apart, advance=advance)
    table = with_places(table, stores[0])
    if how == "csv" or out is None:
        give(table, out, force=force, as_json=as_json)
    elif how == "raven":
        _give_raven(table, stores[0], out, root, force=force, as_json=as_json)
    else:
        placed = None if example is None else with_places(example, stores[0])
        _give_page(table, stores[0], out, title, placed, root, workers, force=force, as_json=as_json)


def _open(stores: list[str], normalise: "Normalise", workers: int, *, index: bool) -> "Search":
    from lake.query.similar import open_search

    return open_search(stores, normalise=normalise, index=index, threads=workers, say=_note)


def _progress(search: "Search") -> AbstractContextManager[Callable[[int], None]]:
    from jobs.common.progress import progress

    return progress("similar", search.n_windows, "windows")


def _near_clip(
    search: "Search", audio: Path, start_s: float, recorder: str | None, n: int, metric: "Metric"
) -> "pd.DataFrame":
    """Return the windows nearest to a clip."""
    from jobs.runner.registry import ALL, needing

    with needing("similar --audio", ALL):  # by name, as the registry loads jobs: the rest is compared without torch
        example = import_module("jobs.workflows.example")
    vector = example.clip_vector(list(search.sets.urls), audio, start_s, recorder=recorder or "")
    with _progress(search) as advance:
        return search.near_vector(vector, n=n, metric=metric, advance=advance)


def _note(text: str) -> None:
    complain(f"note: {text}")


def _check_sound(stores: list[str], how: str, example: tuple[object, ...]) -> None:
    """Refuse an example together with a sound, several stores, and tables that `events` writes."""
    if any(value is not None for value in example):
        raise UsageError(
            "--sound: a detector needs no example; leave out --recorder, --time, --audio, --start, --apart."
        )
    if len(stores) != 1:
        raise UsageError(f"--sound: expected one store of detections, found {len(stores)}.")
    if how == "raven":
        raise UsageError("--sound: --to raven needs a threshold; `dawnchorus events MANIFEST RUN --to raven` has one.")


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


def _form(to: str | None, out: Path | None, *, force: bool) -> str:
    """Return what is written; refuse, before long work, a place that cannot be written or must not be replaced."""
    if to is not None and to not in FORMATS:
        raise UsageError(f"--to {to!r}: expected one of {', '.join(FORMATS)}.")
    if out is None:
        if to == "raven":
            raise UsageError("--to raven: name a folder with --out, or a .txt file for one table of all recordings.")
        if to == "page":
            raise UsageError("--to page: name a .html file with --out.")
        return "csv"
    found = SUFFIXES.get(out.suffix.lower())
    is_folder = to == "raven" and found is None
    if not is_folder and (found is None or to not in {None, found}):
        names = [suffix for suffix, form in SUFFIXES.items() if form == to]
        expected = EXPECTED if to is None else f"{' or '.join(names)}, for --to {to}"
        raise UsageError(f"--out {out}: expected a name that ends in {expected}.")
    require_folder(out.absolute().parent, out)
    if not force and not is_folder:
        refuse_others(out.absolute().parent, [out.name])
    return to or str(found)


def _give_raven(table: "pd.DataFrame", store: str, out: Path, root: Path | None, *, force: bool, as_json: bool) -> None:
    """Write selection tables for Raven: one for all recordings, or a folder with one for each."""
    from lake.exports.raven import as_hits, raven_combined, raven_sheets
    from lake.query.places import durations_of

    known = table[table["recording"] != ""]
    if known.empty:
        raise InputError(f"{store}: no recording of these windows is known, and Raven's tables need one. Use --to csv.")
    high_hz = _high_hz(store)
    if out.suffix.lower() == ".txt":
        where = "" if root is None else str(root.absolute())
        text = raven_combined(as_hits(known), durations_of(known, store), high_hz=high_hz, root=where)
        _write(out.absolute().parent, {out.name: text.encode()}, out, len(known), force=force, as_json=as_json)
        return
    sheets = list(raven_sheets(as_hits(known), high_hz=high_hz))
    _write(out, {sheet.key: sheet.text.encode() for sheet in sheets}, out, len(known), force=force, as_json=as_json)


def _give_page(
    table: "pd.DataFrame", store: str, out: Path, title: str, example: "pd.DataFrame | None", root: Path | None,
    workers: int, *, force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write the page of the windows, and the folder of its files beside it."""
    from jobs.common.pages.hits import hits_page

    page = hits_page(out.stem, table, store, title=title, example=example, root=root, workers=workers)
    for note in page.notes:
        _note(note)
    _write(out.absolute().parent, page.files, out, len(table), force=force, as_json=as_json)


def _write(folder: Path, files: dict[str, bytes], out: Path, n_windows: int, *, force: bool, as_json: bool) -> None:
    write_outputs(folder, files, force=force)
    if as_json:
        print_json({"out": str(out), "n_files": len(files), "n_windows": n_windows})
    else:
        print_line(f"{out}: {n_windows} windows in {len(files)} files")


def _high_hz(store: str) -> float:
    from lake.chain import made_by
    from lake.query.select import open_any

    cube = made_by(store).nearest("spectrograms")
    return float(open_any(cube.output.url)["mel"].to_numpy()[-1]) if cube else 0.0
