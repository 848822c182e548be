"""Commands that read finished stores: tables, nearest windows, where a window comes from, tables for other programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from jobs.common.terminal import complain, print_json, print_line, print_lines
from lake.errors import UsageError
from lake.outputs import refuse_others, write_outputs

if TYPE_CHECKING:
    import pandas as pd

    from lake.similar import Normalise

commands = typer.Typer()

StoreArg = Annotated[
    str, typer.Argument(help="a store: …/embeddings/RUN.zarr, …/clusters/RUN.zarr, …/spectrograms/RUN.zarr")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="print facts as JSON")]
RecorderOpt = Annotated[list[str] | None, typer.Option(help="only this recorder; can be given again")]
DateOpt = Annotated[str | None, typer.Option(help="2021-07-14, 2021-07, or two joined by a slash")]
HourOpt = Annotated[str | None, typer.Option(help="5, or 5-8: from five until before eight; 22-4 is over midnight")]
LocalOpt = Annotated[bool, typer.Option("--local", help="days and hours are local time at the recorder, not UTC")]
SiteOpt = Annotated[list[str] | None, typer.Option(help="only this site; can be given again")]
ClusterOpt = Annotated[list[int] | None, typer.Option(help="only this cluster; can be given again")]
CubeOpt = Annotated[str | None, typer.Option(help="the cube; found by itself inside a lake")]
ClustersOpt = Annotated[str | None, typer.Option(help="the clustering; found by itself if there is but one")]
OutOpt = Annotated[Path | None, typer.Option(help="write to .csv, .parquet or .json instead of printing")]
ForceOpt = Annotated[bool, typer.Option("--force", help="replace files that others wrote or changed")]


@commands.command()
def query(
    store: StoreArg,
    recorder: RecorderOpt = None,
    date: DateOpt = None,
    hour: HourOpt = None,
    local: LocalOpt = False,
    site: SiteOpt = None,
    cluster: ClusterOpt = None,
    features: Annotated[bool, typer.Option("--features", help="the embedding's features as columns")] = False,
    cube: CubeOpt = None,
    clusters: ClustersOpt = None,
    out: OutOpt = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Print a table of windows by recorder, day, hour of the day, site and cluster."""
    from lake.find import ask, extent, parse_wanted
    from lake.query import open_any

    wanted = parse_wanted(recorder or (), site or (), cluster or (), date, hour, local=local)
    check_out(out, force=force)
    table = ask(store, wanted, cube=cube, clusters=clusters, features=features)
    if table.empty:
        complain(f"note: no window is all of that; {extent(open_any(store))}.")
    give(table, out, force=force, as_json=as_json)


@commands.command()
def similar(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE…", help="…/embeddings/RUN.zarr; the vectors of several are joined")
    ],
    recorder: Annotated[str, typer.Option(help="recorder of the window")],
    time: Annotated[str, typer.Option(help="time in UTC that the window begins at, or holds")],
    n: Annotated[int, typer.Option(min=1, help="windows to list")] = 20,
    euclidean: Annotated[bool, typer.Option("--euclidean", help="Euclidean distance instead of cosine")] = False,
    normalise: Annotated[
        str, typer.Option(help="whiten, none, or auto: whiten vectors that were made here, leave imported ones")
    ] = "auto",
    apart: Annotated[
        float | None, typer.Option(min=0, help="seconds within which the recorder's own windows are left out")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="threads that read")] = 2,
    out: OutOpt = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """List the windows whose vectors are nearest to that of one window; all are compared, in one pass."""
    from jobs.common.progress import progress
    from lake.read import open_embeddings, usable_windows
    from lake.similar import similar as nearest

    check_out(out, force=force)
    if normalise not in {"auto", "whiten", "none"}:
        raise UsageError(f"--normalise {normalise!r}: expected auto, whiten or none.")
    how = cast("Normalise", normalise)
    with open_embeddings(stores[0]) as dataset:
        n_windows = len(usable_windows(dataset, status="embedding_status"))
    with progress("similar", n_windows, "windows") as advance:
        table = nearest(
            stores, recorder, time, n=n, metric="euclidean" if euclidean else "cosine", normalise=how,
            apart_s=apart, threads=workers, advance=advance, say=lambda text: complain(f"note: {text}"),
        )  # fmt: skip
    give(table, out, force=force, as_json=as_json)


def check_out(out: Path | None, *, force: bool) -> None:
    """Refuse, before long work, a file that cannot be written or must not be replaced."""
    if out is None:
        return
    if out.suffix not in {".csv", ".parquet", ".json"}:
        raise UsageError(f"--out {out}: expected a name that ends in .csv, .parquet or .json.")
    if not force:
        refuse_others(out.absolute().parent, [out.name])


def give(table: "pd.DataFrame", out: Path | None, *, force: bool, as_json: bool) -> None:
    """Print a table, or write it to a file and say so."""
    if out is None:
        from lake.tables import defused_table

        shown = _as_json(table) if as_json else defused_table(table, one_line=True).to_csv(index=False).rstrip("\n")
        print_lines(shown)
        return
    write_table(table, out, force=force)
    if as_json:
        print_json({"out": str(out), "n_windows": len(table)})
    else:
        print_line(f"{out}: {len(table)} windows")


def write_table(table: "pd.DataFrame", out: Path, *, force: bool) -> None:
    """Write a table in the form that the file's name says."""
    if out.suffix == ".parquet":
        with _pyarrow(out):
            import pyarrow as pa

        made = pa.BufferOutputStream()
        table.to_parquet(made, index=False)
        data = made.getvalue().to_pybytes()
    elif out.suffix == ".json":
        data = (_as_json(table) + "\n").encode()
    else:
        from lake.tables import defused_table

        data = defused_table(table).to_csv(index=False).encode()
    write_outputs(out.absolute().parent, {out.name: data}, force=force)


def _as_json(table: "pd.DataFrame") -> str:
    return str(table.to_json(orient="records", date_format="iso", date_unit="ms")).replace("\x7f", "\\u007f")


@contextmanager
def _pyarrow(out: Path) -> Iterator[None]:
    from jobs.registry import needing

    with needing(f"--out {out}", "cluster"):
        yield
