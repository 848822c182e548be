"""The command that begins a study from a folder of recordings."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.common.terminal import print_line

commands = typer.Typer()

ZoneOpt = Annotated[
    list[str] | None, typer.Option(help="FOLDER=IANA or IANA: the zone of local times, e.g. America/Chicago, or -05:00")
]
GuessOpt = Annotated[
    list[str] | None, typer.Option(help="day-first or two-digit-year: how ambiguous dates in names are meant")
]
DeploymentsOpt = Annotated[Path | None, typer.Option(help="deployments.csv: where each recorder stood, and when")]
LIKE = "soundscape, birds, insects or bats, or a manifest whose settings are taken; by default the sample rates decide"


@commands.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a new folder, for the study")],
    audio: Annotated[Path, typer.Option(help="the folder of the recordings, which stay where they are")],
    zone: ZoneOpt = None,
    deployments: DeploymentsOpt = None,
    like: Annotated[str | None, typer.Option(help=LIKE)] = None,
    guess: GuessOpt = None,
    workers: Annotated[int, typer.Option(min=1, help="files examined at once")] = 2,
) -> None:
    """Look at recordings, and write a manifest that fits them, for `run`."""
    from jobs.runner.registry import needing

    with needing("init", "spectrograms"):
        from jobs.workflows.begin import Wish, begin

    wish = Wish(folder, audio, parse_zones(zone), deployments, like, guess or [])
    begin(wish, workers=workers, say=print_line)


def parse_zones(texts: list[str] | None) -> dict[str, str]:
    """Return the zone by folder; the empty name stands for all folders."""
    zones = {}
    for text in texts or []:
        folder, _, zone = text.rpartition("=")
        zones[folder] = zone
    return zones
