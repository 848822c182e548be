"""Vectors of the windows that are clustered, scaled, in this process or in a worker; what fits into memory is kept."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import zarr

from jobs.common.ordered import Team
from lake.read import open_array
from lake.scaling import Scaling, Vectors, scaled
from lake.vectors import Span, VectorSets, read_arrays

KEPT_BYTES = 480_000_000
"""Scaled vectors that are kept in memory once they are read; more are read again in every epoch."""

Part = tuple[int, Span]
"""A span with its number."""
Read = Callable[[Part], Vectors]


@dataclass(frozen=True)
class Reader:
    """Reads spans in any process that sees the lake, scaled if there is a scaling.

    Attributes
    ----------
    urls
        The embedding stores.
    scaling
        How vectors are scaled; as they are stored if ``None``.
    token
        Of this run: a worker that lives longer opens the stores again for the next one.
    """

    urls: tuple[str, ...]
    scaling: Scaling | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __call__(self, part: Part) -> Vectors:
        """Return the vectors of a span."""
        vectors = read_arrays(opened(self.urls, "embedding", self.token), part[1])
        return vectors if self.scaling is None else scaled(vectors, self.scaling, in_place=True)


@lru_cache(maxsize=8)
def opened(urls: tuple[str, ...], name: str, token: str) -> tuple[zarr.Array[Any], ...]:  # noqa: ARG001 (`token` keys the cache)
    """Return an array of each store; they are opened once for a token."""
    return tuple(open_array(url, name) for url in urls)


class Kept:
    """Vectors that were read once, in the memory of this process.

    Parameters
    ----------
    sets
        The vector sets.
    n_scaled
        Numbers of a scaled vector at most. Vectors that scaling makes shorter are kept scaled alone.
    team
        Who reads. Workers read for themselves: of what they read, this process keeps what it asks for scaled.
    """

    def __init__(self, sets: VectorSets, n_scaled: int, team: Team) -> None:
        filled = np.cumsum([len(span.cells) * n_scaled * 4 for span in sets.spans])
        self.sets, self.team = sets, team
        self.n = int(np.searchsorted(filled, KEPT_BYTES, "right"))
        self.is_raw_kept = sum(sets.n_features) <= n_scaled
        self.raw: dict[int, Vectors] = {}
        self.scaled: dict[int, Vectors] = {}
        self.reader = Reader(sets.urls)

    @property
    def read_raw(self) -> Read:
        """The function that reads a span as it is stored; this process keeps what fits."""
        return self.reader if self.team.client is not None else self._read_raw

    def read_scaled(self, scaling: Scaling) -> Read:
        """Return the function that reads a span scaled; what this process has read before is scaled in its place."""
        reader = Reader(self.sets.urls, scaling, self.reader.token)
        if self.team.client is not None:
            return reader

        def read(part: Part) -> Vectors:
            i, span = part
            if (found := self.scaled.get(i)) is not None:
                return found
            raw = self.raw.pop(i, None)
            return self._keep(i, reader((i, span)) if raw is None else scaled(raw, scaling, in_place=True))

        return read

    def pool_reader(self, scaling: Scaling) -> Callable[[Sequence[int]], list[Vectors]]:
        """Return the function that reads several spans at once, by number, scaled; see `read_scaled`."""
        read = self.read_scaled(scaling)

        def read_pool(numbers: Sequence[int]) -> list[Vectors]:
            missing = [(i, self.sets.spans[i]) for i in numbers if i not in self.scaled]
            found = dict(self.scaled)
            for (i, _), vectors in zip(missing, self.team.in_order(read, missing, ahead=len(missing)), strict=True):
                found[i] = self._keep(i, vectors)
            return [found[i] for i in numbers]

        return read_pool

    def _read_raw(self, part: Part) -> Vectors:
        vectors = self.reader(part)
        if part[0] < self.n and self.is_raw_kept:
            self.raw[part[0]] = vectors
        return vectors

    def _keep(self, i: int, vectors: Vectors) -> Vectors:
        if i < self.n:
            self.scaled[i] = vectors
        return vectors
