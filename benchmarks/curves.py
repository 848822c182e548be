"""The curves of ``docs/quality.md``: what minutes of training add. ``python -m benchmarks.curves`` draws them."""

import io
import json
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.quality import STEPS_A_MINUTE, Figures, title_of
from benchmarks.report import FOLDER

PICTURE: Final = Path(__file__).parent.parent / "docs" / "quality.webp"
CURVES: Final = {"contrast": "contrast", "contrast_dictionary": "contrast ‖ dictionary", "trained": "DINO"}
LEVELS: Final = ("logmel", "joined", "starter", "birdnet")
"""Sets that take no minutes on the study: a line across."""
MINUTES: Final = {"trained": 526 / STEPS_A_MINUTE["dino"]}
"""Of the manifest's own training, where that is not 2."""
TITLES: Final = {"ami": "AMI", "knn": "5-NN"}
COLOURS: Final = ("#1b6ca8", "#7a3e9d", "#c0562b", "#888888", "#3a7d44", "#b8860b", "#444444")


def main() -> None:
    """Draw what ``benchmarks.quality`` wrote."""
    figures = json.loads((FOLDER / "quality.json").read_text(encoding="utf-8"))
    figure = picture({name: found for name, found in figures.items() if name != "pool"})
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    Image.open(drawn).convert("RGB").save(PICTURE, quality=80, method=6)
    print(PICTURE)


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
            axes.set_xticks([2, 8, 20], labels=["2", "8", "20"], minor=False)
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
