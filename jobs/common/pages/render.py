"""Pages out of templates and facts: whatever a study calls its things is text, never markup."""

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from jobs.common.pages import words
from jobs.common.pages.pictures import COLOUR_MAP, STRIPE_GREYS, colour_table
from lake.lengths import lasting

N_GRADIENT_STOPS = 17
STYLE_KEYS, SCRIPT_KEYS = ("page.css",), ("page.js", "player.js", "looks.js", "tables.js")
"""Files that a page loads first; its own follow."""
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data: blob:; media-src 'self' file: blob:; base-uri 'none'; form-action 'none'"
)
"""Content Security Policy: files of the folder only, no script in the markup, nothing sent anywhere."""


def shared_files() -> Iterator[tuple[str, str]]:
    """Yield key and text of the styles and scripts that all pages share."""
    yield from package_files(__package__, (*STYLE_KEYS, *SCRIPT_KEYS))


def package_files(package: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield key and text of files among a package's templates."""
    for key in keys:
        yield key, files(package).joinpath("templates", key).read_text(encoding="utf-8")


def script(function: str, value: Any) -> str:  # noqa: ANN401 (any value that JSON can hold)
    """Return a script that hands a value to a function of the page.

    A page opened from a folder may load scripts of that folder, but not read other files.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"{function}({text});\n"


def gradient(table: NDArray[np.uint8]) -> list[tuple[float, str]]:
    """Return places in percent, from low to high, and colours that draw a table of colours as a gradient."""
    places = np.linspace(0, len(table) - 1, N_GRADIENT_STOPS)
    return [(round(100 * float(p) / (len(table) - 1), 2), "#" + bytes(table[round(float(p))]).hex()) for p in places]


def environment(
    package: str, *, style_keys: Sequence[str] = (), script_keys: Sequence[str] = (), **names: object
) -> jinja2.Environment:
    """Return the environment of a package's templates, which may use the shared ones.

    Parameters
    ----------
    package
        Its templates are in the folder ``templates``.
    style_keys, script_keys
        Files that its page loads after the shared ones.
    **names
        What else its templates may use.
    """
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader(__package__)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        number=words.number, utc=words.utc, local=words.local, date=words.date, plain=words.plain,
        degrees=words.degrees, lasting=lasting, python=repr,
    )  # fmt: skip
    made.globals.update(
        share=words.share, percent=words.percent, policy=POLICY, colours=gradient(colour_table()), greys=STRIPE_GREYS,
        colour_map=COLOUR_MAP, style_keys=(*STYLE_KEYS, *style_keys), script_keys=(*SCRIPT_KEYS, *script_keys), **names,
    )  # fmt: skip
    return made
