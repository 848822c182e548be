import doctest

import pytest

from jobs.atlas import words as atlas_words
from jobs.common.pages import axes, words


def test_the_examples_hold() -> None:
    for module in (words, axes, atlas_words):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 10, "0 %"), (1, 10, "10 %"), (1, 11, "9.1 %"), (1, 100_000, "0.001 %"), (10, 10, "100 %"), (0, 0, "–")],
)
def test_shares(part: int, whole: int, said: str) -> None:
    assert words.share(part, whole) == said.replace(" ", "\u202f")


def test_local_time_east_of_greenwich_with_half_an_hour_crosses_midnight() -> None:
    assert words.local(1_624_390_200_000, 19_800) == "2021-06-23 01:00:00 (UTC+05:30)"


def test_milliseconds_are_kept() -> None:
    assert words.utc(1_500) == "1970-01-01 00:00:01.500 UTC"
