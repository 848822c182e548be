"""The output of every benchmark: a table on the screen and figures in ``build/bench/<name>.json``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "build" / "bench"


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    name, value, unit
        What was measured of ours.
    peer
        What it was measured beside, in the same run; empty if nothing.
    ratio
        How far we are ahead of the peer (above 1) or behind it (below 1); ``None`` without a peer.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    ratio: float | None = None


def report(name: str, figures: Sequence[Figure]) -> None:
    """Print figures as a Markdown table and write them to ``build/bench/<name>.json``."""
    print("\n| figure | value | beside | ratio |\n|---|---|---|---|")
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        print(f"| {figure.name} | {figure.value:.4g} {figure.unit} | {figure.peer} | {ratio} |")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n", encoding="utf-8")
    print(f"\n{path}")
