"""Intervals of weighted counts that were tried and not taken; ``docs/counts.md`` says how each failed."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv

from lake.counting.limits import Rows

Floats = NDArray[np.float64]
Z = 1.959964
N_BOOT = 200
STEPS = 16
N_GRID = 300


def tried(
    rows: Rows, is_positive: NDArray[np.bool_], n_windows: int, n_repeats: int, rng: np.random.Generator
) -> Mapping[str, tuple[Floats, Floats]]:
    """Return the limits of each interval for the first repeats; where none was found, 0 and all windows.

    Parameters
    ----------
    rows, is_positive
        As :func:`lake.counting.limits.limits` takes them, with repeats as cells of equal size.
    n_windows, n_repeats, rng
        Size of the population, repeats that are used, and the source of chance for the bootstrap.
    """
    n = int((rows.cell == 0).sum())
    weight = (1 / rows.probability).reshape(-1, n)[:n_repeats]
    values = weight * is_positive.reshape(-1, n)[:n_repeats]
    total, variance = values.sum(axis=1), n / (n - 1) * ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    largest = weight.max(axis=1)
    squares = (values**2).sum(axis=1)
    typical = np.divide(squares, total, out=np.zeros_like(total), where=total > 0)
    found = {
        "normal": (total - Z * np.sqrt(variance), total + Z * np.sqrt(variance)),
        "log-normal": _log_normal(total, variance),
        "bootstrap": _bootstrap(values, rng),
        "empirical likelihood": _empirical_likelihood(values),
        "betting": _betting(values, largest, n_windows),
        "gamma, largest weight": _gamma(total, squares, largest),
        "gamma, mean weight": _gamma(total, squares, typical),
        "Korn-Graubard": _korn_graubard(total, variance, n_windows),
    }
    none = total == 0
    return {
        name: (np.where(none, 0.0, np.nan_to_num(low)), np.where(none, n_windows, np.minimum(high, n_windows)))
        for name, (low, high) in found.items()
    }


def _log_normal(total: Floats, variance: Floats) -> tuple[Floats, Floats]:
    with np.errstate(all="ignore"):
        factor = np.exp(Z * np.sqrt(np.log1p(variance / total**2)))
        return total / factor, total * factor


def _bootstrap(values: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    n_repeats, n = values.shape
    totals = np.empty((N_BOOT, n_repeats))
    for i in range(N_BOOT):
        again = rng.multinomial(n, np.full(n, 1 / n), n_repeats)
        totals[i] = (again * values).sum(axis=1)
    low, high = np.quantile(totals, [0.025, 0.975], axis=0)
    return low, high


def _empirical_likelihood(values: Floats) -> tuple[Floats, Floats]:
    """Owen (1988): totals that a re-weighted sample has at a cost of at most the quantile of chi-square."""
    n_repeats, n = values.shape
    low, high = np.zeros(n_repeats), np.full(n_repeats, np.inf)
    for i, row in enumerate(values):
        if row.max() > 0:
            low[i] = n * _border(row, row.mean(), 0.0)
            high[i] = n * _border(row, row.mean(), float(row.max()))
    return low, high


def _border(row: Floats, inside: float, outside: float) -> float:
    """Return the mean between two at which the cost is that of the quantile."""
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        if _cost(row, middle) <= Z**2:
            inside = middle
        else:
            outside = middle
    return inside


def _cost(row: Floats, mean: float) -> float:
    """Return twice the log likelihood ratio of a mean."""
    apart = row - mean
    least, most = -1 / apart.max() + 1e-12, -1 / apart.min() - 1e-12
    for _ in range(30):
        middle = (least + most) / 2
        if (apart / (1 + middle * apart)).sum() > 0:
            least = middle
        else:
            most = middle
    return float(2 * np.log1p(least * apart).sum())


def _betting(values: Floats, largest: Floats, n_windows: int) -> tuple[Floats, Floats]:
    """Waudby-Smith and Ramdas (2024), hedged capital with predictable bets, for means of numbers from 0 to 1."""
    n_repeats, n = values.shape
    scale = largest * n
    scaled = values / largest[:, None]
    grid = np.geomspace(1e-3, 1.0, N_GRID)
    seen = (0.5 + np.cumsum(scaled, axis=1)) / (np.arange(n) + 2)
    apart = (0.25 + np.cumsum((scaled - seen) ** 2, axis=1)) / (np.arange(n) + 2)
    before = np.c_[np.full(n_repeats, 0.25), apart[:, :-1]]
    bets = np.sqrt(2 * np.log(2 / 0.05) / (before * n))
    up, down = np.zeros((n_repeats, len(grid))), np.zeros((n_repeats, len(grid)))
    for i in range(n):
        gain = scaled[:, i, None] - grid
        up += np.log1p(np.minimum(bets[:, i, None], 0.5 / grid) * gain)
        down += np.log1p(-np.minimum(bets[:, i, None], 0.5 / (1 - np.minimum(grid, 0.9999))) * gain)
    is_in = np.maximum(up, down) + np.log(0.5) < np.log(1 / 0.05)
    low = np.where(is_in, grid, np.inf).min(axis=1)
    high = np.where(is_in, grid, -np.inf).max(axis=1)
    return np.where(is_in[:, 0], 0.0, low) * scale, np.minimum(np.where(high > 0, high, 1.0) * scale, n_windows)


def _gamma(total: Floats, squares: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Fay and Feuer (1997), with the weight of one more positive given."""
    with np.errstate(all="ignore"):
        low = squares / total * gammaincinv(total**2 / squares, 0.025)
        more, spread = total + step, squares + step**2
        return low, spread / more * gammaincinv(more**2 / spread, 0.975)


def _korn_graubard(total: Floats, variance: Floats, n_windows: int) -> tuple[Floats, Floats]:
    """Korn and Graubard (1998): Clopper and Pearson's limits for the effective number of windows heard."""
    with np.errstate(all="ignore"):
        share = np.minimum(total / n_windows, 1 - 1e-9)
        n = share * (1 - share) * n_windows**2 / variance
        low = n_windows * betaincinv(n * share, n * (1 - share) + 1, 0.025)
        return low, n_windows * betaincinv(n * share + 1, n * (1 - share), 0.975)
