"""Text from outside: names and headers as a terminal may show them, and as a spreadsheet may open them."""

import json
import re
from typing import Any

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0, DEL and C1 controls, line and paragraph separators, what turns the direction of writing, halves of characters."""
_NUMBER = r"[+-]\d+([.,:]\d+)*([eE][+-]?\d+)?\Z"
_RUN = rf"(?!{_NUMBER})[\s\x00-\x1f\ufeff]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_FORMULA, _DEFUSED = re.compile(f"'*{_RUN}"), re.compile(f"'+{_RUN}")
"""A cell that a spreadsheet would run, also in full width or behind blanks, and one with an apostrophe in front."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text whose control characters are escaped, such as ``\x1b`` and ``\n``.

    Parameters
    ----------
    text
        A text that may hold names or headers from outside.
    lines
        Whether the text is of several lines: their ends stay.

    Notes
    -----
    Escaped are U+0000 to U+001F and U+007F to U+009F, U+2028 and U+2029, the characters with the Unicode property
    Bidi_Control, and lone surrogates. A text without any comes back as it is, so to escape twice does no harm.
    """
    return _CONTROL.sub(lambda found: found[0] if lines and found[0] == "\n" else _escaped(found[0]), text)


def json_text(value: Any, *, indent: int | None = 2) -> str:  # noqa: ANN401 (JSON)
    """Return a value as JSON in ASCII, without control characters: DEL, which JSON allows, is escaped as well."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def defused(cell: str) -> str:
    """Return a cell of text that no spreadsheet runs: with an apostrophe in front of ``= + - @``, a tab or line end.

    Notes
    -----
    Numbers and offsets such as ``-12.5`` and ``+05:00`` stay. The apostrophe is put before apostrophes that stand there
    already, so :func:`as_written` gives every text back.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def as_written(cell: str) -> str:
    """Return the text that :func:`defused` was given."""
    return cell[1:] if _DEFUSED.match(cell) else cell


def cell_in_line(cell: str) -> str:
    """Return a cell of a table without quotes, such as Raven's: no spreadsheet runs it, and it ends no row."""
    return printable(defused(cell))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
