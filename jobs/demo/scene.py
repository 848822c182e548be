"""Compose a take: bouts of individuals, the weather, and their mix into samples with their truth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.demo.calls import CALL_TYPES, Samples, Voice, draw_voice
from jobs.demo.config import StudyConfig
from jobs.demo.plan import RECORDERS, SESSIONS, WEATHER_PLAN, Take, response_of
from jobs.demo.soundscape import (
    DISTANCES,
    WEATHER,
    Distance,
    Response,
    background,
    heard,
    level_db,
    quantise,
    to_channels,
)

LABELS = (*CALL_TYPES, *WEATHER)
ACTIVITY: dict[str, dict[str, float]] = {
    "night": {"cricket": 4.0, "katydid": 3.0, "hoot": 3.0},
    "dawn": {
        "up_sweep": 3.0,
        "down_sweep": 3.0,
        "fast_trill": 3.0,
        "slow_trill": 3.0,
        "whistle": 3.0,
        "warble": 3.0,
        "caw": 2.0,
        "hoot": 1.0,
    },
    "day": {"caw": 3.5, "fast_trill": 1.0, "slow_trill": 1.0, "katydid": 1.0, "up_sweep": 0.6, "warble": 0.6},
    "dusk": {
        "cricket": 1.5,
        "katydid": 1.5,
        "whistle": 1.5,
        "hoot": 1.5,
        "warble": 1.0,
        "down_sweep": 1.0,
        "caw": 1.0,
    },
}
"""Probability that a bout is of a kind, for each part of the day."""
LANE_0_PAUSE_S = (0.0, 13.0)
LANE_1_PAUSE_S = {"night": (30.0, 80.0), "dawn": (15.0, 50.0), "day": (50.0, 120.0), "dusk": (30.0, 70.0)}
"""Shortest and longest pause between the bouts of those who sing over others, seconds."""
WEATHER_DB = {"rain": -42.0, "wind": -30.0}
"""Usual level of a spell, dBFS, on a recorder of 0 dB gain."""
N_SINGERS = 3
MIN_PIECE_MS = 20


@dataclass(frozen=True)
class Singer:
    """An individual with a place: its voice, how far it sits, and by how much the first channel hears it louder."""

    voice: Voice
    distance: Distance
    pan_db: float


@dataclass(frozen=True)
class Song:
    """One song as it left the singer: label, start in the take, samples (whole milliseconds), nearest level."""

    label: str
    start_ms: int
    dry: Samples
    singer: Singer
    source_db: float


@dataclass(frozen=True)
class Event:
    """One event in one file: file index within the take, span within the take, level as recorded."""

    file: int
    label: str
    start_ms: int
    end_ms: int
    level_db: float


def stream(config: StudyConfig, *key: int) -> np.random.Generator:
    """Return the random stream of one part of a study; parts do not depend on each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((config.seed, *key))))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    edge = float(rng.random()) * sum(weights.values())
    for name, weight in weights.items():
        edge -= weight
        if edge < 0.0:
            return name
    return next(reversed(weights))


def draw_singers(rng: np.random.Generator) -> dict[str, tuple[Singer, ...]]:
    """Draw the individuals of every kind that live around one site."""
    return {
        label: tuple(
            Singer(draw_voice(rng), DISTANCES[int(rng.integers(len(DISTANCES)))], _between(rng, -3.0, 3.0))
            for _ in range(N_SINGERS)
        )
        for label in CALL_TYPES
    }


def sing(
    rng: np.random.Generator, n_ms: int, part: str, rate: int, singers: dict[str, tuple[Singer, ...]], *, lane: int
) -> Iterator[Song]:
    """Sing one lane of a take: bouts of one singer each, one after the other.

    In lane 0 somebody nearly always sings; lane 1 is who sings over them, with pauses `LANE_1_PAUSE_S`.
    """
    per_ms = rate // 1000
    time_ms = _between(rng, 0.0, 4000.0) if lane == 0 else _between(rng, 0.0, 30_000.0)
    while time_ms < n_ms:
        kind = CALL_TYPES[_pick(rng, ACTIVITY[part])]
        singer = singers[kind.label][int(rng.integers(N_SINGERS))]
        source_db = kind.source_db + _between(rng, -4.0, 4.0)
        until_ms = time_ms + 1000.0 * _between(rng, *kind.bout_s)
        while time_ms < min(until_ms, n_ms):
            dry = kind.make(rng, rate, singer.voice)
            dry = np.concatenate([dry, np.zeros(-len(dry) % per_ms)])
            yield Song(kind.label, round(time_ms), dry, singer, source_db + _between(rng, -1.0, 1.0))
            time_ms += len(dry) / per_ms + 1000.0 * _between(rng, *kind.pause_s)
        time_ms += 1000.0 * (_between(rng, *LANE_0_PAUSE_S) if lane == 0 else _between(rng, *LANE_1_PAUSE_S[part]))


def _weather(rng: np.random.Generator, kind: str, n_ms: int, response: Response) -> tuple[int, Samples]:
    """Return when a spell begins, ms, and its samples: most of the take, fading in and out over 2 s."""
    per_ms = response.sample_rate_hz // 1000
    start_ms = round(_between(rng, 0.0, 0.35) * n_ms)
    end_ms = start_ms + round(_between(rng, 0.4, 0.65) * n_ms)
    n_samples = (end_ms - start_ms) * per_ms
    source_db = WEATHER_DB[kind] + _between(rng, -5.0, 5.0)
    position = np.minimum(np.arange(n_samples), np.arange(n_samples)[::-1]) / (2000.0 * per_ms)
    return start_ms, WEATHER[kind](rng, n_samples, response, source_db) * np.minimum(position, 1.0)


def _pieces(take: Take, label: str, start_ms: int, event: Samples, per_ms: int) -> list[Event]:
    """Return the part of an event, shape (channel, sample), that each file of a take holds, with its level."""
    pieces = []
    end_ms = start_ms + event.shape[1] // per_ms
    for i, file in enumerate(take.files):
        first, last = max(start_ms, file.offset_ms), min(end_ms, file.offset_ms + file.kept_ms)
        if last - first >= MIN_PIECE_MS:
            piece = event[:, (first - start_ms) * per_ms : (last - start_ms) * per_ms]
            pieces.append(Event(i, label, first, last, level_db(piece)))
    return pieces


def render(config: StudyConfig, take: Take) -> tuple[npt.NDArray[np.int16], list[Event]]:
    """Make one take.

    Parameters
    ----------
    config
        Settings of the study.
    take
        One of `jobs.demo.plan.plan_takes`.

    Returns
    -------
    tuple
        Samples of shape (n_samples, n_channels), 16 bits; and the truth: each event as far as each file holds it.
        Depends on the settings and the take alone.
    """
    recorder = RECORDERS[take.recorder]
    deployment = recorder.deployments[take.deployment]
    response = response_of(recorder, deployment)
    per_ms, part = recorder.sample_rate_hz // 1000, SESSIONS[take.session].part
    n_samples = take.n_ms * per_ms
    rng = stream(config, take.recorder, take.day, take.session)
    mix = np.stack(
        [background(rng, n_samples, response, part, deployment.ambient_db) for _ in range(recorder.n_channels)]
    )
    truth: list[Event] = []

    def add(label: str, start_ms: int, end_ms: int, event: Samples) -> None:
        start = start_ms * per_ms
        n_fit = min(event.shape[1], n_samples - start)
        mix[:, start : start + n_fit] += event[:, :n_fit]
        truth.extend(_pieces(take, label, start_ms, event[:, : (end_ms - start_ms) * per_ms], per_ms))

    weather = WEATHER_PLAN.get((take.day % 3, take.session))
    if weather:
        start_ms, spell = _weather(rng, weather, take.n_ms, response)
        add(weather, start_ms, start_ms + len(spell) // per_ms, to_channels(spell, recorder.n_channels, 0.0))
    singers = draw_singers(stream(config, 1000 + take.recorder, take.deployment))
    lanes = (1,) if weather else (0, 1)
    for lane in lanes:
        for song in sing(rng, take.n_ms, part, recorder.sample_rate_hz, singers, lane=lane):
            source_db = song.source_db - (6.0 if lane else 0.0)
            event = heard(song.dry, response, song.singer.distance, source_db)
            channels = to_channels(event, recorder.n_channels, song.singer.pan_db)
            add(song.label, song.start_ms, song.start_ms + len(song.dry) // per_ms, channels)
    return quantise(mix.T), sorted(truth, key=lambda event: (event.file, event.start_ms, event.label))
