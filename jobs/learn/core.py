"""One head: a logistic regression of yes and no, its penalty and probabilities from verdicts that were held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from jobs.learn.config import Config
from jobs.learn.measures import Bools, Floats, Ints, interval, log_losses, platt, ranking, resampled, threshold_of

TOLERANCE = 1e-5
MOST_STEPS = 2_000
CHANCE = 0.5


class Refused(Exception):  # noqa: N818 (no error of the run: the other heads go on)
    """Why no head can be learnt for a sound."""


@dataclass(frozen=True)
class Examples:
    """Windows and verdicts of one sound.

    Attributes
    ----------
    rows
        Row of each window among the vectors, shape (n_windows,).
    is_yes, is_heard
        Whether the sound is in it, and whether somebody said so; the others are weak no.
    groups, recordings
        Number of the group that a window is held out with, and of its recording.
    """

    rows: Ints
    is_yes: Bools
    is_heard: Bools
    groups: Ints
    recordings: Ints


@dataclass(frozen=True)
class Head:
    """One head, and its figures on verdicts that were held out; see :mod:`jobs.learn.command` for their names."""

    weights: Floats
    intercept: float
    slope: float
    offset: float
    figures: dict[str, float]
    flags: tuple[str, ...]


def learn_head(vectors: NDArray[np.float32], examples: Examples, config: Config) -> Head:
    """Return the head of a sound.

    Parameters
    ----------
    vectors
        Scaled, shape (n, n_scaled).
    examples
        Which of them are what.
    config
        Settings.

    Raises
    ------
    Refused
        If there is no yes or no no, or nothing can be held out.
    """
    _require_both(examples)
    folds = folds_of(examples, config)
    heard = np.flatnonzero(examples.is_heard)
    x = vectors[examples.rows].astype(np.float64)
    is_yes = examples.is_yes[heard]
    tried = [_held_out(x, examples, folds, strength, config) for strength in config.penalties]
    ones = np.ones((1, len(heard)))
    fits = [tuple(float(one[0]) for one in platt(scores, is_yes, ones)) for scores in tried]
    best = strongest_penalty([log_losses(scores, is_yes, *fit) for scores, fit in zip(tried, fits, strict=True)])
    scores, (slope, offset) = tried[best], fits[best]
    model = _fitted(x, examples, np.arange(len(x)), config.penalties[best], config)
    figures = _figures(scores, is_yes, examples.groups[heard], (slope, offset), config)
    figures["penalty"] = config.penalties[best]
    flags = _flags(examples, figures, scores, config)
    return Head(model.coef_[0], float(model.intercept_[0]), slope, offset, figures, flags)


def strongest_penalty(losses: Sequence[Floats]) -> int:
    """Return which penalty to take: the strongest that is no more than one standard error worse than the best.

    Parameters
    ----------
    losses
        Of each verdict that was held out, shape (n_heard,), by penalty, the strongest first.

    Notes
    -----
    Breiman, Friedman, Olshen and Stone 1984, Classification and Regression Trees, section 3.4.3; here the standard
    error is that of the difference to the best. With few verdicts the smallest mean loss is often chance.
    """
    best = losses[int(np.argmin([np.round(one.mean(), 9) for one in losses]))]
    is_near = [(one - best).mean() <= (one - best).std() / np.sqrt(len(best)) for one in losses]
    return is_near.index(True)


def folds_of(examples: Examples, config: Config) -> Ints:
    """Return the fold that each window is held out in; no group is in two, and both kinds are in as many as can be."""
    heard = examples.is_heard
    groups, is_yes = examples.groups[heard], examples.is_yes[heard]
    n_folds = min(config.n_folds, len(set(groups[is_yes].tolist())), len(set(groups[~is_yes].tolist())))
    if n_folds < 2:
        kind = "yes" if len(set(groups[is_yes].tolist())) < 2 else "no"
        raise Refused(
            f"all of its {kind} are from one recording or day, so nothing can be held out; hear it in another one"
        )
    split = StratifiedGroupKFold(n_folds, shuffle=True, random_state=config.seed)
    fold_of: dict[int, int] = {}
    for fold, (_, held) in enumerate(split.split(groups, is_yes, groups)):
        fold_of |= dict.fromkeys(groups[held].tolist(), fold)
    found = np.array([fold_of.get(group, group % n_folds) for group in examples.groups.tolist()], dtype=np.int64)
    for fold in range(n_folds):
        rest = is_yes[found[heard] != fold]
        if rest.all() or not rest.any():
            raise Refused("its yes or its no are nearly all from one recording or day; hear it in another one")
    return found


def _require_both(examples: Examples) -> None:
    found = examples.is_yes[examples.is_heard]
    if not found.any() or found.all():
        kinds = ("yes", "no") if len(found) and found.all() else ("no", "yes")
        raise Refused(
            f"{len(found)} verdicts are {kinds[0]}, none is {kinds[1]}; hear windows in which the sound may be, and "
            "some in which it is not"
            if len(found)
            else "there is no yes and no no that holds"
        )


def _held_out(x: Floats, examples: Examples, folds: Ints, strength: float, config: Config) -> Floats:
    """Return the score of each verdict by a head that was learnt without its fold, shape (n_heard,)."""
    scores = np.empty(len(x))
    for fold in np.unique(folds[examples.is_heard]):
        model = _fitted(x, examples, np.flatnonzero(folds != fold), strength, config)
        held = np.flatnonzero((folds == fold) & examples.is_heard)
        scores[held] = model.decision_function(x[held])
    return scores[examples.is_heard]


def _fitted(x: Floats, examples: Examples, rows: Ints, strength: float, config: Config) -> LogisticRegression:
    """Return a regression on some windows, in which yes weighs as much as no, judged and not, together."""
    is_yes, is_heard = examples.is_yes[rows], examples.is_heard[rows]
    weights = np.where(is_heard, 1.0, config.unlabelled_weight)
    total = weights.sum()
    weights = weights * np.where(is_yes, total / weights[is_yes].sum(), total / weights[~is_yes].sum()) / 2
    model = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=MOST_STEPS)
    return model.fit(x[rows], is_yes, sample_weight=weights)


def _figures(scores: Floats, is_yes: Bools, groups: Ints, fit: tuple[float, float], config: Config) -> dict[str, float]:
    _, numbers = np.unique(groups, return_inverse=True)
    weights = resampled(numbers, config.n_bootstrap, config.seed)
    value, spread = ranking(scores, is_yes, np.ones((1, len(scores)))), ranking(scores, is_yes, weights)
    thresholds = threshold_of(config.precision, *platt(scores, is_yes, weights))
    thresholds[np.isnan(spread.auroc)] = np.nan  # a resample without yes or without no says nothing
    figures: dict[str, float] = {"n_groups": float(numbers.max() + 1)}
    for name in ("average_precision", "auroc"):
        low, high = interval(getattr(spread, name))
        figures |= {name: float(getattr(value, name)[0]), f"{name}_low": low, f"{name}_high": high}
    low, high = interval(thresholds)
    figures["threshold_precision"] = float(threshold_of(config.precision, *map(np.atleast_1d, fit))[0])
    figures |= {"threshold_precision_low": low, "threshold_precision_high": high}
    return figures | {"threshold_best_f1": float(value.threshold[0]), "best_f1": float(value.best_f1[0])}


def _flags(examples: Examples, figures: dict[str, float], scores: Floats, config: Config) -> tuple[str, ...]:
    """Return why the figures are guesses."""
    heard = examples.is_heard
    is_yes, recordings = examples.is_yes[heard], examples.recordings[heard]
    kinds = [recordings[is_yes], recordings[~is_yes]]
    threshold = figures["threshold_precision"]
    found: Sequence[tuple[str, bool]] = (
        ("few_verdicts", min(map(len, kinds)) < config.n_few),
        ("one_recording", any(len(set(kind.tolist())) < 2 for kind in kinds)),
        ("no_better_than_chance", not figures["auroc_low"] > CHANCE),
        ("precision_not_reached", not threshold <= scores.max()),
    )
    return tuple(name for name, is_so in found if is_so)
