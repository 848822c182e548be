"""The call types of the demo study: each a pure function of a random stream and a sample rate.

Frequencies over time are built from additions, multiplications and a running sum alone, which every
IEEE 754 machine rounds alike. Only the sine of the finished phase may differ in its last bit between
processors; a 16-bit sample hides that.

The kinds come in pairs that share a band and differ in their pattern in time (up against down, fast
against slow, held against wavering), because in nature too the spectrum alone does not tell them apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """The differences of one individual from its kind.

    Attributes
    ----------
    pitch, tempo, length
        Factors on frequencies, on notes per second, and on the length of a song.
    """

    pitch: float = 1.0
    tempo: float = 1.0
    length: float = 1.0


TYPICAL = Voice()


def draw_voice(rng: np.random.Generator) -> Voice:
    """Draw an individual: pitch within 9 %, tempo within 15 %, length within 25 % of its kind's."""
    pitch, tempo, length = (2.0 * rng.random(3) - 1.0).tolist()
    return Voice(pitch=1.0 + 0.09 * pitch, tempo=1.0 + 0.15 * tempo, length=1.0 + 0.25 * length)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def _gate(n_samples: int, n_edge: int) -> Samples:
    """Return ones of shape (n_samples,) that rise and fall smoothly over `n_edge` samples."""
    position = np.arange(n_samples, dtype=np.float64) + 0.5
    edge = np.clip(np.minimum(position, n_samples - position) / max(n_edge, 1), 0.0, 1.0)
    gate: Samples = edge * edge * (3.0 - 2.0 * edge)
    return gate


def _tone(frequency_hz: Samples, sample_rate_hz: int, overtones: tuple[float, ...] = ()) -> Samples:
    """Return a sine of unit amplitude along a frequency contour, and its overtones at given amplitudes."""
    cycles = np.cumsum(frequency_hz / sample_rate_hz)
    phase = 2.0 * np.pi * (cycles - np.floor(cycles))
    samples: Samples = np.sin(phase)
    for order, amplitude in enumerate(overtones, start=2):
        if frequency_hz.max() * order < 0.45 * sample_rate_hz:
            samples = samples + amplitude * np.sin(order * phase)
    return samples


def _place(notes: list[Samples], starts_s: list[float], sample_rate_hz: int) -> Samples:
    """Add notes into one song; note i starts at ``starts_s[i]``."""
    starts = [round(start * sample_rate_hz) for start in starts_s]
    song = np.zeros(max(start + len(note) for start, note in zip(starts, notes, strict=True)))
    for start, note in zip(starts, notes, strict=True):
        song[start : start + len(note)] += note
    return song


def _sweep(rng: np.random.Generator, rate: int, start_hz: float, end_hz: float, duration_s: float) -> Samples:
    """Return one note that glides from one frequency to another, a little bent."""
    n_samples = round(duration_s * rate)
    u = (np.arange(n_samples) + 0.5) / n_samples
    bend = _between(rng, -0.35, 0.35)
    contour = start_hz + (end_hz - start_hz) * (u + bend * u * (1.0 - u))
    return _tone(contour, rate, (0.10, 0.03)) * _gate(n_samples, round(0.22 * n_samples))


def _sweeps(rng: np.random.Generator, rate: int, voice: Voice, *, rising: bool) -> Samples:
    low_hz = 1950.0 * voice.pitch * _between(rng, 0.94, 1.06)
    high_hz = low_hz * _between(rng, 1.62, 1.82)
    period_s = _between(rng, 0.44, 0.56) / voice.tempo
    n_notes = max(3, round(_between(rng, 4.0, 6.5) * voice.length))
    start_hz, end_hz = (low_hz, high_hz) if rising else (high_hz, low_hz)
    notes = [_sweep(rng, rate, start_hz, end_hz, 0.68 * period_s) * _between(rng, 0.75, 1.0) for _ in range(n_notes)]
    return _place(notes, [i * period_s for i in range(n_notes)], rate)


def up_sweep(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Sing three to eight slurs that rise from about 2.0 to 3.4 kHz, two a second."""
    return _sweeps(rng, sample_rate_hz, voice, rising=True)


def down_sweep(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Sing the slurs of `up_sweep`, falling."""
    return _sweeps(rng, sample_rate_hz, voice, rising=False)


def _trill(rng: np.random.Generator, rate: int, voice: Voice, notes_per_s: float) -> Samples:
    low_hz = 3900.0 * voice.pitch * _between(rng, 0.95, 1.05)
    period_s = 1.0 / (notes_per_s * voice.tempo)
    n_notes = max(3, round(_between(rng, 1.9, 3.2) * voice.length / period_s))
    note = _sweep(rng, rate, 1.45 * low_hz, low_hz, 0.62 * period_s)
    swell = [min(1.0, 0.45 + 0.55 * i / (0.3 * n_notes)) * _between(rng, 0.85, 1.0) for i in range(n_notes)]
    return _place([level * note for level in swell], [i * period_s for i in range(n_notes)], rate)


def fast_trill(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Sing a dry rattle: falling notes between 5.7 and 3.9 kHz, 14 to 19 a second, for 2 to 3 s."""
    return _trill(rng, sample_rate_hz, voice, _between(rng, 15.5, 17.5))


def slow_trill(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Sing the notes of `fast_trill`, longer, 5 to 7 a second."""
    return _trill(rng, sample_rate_hz, voice, _between(rng, 5.4, 6.6))


def whistle(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Sing three to six held notes, each at a pitch of its own between about 2.2 and 3.3 kHz."""
    n_notes = max(3, round(_between(rng, 3.5, 5.0) * voice.length))
    notes: list[Samples] = []
    starts_s = [0.0]
    for _ in range(n_notes):
        n_samples = round(_between(rng, 0.35, 0.65) / voice.tempo * sample_rate_hz)
        pitch_hz = 2700.0 * voice.pitch * _between(rng, 0.83, 1.19)
        drift = 1.0 + _between(rng, -0.02, 0.02) * np.arange(n_samples) / n_samples
        notes.append(_tone(pitch_hz * drift, sample_rate_hz, (0.05,)) * _gate(n_samples, sample_rate_hz // 30))
        starts_s.append(starts_s[-1] + n_samples / sample_rate_hz + _between(rng, 0.04, 0.14))
    return _place(notes, starts_s[:-1], sample_rate_hz)


def warble(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Sing for 1.5 to 3 s at about 2.7 kHz, wavering by a sixth 9 to 14 times a second."""
    n_samples = round(_between(rng, 1.8, 2.6) * voice.length * sample_rate_hz)
    time_s = np.arange(n_samples) / sample_rate_hz
    waver = np.sin(2.0 * np.pi * (_between(rng, 10.0, 12.5) * voice.tempo) * time_s)
    wander = np.sin(2.0 * np.pi * _between(rng, 0.4, 0.9) * time_s + _between(rng, 0.0, 6.28))
    centre_hz = 2700.0 * voice.pitch * _between(rng, 0.95, 1.05)
    contour = centre_hz * (1.0 + _between(rng, 0.11, 0.16) * waver + 0.05 * wander)
    return _tone(contour, sample_rate_hz, (0.08,)) * _gate(n_samples, sample_rate_hz // 12)


def caw(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Caw two to five times: harmonic stacks over 480 to 600 Hz, strongest between 1 and 2 kHz."""
    n_notes = max(2, round(_between(rng, 2.5, 4.5) * voice.length))
    period_s = _between(rng, 0.55, 0.75) / voice.tempo
    notes = []
    for _ in range(n_notes):
        n_samples = round(_between(rng, 0.26, 0.36) * sample_rate_hz)
        u = (np.arange(n_samples) + 0.5) / n_samples
        contour = 500.0 * voice.pitch * _between(rng, 0.96, 1.04) * (0.92 + 0.8 * u * (1.0 - u))
        roughness = 1.0 + 0.35 * np.sin(2.0 * np.pi * 70.0 * np.arange(n_samples) / sample_rate_hz)
        stack = _tone(contour, sample_rate_hz, (1.6, 2.2, 1.8, 1.1, 0.7, 0.4, 0.2))
        notes.append(stack * roughness * _gate(n_samples, n_samples // 5))
    return _place(notes, [i * period_s for i in range(n_notes)], sample_rate_hz)


def hoot(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Hoot four to seven times at 350 to 480 Hz, with the pause that makes it two phrases."""
    n_notes = max(4, round(_between(rng, 4.5, 6.0) * voice.length))
    step_s = _between(rng, 0.38, 0.48) / voice.tempo
    notes = []
    for _ in range(n_notes):
        n_samples = round(_between(rng, 0.22, 0.30) * sample_rate_hz)
        u = (np.arange(n_samples) + 0.5) / n_samples
        contour = 400.0 * voice.pitch * _between(rng, 0.97, 1.03) * (0.95 + 0.3 * u * (1.0 - u))
        notes.append(_tone(contour, sample_rate_hz, (0.12, 0.05)) * _gate(n_samples, n_samples // 3))
    starts_s = [i * step_s + (0.35 if 2 * i >= n_notes else 0.0) for i in range(n_notes)]
    return _place(notes, starts_s, sample_rate_hz)


def cricket(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Chirp for 8 to 25 s: three or four pulses of about 4.6 kHz, two to three chirps a second."""
    n_pulses = 3 + int(rng.integers(2))
    n_pulse = round(0.018 * sample_rate_hz)
    carrier_hz = 4600.0 * voice.pitch * _between(rng, 0.98, 1.02)
    pulse = _tone(np.full(n_pulse, carrier_hz), sample_rate_hz) * _gate(n_pulse, n_pulse // 3)
    chirp = _place(
        [pulse * (0.6 + 0.4 * i / n_pulses) for i in range(n_pulses)],
        [0.03 * i for i in range(n_pulses)],
        sample_rate_hz,
    )
    period_s = _between(rng, 0.36, 0.46) / voice.tempo
    n_chirps = round(_between(rng, 10.0, 20.0) * voice.length / period_s)
    starts_s = [i * period_s + _between(rng, 0.0, 0.02) for i in range(n_chirps)]
    return _place([chirp * _between(rng, 0.85, 1.0) for _ in range(n_chirps)], starts_s, sample_rate_hz)


def katydid(rng: np.random.Generator, sample_rate_hz: int, voice: Voice = TYPICAL) -> Samples:
    """Rasp for 8 to 25 s: bursts of two or three strokes of noise between about 6 and 9 kHz."""
    period_s = _between(rng, 0.75, 1.0) / voice.tempo
    n_bursts = round(_between(rng, 10.0, 20.0) * voice.length / period_s)
    n_stroke = round(0.09 * sample_rate_hz)
    n_strokes = 2 + int(rng.integers(2))
    strokes = [_gate(n_stroke, n_stroke // 4) * _between(rng, 0.8, 1.0) for _ in range(n_strokes * n_bursts)]
    starts_s = [b * period_s + 0.13 * s for b in range(n_bursts) for s in range(n_strokes)]
    envelope = _place(strokes, starts_s, sample_rate_hz)
    # Noise that changes 2,200 times a second, moved up onto a carrier: a band as wide around it.
    n_knots = round(len(envelope) / sample_rate_hz * 2200.0) + 2
    knots = np.arange(n_knots) * (len(envelope) / (n_knots - 1.0))
    slow = np.interp(np.arange(len(envelope)), knots, rng.standard_normal(n_knots))
    carrier_hz = np.full(len(envelope), 7400.0 * voice.pitch)
    return envelope * slow * _tone(carrier_hz, sample_rate_hz)


@dataclass(frozen=True)
class CallType:
    """One kind of call and how it is used.

    Attributes
    ----------
    label
        The name in the truth.
    make
        The pure function that sings it once.
    low_hz, high_hz
        The band that holds nearly all of its power, whatever the voice.
    source_db
        Level of a song at the nearest distance, dBFS, on a recorder of 0 dB gain.
    pause_s
        Shortest and longest pause between two songs of one bout, seconds.
    bout_s
        Shortest and longest bout, seconds.
    """

    label: str
    make: Callable[[np.random.Generator, int, Voice], Samples]
    low_hz: float
    high_hz: float
    source_db: float
    pause_s: tuple[float, float] = (0.6, 2.4)
    bout_s: tuple[float, float] = (14.0, 34.0)


CALL_TYPES: dict[str, CallType] = {
    kind.label: kind
    for kind in (
        CallType("up_sweep", up_sweep, 1600.0, 4300.0, -30.0),
        CallType("down_sweep", down_sweep, 1600.0, 4300.0, -30.0),
        CallType("fast_trill", fast_trill, 3300.0, 6800.0, -30.0),
        CallType("slow_trill", slow_trill, 3300.0, 6800.0, -30.0),
        CallType("whistle", whistle, 1900.0, 3700.0, -30.0),
        CallType("warble", warble, 1900.0, 3700.0, -30.0),
        CallType("caw", caw, 350.0, 5000.0, -28.0, (0.8, 3.5)),
        CallType("hoot", hoot, 300.0, 1500.0, -32.0, (1.0, 4.0)),
        CallType("cricket", cricket, 4000.0, 5300.0, -34.0, (0.3, 1.5), (18.0, 42.0)),
        CallType("katydid", katydid, 4500.0, 10500.0, -34.0, (0.3, 1.5), (18.0, 42.0)),
    )
}
