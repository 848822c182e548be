"""The one walk up the graph of runs."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Node = TypeVar("Node")


def above(
    start: Node, sources_of: Callable[[Node], Iterable[Node]], *, key: Callable[[Node], Hashable]
) -> Iterator[Node]:
    """Yield a node and all that it was made from, each once, nearest first.

    Parameters
    ----------
    start
        Where the walk begins; it comes first.
    sources_of
        Returns what a node was made from directly, in order.
    key
        Returns what two visits of the same node have in common.
    """
    seen: set[Hashable] = set()
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        if key(node) not in seen:
            seen.add(key(node))
            yield node
            waiting.extend(sources_of(node))
