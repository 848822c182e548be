"""Settings that the catalog's facts depend on."""

ALGORITHM = 4
"""Raised when the same file would get other facts."""
DEADLINE_S = 300.0
"""Seconds that examining a file may take, besides those for its bytes."""
SLOWEST_BYTES_PER_S = 2e6
"""A disk, and a decoder, that give less than this are taken for ones that hang."""
