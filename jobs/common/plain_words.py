"""Plain words for pydantic's messages about a value, for the command line and for manifests."""

import re

PLAIN_WORDS = (
    (r"Input should be a valid integer.*", "expected a whole number"),
    (r"Input should be a valid number.*", "expected a number"),
    (r"Input should be a valid string.*", "expected text"),
    (r"Input should be a valid boolean.*", "expected true or false"),
    (r"Input should be greater than or equal to (\S+)", r"expected \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"expected \1 at most"),
    (r"Input should be greater than (\S+)", r"expected more than \1"),
    (r"Input should be less than (\S+)", r"expected less than \1"),
)
"""Patterns of pydantic's messages, and the words that replace them."""


def plain(message: str) -> str | None:
    """Return the plain words for a message, ``None`` if it is another."""
    for pattern, words in PLAIN_WORDS:
        if re.fullmatch(pattern, message):
            return re.sub(pattern, words, message)
    return None
