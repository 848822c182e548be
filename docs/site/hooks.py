"""Make of docs/ a site: pages of the README, functions, commands and notebooks, and links between pages."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.main import get_command

import dawnchorus
from jobs.cli.help import EXAMPLES
from jobs.cli.main import app

HOUSE = Path(__file__).parents[2]
MENTION = re.compile(r"(?<!\[)`docs/([a-z-]+)\.md`")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made: ``index.md`` of the README, those of functions and commands, and notebooks."""
    made = {"index.md": start_page(), "reference.md": reference(), "commands.md": commands()}
    made |= {f"notebooks/{path.stem}.md": notebook(path) for path in sorted((HOUSE / "docs/notebooks").glob("*.ipynb"))}
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (mkdocs calls it so)
    """Link where a page names another as ``docs/<name>.md``."""
    return MENTION.sub(lambda found: f"[{title_of(found[1])}]({found[1]}.md)", markdown)


def title_of(name: str) -> str:
    """Return the heading of a page."""
    first = (HOUSE / "docs" / f"{name}.md").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").partition(":")[0]


def start_page() -> str:
    """Return the README, its pictures found from docs/."""
    return (HOUSE / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")


def reference() -> str:
    """Return a page of all public functions, each by its docstring."""
    homes = {name: home for home, names in dawnchorus._HOMES.items() for name in names}
    parts = [f"::: {homes[name]}.{name}" for name in dawnchorus.__all__ if name in homes]
    return "\n\n".join(["# Functions", *parts, "::: dawnchorus.errors", ""])


def notebook(path: Path) -> str:
    """Return a page of a notebook: its text and its code; results are of the lake that it is run on."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    parts = [
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    ]
    parts.insert(
        1,
        f"This is the notebook [`docs/notebooks/{path.name}`]({path.name}): open it in Jupyter to run its cells.",
    )
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Return a page of all commands: an example, and the help as it is printed."""
    parts = ["# Commands", "In the order of the work. `dawnchorus COMMAND --help` prints the same."]
    with get_command(app).make_context("dawnchorus", [], resilient_parsing=True) as outer:
        for name in outer.command.list_commands(outer):
            parts += described(name, outer.command.get_command(outer, name), outer)
            if name in EXAMPLES:
                parts.append(f"```sh\ndawnchorus {EXAMPLES[name]}\n```")
    return "\n\n".join(parts) + "\n"


def described(name: str, command: Any, outer: Any) -> list[str]:  # noqa: ANN401 (click's types, which typer does not export)
    """Return the sections of a command, and of those below it."""
    parts = [f"## {name}", (command.help or "").partition("\f")[0].strip()]
    rows = [f"| `{typed(one)}` | {cell(getattr(one, 'help', '') or '')} |" for one in command.params]
    if rows:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    for below in getattr(command, "commands", {}):
        parts += described(f"{name} {below}", command.get_command(outer, below), outer)
    return parts


def typed(parameter: Any) -> str:  # noqa: ANN401 (click's types, which typer does not export)
    """Return how an argument or option is typed."""
    return ", ".join(parameter.opts) if parameter.param_type_name == "option" else str(parameter.name).upper()


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
