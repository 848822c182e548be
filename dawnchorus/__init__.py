"""Months of passive sound recordings in; sounds to look at, listen to, verify and count out.

The public Python API of dawnchorus. It reads what the command line leaves in a lake, and runs manifests:

>>> import dawnchorus
>>> lake = dawnchorus.open("data/demo")
>>> lake.vectors["embedding"].dims
('recorder', 'time', 'feature')
>>> table = lake.query("clusters", date="2021-06-22", hour="4-8", local=True)

Open a lake
    `open`: its stores by name as xarray datasets, tables of windows for pandas, windows to see (`show`) and to hear
    (`listen`). It is all that a notebook needs, and writes nothing.
Add to xarray
    `ds.dawnchorus.levels_db`, `bands_hz` and `local_time` of any dataset of a lake; where plain xarray opened it,
    `import dawnchorus.xarray` first.
Open a lake's stores one by one, as xarray datasets
    `stores` lists them; `open_cube`, `open_embeddings`, `open_clusters`, `open_detections`.
Ask a store, for pandas tables
    `query` (windows by recorder, day, hour, site and cluster), `similar` (the nearest windows), `open_search` (stores
    opened for many searches of the nearest windows, also to a clip), `trace` (from a window back to its recordings
    and runs), `find_events` (when a detector hears a sound).
Hear
    `verdicts` (what people said of windows), `batches` (what they were asked), `read_batch` (the windows of one).
Count
    `draw` (which windows to hear), `estimate` (how many hold the sound, with intervals).
Read tables
    `read_recordings`, `read_deployments`, `read_labels`.
Run a manifest
    `run`, `status`, `verify`.
Errors
    `dawnchorus.errors`; a message says what was expected, what was found and what to do next.

The examples work in the folder in which ``dawnchorus demo`` was typed. Whatever is not listed here, the packages
``lake`` and ``jobs`` among it, is private and may change in any release. Nothing is loaded before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dawnchorus import errors
    from dawnchorus._detections import find_events, open_detections
    from dawnchorus._lake import open  # noqa: A004 (always written dawnchorus.open)
    from dawnchorus._manifests import run, status, verify
    from dawnchorus._people import batches, read_batch, verdicts
    from dawnchorus._search import open_search
    from dawnchorus._stores import open_clusters, open_cube, open_embeddings, query, stores
    from dawnchorus._tables import read_labels
    from lake.counting.draws import draw
    from lake.counting.estimates import estimate
    from lake.deployments import read_deployments
    from lake.query.similar import similar
    from lake.query.trace import trace
    from lake.recordings import read_recordings

    __version__: str

__all__ = [
    "batches", "draw", "errors", "estimate", "find_events", "open", "open_clusters", "open_cube", "open_detections",
    "open_embeddings", "open_search", "query", "read_batch", "read_deployments", "read_labels", "read_recordings",
    "run", "similar", "status", "stores", "trace", "verdicts", "verify",
]  # fmt: skip

_HOMES = {
    "dawnchorus._detections": ("find_events", "open_detections"),
    "dawnchorus._lake": ("open",),
    "dawnchorus._manifests": ("run", "status", "verify"),
    "dawnchorus._people": ("batches", "read_batch", "verdicts"),
    "dawnchorus._search": ("open_search",),
    "dawnchorus._stores": ("open_clusters", "open_cube", "open_embeddings", "query", "stores"),
    "dawnchorus._tables": ("read_labels",),
    "lake.counting.draws": ("draw",),
    "lake.counting.estimates": ("estimate",),
    "lake.deployments": ("read_deployments",),
    "lake.recordings": ("read_recordings",),
    "lake.query.similar": ("similar",),
    "lake.query.trace": ("trace",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (a function, a module or a text)
    if name == "__version__":
        return import_module("importlib.metadata").version("dawnchorus")
    if name == "errors":
        return import_module("dawnchorus.errors")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dawnchorus' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOME_OF[name]), name)
    except ModuleNotFoundError as error:
        from jobs.common.installation import how_to_install  # noqa: PLC0415 (nothing is loaded before it is used)

        told = f"dawnchorus.{name} needs the package {error.name!r}, which is not installed here. Type"
        raise ImportError(f"{told} `{how_to_install('cluster')}`.", name=error.name) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", "__all__", "__doc__", "__file__", "__name__", "__path__"})
