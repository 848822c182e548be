"""Commands for clusters: runs as jobs of a batch scheduler, and runs done again to compare."""

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def submit(
    manifest: Annotated[Path, typer.Argument(help="the manifest, a TOML file")],
    runs: Annotated[list[str] | None, typer.Argument(help="runs; all of them if none is named")] = None,
    site: Annotated[
        str, typer.Option(help="slurm, pbs, polaris, sophia, thetagpu, local, or a profile of your own")
    ] = "local",
    images: Annotated[
        Path | None, typer.Option(help="folder of the images; that of the profile, or build/images")
    ] = None,
    queue: Annotated[str | None, typer.Option(help="queue or partition; that of the profile")] = None,
    account: Annotated[str | None, typer.Option(help="the project that pays; that of the profile")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for scripts and logs; submitted/NAME of the manifest")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="write the scripts, queue nothing")] = False,
) -> None:
    """Write a scheduler's job for each run, each in its image and after those it reads, and queue them."""
    from jobs.manifest import read_manifest
    from jobs.submit.command import Where, submit
    from jobs.submit.sites import read_site

    given = {key: value for key, value in {"queue": queue, "account": account}.items() if value is not None}
    profile = read_site(site).model_copy(update=given)
    folder = images or Path(profile.images or "build/images")
    where = Where(folder.resolve(), out or Path("submitted") / manifest.stem)
    submit(read_manifest(manifest), runs or [], profile, where, typer.echo, dry_run=dry_run)
