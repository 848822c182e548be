"""Learning a dictionary of patches: statistics of levels, whitening, spherical k-means."""

import numpy as np
from numpy.typing import NDArray

from jobs.common.dictionary import Array, Atoms
from jobs.common.reduce import Size
from lake.constants import CODE_STEP_DB

TINY = 1e-12
"""Variance that stands for none, so that patches of silence alone can be divided by it."""


class LevelSums:
    """Sums over windows that the mean level of each band and one deviation follow from, in a bounded memory."""

    def __init__(self, n_bands: int) -> None:
        self.n, self.total, self.squares = (np.zeros(n_bands) for _ in range(3))

    def add(self, levels: Array) -> None:
        """Add windows, dBFS, shape (n_windows, n_bands, n_frames); NaN is left out."""
        known = ~np.isnan(levels)
        values = np.where(known, levels, 0).astype(np.float64)
        self.n += known.sum(axis=(0, 2))
        self.total += values.sum(axis=(0, 2))
        self.squares += np.square(values).sum(axis=(0, 2))

    def statistics(self) -> tuple[Array, float]:
        """Return the mean of each band, dBFS, and one deviation about the means, dB, at least a step of the codes.

        A band without any level takes the mean of the others.
        """
        has_levels = self.n > 0
        mean = np.zeros(len(self.n))
        mean[has_levels] = self.total[has_levels] / self.n[has_levels]
        variance = float((self.squares - self.n * np.square(mean))[has_levels].sum() / self.n.sum())
        mean[~has_levels] = mean[has_levels].mean()
        return mean.astype(np.float32), max(float(np.sqrt(max(variance, 0.0))), CODE_STEP_DB)


def learn_atoms(sample: Array, size: Size, *, n_atoms: int, n_rounds: int, shrinkage: float, seed: int) -> Atoms:
    """Return the atoms of a sample of patches of one size.

    Parameters
    ----------
    sample
        Patches of normalised windows, float32, shape (n_patches, n_bands * n_frames). Changed in place.
    size
        Bands and frames of a patch.
    n_atoms, n_rounds
        How many atoms, and how often they move.
    shrinkage
        Share of the largest variance that is added to each before whitening.
    seed
        Of the first atoms.

    Notes
    -----
    Coates and Ng 2012, "Learning feature representations with k-means": each patch less its own mean, whitened by the
    principal axes (with shrinkage), then their spherical k-means. Each patch belongs to the atom with the largest
    product, of either sign; an atom becomes itself and the sum of its patches, each times its product, made of length
    1. An atom without a patch starts anew on a random one.
    """
    sample -= sample.mean(axis=1, keepdims=True)
    centre = sample.mean(axis=0, dtype=np.float64)
    sample -= centre.astype(np.float32)
    variance, axes = np.linalg.eigh((sample.T @ sample).astype(np.float64) / len(sample))
    scale = np.sqrt(np.maximum(variance, 0) + shrinkage * max(float(variance[-1]), TINY))
    whiten = (axes / scale) @ axes.T
    atoms = spherical_kmeans(sample @ whiten.astype(np.float32), n_atoms, n_rounds, seed)
    n_values = sample.shape[1]
    less_mean = np.eye(n_values) - 1 / n_values
    weights = less_mean @ whiten @ atoms.T.astype(np.float64)
    shown = atoms @ ((axes * scale) @ axes.T).astype(np.float32)
    return Atoms(
        size, weights.astype(np.float32), (-(centre @ whiten) @ atoms.T).astype(np.float32), shown.reshape(-1, *size)
    )


def spherical_kmeans(x: Array, n_atoms: int, n_rounds: int, seed: int) -> Array:
    """Return atoms of length 1, shape (n_atoms, n_values), of whitened patches, shape (n_patches, n_values)."""
    random = np.random.default_rng([seed, x.shape[1]])
    atoms = _unit(random.standard_normal((n_atoms, x.shape[1])).astype(np.float32))
    rows = np.arange(len(x))
    for _ in range(n_rounds):
        product = x @ atoms.T
        nearest = np.abs(product).argmax(axis=1)
        code = np.zeros_like(product)
        code[rows, nearest] = product[rows, nearest]
        moved = code.T @ x + atoms
        unused = np.setdiff1d(np.arange(n_atoms), nearest)
        moved[unused] = x[random.integers(len(x), size=len(unused))]
        atoms = _unit(moved)
    return atoms


def _unit(x: NDArray[np.float32]) -> Array:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1), dtype=np.float32)
