"""Command lines in the docs name commands and options that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
from docslines import PAGES, all_lines, lines_of, summary
from typer.main import get_command

from jobs.cli.main import app

MORE = {"--help", "-h", "--version"}


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


def test_every_line_that_is_not_run_has_a_reason() -> None:
    lines = all_lines()
    assert sum(not line.not_run for line in lines) > 25
    said = summary()
    assert len(said) >= 1 + sum(bool(line.not_run) for line in lines)
    assert f"of {len(lines)} command lines" in said[0]
