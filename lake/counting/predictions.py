"""Predictions of a detector when windows were drawn for a count: kept with the batch, since detectors learn from it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.batches import Batch
from lake.counting.periods import NO_SITE
from lake.read import Windows, values_at

KEY: Final = "predicted"
"""Under which they stand among what a batch was asked for."""
DIGITS: Final = 6


def sites_of(cube: xr.Dataset, windows: Windows) -> NDArray[np.object_]:
    """Return the site of each window of a cube; :data:`NO_SITE` where none is known."""
    names = np.array([*(str(site) or NO_SITE for site in cube.variables["site"].to_numpy()), NO_SITE], dtype=object)
    return np.asarray(names[values_at(cube, "deployment", windows.recorder, windows.cell)], dtype=object)


def kept_predictions(
    sounds: Sequence[str], sites: NDArray[np.object_], probability: NDArray[np.float64], drawn: NDArray[np.int64]
) -> dict[str, Any]:
    """Return predictions as a batch keeps them, in JSON values.

    Parameters
    ----------
    sounds
        Those asked about, in the order of the columns of ``probability``.
    sites
        Of each window that could be drawn.
    probability
        Of each window and sound, shape (n_windows, n_sounds); NaN where there is none, which is kept as 0.
    drawn
        Rows of the windows that were drawn, in drawn order.

    Returns
    -------
    dict
        ``sites``, ``n_windows`` of each, and by sound ``sums`` (of each site) and ``draws`` (of each draw). Values are
        rounded first, so that sums are those of what is kept.
    """
    values = np.round(np.nan_to_num(probability), DIGITS)
    names, numbers = np.unique(sites.astype(str), return_inverse=True)
    return {
        "sites": names.tolist(),
        "n_windows": np.bincount(numbers, minlength=len(names)).tolist(),
        "sums": {
            sound: np.round(np.bincount(numbers, weights=values[:, i], minlength=len(names)), DIGITS).tolist()
            for i, sound in enumerate(sounds)
        },
        "draws": {sound: values[drawn, i].tolist() for i, sound in enumerate(sounds)},
    }


def windows_then(batch: Batch) -> Mapping[str, int] | None:
    """Return how many windows of each site a batch could be drawn from; ``None`` if it keeps no predictions."""
    kept = batch.asked.get(KEY)
    return None if kept is None else dict(zip(kept["sites"], kept["n_windows"], strict=True))


def of_draws(batch: Batch, sound: str) -> NDArray[np.float64]:
    """Return what was predicted of a sound for each draw of a batch that keeps predictions."""
    return np.asarray(batch.asked[KEY]["draws"][sound], np.float64)


def of_sites(batch: Batch, sound: str) -> pd.DataFrame:
    """Return ``batch``, ``site`` and ``predicted``, the sum over the windows of each site that could be drawn."""
    kept = batch.asked[KEY]
    return pd.DataFrame({"batch": batch.name, "site": kept["sites"], "predicted": kept["sums"][sound]})
