"""The door to the terminal, and that there is no other."""

import ast
import io
import logging
import os
import pty
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from jobs.common.progress import counting, progress
from jobs.common.terminal import Escaping, closed_door, complain, print_json, print_line, print_lines, print_message

ROOT = Path(__file__).resolve().parents[3]
DOOR = {"jobs/common/terminal.py"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
FUNCTIONS = {"print", "echo", "secho", "echo_via_pager", "Console"}
ALLOWED = {
    ("jobs/common/progress.py", "Console"),
    ("jobs/common/progress.py", "stderr"),
    ("jobs/cli/locales.py", "stdout"),  # only flushed, before the program begins again
}
"""The bar draws on the terminal behind the door; its texts are escaped before (a test below)."""


def uses(path: Path) -> set[str]:
    """Return the names by which a module could print past the door."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            found |= {node.attr} & STREAMS
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            found |= {name} & FUNCTIONS
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found |= {node.attr} & {"echo", "secho"}
    return found


def test_no_module_prints_but_through_the_door() -> None:
    modules = [path for folder in ("jobs", "lake") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 150
    past = {(path.relative_to(ROOT).as_posix(), name) for path in modules for name in uses(path)}
    assert {one for one in past if one[0] not in DOOR} <= ALLOWED


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text("import sys, typer\nprint(1)\nsys.stderr.write('')\nsay = typer.echo\n")
    assert uses(module) == {"print", "stderr", "echo"}


def test_lines_messages_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("a\x1b[31m\nverify: all is well")
    print_lines("one\ntwo\x07")
    print_message("head\nforged\n  listed")
    print_json({"a": "\x1b\x7f\x9b\u202eé"})
    complain("dawnchorus: x\nforged\n  listed\x9b")
    out, error = capsys.readouterr()
    assert out == (
        "a\\x1b[31m\\nverify: all is well\none\ntwo\\x07\nhead\n  forged\n  listed\n"
        '{\n  "a": "\\u001b\\u007f\\u009b\\u202e\\u00e9"\n}\n'
    )
    assert error == "dawnchorus: x\n  forged\n  listed\\x9b\n"


def test_other_libraries_go_through_the_closed_door(capsys: pytest.CaptureFixture[str]) -> None:
    with closed_door(), closed_door():
        traceback.print_exception(RuntimeError("w\x1b"))
        logging.StreamHandler(sys.stderr).emit(logging.LogRecord("a", 40, "", 1, "l\x07", None, None))
        sys.stdout.writelines(["o\x1b\n", "p\n"])
        assert sys.stdout.isatty() is False
        with pytest.raises(AttributeError):
            _ = sys.stdout.buffer
    out, error = capsys.readouterr()
    assert out == "o\\x1b\np\n"
    assert "w\\x1b" in error
    assert "l\\x07" in error
    sys.stdout.write("open\x1b again")
    assert capsys.readouterr().out == "open\x1b again"


def test_what_an_encoding_lacks_is_escaped() -> None:
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding="ascii")
    assert Escaping(stream).write("Bäume 鳥\n") == 8
    stream.flush()
    assert data.getvalue() == b"B\\xe4ume \\u9ce5\n"


def test_progress_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("run\x1b]0;x\x07", 2, "win\ndows") as advance:
        advance(2)
    with counting("c\x9b", "files") as tell:
        tell(1, 1)
    error = capsys.readouterr().err
    assert "run\\x1b]0;x\\x07: 2 of 2 win\\ndows" in error
    assert "c\\x9b: 1 of 1 files" in error


def test_the_bar_on_a_terminal_has_no_sequence_of_a_name(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom jobs.common.terminal import closed_door, complain\n"
        "from jobs.common.progress import progress\n"
        "with closed_door(), progress('run\\x1b]0;owned\\x07', 2, 'x\\x9b31m') as advance:\n"
        "    advance(1)\n    complain('beside\\x1b]0;owned\\x07')\n"
        "    sys.stderr.write('past\\x1b]0;owned\\x07\\n')\n    advance(1)\n"
    )
    main, side = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stderr=side,
        stdout=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    ) as process:
        os.close(side)
        data = b""
        try:
            while part := os.read(main, 4096):
                data += part
        except OSError:  # the other side is closed
            pass
    os.close(main)
    text = data.decode()
    assert process.returncode == 0
    assert "\x1b[" in text, "it is a bar"
    assert text.count("\\x1b]0;owned\\x07") >= 3
    assert "\x1b]" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
