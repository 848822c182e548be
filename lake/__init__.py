"""The lake: Zarr stores of spectrograms, embeddings and clusters, how they are written and read.

Private: the package ``dawnchorus`` is the public API. ``lake.open_cube``, ``lake.open_embeddings`` and
``lake.open_clusters`` stay for one release for what imports them; nothing is loaded before one of them is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lake.read import open_clusters, open_cube, open_embeddings

__all__ = ["open_clusters", "open_cube", "open_embeddings"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (a function)
    if name not in __all__:
        raise AttributeError(f"module 'lake' has no attribute {name!r}")
    from lake import read  # noqa: PLC0415 (commands that open no store start without xarray)

    return getattr(read, name)
