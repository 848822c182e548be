"""Commands that read finished stores: tables of windows, printed or written to a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.common.terminal import complain, print_json, print_line, print_lines
from lake.errors import UsageError
from lake.outputs import refuse_others, write_outputs

if TYPE_CHECKING:
    import pandas as pd

    from lake.layout import Lake

commands = typer.Typer()

StoreArg = Annotated[
    str, typer.Argument(help="a store: …/embeddings/RUN.zarr, or below clusters, spectrograms or detections")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="print facts as JSON")]
RecorderOpt = Annotated[list[str] | None, typer.Option(help="only this recorder; can be given again")]
DateOpt = Annotated[str | None, typer.Option(help="2021-07-14, 2021-07, or two joined by a slash")]
HourOpt = Annotated[str | None, typer.Option(help="5, or 5-8: from five until before eight; 22-4 is over midnight")]
LocalOpt = Annotated[bool, typer.Option("--local", help="days and hours are local time at the recorder, not UTC")]
SiteOpt = Annotated[list[str] | None, typer.Option(help="only this site; can be given again")]
ClusterOpt = Annotated[list[str] | None, typer.Option(help="only this cluster, by number or name; can be given again")]
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
    sound: Annotated[
        list[str] | None, typer.Option(help="scores of this sound's detector, of detections; can be given again")
    ] = None,
    cube: CubeOpt = None,
    clusters: ClustersOpt = None,
    out: OutOpt = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Print a table of windows by recorder, day, hour of the day, site and cluster."""
    from lake.query.find import ask, extent, parse_wanted
    from lake.query.select import open_any

    wanted = parse_wanted(recorder or (), site or (), cluster or (), date, hour, local=local)
    check_out(out, force=force)
    table = ask(
        store, wanted, cube=cube, clusters=clusters, features=features, sounds=sound or (),
        say=lambda text: complain(f"note: {text}"),
    )  # fmt: skip
    if table.empty:
        complain(f"note: no window is all of that; {extent(open_any(store))}.")
    give(table, out, force=force, as_json=as_json)


def without_speech(table: "pd.DataFrame", lake: "Lake", start: "pd.Series", end: "pd.Series") -> "pd.DataFrame":
    """Return the rows whose spans, in UTC, share no time with what somebody marked as speech; say how many do."""
    from lake.heard import shares_speech
    from lake.verdicts import read_verdicts

    verdicts = read_verdicts(lake)
    spans_ms = (times.to_numpy().astype("datetime64[ms]").astype("int64") for times in (start, end))
    withheld = shares_speech(verdicts, table["recorder"], *spans_ms)
    if withheld.any():
        complain(f"note: rows that are left out, as somebody marked their sound as speech: {int(withheld.sum())}.")
    return table[~withheld].reset_index(drop=True)


def check_out(out: Path | None, *, force: bool) -> None:
    """Refuse, before long work, a file that cannot be written or must not be replaced."""
    if out is None:
        return
    if out.suffix not in {".csv", ".parquet", ".json"}:
        raise UsageError(f"--out {out}: expected a name that ends in .csv, .parquet or .json.")
    require_folder(out.absolute().parent, out)
    if not force:
        refuse_others(out.absolute().parent, [out.name])


def require_folder(folder: Path, out: Path) -> None:
    """Refuse a place whose folder is not there: it may be a typo."""
    if not folder.is_dir():
        raise UsageError(f"--out {out}: expected a folder {folder}, found none. Make it, or name another.")


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
    from jobs.runner.registry import needing

    with needing(f"--out {out}", "cluster"):
        yield
