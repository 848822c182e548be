"""Counts from windows heard, on simulated populations: coverage, bias and width, compared with the methods in use.

    make bench-counts

Eighteen settings: three prevalences, three detectors, two numbers of windows heard; then others, so that nothing was
fitted to the eighteen alone. ``docs/counts.md`` has the table and the picture; ``benchmarks/counts_tried.py`` the
intervals that were tried and not taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Final

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit

from benchmarks.counts_tried import tried
from benchmarks.report import Figure, report
from lake.counting.differences import difference_limits
from lake.counting.draws import POWER, UNIFORM, guided_sizes, inclusion_of, order_of, pick
from lake.counting.limits import Limits, Rows, limits

PICTURE: Final = Path(__file__).parent.parent / "docs" / "counts.webp"
N_WINDOWS, N_REPEATS, N_MORE, N_TRIED = 200_000, 2000, 1000, 300
PREVALENCES: Final = (0.002, 0.02, 0.1)
HEARD: Final = (100, 400)
DETECTORS: Final = {"d' 3": 3.0, "d' 1": 1.0, "misleading": -3.0}
"""Distance of the scores of positives from the rest, in standard deviations; below 0 they rank below the rest."""
SHAPES: Final = {
    "usual": (0.8, 5.0),
    "calibrated": (1.0, 1.0),
    "overconfident": (2.0, 1.0),
    "underconfident": (0.4, 5.0),
}
"""Slope of a probability in log odds, and its factor of the prevalence; (1, 1) is calibrated."""
LOG_BINS: Final = (0, 0.5, 0.75, 0.875, 0.9375, 0.96875, 0.984375, 0.992, 0.996, 0.998, 0.999, 1)
BETA_PRIOR, N_BETA = 0.1, 400

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A population and a detector; of the positives the share ``hidden`` is scored as if it were none."""

    n_windows: int
    prevalence: float
    distance: float
    n_heard: int
    shape: str = "usual"
    hidden: float = 0.0

    @property
    def name(self) -> str:
        """Return prevalence, detector and windows heard."""
        detector = {value: name for name, value in DETECTORS.items()}.get(self.distance, f"d' {self.distance:g}")
        return f"{100 * self.prevalence:g} %, {detector}, {self.n_heard}"


@dataclass(frozen=True)
class Outcome:
    """Of many repeats: how often the interval held the truth, and relative to it bias, deviation and half-width."""

    coverage: float
    bias: float
    deviation: float
    half_width: float


def population(setting: Setting, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Floats]:
    """Return which windows hold the sound, and the detector's probabilities."""
    n = setting.n_windows
    truth = np.zeros(n, np.bool_)
    truth[rng.choice(n, round(setting.prevalence * n), replace=False)] = True
    scores = rng.normal(size=n) + setting.distance * (truth & (rng.random(n) >= setting.hidden))
    slope, factor = SHAPES[setting.shape]
    distance = max(abs(setting.distance), 0.5)
    prior = min(factor * setting.prevalence, 0.5)
    return truth, expit(slope * (distance * scores - distance**2 / 2) + np.log(prior / (1 - prior)))


def outcome(estimate: Floats, low: Floats, high: Floats, total: int) -> Outcome:
    """Return how repeats came out."""
    covered = np.mean((low <= total) & (total <= high))
    return Outcome(
        float(covered), float(estimate.mean() / total - 1), float(estimate.std() / total),
        float(np.median(high - low) / 2 / total),
    )  # fmt: skip


def samples(probability: Floats, n: int, n_repeats: int, rng: np.random.Generator) -> tuple[Rows, NDArray[np.int64]]:
    """Return repeats of a draw as cells of their own, and the windows drawn."""
    inclusion = inclusion_of(guided_sizes(probability[:, None], POWER), n, UNIFORM)
    windows = pick(inclusion, order_of(probability[:, None], inclusion, rng), n, rng, n_repeats).ravel()
    cell = np.repeat(np.arange(n_repeats), n)
    return Rows(cell, cell, inclusion[windows], np.ones(len(windows))), windows


def ours(rows: Rows, is_positive: NDArray[np.bool_], setting: Setting, n_repeats: int) -> Limits:
    """Return our estimates and intervals, cut to what is possible."""
    found = limits(rows, is_positive, np.full(n_repeats, float(setting.n_windows)), 0.95)
    n_yes = np.bincount(rows.cell, weights=is_positive.astype(np.float64), minlength=n_repeats)
    low, high = np.maximum(found.low, n_yes), np.minimum(found.high, setting.n_windows)
    return Limits(found.estimate, low, high, found.n_random)


def corrected(
    rows: Rows, predicted: Floats, is_positive: NDArray[np.bool_], setting: Setting, total_predicted: float
) -> Limits:
    """Return estimates that correct the detector's own count, and their intervals, cut to what is possible."""
    n_repeats = int(rows.cell[-1]) + 1
    n, total = np.full(n_repeats, float(setting.n_windows)), np.full(n_repeats, total_predicted)
    found = difference_limits(rows, predicted, is_positive, n_windows=n, total_predicted=total, level=0.95)
    n_yes = np.bincount(rows.cell, weights=is_positive.astype(np.float64), minlength=n_repeats)
    low, high = np.maximum(found.low, n_yes), np.minimum(found.high, setting.n_windows)
    return Limits(found.estimate, low, high, found.n_random)


def at_random(setting: Setting, n: int, total: int, n_repeats: int, rng: np.random.Generator) -> Outcome:
    """Return the outcome of windows drawn with equal probabilities, with Clopper and Pearson's interval."""
    found = rng.hypergeometric(total, setting.n_windows - total, n, n_repeats)
    low = np.where(found > 0, betaincinv(np.maximum(found, 1), n - found + 1, 0.025), 0.0)
    high = np.where(found < n, betaincinv(found + 1, np.maximum(n - found, 1), 0.975), 1.0)
    n_windows = setting.n_windows
    return outcome(found * n_windows / n, low * n_windows, high * n_windows, total)


def in_log_bins(
    truth: NDArray[np.bool_], probability: Floats, n: int, n_repeats: int, rng: np.random.Generator
) -> Outcome:
    """Return the outcome of perch-hoplite's estimator, stated anew: equal numbers from bins of the rank.

    Bins hold half of the windows, a quarter, an eighth and so on; the rate of each is a beta distribution with a prior
    of 0.1 positives and 0.1 negatives, and the total's distribution is that of sums of draws from them.
    """
    edges = (np.asarray(LOG_BINS) * len(truth)).astype(np.int64)
    ranked = truth[np.argsort(probability)]
    each = max(1, n // (len(edges) - 1))
    totals, estimate = np.zeros((n_repeats, N_BETA)), np.zeros(n_repeats)
    for first, last in pairwise(edges.tolist()):
        n_yes = int(ranked[first:last].sum())
        found = rng.hypergeometric(n_yes, last - first - n_yes, each, n_repeats)
        estimate += (last - first) * found / each
        shape = (n_repeats, N_BETA)
        totals += (last - first) * rng.beta(found[:, None] + BETA_PRIOR, each - found[:, None] + BETA_PRIOR, shape)
    low, high = np.quantile(totals, [0.025, 0.975], axis=1)
    return outcome(estimate, low, high, int(truth.sum()))


def measured(setting: Setting, rng: np.random.Generator) -> dict[str, Outcome]:
    """Return the outcomes of a setting: ours, random with as many and more windows, log bins, a threshold."""
    truth, probability = population(setting, rng)
    total, n = int(truth.sum()), setting.n_heard
    rows, windows = samples(probability, n, N_REPEATS, rng)
    found = ours(rows, truth[windows], setting, N_REPEATS)
    guided = corrected(rows, probability[windows], truth[windows], setting, float(probability.sum()))
    times = 2 if setting.prevalence >= 0.1 else 4
    above = float((probability >= 0.5).sum())
    return {
        "ours": outcome(found.estimate, found.low, found.high, total),
        "with predictions": outcome(guided.estimate, guided.low, guided.high, total),
        "random": at_random(setting, n, total, N_REPEATS, rng),
        "random, more": at_random(setting, times * n, total, N_REPEATS, rng),
        "log bins": in_log_bins(truth, probability, n, N_REPEATS, rng),
        "threshold": Outcome(0.0, above / total - 1, 0.0, 0.0),
        **{
            name: outcome(found.estimate, low, high, total)
            for name, (low, high) in tried(rows, truth[windows], setting.n_windows, N_TRIED, rng).items()
        },
    }


def eighteen() -> Iterator[Setting]:
    """Yield the settings of the table."""
    for prevalence in PREVALENCES:
        for distance in DETECTORS.values():
            for n in HEARD:
                yield Setting(N_WINDOWS, prevalence, distance, n)


def others() -> Iterator[tuple[str, Setting]]:
    """Yield other settings, which were looked at as well while the method was chosen."""
    for n in HEARD:
        for prevalence in (0.0005, 0.01, 0.3):
            for distance in (0.0, 2.0, 4.0, -1.0):
                yield "other prevalences and detectors", Setting(N_WINDOWS, prevalence, distance, n)
        for prevalence in PREVALENCES:
            for shape in SHAPES:
                for distance in (1.0, 3.0):
                    yield f"{shape} probabilities", Setting(N_WINDOWS, prevalence, distance, n, shape)
            for distance in DETECTORS.values():
                yield "5,000 windows", Setting(5000, prevalence, distance, n)
            yield "1,000,000 windows", Setting(1_000_000, prevalence, 3.0, n)
            yield "3 of 10 positives hidden from the detector", Setting(N_WINDOWS, prevalence, 3.0, n, hidden=0.3)


def coverage_of_others(rng: np.random.Generator) -> dict[str, tuple[float, str]]:
    """Return the least coverage of each kind of other settings, and where it was."""
    least: dict[str, tuple[float, str]] = {}
    for kind, setting in others():
        truth, probability = population(setting, rng)
        rows, windows = samples(probability, setting.n_heard, N_MORE, rng)
        found = ours(rows, truth[windows], setting, N_MORE)
        guided = corrected(rows, probability[windows], truth[windows], setting, float(probability.sum()))
        for name, one in ((kind, found), (f"{kind}, with predictions", guided)):
            covered = outcome(one.estimate, one.low, one.high, int(truth.sum())).coverage
            least[name] = min(least.get(name, (2.0, "")), (covered, setting.name))
    return least


def picture(results: dict[Setting, dict[str, Outcome]]) -> None:
    """Draw coverage and half-width of all settings."""
    marks = {
        "ours": ("o", "#1b6ca8"),
        "with predictions": ("D", "#2a9d5c"),
        "random": ("s", "#999999"),
        "log bins": ("^", "#d1495b"),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.5), sharey=True, layout="constrained")
    places = np.arange(len(results))[::-1]
    for name, (mark, colour) in marks.items():
        of_method = [outcomes[name] for outcomes in results.values()]
        left.plot([one.coverage for one in of_method], places, mark, color=colour, label=name)
        right.plot([one.half_width for one in of_method], places, mark, color=colour)
    left.axvline(0.95, color="black", linewidth=0.8, linestyle=":")
    left.set_yticks(places, [setting.name for setting in results])
    left.set_xlabel("share of intervals that hold the truth (dotted: 95 %)")
    right.set_xlabel("half-width of the interval, as a share of the truth")
    right.set_xscale("log")
    left.legend(loc="lower left")
    figure.savefig(PICTURE, dpi=110, pil_kwargs={"quality": 80})


def print_table(columns: list[str], results: dict[Setting, dict[str, Outcome]]) -> None:
    """Print what the title in the first column names, of the methods in the others."""
    title, *methods = columns
    print(f"\n| {title} | " + " | ".join(methods) + " |\n" + "|---" * len(columns) + "|")
    for setting, outcomes in results.items():
        of_methods = [outcomes[name] for name in methods]
        cells = [
            f"{one.coverage:.3f} / " + (f"{one.bias:+.2f} / " if "bias" in title else "") + f"{one.half_width:.2f}"
            for one in of_methods
        ]
        print(f"| {setting.name} | " + " | ".join(cells) + " |")
    print()


def main() -> None:
    """Print the tables, draw the picture and write the figures."""
    rng = np.random.default_rng(20)
    began = process_time()
    results = {setting: measured(setting, rng) for setting in eighteen()}
    methods = ["ours", "with predictions", "random", "log bins", "threshold"]
    print_table(["coverage / bias / half-width", *methods], results)
    print_table(["coverage / half-width of what was tried", *list(next(iter(results.values())))[6:]], results)
    least = coverage_of_others(rng)
    for kind, (covered, where) in least.items():
        print(f"| {kind} | {covered:.3f} | {where} |")
    picture(results)
    figures = [
        Figure(f"least coverage, 18 settings, {name}", min(o[name].coverage for o in results.values()), "")
        for name in methods[:2]
    ]
    for setting, outcomes in results.items():
        other = "random" if setting.distance < 3 else "random, more"
        ratio = outcomes[other].half_width / outcomes["ours"].half_width
        figures.append(Figure(f"half-width, {setting.name}", outcomes["ours"].half_width, "of the truth", other, ratio))
    print(f"{process_time() - began:.0f} s of CPU")
    report("counts", figures)


if __name__ == "__main__":
    main()
