"""A fixed sample of windows whose features are looked at now and then, to see what the network has learnt."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jobs.common.training import group
from jobs.common.training.data import Places, Source
from jobs.common.training.settings import Settings

PROBE_STREAM: Final = 2**63 + 1
"""Stands in the place of a pass's number where the sample is drawn."""

LEAST_WINDOWS: Final = 512
WINDOWS_AT_ONCE: Final = 64
NEIGHBOURS: Final = 20
NEIGHBOURS_TEMPERATURE: Final = 0.07
TEXTURE: Final = 1e-7
Encode = Callable[[NDArray[np.uint8], Sequence[str] | None], Tensor]


def sample(source: Source, config: Settings, width: int) -> NDArray[np.int64]:
    """Draw the windows that are looked at: twice the features' number, 512 at least, or all there are."""
    n = max(LEAST_WINDOWS, 2 * width)
    if source.n_windows <= n:
        return np.arange(source.n_windows)
    random = np.random.default_rng([config.seed, PROBE_STREAM])
    return np.sort(random.choice(source.n_windows, n, replace=False))


def signs(features: NDArray[np.float32], places: Places | None, windows: NDArray[np.int64]) -> dict[str, float]:
    """Return what the features of the sample show.

    Parameters
    ----------
    features, windows
        From :func:`embedded`, and the windows' numbers.
    places
        Where windows come from, if that is known.

    Returns
    -------
    dict
        ``rank_me``: the features' effective rank. ``recorder_knn`` and ``hour_knn``: how often the nearest windows
        of other recordings tell a window's recorder, or its hour; and ``recorder_share``, ``hour_share``, how often
        guessing the commonest would. What cannot be known is left out.
    """
    found = {"rank_me": rank_me(features)}
    if places is None:
        return found
    for name, labels in (("recorder", places.recorder.astype(np.int64)), ("hour", places.hour)):
        scored = _scored(features, labels[windows], places, windows)
        if scored is not None:
            found[f"{name}_knn"], found[f"{name}_share"] = scored
    return found


def embedded(
    encode: Encode, source: Source, windows: NDArray[np.int64], width: int, *, named: bool = False
) -> NDArray[np.float32]:
    """Return the features of windows, shape (n, width), in their order; each process computes every n-th one.

    Parameters
    ----------
    encode
        From codes, and the names of their recorders where ``named``, to features on the CPU, shape (n, width).
    source, windows
        The windows and their numbers.
    width
        Length of the features.
    named
        Whether recorders are named.
    """
    own = windows[group.rank() :: group.n_ranks()]
    parts = []
    for first in range(0, len(own), WINDOWS_AT_ONCE):
        chosen = own[first : first + WINDOWS_AT_ONCE]
        recorder = source.places.names(chosen) if named and source.places else None
        parts.append(encode(source.read(chosen), recorder).numpy())
    mine = np.concatenate(parts) if parts else np.empty((0, width), dtype=np.float32)
    out = np.empty((len(windows), width), dtype=np.float32)
    for i, each in enumerate(group.tensors_of_all({"features": torch.from_numpy(mine)})):
        out[i :: group.n_ranks()] = each["features"].numpy()
    return out


def rank_me(features: NDArray[np.floating]) -> float:
    """Return the effective rank of features, shape (n, width): how many directions they spread over.

    Notes
    -----
    Exponential of the entropy of the singular values' shares (Garrido et al. 2023, arXiv:2210.02885).
    """
    values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    share = values / max(values.sum(), TEXTURE) + TEXTURE
    return float(np.exp(-(share * np.log(share)).sum()))


def neighbours_say(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    apart: NDArray[np.int64],
    n_labels: int,
    k: int = NEIGHBOURS,
) -> NDArray[np.int64]:
    """Return the label that each window's nearest windows of other groups have.

    Parameters
    ----------
    features, labels
        Shape (n, width) and (n,); labels are 0 to ``n_labels - 1``.
    apart
        Group of each window (its recording), shape (n,); windows of the same group are no neighbours.
    n_labels, k
        Number of labels, and of neighbours that vote, each with ``exp(cosine / 0.07)`` as in
        facebookresearch/dino (``eval_knn.py``).

    Returns
    -------
    NDArray
        Shape (n,); -1 where there is no window of another group.
    """
    unit = functional.normalize(torch.from_numpy(np.asarray(features, dtype=np.float64)), dim=1)
    cosine = unit @ unit.T
    group_of = torch.from_numpy(apart)
    cosine.masked_fill_(group_of[:, None] == group_of[None, :], -torch.inf)
    near, place = cosine.topk(min(k, len(labels)), dim=1)
    vote = torch.exp(near / NEIGHBOURS_TEMPERATURE)
    votes = torch.zeros(len(labels), n_labels, dtype=torch.float64)
    votes.scatter_add_(1, torch.from_numpy(labels)[place], vote)
    said = votes.argmax(dim=1).numpy()
    return np.where(np.isfinite(near[:, 0].numpy()), said, -1)


def _scored(
    features: NDArray[np.float32], labels: NDArray[np.int64], places: Places, windows: NDArray[np.int64]
) -> tuple[float, float] | None:
    """Return the neighbours' accuracy and the commonest label's share, over windows whose label others have too."""
    names, labels = np.unique(labels, return_inverse=True)
    recording = places.recording[windows]
    pairs = np.unique(np.stack([labels, recording], axis=1), axis=0)[:, 0]
    known = np.isin(labels, np.flatnonzero(np.bincount(pairs, minlength=len(names)) > 1))
    if len(names) < 2 or not known.any():
        return None
    said = neighbours_say(features, labels, recording, len(names))
    share = np.bincount(labels[known]).max() / known.sum()
    return float((said[known] == labels[known]).mean()), float(share)
