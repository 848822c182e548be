"""Commands for clusters: runs as jobs of a batch scheduler, and runs done again to compare."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.common.terminal import print_line

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
    force: Annotated[bool, typer.Option("--force", help="replace scripts that somebody changed")] = False,
) -> None:
    """Write a scheduler's job for each run, each in its image and after those it reads, and queue them."""
    from jobs.runner.manifest import read_manifest
    from jobs.submit.command import Where, submit
    from jobs.submit.sites import read_site

    given = {key: value for key, value in {"queue": queue, "account": account}.items() if value is not None}
    profile = read_site(site).model_copy(update=given)
    folder = images or Path(profile.images or "build/images")
    where = Where(folder.resolve(), out or Path("submitted") / manifest.stem)
    submit(read_manifest(manifest), runs or [], profile, where, print_line, dry_run=dry_run, force=force)


@commands.command()
def reproduce(
    receipt: Annotated[Path, typer.Argument(help="<lake>/receipts/<run>/….json of a finished run")],
    into: Annotated[Path | None, typer.Option(help="an empty folder for the fresh lake; reproduced/RUN")] = None,
    images: Annotated[Path | None, typer.Option(help="folder that has the image of the receipt")] = None,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="compare even outside of the receipt's image")] = False,
    workers: Annotated[int, typer.Option(min=1, help="processes that work side by side on this machine")] = 2,
    device: Annotated[str | None, typer.Option(help="cpu or cuda")] = None,
) -> None:
    """Do a run again from its receipt, in its image, into a fresh place, and compare what comes out."""
    from jobs.common.run import Options
    from jobs.runner.reproduce import reproduce

    options = Options(workers=workers, device=device)
    folder = into or Path("reproduced") / receipt.resolve().parent.name
    reproduce(receipt, folder, options, print_line, images=images, anywhere=anywhere)
