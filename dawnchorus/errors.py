"""The errors of dawnchorus: each names the thing, what was expected, what was found and what to do next.

``DawnchorusError`` is the base of all. ``InputError``: a recording, manifest, table or image is not what it should be;
of it ``UsageError`` (an argument), ``StoreFormatError`` (a store of another kind or a newer format) and
``IdentityError`` (a run's name is taken by another configuration). ``StoreError``: a store is incomplete, damaged, or
differs from its ledger. ``QuarantineError``: a run finished, but too many recordings were set aside. ``TryAgainError``:
another process owns the run, or the disk is full. The attribute ``exit_code`` is what the command line ends with.

Examples
--------
>>> import dawnchorus
>>> try:
...     dawnchorus.open_clusters("data/demo/embeddings/vectors.zarr")
... except dawnchorus.errors.StoreFormatError as error:
...     print(error, error.exit_code)
data/demo/embeddings/vectors.zarr: expected a store of clusters, found embeddings. Name one below `clusters`. 3
"""

from lake.errors import (
    DawnchorusError,
    IdentityError,
    InputError,
    QuarantineError,
    StoreError,
    StoreFormatError,
    TryAgainError,
    UsageError,
)

__all__ = [
    "DawnchorusError", "IdentityError", "InputError", "QuarantineError", "StoreError", "StoreFormatError",
    "TryAgainError", "UsageError",
]  # fmt: skip
