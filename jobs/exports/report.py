"""A report of a study to print: effort, faults, sounds, counts, methods and citation, made of what a bundle holds."""

import base64
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import markdown_it
import pandas as pd
from PIL import Image

from jobs.common.counts import TEXTS
from jobs.common.installation import how_to_install
from jobs.common.pages.render import environment, package_files
from jobs.exports.bundle import RULE, bundle_files
from jobs.exports.choice import Choice, Said
from jobs.exports.command import Study, about_export, open_study
from jobs.exports.phenology import phenology_of
from jobs.exports.printing import printed
from jobs.exports.target import Target, Written
from jobs.runner.manifest import Manifest
from lake.escapes import as_written
from lake.recordings import PROBLEMS, is_usable, read_recordings

SEASON: Final = "season"
EFFORT: Final = Path("the table of recordings")
WIDTH_PX: Final = 640
N_COLOURS: Final = 48
Row = Mapping[str, Any]


def write_report(manifest: Manifest, choice: Choice, said: Said, target: Target) -> Written:
    """Write the report of a study: a page of HTML that is one file, or its print as PDF.

    Raises
    ------
    UsageError
        If the name ends in ``.pdf`` and no browser is at hand that prints it.
    """
    study = open_study(manifest, choice)
    choice = replace(choice, threshold=choice.threshold or (RULE if study.detections is not None else None))
    page, n_rows = report_page(study, choice, said)
    data = printed(page) if target.out.suffix.lower() == ".pdf" else page.encode()
    target.write_one(data)
    return Written(n_rows, 1, study.notes)


def report_page(study: Study, choice: Choice, said: Said) -> tuple[str, int]:
    """Return the report as one page of HTML, and the number of spans that it tells of."""
    files, n_rows = bundle_files(study, choice, said)
    recordings = _recordings(study, files)
    counts = _table(files, "tables/counts.csv")

    def is_wanted(sound: str) -> bool:
        return not choice.sounds or sound in choice.sounds

    style = "\n".join(text for _, text in (*package_files("jobs.common.pages", ["page.css"]),
                                           *package_files("jobs.exports", ["report.css"])))  # fmt: skip
    text = environment("jobs.exports").get_template("report.html.j2").render(
        about=about_export(study, choice, said), style=style, effort=_effort_picture(study, recordings),
        recorders=list(_by_recorder(recordings)), n_usable=int(is_usable(recordings).sum()),
        n_recordings=len(recordings), used_s=_usable_s(recordings), faults=list(_faults(recordings)),
        sounds=[one for one in _sounds(study, files) if is_wanted(one["name"])], pictures=_pictures(study, choice),
        counts=[row for row in _seasons(counts) if is_wanted(row["sound"])],
        methods=_methods(files["METHODS.md"]), style_keys=(), script_keys=(),
    )  # fmt: skip
    return text, n_rows


def _recordings(study: Study, files: Mapping[str, bytes]) -> pd.DataFrame:
    """Return the study's table of recordings; of a cube alone that of the recordings in it."""
    given = study.cube_run.recordings
    if given is not None and given.table.is_file():
        return read_recordings(given.table)
    table = _table(files, "tables/recordings.csv")
    return table.assign(start_utc=pd.to_datetime(table["start_utc"]), problems="", reading="known")


def _table(files: Mapping[str, bytes], key: str) -> pd.DataFrame:
    """Return a table of the bundle, its texts as the study has them; empty if there is none."""
    if key not in files:
        return pd.DataFrame()
    texts = dict.fromkeys(TEXTS, str)
    table: pd.DataFrame = pd.read_csv(io.BytesIO(files[key]), dtype=texts, keep_default_na=False, na_values=["NA"])
    return table.assign(**{name: table[name].map(as_written) for name in {"sound", "site"} & set(table)})


def _usable_s(recordings: pd.DataFrame) -> float:
    return float(recordings.loc[is_usable(recordings), "duration_s"].fillna(0).sum())


def _by_recorder(recordings: pd.DataFrame) -> Iterator[Row]:
    for recorder, mine in recordings.groupby("recorder", sort=True):
        starts = mine.loc[is_usable(mine), "start_utc"].dropna()
        span = f"{starts.min():%Y-%m-%d} to {starts.max():%Y-%m-%d}" if len(starts) else "no time known"
        days = starts.dt.date.nunique()
        yield {"name": recorder, "files": len(mine), "used_s": _usable_s(mine), "days": days, "span": span}


def _faults(recordings: pd.DataFrame) -> Iterator[Row]:
    codes = recordings["problems"].str.split(";").explode()
    for code, n in codes[codes != ""].value_counts().sort_index().items():
        yield {"code": code, "files": int(n), "told": PROBLEMS.get(str(code), "")}


def _sounds(study: Study, files: Mapping[str, bytes]) -> Iterator[Row]:
    """Yield what is known of each sound: its names, verdicts, events and detector."""
    verdicts, events, heads = (_table(files, f"tables/{name}.csv") for name in ("verdicts", "events", "detectors"))
    figures = {row["sound"]: row for row in heads.to_dict("records")}
    for name in sorted({name for table in (verdicts, events, heads) if "sound" in table for name in table["sound"]}):
        said = verdicts.loc[verdicts["sound"] == name, "verdict"].tolist()
        head = figures.get(name, {})
        average = [_number(head.get(f"average_precision{end}")) for end in ("", "_low", "_high")]
        yield {
            "name": name, "scientific": study.sounds[name].scientific_name if name in study.sounds else "",
            **{verdict: said.count(verdict) for verdict in ("yes", "no", "unsure")},
            "events": int((events["sound"] == name).sum()) if "sound" in events else None, "average": average,
            "note": str(head.get("refused", "") or head.get("flags", "")).replace("_", " "),
        }  # fmt: skip


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


def _seasons(counts: pd.DataFrame) -> list[Row]:
    if counts.empty:
        return []
    seasons = counts[counts["kind"] == SEASON].to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in seasons]


def _effort_picture(study: Study, recordings: pd.DataFrame) -> str:
    if not recordings["start_utc"].notna().any() or not _can_draw(study):
        return ""
    from jobs.common.effort import effort_picture  # noqa: PLC0415 (matplotlib is not in the light install)

    return _inline(effort_picture(recordings, EFFORT))


def _pictures(study: Study, choice: Choice) -> list[tuple[str, str]]:
    """Return the picture of local hour by date of each sound that was found, with its name."""
    if not _can_draw(study):
        return []
    from jobs.common.phenology import pictures  # noqa: PLC0415 (matplotlib is not in the light install)

    if study.detections is None and study.verdicts.empty:
        return []
    found = phenology_of(study, choice)
    return [(sound, _inline(data)) for sound, sites in found.by_sound.items() for data in pictures(sites, found.of)]


def _can_draw(study: Study) -> bool:
    """Return whether pictures can be drawn; where they cannot, note once what to install."""
    if find_spec("matplotlib") is not None:
        return True
    note = f"the report has no pictures: drawing needs matplotlib; type `{how_to_install('cluster')}`"
    if note not in study.notes:
        study.notes.append(note)
    return False


def _inline(png: bytes) -> str:
    """Return a picture as an address that holds it, at most :data:`WIDTH_PX` wide and of few colours: it is small."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail((WIDTH_PX, 10 * WIDTH_PX), Image.Resampling.LANCZOS)
    image.quantize(N_COLOURS).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _methods(text: bytes) -> str:
    """Return the methods of the bundle as HTML; what a study calls its things is text."""
    made = markdown_it.MarkdownIt("commonmark", {"html": False}).enable("table")
    scroll = '<div class="scroll" role="group" aria-labelledby="methods" tabindex="0"><table>'  # wide on a telephone
    made.add_render_rule("table_open", lambda *_: scroll)
    made.add_render_rule("table_close", lambda *_: "</table></div>")
    return str(made.render(text.decode().partition("\n")[2]))
