"""A window's samples from the recordings that hold them."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.common.audio.decoder import READ_DEADLINE_S, RemoteReader, fingerprint, stand_of
from jobs.common.audio.decoder_child import Opener, Stand
from jobs.common.audio.probe import AudioError, open_audio
from jobs.spectrograms.plan import Placed
from lake.constants import LOST
from lake.errors import InputError
from lake.ownership import Segment, compose

Float32Array = NDArray[np.float32]
OPEN_RECORDINGS = 3
WINDOWS_AHEAD = 4
"""Windows that are decoded with the one asked for: a word to the decoder and back costs half a millisecond."""
ABSENT = ("gone", "changed")
"""Problems that end the work: what is there is not what the table lists."""


@dataclass
class _Open:
    audio: RemoteReader
    n_ahead: int = WINDOWS_AHEAD
    first: int = 0
    samples: Float32Array = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))


class Reader:
    """Reads spans of recordings, going forward without seeking or decoding anything twice.

    Parameters
    ----------
    root
        Folder that the recordings' paths are relative to.
    deadline_s
        Seconds after which a decoder that gives nothing is stopped.
    opener
        Opens a recording in the decoder's process.

    Attributes
    ----------
    problems
        The problem by path of each recording of which something could not be read.
    """

    def __init__(self, root: Path, *, deadline_s: float = READ_DEADLINE_S, opener: Opener = open_audio) -> None:
        self.root, self.deadline_s, self.opener = root, deadline_s, opener
        self.problems: dict[str, str] = {}
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._in_decoder: _Open | None = None  # the one whose samples are still where the decoder left them
        self._stands: dict[str, Stand] = {}

    def read(self, recording: Placed, start: int, count: int) -> Float32Array:
        """Return a span of a recording, shape (n_channels, n); n is smaller at the recording's end.

        The next call may overwrite it.

        A decoder that died is given one more chance, as it may have been killed for another's hunger.

        Raises
        ------
        AudioError
            If the recording cannot be decoded there; or anywhere any more, after a decoder hung or died of it.
        InputError
            If there is another file than the one in the table, or none.
        """
        if self.problems.get(recording.path) in LOST:
            raise AudioError(f"{self.root / recording.path}: was set aside.", problem=self.problems[recording.path])
        try:
            try:
                return self._read(recording, start, count)
            except AudioError as error:
                if error.problem != "crashed":
                    raise
                return self._read(recording, start, count)
        except AudioError as error:
            if error.problem in ABSENT:
                raise InputError(str(error)) from error
            self.problems[recording.path] = error.problem
            raise

    def require_unchanged(self, paths: Collection[str]) -> None:
        """Check that those of some recordings which were read are still the files that were opened.

        Raises
        ------
        InputError
            If one was touched since, or is gone.
        """
        for path, stand in self._stands.items():
            if path not in paths:
                continue
            try:
                now = stand_of(self.root / path, deadline_s=self.deadline_s)
            except AudioError as error:
                raise InputError(str(error)) from error
            if now != stand:
                raise InputError(
                    f"{self.root / path}: changed while it was read. What was made of it meanwhile is not kept. "
                    "Restore it, or catalogue it again (`dawnchorus catalog`), then type the same command again."
                )

    def _read(self, recording: Placed, start: int, count: int) -> Float32Array:
        held = self._held(recording)
        count = min(count, recording.n_samples - start)
        have = held.first + held.samples.shape[1]
        if not (held.samples.size and held.first <= start <= have):
            held.first, held.samples = start, self._decoded(held, start, count)
        elif start + count > have:
            kept = held.samples[:, start - held.first :].copy()
            n_ahead = min(held.n_ahead * count, recording.n_samples - start - count)
            more = self._decoded_ahead(held, have, start + count - have, n_ahead)
            held.first, held.samples = start, np.concatenate([kept, more], axis=1) if kept.size else more
        return held.samples[:, start - held.first :][:, :count]

    def _decoded_ahead(self, held: _Open, start: int, count: int, n_ahead: int) -> Float32Array:
        """Return a span and some samples after it; the span alone, now and later, where those do not decode."""
        if n_ahead > 0:
            with suppress(AudioError):
                return self._decoded(held, start, count + n_ahead)
            held.n_ahead = 0
        return self._decoded(held, start, count)

    def _decoded(self, held: _Open, start: int, count: int) -> Float32Array:
        """Return a span where the decoder leaves it, after bringing what another recording has there to safety."""
        if self._in_decoder is not None and self._in_decoder is not held:
            self._in_decoder.samples = self._in_decoder.samples.copy()
        self._in_decoder = held
        held.samples = held.samples[:, :0]
        return held.audio.read(start, count, copy=False)

    def close(self) -> None:
        """Close all recordings."""
        for held in self._open.values():
            held.audio.close()
        self._open.clear()
        self._in_decoder = None

    def _held(self, recording: Placed) -> _Open:
        if recording.path in self._open:
            self._open.move_to_end(recording.path)
            return self._open[recording.path]
        path = self.root / recording.path
        if recording.path not in self._stands:
            digest, stand = fingerprint(path, deadline_s=self.deadline_s)
            if digest != recording.sha256:
                raise AudioError(
                    f"{path}: is another file than the table lists: expected SHA-256 {recording.sha256[:12]}…, found "
                    f"{digest[:12]}…. Restore it, or catalogue it again (`dawnchorus catalog`).",
                    problem="changed",
                )
            self._stands[recording.path] = stand
        audio = RemoteReader(path, recording.reading, deadline_s=self.deadline_s, opener=self.opener)
        self._open[recording.path] = _Open(audio)
        while len(self._open) > OPEN_RECORDINGS:
            self._open.popitem(last=False)[1].audio.close()
        return self._open[recording.path]


@dataclass(frozen=True)
class Window:
    """The samples of one window.

    Attributes
    ----------
    samples
        Shape (n_channels, n_samples), zero where nothing was recorded.
    runs
        Recorded spans of samples.
    recording
        The first recording in the window; its rate is the window's.
    offset_s
        Where in that recording the window starts, in seconds; negative if the recording begins later.
    coverage
        Recorded share of the window.
    """

    samples: Float32Array
    runs: list[tuple[int, int]]
    recording: Placed
    offset_s: float
    coverage: float


def read_window(start_ms: int, window_ms: int, segments: Sequence[Segment[Placed]], reader: Reader) -> Window | None:
    """Assemble one window; ``None`` if nothing of it was recorded.

    Parameters
    ----------
    start_ms, window_ms
        The window's span.
    segments
        Disjoint segments of the recorder, in order of time.
    reader
        Reads the recordings.

    Notes
    -----
    Which samples fill it says :func:`lake.ownership.compose`.
    """
    composed = compose(segments, start_ms, window_ms)
    if composed is None:
        return None
    lead, n_samples = composed.lead, composed.n_samples
    samples = np.empty((lead.n_channels, 0), dtype=np.float32)
    runs: list[tuple[int, int]] = []
    for part in composed.parts:
        found, first = reader.read(part.recording, part.first_sample, part.n_samples), part.at_sample
        last = first + found.shape[1]
        if last == first:
            continue
        if found.shape[1] == n_samples:
            samples = found
        else:
            samples = samples if samples.size else np.zeros((lead.n_channels, n_samples), dtype=np.float32)
            samples[:, first:last] = found
        runs = [*runs[:-1], (runs[-1][0], last)] if runs and part.joins else [*runs, (first, last)]
    if not runs:
        return None
    covered = sum(last - first for first, last in runs)
    share = 1.0 if covered >= n_samples - composed.tolerance else covered / n_samples
    return Window(samples, runs, lead, round((start_ms - lead.start_ms) / 1000, 6), share)
