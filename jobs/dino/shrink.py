"""Large windows made smaller before views are cut out of them, while they are still whole numbers."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jobs.common.backbone import ModelCard, prepare, resize
from lake.names import CODE_OFFSET_DB, CODE_STEP_DB


def shrunk_size(now: tuple[int, int], view: tuple[int, int]) -> tuple[int, int]:
    """Return the size that windows are shrunk to: by whole factors, and never below twice a view's."""
    rows, columns = (max(1, n // (2 * wanted)) for n, wanted in zip(now, view, strict=True))
    return now[0] // rows, now[1] // columns


def prepare_shrunk(
    codes: Tensor, card: ModelCard, view: tuple[int, int], recorder: Sequence[str] | None = None
) -> Tensor:
    """Return what ``resize(prepare(codes, card, recorder), shrunk_size(..., view))`` does, but for rounding.

    Parameters
    ----------
    codes
        uint8, shape (n_windows, n_mels, n_frames); 0 is missing.
    card, recorder
        As for :func:`~jobs.common.backbone.prepare`.
    view
        Mel bands and frames of a view.

    Returns
    -------
    Tensor
        float32, shape (n_windows, 1, rows, columns).

    Notes
    -----
    Shrinking by means and taking off each band's mean can change places, so a window without a gap is summed
    as codes first, and only the smaller one is made of floats.
    """
    now = (int(codes.shape[1]), int(codes.shape[2]))
    size = shrunk_size(now, view)
    if size == now:
        return prepare(codes, card, recorder)
    if codes.device.type != "cpu" or now[0] % size[0] or now[1] % size[1] or card.background_db is not None:
        return resize(prepare(codes, card, recorder), size)
    rows, columns = now[0] // size[0], now[1] // size[1]
    total = np.stack([_sums(window, rows, columns) for window in codes.numpy()])
    mean = torch.tensor(card.mean_db, dtype=torch.float32)[None, None, :, None]
    smaller = functional.avg_pool2d(mean, (rows, 1))
    levels = torch.from_numpy(total)[:, None].mul_(CODE_STEP_DB / card.deviation_db / (rows * columns))
    levels += (CODE_OFFSET_DB - smaller) / card.deviation_db
    with_gaps = (codes.amin(dim=(1, 2)) == 0).nonzero()[:, 0]
    if len(with_gaps):
        levels[with_gaps] = resize(prepare(codes[with_gaps], card), size)
    return levels


def _sums(window: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
    """Return sums over blocks of a window, shape (n_mels / rows, n_frames / columns)."""
    dtype = np.dtype(np.uint16 if rows * columns <= 257 else np.uint32)  # 257 * 255 still fits
    of_rows = window[::rows].astype(dtype)
    for i in range(1, rows):
        np.add(of_rows, window[i::rows], out=of_rows)
    out = of_rows[:, ::columns].copy()
    for i in range(1, columns):
        np.add(out, of_rows[:, i::columns], out=out)
    return out.astype(np.float32)
