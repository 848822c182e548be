"""Command lines in the docs name commands and options that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from jobs.cli.main import app

HOUSE = Path(__file__).parents[1]
PAGES = [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted((HOUSE / "docs").glob("*.md"))]
STARTS = re.compile(r"(?:^\s*|`|&& |\.venv/bin/|sif )dawnchorus (?!is )([a-z][^`]*)")
MORE = {"--help", "-h", "--version"}


def lines_of(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and words of every ``dawnchorus …`` in blocks of code and between backticks."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    for number, line in enumerate(text.splitlines(), 1):
        for found in STARTS.finditer(line):
            typed = re.split(r"\s#|\s\||\s&&|;|\s>", found[1])[0]
            try:
                yield number, shlex.split(typed)
            except ValueError:  # an apostrophe of a sentence
                yield number, typed.split()


def problems_of(words: list[str], group: Any) -> list[str]:
    """Return what is wrong with a command line: a command or options that are none."""
    with group.make_context("dawnchorus", [], resilient_parsing=True) as outer:
        command = group.get_command(outer, words[0])
        if command is None:
            return [f"no command {words[0]!r}"]
        for word in words[1:2]:
            command = getattr(command, "commands", {}).get(word, command)
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | MORE
    options = [word.partition("=")[0].rstrip("…,.:") for word in words[1:] if re.match(r"--?[a-z]", word)]
    return [f"{words[0]} has no option {option}" for option in options if option not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_names_what_exists(page: Path) -> None:
    group = get_command(app)
    wrong = [
        f"{page.name}:{number}: {problem} ({' '.join(words)})"
        for number, words in lines_of(page)
        for problem in problems_of(words, group)
    ]
    assert not wrong, "\n".join(wrong)


def test_what_does_not_exist_is_found() -> None:
    group = get_command(app)
    assert problems_of(["frobnicate"], group)
    assert problems_of(["run", "study.toml", "--frobnicate"], group)
    assert problems_of(["verdicts", "add", "study.toml", "x.csv", "--frobnicate=wren"], group)
    assert not problems_of(["run", "study.toml", "--workers=2", "--dry-run"], group)
    assert sum(len(list(lines_of(page))) for page in PAGES) > 50
