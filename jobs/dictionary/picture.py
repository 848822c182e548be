"""A picture of the atoms: the patches that a dictionary listens for."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jobs.common.dictionary import Atoms

COLUMNS = 16
WIDTH_IN, TITLE_IN = 9, 0.3


def draw_atoms(atoms: Sequence[Atoms], out: io.BytesIO) -> bytes:
    """Return a PNG: a row of panels for each size of patch, low bands at the bottom, each atom over its own range."""
    mosaics = [_mosaic(each) for each in atoms]
    shares = [mosaic.shape[0] / mosaic.shape[1] for mosaic in mosaics]
    figure = Figure(
        figsize=(WIDTH_IN, sum(WIDTH_IN * share + TITLE_IN for share in shares)), dpi=100, layout="constrained"
    )
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(len(atoms), 1, height_ratios=shares))
    for axes, each, mosaic in zip(panels, atoms, mosaics, strict=True):
        axes.imshow(mosaic, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower", interpolation="nearest")
        axes.set_title(f"{each.size[0]} bands × {each.size[1]} frames", fontsize=9)
        axes.set_axis_off()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _mosaic(atoms: Atoms) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return all atoms side by side, white lines between, the first at the top left."""
    n, (height, width) = len(atoms.shown), atoms.size
    rows = -(-n // COLUMNS)
    out = np.full((rows * (height + 1), COLUMNS * (width + 1)), np.nan, dtype=np.float32)
    for i, patch in enumerate(atoms.shown):
        row, column = rows - 1 - i // COLUMNS, i % COLUMNS
        largest = np.abs(patch).max() or 1
        top, left = row * (height + 1), column * (width + 1)
        out[top : top + height, left : left + width] = patch / largest
    return out
