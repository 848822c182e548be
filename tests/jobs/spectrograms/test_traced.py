"""What a trace names is what a window is computed from."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.spectrograms.assemble import Reader, read_window
from jobs.spectrograms.plan import Placed
from lake.ownership import own_segments
from lake.query.trace import pieces

Samples = NDArray[np.float32]


class Numbered:
    """A reader of recordings whose samples are numbers: that of the recording times 10000, and the sample's, plus 1."""

    def __init__(self, recordings: Sequence[Placed]) -> None:
        self._number = {recording.path: i for i, recording in enumerate(recordings)}

    def read(self, recording: Placed, start: int, count: int) -> Samples:
        n = min(count, recording.n_samples - start)
        row = 10_000 * self._number[recording.path] + np.arange(start, start + n) + 1
        return np.tile(row.astype(np.float32), (recording.n_channels, 1))


@st.composite
def one_recorder(draw: st.DrawFn) -> list[Placed]:
    """Draw recordings of one recorder that overlap, repeat, leave gaps, or follow within a millisecond."""
    n_channels = draw(st.sampled_from([1, 2]))
    placed: list[Placed] = []
    for i in range(draw(st.integers(1, 7))):
        rate = draw(st.sampled_from([1000, 1000, 1000, 800, 44_100 // 40]))
        n_samples = draw(st.integers(1, 4000))
        after = placed[draw(st.integers(0, i - 1))] if i and draw(st.booleans()) else None
        start = draw(st.integers(0, 6000)) if after is None else int(after.end_ms) + draw(st.integers(-2, 2))
        if after is not None and draw(st.booleans()):  # a copy under another name
            start, n_samples, rate = after.start_ms, after.n_samples, after.sample_rate_hz
        sha256 = after.sha256 if after is not None and draw(st.booleans()) else f"{draw(st.integers(0, 9))}{i}"
        placed.append(
            Placed(f"{i}.wav", sha256, "a", "", "libsndfile", start, start + n_samples / rate * 1000, n_samples, rate,
                   n_channels, None)
        )  # fmt: skip
    return placed


def rows_of(recordings: Sequence[Placed]) -> list[dict[str, object]]:
    names = ("path", "sha256", "start_ms", "n_samples", "sample_rate_hz", "recorder")
    return [{name: getattr(recording, name) for name in names} for recording in recordings]


@given(one_recorder(), st.integers(-500, 9000), st.integers(1, 3000))
def test_a_trace_names_each_sample_of_a_window(recordings: list[Placed], start: int, length: int) -> None:
    reader = cast("Reader", Numbered(recordings))
    window = read_window(start, length, own_segments(recordings)[0], reader)
    named = pieces(rows_of(recordings)[::-1], start, start + length)
    if window is None:
        assert named == ()
        return
    traced = np.zeros((window.recording.n_channels, window.samples.shape[1]), dtype=np.float32)
    by_path = {recording.path: recording for recording in recordings}
    for piece in named:
        found = reader.read(by_path[piece.path], piece.first_sample, piece.last_sample - piece.first_sample)
        assert not traced[:, piece.at_sample : piece.at_sample + found.shape[1]].any()
        traced[:, piece.at_sample : piece.at_sample + found.shape[1]] = found
    assert {by_path[piece.path].sample_rate_hz for piece in named} == {window.recording.sample_rate_hz}
    copies = {(r.sha256, r.start_ms) for r in recordings}
    if len(copies) == len(recordings):
        np.testing.assert_array_equal(traced, window.samples)
    else:  # which of two copies of a recording is read is all one: they have the same samples
        np.testing.assert_array_equal(traced % 10_000, window.samples % 10_000)
    spans = [(piece.at_sample, piece.at_sample + piece.last_sample - piece.first_sample) for piece in named]
    assert sum(last - first for first, last in spans) == sum(last - first for first, last in window.runs)
