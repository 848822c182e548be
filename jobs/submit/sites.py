"""Reading site profiles, small TOML files that describe a cluster."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from jobs.runner.explain import explain, nearest
from jobs.submit.profile import Site
from jobs.submit.schedulers import SCHEDULERS
from lake.errors import InputError

PROFILES = Path(__file__).parent / "sites"


class _Checked(Site):
    """A site whose scheduler is one of :data:`SCHEDULERS`."""

    @field_validator("scheduler")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SCHEDULERS:
            *others, last = map(repr, SCHEDULERS)
            raise ValueError(f"expected {', '.join(others)} or {last}, found {name!r}")
        return name


def read_site(name: str) -> Site:
    """Return a profile by its name, or from a TOML file of one's own.

    Raises
    ------
    InputError
        If there is none, or with everything that is wrong in it.
    """
    path = Path(name) if name.endswith(".toml") else PROFILES / f"{name}.toml"
    try:
        return _Checked.model_validate(_values(path))
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in explain(error, Site, ()))
        raise InputError(f"{path}: not a site profile:\n{lines}") from error


def site_names() -> list[str]:
    """Return the names of the profiles that come with dawnchorus."""
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def _values(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a profile's values, over those of the profile that it is ``like``."""
    if not path.is_file():
        names = site_names()
        near = nearest(path.stem, names)
        listed = "" if near.startswith("; there are") else f". There are {', '.join(names)}"
        raise InputError(
            f"--site: no profile {path.stem if path.parent == PROFILES else str(path)!r}{near}{listed}; "
            "or name a TOML file of your own."
        )
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}.") from error
    like = own.pop("like", None)
    if like is None:
        return own
    other = PROFILES / f"{like}.toml"
    if other in {*seen, path}:
        raise InputError(f"{path}: like = {like!r} leads in a circle.")
    return {**_values(other, (*seen, path)), **own}
