"""Draw windows to hear for a count: by chance, with known probabilities, more often where a detector scores high."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lake.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNIFORM = 0.45
"""Share of a draw that is spread evenly over all windows."""
POWER = 0.75
"""Of the probability; 1 is best where the detector is never wrong at its low end, ½ where it is calibrated."""
ROUNDING = 1e-12


def draw(
    probability: ArrayLike, n: int, *, seed: int, strata: Sequence[Any] | ArrayLike | None = None,
    heard: ArrayLike | None = None, uniform: float = UNIFORM, power: float = POWER,
) -> pd.DataFrame:  # fmt: skip
    """Return windows to hear for a count, drawn by chance with known probabilities.

    Parameters
    ----------
    probability
        A detector's probability that each window holds the sound, shape ``(windows,)``; ``(windows, sounds)`` to draw
        for several sounds at once. It steers the draw only: estimates are unbiased however wrong it is. NaN: nothing
        is known of the window, and only the even share reaches it.
    n
        Windows to hear. All windows that were not heard are drawn if there are fewer.
    seed
        Seed of the draw.
    strata
        The group of each window (site, or site and period), shape ``(windows,)``. Each group gets its own number of
        windows, in proportion to the square root of its size: between equal shares, which serve each group, and
        proportional ones, which serve the total.
    heard
        True for windows whose answer is known already, shape ``(windows,)``. They are certain: the draw is over the
        rest, and they come back as rows with probability 1.
    uniform
        Share of the draw that is spread evenly, above 0, at most 1. It bounds what a misleading detector can do.
    power
        The rest of the draw is in proportion to the probability to this power. Of several sounds each has an equal
        part.

    Returns
    -------
    pandas.DataFrame
        ``draw`` (place in the order of hearing, from 0; missing for windows heard before), ``window`` (its position),
        ``stratum`` (missing without strata) and ``probability`` (with which the window is among the ``n``, known ones
        1). Drawn windows come first, in an order that is random, so that the first of them are a sample too.

    Raises
    ------
    InputError
        If a value is not what is described here, all problems at once.

    Notes
    -----
    A defensive mixture (Hesterberg 1995) of importance sampling by a detector, as in DISCount (Perez, Maji and Sheldon,
    AAAI 2024) and Active Measurement (Hamilton et al., NeurIPS 2025), and of uniform sampling. Probabilities of
    inclusion are in proportion to size; those that would exceed 1 are 1. Windows are put in order of stratum, most
    probable sound and size; the cumulated probability is cut into ``n`` parts of 1, and of each part one window is
    drawn, so that the sample is spread over the scores (ordered pivotal sampling: Deville and Tille 1998; Chauvet
    2012). It is without replacement, and probabilities are exact.

    Draw again with ``heard`` when a detector was fitted anew: :func:`estimate` combines such batches.

    Examples
    --------
    >>> import dawnchorus
    >>> probability = [0.9, 0.6, 0.05, 0.05, 0.02, 0.01, 0.01, 0.01]
    >>> drawn = dawnchorus.draw(probability, 4, seed=0)
    >>> len(drawn), drawn["window"].is_unique, bool(drawn["probability"].between(0, 1).all())
    (4, True, True)
    """
    given, problems = _probabilities(probability)
    groups = np.zeros(len(given), np.int64) if strata is None else np.asarray(pd.Series(strata, dtype="object"))
    known = np.zeros(len(given), np.bool_) if heard is None else np.asarray(heard)
    problems += [*_numbers(n, uniform, power), *_of_windows(groups, known, len(given))]
    if problems:
        raise InputError("\n".join(problems))
    rng = np.random.default_rng(seed)
    rest = np.flatnonzero(~known)
    codes, _ = pd.factorize(groups, sort=False)
    sizes = np.bincount(codes[rest], minlength=int(codes.max()) + 1)
    if n < (sizes > 0).sum():
        raise InputError(f"n: expected a window for each of {(sizes > 0).sum()} strata at least, found {n}.")
    numbers = _allocation(sizes, min(n, len(rest)))
    wanted = guided_sizes(given, power)
    chosen, chances = [], []
    for stratum, number in enumerate(numbers):
        members = rest[codes[rest] == stratum]
        inclusion = inclusion_of(wanted[members], int(number), uniform)
        picked = pick(inclusion, order_of(given[members], inclusion, rng), int(number), rng)[0]
        chosen.append(members[picked])
        chances.append(inclusion[picked])
    windows = np.concatenate([*chosen, np.empty(0, np.int64)])
    shuffled = rng.permutation(len(windows))
    windows = np.concatenate([windows[shuffled], np.flatnonzero(known)])
    chance = np.concatenate([np.concatenate([*chances, np.empty(0)])[shuffled], np.ones(int(known.sum()))])
    place = pd.array([*range(len(shuffled)), *[pd.NA] * int(known.sum())], dtype="Int64")
    labels = groups[windows] if strata is not None else np.full(len(windows), None)
    return pd.DataFrame({"draw": place, "window": windows, "stratum": labels, "probability": chance})


def _probabilities(probability: ArrayLike) -> tuple[Floats, list[str]]:
    """Return probabilities, shape ``(windows, sounds)``, and what is wrong with them."""
    try:
        given = np.asarray(probability, np.float64)
    except (TypeError, ValueError):
        raise InputError("probability: expected numbers from 0 to 1, or NaN where there is none.") from None
    if given.ndim not in {1, 2} or given.size == 0:
        raise InputError(f"probability: expected the shape (windows,) or (windows, sounds), found {given.shape}.")
    given = given[:, None] if given.ndim == 1 else given
    wrong = np.flatnonzero(((given < 0) | (given > 1)).any(axis=1))
    if len(wrong) == 0:
        return given, []
    found = f"{len(wrong)} windows have others, first window {wrong[0]} ({given[wrong[0]].tolist()})"
    return given, [f"probability: expected numbers from 0 to 1, or NaN; {found}. Turn scores into probabilities first."]


def _numbers(n: int, uniform: float, power: float) -> Iterator[str]:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        yield f"n: expected a number of windows, 1 or more, found {n!r}."
    if not 0 < uniform <= 1:
        yield f"uniform: expected a share above 0, at most 1, found {uniform!r}: every window needs a chance."
    if not 0 <= power < np.inf:
        yield f"power: expected a number of 0 or more, found {power!r}."


def _of_windows(groups: NDArray[Any], known: NDArray[Any], n_windows: int) -> Iterator[str]:
    for name, values in (("strata", groups), ("heard", known)):
        if values.shape != (n_windows,):
            yield f"{name}: expected one value for each of {n_windows} windows, found {values.shape}."
    if known.dtype != np.bool_:
        yield "heard: expected True or False for each window."
    if pd.isna(groups).any():
        yield f"strata: {int(pd.isna(groups).sum())} windows have none. Name a group for each."


def guided_sizes(given: Floats, power: float) -> Floats:
    """Return what the guided part of the draw is in proportion to: of each sound an equal part, unknown is 0."""
    raised = np.where(np.isnan(given), 0.0, given) ** power
    raised[np.isnan(given)] = 0.0
    totals = raised.sum(axis=0)
    parts: Floats = (raised / np.where(totals > 0, totals, 1.0)).sum(axis=1)
    return parts


def _allocation(sizes: Ints, n: int) -> Ints:
    """Return how many windows each stratum gets: by the root of its size, at least 1, at most all.

    Bankier (1988), Power allocations.
    """
    numbers = np.minimum(sizes, 1)
    while numbers.sum() < n:
        is_open = numbers < sizes
        shares = np.where(is_open, np.sqrt(sizes), 0.0)
        step = (n - numbers.sum()) * shares / shares.sum()
        whole = np.minimum(np.floor(step).astype(np.int64), sizes - numbers)
        if not whole.any():
            best = np.argsort(-step, kind="stable")[: n - numbers.sum()]
            whole[best] = np.minimum(1, (sizes - numbers)[best])
        numbers = numbers + whole
    return numbers


def inclusion_of(sizes: Floats, n: int, uniform: float) -> Floats:
    """Return the probability of each window to be among ``n``, at most 1; their sum is ``n``."""
    total = sizes.sum()
    even = np.full(len(sizes), 1 / max(len(sizes), 1))
    mixed = (1 - uniform) * sizes / total + uniform * even if total > 0 else even
    inclusion = np.ones(len(sizes))
    is_open = np.ones(len(sizes), np.bool_)
    while is_open.any():
        scaled = (n - (~is_open).sum()) * mixed[is_open] / mixed[is_open].sum()
        inclusion[is_open] = np.minimum(scaled, 1.0)
        if not (scaled > 1).any():
            break
        is_open[np.flatnonzero(is_open)[scaled >= 1]] = False
    inclusion[inclusion > 1 - ROUNDING] = 1.0
    return inclusion


def order_of(given: Floats, inclusion: Floats, rng: np.random.Generator) -> Ints:
    """Return windows by most probable sound and size; equal ones in a random order."""
    best = np.where(np.isnan(given), -1.0, given).argmax(axis=1)
    return np.lexsort((rng.random(len(inclusion)), inclusion, best))


def pick(inclusion: Floats, order: Ints, n: int, rng: np.random.Generator, n_repeats: int = 1) -> Ints:
    """Return ``n`` windows for each repeat: one of each part of 1 of the cumulated probability.

    Parameters
    ----------
    inclusion
        Probability of each window, at most 1, in sum ``n``.
    order
        The order in which they are cumulated.
    n, rng, n_repeats
        How many, and the source of chance.

    Returns
    -------
    NDArray
        Positions of windows, shape ``(n_repeats, n)``.

    Notes
    -----
    A window that lies across a border has a share before it and a share behind it. If it was not taken before, it is
    taken behind with the probability behind / (1 - before), and so with its own in all.
    """
    certain = np.flatnonzero(inclusion >= 1)
    order = order[inclusion[order] < 1]
    taken = np.empty((n_repeats, n), np.int64)
    taken[:, : len(certain)] = certain
    n_parts = n - len(certain)
    if n_parts == 0:
        return taken
    upper = np.cumsum(inclusion[order])
    upper *= n_parts / upper[-1]
    lower = np.append(0.0, upper[:-1])
    last = np.full(n_repeats, -1)
    for part in range(n_parts):
        across = int(np.searchsorted(upper, part, side="right"))
        before, behind = part - lower[across], upper[across] - part
        behind = behind if before > 0 else 0.0
        takes_across = (last != across) & (rng.random(n_repeats) * (1 - before) < behind)
        points = part + behind + rng.random(n_repeats) * (1 - behind)
        found = np.minimum(np.searchsorted(upper, points, side="right"), len(order) - 1)
        last = np.where(takes_across, across, found)
        taken[:, len(certain) + part] = order[last]
    return taken
