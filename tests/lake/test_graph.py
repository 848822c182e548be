from hypothesis import given
from hypothesis import strategies as st

from lake.graph import above

Graph = dict[int, list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw graphs without circles: a node's sources have greater numbers; the same one may come twice."""
    n = draw(st.integers(1, 8))
    return {i: draw(st.lists(st.integers(i + 1, n), max_size=3)) if i < n else [] for i in range(n + 1)}


@given(graphs())
def test_each_node_comes_once_and_the_nearest_first(graph: Graph) -> None:
    found = list(above(0, lambda node: graph[node], key=lambda node: node))
    far = {0: 0}
    for node in sorted(graph):
        for source in graph[node] if node in far else ():
            far[source] = min(far.get(source, 99), far[node] + 1)
    far = {node: _distance(graph, node) for node in far}
    assert sorted(found) == sorted(far)
    assert [far[node] for node in found] == sorted(far.values())
    assert found[0] == 0


def _distance(graph: Graph, wanted: int) -> int:
    """Return the fewest steps from node 0, by trying one step more at a time."""
    reached, steps = {0}, 0
    while wanted not in reached:
        reached |= {source for node in reached for source in graph[node]}
        steps += 1
    return steps
