"""The curves of ``docs/quality.md``: what minutes of training add.

``python -m benchmarks.curves`` draws those of the page's own table, so that picture and page agree; with ``--measured``
those that ``benchmarks.quality`` measured here, into the folder of its figures.
"""

import argparse
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.quality import STEPS_A_MINUTE, Figures, title_of
from benchmarks.report import FOLDER

PAGE: Final = Path(__file__).parent.parent / "docs" / "quality.md"
HEADING: Final = "## Minutes of training"
ROLES: Final = {
    "log-mel": "logmel", "dictionary ‖ statistics": "joined", "starter, frozen: output ‖ stem": "starter",
    r"contrast, (\d+) minutes: output ‖ stem": "contrast", r"DINO, (\d+) minutes.*": "trained",
    r"contrast, (\d+) minutes: output ‖ dictionary": "contrast_dictionary",
    r"starter, (\d+) minutes on the study: output ‖ stem": "continued",
}  # fmt: skip
"""Titles of the page's rows, and the vector sets that they are; a number is the minutes of a training."""
CURVES: Final = {
    "contrast": "contrast", "contrast_dictionary": "contrast (output) ‖ dictionary", "trained": "DINO",
    "continued": "starter, trained on",
}  # fmt: skip
LEVELS: Final = ("logmel", "joined", "starter", "birdnet")
"""Sets that take no minutes on the study: a line across."""
MINUTES: Final = {"trained": 526 / STEPS_A_MINUTE["dino"]}
"""Of the manifest's own training, where that is not 2."""
TITLES: Final = {"ami": "AMI", "knn": "5-NN"}
COLOURS: Final = ("#1b6ca8", "#7a3e9d", "#c0562b", "#888888", "#3a7d44", "#b8860b", "#444444", "#2f8f9d")


def main() -> None:
    """Draw the page's figures, or those that were measured here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", action="store_true", help="draw what benchmarks.quality measured here")
    if parser.parse_args().measured:
        figures, folder = json.loads((FOLDER / "quality.json").read_text(encoding="utf-8")), FOLDER
    else:
        figures, folder = stated(PAGE.read_text(encoding="utf-8")), PAGE.parent
    drawn = io.BytesIO()
    picture({name: found for name, found in figures.items() if name != "pool"}).savefig(drawn, format="png", dpi=100)
    path = folder / "quality.webp"
    Image.open(drawn).convert("RGB").save(path, quality=80, method=6)
    print(path)


def stated(page: str) -> dict[str, Figures]:
    """Return the figures of the page's table of trainings, by set of labels.

    A title that begins with "…" goes on with the one above, up to its colon. Of ``mean ± deviation`` two values are
    returned that have them.
    """
    rows = list(_rows(page.partition(HEADING)[2]))
    panels = [cell.split(": ") for cell in rows[0][1:-1]]  # the last column is the mean of the others
    measures = {title: measure for measure, title in TITLES.items()}
    figures: dict[str, Figures] = {}
    stem = ""
    for title, *cells in rows[1:]:
        whole = title.replace("…", stem, 1)
        stem = whole.partition(":")[0] + ":"
        role = _role(whole)
        if role is not None:
            for (name, column), cell in zip(panels, cells, strict=False):
                figures.setdefault(name, {}).setdefault(role, {})[measures[column]] = _values(cell)
    return figures


def _rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of the first table of a text, without the line below its head."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("|"):
            yield _cells(line)
            break
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        yield _cells(line)


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("*") for cell in line.strip("|").split("|")]


def _role(title: str) -> str | None:
    for pattern, role in ROLES.items():
        found = re.fullmatch(pattern, title)
        if found:
            return "_".join([role, *found.groups()])
    return None


def _values(cell: str) -> list[float]:
    mean, plus, deviation = cell.partition(" ± ")
    if plus:
        return [float(mean) - float(deviation), float(mean) + float(deviation)]
    return [float(value) for value in cell.split(", ")]


def picture(figures: dict[str, Figures]) -> Figure:
    """Return a row of panels for each set of labels: measures over CPU-minutes."""
    figure = Figure(figsize=(9, 3.2 * len(figures)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(figures), len(TITLES), squeeze=False)
    for row, (name, found) in zip(panels, figures.items(), strict=True):
        for axes, (measure, title) in zip(row, TITLES.items(), strict=True):
            colours = iter(COLOURS)
            for role, label in CURVES.items():
                points = curve(found, role, measure)
                colour = next(colours)
                if points:
                    minutes, means, spreads = zip(*points, strict=True)
                    axes.errorbar(minutes, means, spreads, label=label, color=colour, marker="o", capsize=3)
            for role in LEVELS:
                colour = next(colours)
                if found.get(role, {}).get(measure):
                    level = float(np.mean(found[role][measure]))
                    axes.axhline(level, color=colour, linestyle=":", label=title_of(role))
            axes.set(title=f"{name}: {title}", xlabel="CPU-minutes of training", xscale="log")
            axes.set_xticks([2, 8, 20], labels=["2", "8", "20"])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
    panels[0, 0].legend(fontsize=7)
    return figure


def curve(found: Figures, role: str, measure: str) -> list[tuple[float, float, float]]:
    """Return minutes, mean and deviation over the seeds, by minutes."""
    points = []
    for each, values in found.items():
        end = each.removeprefix(role).removeprefix("_")
        if each == role or (each.startswith(f"{role}_") and end.isdecimal()):
            here = values.get(measure, [])
            if here:
                minutes = int(end) if end else MINUTES.get(role, 2.0)
                points.append((minutes, float(np.mean(here)), float(np.std(here))))
    return sorted(points)


if __name__ == "__main__":
    main()
