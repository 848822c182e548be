"""The vectors of exported windows, a few chunks at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.read import grid_of
from lake.scaling import Vectors, scaled, stored_scaling
from lake.vectors import open_vectors, read_span


def vectors_of(
    rows: pd.DataFrame, clusters: xr.Dataset, urls: Sequence[str]
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """Yield numbers of rows, shape (n,), and their vectors, shape (n, n_features), scaled as the clustering had them.

    Parameters
    ----------
    rows
        Recorder and time of windows, each window once.
    clusters
        The clustering, opened as numbers.
    urls
        The embedding stores that it was made of.
    """
    grid, scaling, sets = grid_of(clusters), stored_scaling(clusters), open_vectors(urls)
    cells = (rows["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) - grid.origin_ms) // grid.hop_ms
    of_window = {key: i for i, key in enumerate(zip(rows["recorder"], cells.tolist(), strict=True))}
    for span in sets.spans:
        name = sets.recorders[span.recorder]
        found = [(of_window[name, cell], j) for j, cell in enumerate(span.cells.tolist()) if (name, cell) in of_window]
        if found:
            numbers, places = zip(*sorted(found), strict=True)
            yield np.array(numbers, dtype=np.int64), scaled(read_span(sets, span), scaling)[list(places)]
