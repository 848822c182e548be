"""Printing a page of HTML to PDF with a browser that is installed."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from lake.errors import TryAgainError, UsageError

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome", "microsoft-edge")
TIMEOUT_S: Final = 180


def printed(page: str) -> bytes:
    """Return a page as PDF.

    Raises
    ------
    UsageError
        If no browser is on the path.
    TryAgainError
        If it does not print the page.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UsageError(
            f"a PDF needs a browser that prints it: expected one of {', '.join(BROWSERS)} on the path, found none. "
            "Name a file that ends in .html in place of .pdf, and print it with any browser."
        )
    with TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        source, made = folder / "report.html", folder / "report.pdf"
        source.write_text(page, encoding="utf-8")
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [
            browser, "--headless", "--disable-gpu", *sandbox, "--no-first-run", "--disable-background-networking",
            f"--user-data-dir={folder / 'profile'}", "--no-pdf-header-footer", f"--print-to-pdf={made}",
            source.as_uri(),
        ]  # fmt: skip
        try:
            ended = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603 (a found browser)
        except subprocess.TimeoutExpired as error:
            raise TryAgainError(f"{browser}: expected a PDF within {TIMEOUT_S} s, found none. Try again.") from error
        if ended.returncode or not made.is_file():
            told = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise TryAgainError(
                f"{browser}: expected a PDF, found none ({''.join(told) or ended.returncode}). Try again."
            )
        return made.read_bytes()
