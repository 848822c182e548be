from typing import Any

import pytest

from lake.query.trace import Piece, pieces


def recording(path: str, start_ms: int, n_samples: int, rate: int = 1000) -> dict[str, Any]:
    return {"path": path, "sha256": path * 8, "start_ms": start_ms, "n_samples": n_samples, "sample_rate_hz": rate}


def spans(found: tuple[Piece, ...]) -> list[tuple[str, int, int, int]]:
    return [(piece.path, piece.first_sample, piece.last_sample, piece.at_sample) for piece in found]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([recording("a", 0, 60_000)], [("a", 10_000, 16_000, 0)]),
        (
            [recording("a", 0, 12_000), recording("b", 12_000, 60_000)],
            [("a", 10_000, 12_000, 0), ("b", 0, 4_000, 2_000)],
        ),
        (
            [recording("a", 0, 12_000), recording("b", 15_000, 60_000)],
            [("a", 10_000, 12_000, 0), ("b", 0, 1_000, 5_000)],
        ),
        (
            [recording("a", 0, 12_000), recording("b", 11_000, 9_000)],
            [("a", 10_000, 12_000, 0), ("b", 1_000, 5_000, 2_000)],
        ),
        ([recording("a", 12_500, 1_000)], [("a", 0, 1_000, 2_500)]),
        ([recording("a", 0, 12_000), recording("b", 12_000, 60_000, 2000)], [("a", 10_000, 12_000, 0)]),
        ([recording("a", 0, 48_000 * 60, 48_000)], [("a", 480_000, 768_000, 0)]),
        ([recording("a", 0, 10_000), recording("b", 16_000, 10_000)], []),
    ],
)
def test_what_each_recording_gives_to_ten_to_sixteen_seconds(
    rows: list[dict[str, Any]], expected: list[tuple[str, int, int, int]]
) -> None:
    assert spans(pieces(rows, 10_000, 16_000)) == expected
    assert spans(pieces(rows[::-1], 10_000, 16_000)) == expected
