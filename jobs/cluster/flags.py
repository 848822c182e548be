"""Flag clusters that are one recorder's, one hour's, or noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lake.constants import CLUSTER_FLAGS, CODE_STEP_DB

OVER_BANDS, OVER_FRAMES = 98.0, 95.0
"""Percentiles that a window's contrast is made of."""


@dataclass(frozen=True)
class Shares:
    """The largest share of each cluster, float32, shape (n_clusters,), and whether it is flagged for it."""

    share: NDArray[np.float32]
    is_flagged: NDArray[np.bool_]


def largest_shares(counts: NDArray[np.int64], flag_share: float) -> Shares:
    """Return which share of its windows a cluster has from the one group that it has most from.

    Parameters
    ----------
    counts
        Windows of each cluster and group (recorder, or hour of the day), shape (n_clusters, n_groups).
    flag_share
        A cluster is flagged if its share is at least this, and at least twice what the group has of all
        windows: where one recorder made nearly everything, it says nothing.

    Returns
    -------
    Shares
        NaN, and not flagged, for a cluster without windows.
    """
    total, every = counts.sum(axis=1), counts.sum()
    group = counts.argmax(axis=1)
    there = total > 0
    share = np.full(len(counts), np.nan)
    share[there] = counts.max(axis=1)[there] / total[there]
    base = counts.sum(axis=0)[group] / max(every, 1)
    is_flagged = there & (np.nan_to_num(share) >= flag_share) & (2 * base <= np.nan_to_num(share))
    return Shares(share.astype(np.float32), is_flagged)


def contrast_db(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far a window's sounds stand out from its own background.

    Parameters
    ----------
    codes
        Level codes, shape (n_windows, n_mels, n_frames); 0 is missing.

    Returns
    -------
    NDArray
        dB, shape (n_windows,): of each band's levels the 95th percentile over frames less the median, and of
        these the 98th percentile over the bands that are known. Steady noise has 5 to 7 dB where a frame is
        one power spectrum, less where bands are wide; a call that fills a twentieth of the window has more.
    """
    out = np.empty(len(codes))
    for i, window in enumerate(codes):
        known = window[:, (window > 0).any(axis=0)]
        known = known[(known > 0).all(axis=1)]
        if not known.size:
            out[i] = np.nan
            continue
        high, middle = np.percentile(known, [OVER_FRAMES, 50.0], axis=1)
        out[i] = np.percentile(high - middle, OVER_BANDS) * CODE_STEP_DB
    return out


def flags_of(
    recorders: Shares, hours: Shares, contrast: NDArray[np.float32], noise_contrast_db: float
) -> NDArray[np.int8]:
    """Return the flags of each cluster, int8, shape (n_clusters,); an unknown contrast (NaN) flags nothing."""
    with np.errstate(invalid="ignore"):
        is_noise = contrast < noise_contrast_db
    bits = (recorders.is_flagged, hours.is_flagged, is_noise)
    flags = sum(bit.astype(np.int8) * value for bit, value in zip(bits, CLUSTER_FLAGS.values(), strict=True))
    return np.asarray(flags, dtype=np.int8)
