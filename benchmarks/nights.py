"""Nights: how often the model-assisted limits of short periods hold the truth, on simulated seasons.

    make bench-nights

Sixty nights of a thousand windows. What a night holds varies from night to night; detectors differ, and in some
settings from one night to another. Nights with five true windows or more are reported.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.special import expit

from benchmarks.counts import SHAPES, Setting, ours, samples
from benchmarks.report import Figure, report
from lake.counting.shares import shared_out

N_NIGHTS, N_PER_NIGHT, N_REPEATS, LEAST = 60, 1000, 60, 5


@dataclass(frozen=True)
class Nights:
    """A season: prevalence, detector, windows heard; and how prevalence and detector vary from night to night.

    ``spread`` is the standard deviation of the logarithm of a night's prevalence, ``shift`` that of a night's scores,
    in standard deviations of the scores.
    """

    prevalence: float
    distance: float
    n_heard: int
    spread: float = 0.7
    shift: float = 0.0

    @property
    def name(self) -> str:
        """Return the setting in words."""
        return (
            f"{100 * self.prevalence:g} %, d' {self.distance:g}, {self.n_heard} heard, nights vary by {self.spread:g}, "
            f"detector by {self.shift:g}"
        )


BASE: Final = Nights(0.02, 3, 100)
SETTINGS: Final = (
    *(Nights(prevalence, distance, n) for prevalence in (0.02, 0.1) for distance in (3, 1) for n in (100, 400)),
    replace(BASE, spread=0.2), replace(BASE, spread=1.2), replace(BASE, shift=0.2), replace(BASE, shift=0.5),
)  # fmt: skip


def measured(nights: Nights, rng: np.random.Generator) -> tuple[float, float]:
    """Return coverage, and the median half-width as a share of the truth."""
    n_windows = N_NIGHTS * N_PER_NIGHT
    night = np.repeat(np.arange(N_NIGHTS), N_PER_NIGHT)
    rate = rng.lognormal(0, nights.spread, N_NIGHTS)
    rate = np.clip(rate * nights.prevalence / rate.mean(), 0, 0.9)
    truth = rng.random(n_windows) < rate[night]
    scores = rng.normal(size=n_windows) + nights.distance * truth
    scores += nights.shift * rng.normal(size=N_NIGHTS)[night]
    slope, factor = SHAPES["calibrated"]
    prior = np.log(factor * nights.prevalence / (1 - factor * nights.prevalence))
    probability = expit(slope * (nights.distance * scores - nights.distance**2 / 2) + prior)
    rows, windows = samples(probability, nights.n_heard, N_REPEATS, rng)
    setting = Setting(n_windows, nights.prevalence, nights.distance, nights.n_heard)
    found, true = ours(rows, truth[windows], setting, N_REPEATS), np.bincount(night, weights=truth, minlength=N_NIGHTS)
    there, covered, widths = true >= LEAST, [], []
    for i in range(N_REPEATS):
        season = (float(found.estimate[i]), float(found.low[i]), float(found.high[i]))
        _, low, high = shared_out(season, probability, night, N_NIGHTS, 0.95)
        covered.append(((low <= true) & (true <= high))[there].mean())
        widths.append(np.median((high - low)[there] / 2 / true[there]))
    return float(np.mean(covered)), float(np.mean(widths))


def main() -> None:
    """Print the table and write the figures."""
    rng, figures = np.random.default_rng(5), []
    for nights in SETTINGS:
        coverage, width = measured(nights, rng)
        print(f"| {nights.name} | {coverage:.2f} | {width:.2f} |", flush=True)
        figures.append(Figure(f"coverage of nights, {nights.name}", coverage, ""))
    report("nights", figures)


if __name__ == "__main__":
    main()
