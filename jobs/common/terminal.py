"""The door to the terminal: all that is printed goes through here, and no control character of a name comes through."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from lake.errors import of_system
from lake.escapes import json_text, printable

QUIET, VERBOSE = "DAWNCHORUS_QUIET", "DAWNCHORUS_VERBOSE"
"""Variables of the environment: no progress; with an error, where in the program it came from."""


def print_line(line: str) -> None:
    """Print one line; a line end in it, which is a name's, is escaped."""
    _print(printable(line))


def print_lines(text: str) -> None:
    """Print a text of several lines."""
    _print(printable(text, lines=True))


def print_message(text: str) -> None:
    """Print a message; its lines after the first are indented, so that no name can forge one."""
    _print(_indented(text))


def print_json(value: Any) -> None:  # noqa: ANN401 (JSON)
    """Print a value as JSON."""
    _print(json_text(value))


def complain(text: str) -> None:
    """Write a message to standard error; one that is closed or full ends no work."""
    with suppress(OSError, ValueError):
        sys.stderr.write(_indented(text) + "\n")
        sys.stderr.flush()


def raw(stream: TextIO) -> TextIO:
    """Return the stream behind the door, for what draws on a terminal and passes its texts through `printable`."""
    return stream.stream if isinstance(stream, Escaping) else stream


class Escaping:
    """A stream whose control characters are escaped, but for line ends, and what its encoding lacks as well.

    Parameters
    ----------
    stream
        The stream behind it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, escaped; return its length."""
        encoding = self.stream.encoding or "utf-8"
        self.stream.write(printable(text, lines=True).encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write texts, escaped."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the stream has)
        if name == "buffer":  # the way around the door
            raise AttributeError(name)
        return getattr(self.stream, name)


@contextmanager
def closed_door() -> Iterator[None]:
    """Escape all that is printed while the block runs: warnings, tracebacks, other libraries' messages too."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _escaping(before[0]), _escaping(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _escaping(stream: TextIO) -> TextIO:
    return stream if isinstance(stream, Escaping) else cast("TextIO", Escaping(stream))


def _indented(text: str) -> str:
    first, *more = printable(text, lines=True).split("\n")
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in more)])


def _print(text: str) -> None:
    """Print a text; a reader that has seen enough, such as `head`, is no error.

    Raises
    ------
    TryAgainError
        If standard output cannot be written for another reason.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more at its end
        if not isinstance(error, BrokenPipeError):
            raise (of_system(error, "standard output") or error) from error
