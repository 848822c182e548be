"""Parquet for Apple's Embedding Atlas: a row for each window of a clustering, with its vector."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import xarray as xr
from pyarrow import parquet

from lake.exports.vectors import vectors_of


def windows_parquet(table: pd.DataFrame, clusters: xr.Dataset, vectors: Sequence[str]) -> bytes:
    """Return a Parquet file: ``embedding-atlas windows.parquet --vector vector --text label`` opens it.

    Parameters
    ----------
    table
        As :func:`lake.exports.clusters.clustering_table` gives it, with ``label``. Of a window across a join the first
        row is kept.
    clusters
        The clustering, opened as numbers.
    vectors
        The embedding stores that it was made of.

    Returns
    -------
    bytes
        The columns of the table and ``vector``: float32, scaled as the clustering had it. Windows are read and written
        a few chunks at a time.
    """
    rows = table.drop_duplicates(["recorder", "time"]).reset_index(drop=True)
    made, writer = pa.BufferOutputStream(), None
    for numbers, values in vectors_of(rows, clusters, vectors):
        batch = pa.Table.from_pandas(rows.iloc[numbers], preserve_index=False)
        batch = batch.append_column("vector", _lists(values))
        writer = writer or parquet.ParquetWriter(made, batch.schema)
        writer.write_table(batch.cast(writer.schema))
    if writer is not None:
        writer.close()
    data: bytes = made.getvalue().to_pybytes()
    return data


def _lists(values: np.ndarray[Any, np.dtype[np.float32]]) -> Any:  # noqa: ANN401 (pyarrow has no types)
    """Return rows of an array as lists, for a column."""
    n, n_features = values.shape
    ends = pa.array(np.arange(n + 1, dtype=np.int32) * n_features)
    return pa.ListArray.from_arrays(ends, pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel()))
