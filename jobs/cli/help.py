"""The group of all commands: their order, what each takes besides its own options, and an example of each."""

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from jobs.cli.ends import explained
from jobs.common.plain_words import plain
from jobs.common.terminal import QUIET, VERBOSE

EXAMPLES = {
    "demo": "demo",
    "init": "init data/meadow --audio /media/card --zone Europe/Berlin",
    "catalog": "catalog /media/card --out data/meadow/recordings.csv --zone Europe/Berlin",
    "config": "config cluster",
    "run": "run data/meadow/manifest.toml",
    "finalise": "finalise data/meadow/manifest.toml mels",
    "status": "status data/meadow/manifest.toml",
    "verify": "verify data/meadow/manifest.toml",
    "query": "query data/meadow/clusters/clusters.zarr --cluster 3 --hour 4-8 --local",
    "similar": 'similar data/meadow/embeddings/dictionary.zarr --recorder SM4 --time "2021-06-22 04:10:05"',
    "trace": "trace data/meadow/clusters/clusters.zarr --cluster 3 --exemplar 0 --audio call.wav --root /media/card",
    "export": "export data/meadow/manifest.toml --verified --to darwin-core --out occurrences.zip",
    "import": "import data/meadow/manifest.toml birdnet",
    "names": "names old/clusters/clusters.zarr data/meadow/clusters/clusters.zarr",
    "review": 'review data/meadow/manifest.toml --sound "Parus major"',
    "verdicts": "verdicts add data/meadow/manifest.toml verdicts.json",
    "loop": "loop data/meadow/manifest.toml far-0123456789abcdef_Ana.csv",
    "events": "events data/meadow/manifest.toml calls --out events.csv",
    "submit": "submit data/meadow/manifest.toml --site slurm --images build/images --dry-run",
    "certificate": "certificate tls",
    "reproduce": "reproduce data/meadow/receipts/clusters/1.json --into again",
    "version": "version",
}
"""What to type, by command, in the order of the work."""


def _setter(variable: str) -> Callable[[bool], bool]:
    def note(is_typed: bool) -> bool:
        if is_typed:
            os.environ[variable] = "1"  # processes that this one starts inherit it
        return is_typed

    return note


QuietOpt = Annotated[
    bool, typer.Option("--quiet", "-q", help="show no progress", callback=_setter(QUIET), expose_value=False)
]
VerboseOpt = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="show with an error where it came from", callback=_setter(VERBOSE), expose_value=False
    ),
]


def _for_all(quiet: QuietOpt = False, verbose: VerboseOpt = False) -> None:
    """Have the options that every command takes."""


class Commands(TyperGroup):
    """The commands; what ends one of them becomes a message and an exit code before typer sees it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 (click's types, which typer does not export)
        """Return the names of the commands in the order of the work."""
        return sorted(super().list_commands(ctx), key=list(EXAMPLES).index)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 (click's types, which typer does not export)
        """Return a command with its example, and with the options that all commands take."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            if cmd_name in EXAMPLES:
                command.epilog = f"Example: dawnchorus {EXAMPLES[cmd_name]}"
            _add_options(command)
        return command

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (click's types, which typer does not export)
        """Run the command that was typed."""
        with explained():
            try:
                return super().invoke(ctx)
            except typer.BadParameter as error:
                error.message = in_plain_words(error.message)
                raise


def in_plain_words(message: str) -> str:
    """Return what is wrong with a value, in words of our own where they are known."""
    said = plain(message)
    return message if said is None else f"{said}."


def _add_options(command: Any) -> None:  # noqa: ANN401 (click's types, which typer does not export)
    """Add the options of :func:`_for_all` to a command and those below it, once."""
    if not any(option.name == "quiet" for option in command.params):
        holder = typer.Typer(add_completion=False)
        holder.command()(_for_all)
        command.params += typer.main.get_command(holder).params
    for below in getattr(command, "commands", {}).values():
        _add_options(below)
