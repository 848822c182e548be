"""Lengths of time in words: never zero where there is sound."""

import pytest

from lake.lengths import lasting


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.0 seconds"), (0.25, "0.2 seconds"), (15, "15.0 seconds"), (60, "1.0 minutes"), (3599, "60.0 minutes"),
        (3600, "1.00 hours"), (9_417, "2.62 hours"), (360_000, "100.00 hours"),
    ],
)  # fmt: skip
def test_the_largest_unit_of_which_there_is_one(seconds: float, told: str) -> None:
    assert lasting(seconds) == told
