"""One window's sound, put together of pieces of recordings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from jobs.common.audio.cutting import joined, piece_samples
from lake.query.trace import Piece

RATE = 8000


def piece(first: int, last: int, at: int = 0) -> Piece:
    return Piece("a.wav", "0" * 64, first, last, at, RATE, "2021-06-01T00:00:00Z")


def test_pieces_go_where_they_belong_and_the_rest_is_zero() -> None:
    window, n_read = joined(
        [piece(0, 3), piece(0, 4, at=5)], 8, lambda one: np.full(one.last_sample, 1 + one.at_sample, np.float32)
    )
    assert window.tolist() == [1, 1, 1, 0, 0, 6, 6, 6]
    assert n_read == 6


def test_a_piece_that_ends_early_or_lies_outside_fills_no_more_than_there_is() -> None:
    assert joined([piece(0, 5)], 4, lambda _: np.ones(2, np.float32))[0].tolist() == [1, 1, 0, 0]
    silence, n_read = joined([piece(0, 5, at=9)], 4, lambda _: np.ones(5, np.float32))
    assert (silence.tolist(), n_read) == ([0] * 4, 0)
    assert joined([], 2, lambda _: np.ones(5, np.float32))[1] == 0


@pytest.mark.parametrize(("channel", "expected"), [("mix", 0.1), (0, 0.3), (1, -0.1), (2, None)])
def test_a_piece_is_its_one_channel(tmp_path: Path, channel: str | int, expected: float | None) -> None:
    both = np.stack([np.full(100, 0.3), np.full(100, -0.1)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype="FLOAT")
    found = piece_samples(piece(10, 30), tmp_path / "a.wav", "libsndfile", channel)
    np.testing.assert_allclose(found, [] if expected is None else np.full(20, expected), atol=1e-6)
