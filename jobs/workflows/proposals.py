"""Settings that fit recordings, each with its reason: what ``dawnchorus init`` writes into a new manifest."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pandas as pd

from jobs.cluster.config import number_of_clusters
from lake.errors import InputError
from lake.lengths import lasting
from lake.recordings import is_usable

TEMPLATE = files("jobs.demo") / "demo.toml"
"""The demo's manifest; in a checkout a link to ``manifests/demo.toml``."""
N_MELS, N_FRAMES = 128, 256
BELOW_NYQUIST = 0.46
"""Share of the sample rate up to which recorders pass sound; their filters cut what is between here and one half."""
LEAST_SHARE = 0.1
"""Sample rates that hold less than this share of the hours do not decide the band."""
WINDOWS_S = (5.0, 3.0, 2.0, 1.0, 0.5)
"""Lengths that are proposed; each divides a day."""
WINDOWS_TO_TRAIN = 20_000
"""Training on fewer windows gave vectors no better than the dictionary's: docs/quality.md."""
BATCH_SIZE = 32
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Kind:
    """The kind of sound that a study listens for.

    Attributes
    ----------
    sounds
        In words.
    window_s, fft_s
        Length of a window, and of the Fourier transform, in seconds, at most.
    f_min_hz, f_max_hz
        The band; the sample rates may allow less.
    """

    sounds: str
    window_s: float
    fft_s: float
    f_min_hz: float
    f_max_hz: float


KINDS = {
    "soundscape": Kind("all that people can hear", 5.0, 0.04, 50.0, 20_000.0),
    "birds": Kind("birds, frogs and mammals", 5.0, 0.04, 150.0, 12_000.0),
    "insects": Kind("crickets, bush-crickets and cicadas", 5.0, 0.02, 1_000.0, 100_000.0),
    "bats": Kind("bats and other ultrasound", 1.0, 0.004, 10_000.0, 200_000.0),
}
"""What ``--like`` takes besides a manifest."""


@dataclass(frozen=True)
class Sounds:
    """Properties of a study's recordings; times in seconds, rates in hertz."""

    n_files: int
    n_usable: int
    n_untimed: int
    hours: float
    hours_by_rate: Mapping[int, float]
    n_recorders: int
    median_s: float
    first: str
    last: str

    @property
    def rate_hz(self) -> int:
        """The lowest sample rate that holds a fair share of the hours."""
        return min(rate for rate, hours in self.hours_by_rate.items() if hours >= LEAST_SHARE * self.hours)

    @property
    def top_hz(self) -> float:
        """Frequency that all but a small share of the hours reach, rounded down to two digits."""
        return _rounded_down(BELOW_NYQUIST * self.rate_hz)

    @property
    def rates(self) -> str:
        """The sample rates in words."""
        by_rate = sorted(self.hours_by_rate.items())
        return ", ".join(f"{rate / 1000:g} kHz ({lasting(3600 * hours)})" for rate, hours in by_rate)


@dataclass(frozen=True)
class Choice:
    """A value of a setting, and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class PlannedRun:
    """A run of a new manifest: its inputs by role, and the settings that are not at their defaults."""

    name: str
    job: str
    purpose: str
    inputs: Mapping[str, str | list[str]] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def sounds_of(recordings: pd.DataFrame) -> Sounds:
    """Return what a table of recordings holds.

    Raises
    ------
    InputError
        If none of them can be used.
    """
    usable = recordings[is_usable(recordings)]
    usable = usable[usable["sample_rate_hz"].notna() & (usable["duration_s"] > 0)]
    if usable.empty:
        raise InputError(
            f"expected recordings that can be used, found {len(recordings)} files and none of them; the column "
            "`problems` of the table says why."
        )
    by_rate = usable.groupby("sample_rate_hz")["duration_s"].sum() / 3600
    starts = usable["start_utc"].dropna()
    return Sounds(
        n_files=len(recordings),
        n_usable=len(usable),
        n_untimed=len(usable) - len(starts),
        hours=float(by_rate.sum()),
        hours_by_rate={int(rate): float(by_rate[rate]) for rate in by_rate.index},
        n_recorders=int(usable["recorder"].nunique()),
        median_s=float(usable["duration_s"].median()),
        first="" if starts.empty else f"{starts.min():%Y-%m-%d}",
        last="" if starts.empty else f"{starts.max():%Y-%m-%d}",
    )


def kind_for(sounds: Sounds) -> str:
    """Return the kind of study that sample rates are chosen for."""
    if sounds.rate_hz >= 150_000:
        return "bats"
    return "insects" if sounds.rate_hz >= 64_000 else "soundscape"


def propose(sounds: Sounds, kind: str, title: str) -> list[PlannedRun]:
    """Return the runs that fit recordings, each after those that it reads.

    Raises
    ------
    InputError
        If the recordings do not reach the band of the kind, or are too short to cluster.
    """
    cube = _cube(sounds, kind)
    n_windows = int(sounds.hours * 3600 / cube["hop_s"].value)
    if n_windows < 4:
        raise InputError(
            f"expected at least 4 windows of {cube['window_s'].value:g} s to cluster, found "
            f"{lasting(3600 * sounds.hours)} of sound. Add recordings."
        )
    cubes = {"spectrograms": "mels"}
    return [
        PlannedRun("mels", "spectrograms", "Levels by time and frequency, from which all else is made.", {}, cube),
        PlannedRun("atoms", "dictionary", "Patches of sound, learnt from these recordings in seconds.", cubes),
        PlannedRun(
            "dictionary", "embed", "A vector for each window: how strongly it holds each of those patches.",
            {**cubes, "model": "atoms"},
        ),
        PlannedRun(
            "statistics", "embed", "A second vector: levels, and how they change, in each band.", cubes,
            {"features": Choice("statistics", "with the dictionary, they gave the best clusters without training")},
        ),
        *_trained(n_windows),
        PlannedRun(
            "clusters", "cluster", "Windows that sound alike.", {"embeddings": ["dictionary", "statistics"]},
            {
                "n_clusters": Choice("auto", f"{number_of_clusters('auto', n_windows)} of about {n_windows:,} windows"),
                "batch_size": Choice(256, "enough for studies of any length"),
            },
        ),
        PlannedRun(
            "atlas", "atlas", "The page: open atlas/atlas/index.html.", {"clusters": "clusters", **cubes},
            {"title": Choice(title, "the name of the folder of recordings")},
        ),
    ]  # fmt: skip


def notes_on(sounds: Sounds, f_max_hz: float) -> Iterator[str]:
    """Yield what a band leaves empty, and recordings without a time."""
    low = {rate: hours for rate, hours in sounds.hours_by_rate.items() if rate < 2 * f_max_hz}
    if low:
        listed = ", ".join(f"{lasting(3600 * hours)} at {rate:,} Hz" for rate, hours in sorted(low.items()))
        yield f"bands above half of the sample rate stay empty: {listed}, f_max_hz = {f_max_hz:,.0f} Hz"
    if sounds.n_untimed:
        yield (
            f"{sounds.n_untimed} recordings have no usable time: they are placed one after the other, and no count by "
            "hour or date includes them. If their names carry local time, name its zone: --zone America/Chicago "
            "(with make: ZONE=America/Chicago), in a new folder"
        )


def _cube(sounds: Sounds, kind: str) -> dict[str, Choice]:
    wanted = KINDS[kind]
    f_max = min(wanted.f_max_hz, sounds.top_hz)
    if f_max < 2 * wanted.f_min_hz and f_max < wanted.f_max_hz:
        raise InputError(
            f"--like {kind}: expected recordings that reach at least {2 * wanted.f_min_hz:,.0f} Hz, found "
            f"{sounds.rates}, which reach {f_max:,.0f} Hz. Leave --like out, or name another kind."
        )
    window_s = next((s for s in WINDOWS_S if s <= min(wanted.window_s, 1.01 * sounds.median_s / 2)), WINDOWS_S[-1])
    of_kind = f"for {wanted.sounds}"
    top = of_kind if f_max == wanted.f_max_hz else f"just below half of the sample rates {sounds.rates}"
    length = (
        of_kind
        if window_s == wanted.window_s
        else f"half of the recordings are shorter than {sounds.median_s:.1f} s, and a window should fit in twice"
    )
    untimed = "sequence" if sounds.n_untimed else "skip"
    return {
        "window_s": Choice(window_s, length),
        "hop_s": Choice(window_s, "windows follow each other without overlap"),
        "n_mels": Choice(N_MELS, f"the dictionary looks at {N_MELS} bands at most"),
        "n_frames": Choice(N_FRAMES, f"the dictionary looks at {N_FRAMES} frames at most"),
        "fft_s": Choice(wanted.fft_s, f"{1 / wanted.fft_s:g} Hz wide, {of_kind}"),
        "f_min_hz": Choice(wanted.f_min_hz, f"{of_kind}; below is wind and handling"),
        "f_max_hz": Choice(f_max, top),
        "untimed": Choice(untimed, f"{sounds.n_untimed} of {sounds.n_usable} usable recordings have no time"),
    }


def _trained(n_windows: int) -> Sequence[PlannedRun]:
    """Return a small network and its vectors where there are enough windows to learn from."""
    if n_windows < WINDOWS_TO_TRAIN:
        return []
    recipe = tomllib.loads(TEMPLATE.read_text(encoding="utf-8"))["runs"]["dino"]["config"]
    choices = {name: Choice(value, "the demo's small network") for name, value in recipe.items()}
    steps = min(4 * n_windows // BATCH_SIZE, MOST_STEPS)
    choices["steps"] = Choice(steps, f"{steps * BATCH_SIZE / n_windows:.1f} passes over {n_windows:,} windows")
    choices["batch_size"] = Choice(BATCH_SIZE, "fits into the memory of a laptop")
    cubes = {"spectrograms": "mels"}
    return [
        PlannedRun("dino", "dino", "A small network that learns without labels; hours on a laptop.", cubes, choices),
        PlannedRun(
            "trained", "embed", "Its vectors, for `similar` and detectors; the page does not need them.",
            {**cubes, "model": "dino"},
        ),
    ]  # fmt: skip


def _rounded_down(hertz: float) -> float:
    """Return a frequency with two digits, rounded down."""
    unit = 10 ** max(len(str(int(hertz))) - 2, 0)
    return float(int(hertz) // unit * unit)
