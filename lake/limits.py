"""Bounds of what a recording can be: a number outside of them is well formed, and wrong.

Rates reach from infrasound loggers (20 to 100 Hz) to hydrophones and ultrasound cards (1 to 2 MHz); arrays of
microphones have up to 128 channels.
"""

from datetime import datetime
from typing import Final

from lake.constants import S_PER_DAY

MIN_RATE_HZ: Final = 10
MAX_RATE_HZ: Final = 4_000_000
MAX_CHANNELS: Final = 128
MAX_LENGTH_S: Final = 366 * S_PER_DAY
MAX_GAIN_DB: Final = 200.0
EARLIEST: Final = datetime(1900, 1, 1)
LATEST: Final = datetime(2200, 1, 1)
"""The first instant that is too late; recorders' clocks that count seconds in 32 bits end in 2106."""
MAX_CELL_CHARACTERS: Final = 32_767
"""Characters in a cell of a table: a spreadsheet holds no more."""


def is_possible(time: datetime) -> bool:
    """Return whether a time without an offset lies within the bounds."""
    return EARLIEST <= time < LATEST
