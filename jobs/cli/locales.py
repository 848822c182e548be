"""File names and tables are UTF-8, whatever the locale of the machine is."""

import locale
import os
import sys

_TRIED = "DAWNCHORUS_UTF8"
"""Set in the environment of the interpreter that was started in UTF-8 mode, so that it is not started again."""


def use_utf8() -> None:
    """Start this program anew in Python's UTF-8 mode, in the same process, if the locale has another encoding.

    Where the locale is ISO-8859-1, or C, Python reads the bytes of file names in that encoding, and files that the
    table names in UTF-8 are not found. The new interpreter and all processes that it starts read and write UTF-8.
    """
    encodings = {sys.getfilesystemencoding(), locale.getencoding().lower(), "utf-8"}
    if sys.flags.utf8_mode or encodings == {"utf-8"} or _TRIED in os.environ:
        return
    os.environ |= {"PYTHONUTF8": "1", _TRIED: "1"}
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (this Python, and these words)
