"""Draw the course of a training as a picture."""

import io
from collections.abc import Sequence
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jobs.common.training import journal
from lake.storage import Storage

FILE: Final = "health.png"

PANELS: Final = (
    ("loss, nats", ("loss", "teacher_entropy", "batch_entropy")),
    ("information and divergence, nats", ("information", "divergence")),
    ("deviation of features (1: everywhere)", ("feature_std",)),
    ("effective rank of features", ("rank_me",)),
    ("what neighbours tell", ("recorder_knn", "recorder_share", "hour_knn", "hour_share", "found")),
    ("norms", ("gradient_norm", "center_norm")),
    ("windows per second", ("windows_per_s",)),
    ("shares of time and speed", ("data_wait", "mfu")),
)
"""Title of each panel, and what is drawn in it."""


def draw(storage: Storage) -> None:
    """Write ``health.png`` from the lines of metrics, if there are any."""
    entries = journal.read(storage)
    if entries:
        storage.write(FILE, picture(entries))


def picture(entries: Sequence[dict[str, float]]) -> bytes:
    """Return a PNG of the metrics over the steps; a metric that few lines have is drawn through those."""
    figure = Figure(figsize=(14, 7))
    figure.subplots_adjust(left=0.04, right=0.98, top=0.95, bottom=0.07, hspace=0.3)
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(2, 4).flat, PANELS, strict=True):
        for name in names:
            points = [(entry["step"], entry[name]) for entry in entries if name in entry]
            if points:
                axes.plot(
                    *zip(*points, strict=True), label=name.replace("_", " "), marker="." if len(points) < 20 else ""
                )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        if axes.lines:
            axes.legend(fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80, metadata={"Software": None})
    return out.getvalue()
