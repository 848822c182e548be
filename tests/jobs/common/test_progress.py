import os
import pty
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jobs.common.progress import counting, progress

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = textwrap.dedent("""
    from jobs.common.progress import progress
    with progress("mels [a]: spectrograms", 7, "windows") as advance:
        advance(3)
        print("a fact")
        advance(4)
""")


def on_terminal(**env: str) -> tuple[str, str]:
    """Return what a step writes to standard output, a pipe, and to standard error, a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT, text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **env},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # Linux: the other side is closed
        pass
    finally:
        os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0
    return out, seen.decode()


def test_a_terminal_gets_a_bar() -> None:
    out, error = on_terminal()
    assert out == "a fact\n", "standard output is for facts, and nothing of them is lost"
    assert "\x1b[" in error
    assert "━" in error
    assert "mels [a]: spectrograms" in error
    assert "7/7" in error
    assert "windows" in error


def test_a_terminal_that_can_draw_nothing_gets_lines() -> None:
    out, error = on_terminal(TERM="dumb")
    assert out == "a fact\n"
    assert error.startswith("mels [a]: spectrograms: 7 of 7 windows, ")
    assert "\x1b" not in error


@pytest.mark.parametrize("force", ["", "1"])
def test_a_log_gets_a_line_a_minute_and_one_at_the_end(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, force: str
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setenv("FORCE_COLOR", force)  # some build servers set it, and keep logs all the same
    with progress("mels: spectrograms", 400, "windows") as advance:
        for _ in range(40):  # ten windows in ten seconds, 400 s in all
            now += 10
            advance(10)
        now += 0.5
    out, error = capfd.readouterr()
    assert out == ""
    assert error.splitlines() == [
        *(f"mels: spectrograms: {s} of 400 windows, {s} s, about {400 - s} s left" for s in range(60, 400, 60)),
        "mels: spectrograms: 400 of 400 windows, 400.5 s",
    ]


def test_a_step_that_fails_does_not_say_it_is_done(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress("mels", 4, "windows") as advance:
        advance(1 // 0)
    assert capfd.readouterr() == ("", "")


def test_a_step_of_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("mels", 0, "windows"):
        pass
    assert capfd.readouterr().err.startswith("mels: 0 of 0 windows, ")


def test_counting_begins_with_the_first_count(capfd: pytest.CaptureFixture[str]) -> None:
    with counting("catalog", "files") as tell:
        for i in range(5):
            tell(i + 1, 5)
    out, error = capfd.readouterr()
    assert out == ""
    assert error.startswith("catalog: 5 of 5 files, ")
    with counting("catalog", "files"):
        pass
    assert capfd.readouterr() == ("", ""), "nothing was counted"
