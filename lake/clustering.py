"""Identity of a clustering: a digest of its centroids and of how vectors are scaled."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

ATTRIBUTE = "clustering_id"
ARRAYS = ("feature_mean", "feature_deviation", "feature_set", "components", "component_set", "centroid")
"""The numbers that decide which cluster a vector is in; ``components`` and the vector sets may be missing."""


def clustering_id(tables: Mapping[str, NDArray[Any]]) -> str:
    """Return the identity of a clustering: 16 hexadecimal digits of a SHA-256.

    Parameters
    ----------
    tables
        Of the cluster store: ``feature_mean``, ``feature_deviation``, ``centroid``; the others of
        :data:`ARRAYS` if there are.

    Notes
    -----
    The digest is over name, type (little endian), shape and bytes of each array, in the order of :data:`ARRAYS`.
    Clusters of one number in two clusterings are the same if the identities are.
    """
    digest = hashlib.sha256()
    for name in ARRAYS:
        if name in tables:
            values = np.ascontiguousarray(tables[name])
            values = values.astype(values.dtype.newbyteorder("<"))
            digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def clustering_id_of(store: xr.Dataset) -> str:
    """Return the identity of an open cluster store; computed if an older release wrote the store."""
    found = store.attrs.get(ATTRIBUTE)
    if found is not None:
        return str(found)
    return clustering_id({name: np.asarray(store[name]) for name in ARRAYS if name in store})
