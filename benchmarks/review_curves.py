"""Curves of learning: macro average precision after some windows heard, by study, vector set, order and seed.

A cell is one order in one study with one vector set and one seed. Each is written once it is done, one JSON line, so
that a bench that was stopped goes on where it was; cells of other code or other vectors are measured anew.
"""

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.listening import AFTER, HOPLITE, ORDERS, Learnt, play
from benchmarks.quality import ROOT
from benchmarks.report import FOLDER, Figure
from benchmarks.review_studies import BIRDNET, Load, study_of

CELLS: Final = FOLDER / "review-cells.jsonl"
PICTURE: Final = ROOT / "docs" / "review-curves.webp"
CODE: Final = (
    "benchmarks/hoplite.py", "benchmarks/listening.py", "benchmarks/review_studies.py", "jobs/learn/core.py",
    "jobs/learn/measures.py", "jobs/review/orders.py", "jobs/review/typical.py", "lake/scaling.py",
)  # fmt: skip
"""Files that decide the numbers of a cell."""
JOINED: Final = "dictionary ‖ statistics"
BARS: Final = (("demo", JOINED), ("ESC-10", BIRDNET))
"""Study and vector set that must need half of the windows of random order."""
BEGINNING: Final = ("explore", "far", "typical", "auto")
"""Orders that a study begins with, as ``docs/review.md`` advises: the best of them is compared."""
SHOWN: Final = ("random", "explore", "far", "typical")
"""Orders that the picture and the table of all vector sets show, with the best of perch-hoplite's recipe."""
ALL: Final = (*ORDERS, *HOPLITE)
BRIEF: Final = (*SHOWN, *HOPLITE)
WANTED: Final = 0.9
MOST_BEHIND: Final = 0.01
Curve = list[float]
"""Macro average precision after each of :data:`benchmarks.listening.AFTER`, as far as there are windows."""
COMPARED: Final = (20, 40, 80)


@dataclass(frozen=True)
class Cell:
    """One order that was played; ``code`` and ``vectors`` say what it was made with, ``until`` hears every kind."""

    study: str
    vectors: str
    order: str
    seed: int
    after: list[int]
    average_precision: list[float]
    calibration: float
    chance: float
    until: int
    code: str
    of: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Return the fields that identify a cell."""
        return self.study, self.vectors, self.order, self.seed


def measure(
    wanted: Iterable[tuple[str, str, Load]], n_seeds: int, path: Path = CELLS, orders: Sequence[str] = ALL
) -> list[Cell]:
    """Play what was not played yet, on one thread, and return all cells of these orders."""
    code, found = code_digest(), []
    path.parent.mkdir(parents=True, exist_ok=True)
    for study, vectors, load in wanted:
        sound = load()
        of = hashlib.sha256(sound.stored.tobytes() + sound.truth.tobytes()).hexdigest()[:16]
        done = {cell.key: cell for cell in read_cells(path) if (cell.code, cell.of) == (code, of)}
        for seed in range(n_seeds):
            keys = [(study, vectors, order, seed) for order in orders]
            learnt: Learnt = {}
            missing = [key for key in keys if key not in done]
            with threadpool_limits(1):
                made = study_of(sound, seed) if missing else None
                for key in missing:
                    assert made is not None, "there is a study where an order is missing"
                    after = [n for n in AFTER if n <= len(made.population)]
                    played = play(made, key[2], seed, after, learnt=learnt)
                    ever = made.known.truth[played.heard]
                    until = int(ever.argmax(axis=0).max()) + 1 if ever.any(axis=0).all() else len(ever) + 1
                    done[key] = Cell(
                        *key, after, played.average_precision, played.calibration, played.chance, until, code, of
                    )
                    append(path, done[key])
                    print(*key, *np.round(played.average_precision, 3), flush=True)
            found += [done[key] for key in keys]
    return found


def read_cells(path: Path) -> list[Cell]:
    """Return the cells of a file; a line that was not written to its end is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(Cell(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):  # cut off, or of another version
            continue
    return found


def append(path: Path, cell: Cell) -> None:
    """Write one line to the end of a file, whole or cut off where the next one begins a line of its own."""
    with path.open("ab") as file:
        file.write(b"\n" + json.dumps(asdict(cell), ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def code_digest() -> str:
    """Return the digest of the statements that decide the numbers; comments and docstrings do not count."""
    digest = hashlib.sha256()
    for name in CODE:
        tree = ast.parse((ROOT / name).read_bytes())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.__dict__["body"] = [one for one in body if not _is_text(one)]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def curves(cells: Sequence[Cell]) -> dict[tuple[str, str], dict[str, Curve]]:
    """Return the mean curve over the seeds, by study and vector set and order; curves end with the shortest seed's."""
    by: dict[tuple[str, str], dict[str, list[list[float]]]] = {}
    for cell in cells:
        by.setdefault((cell.study, cell.vectors), {}).setdefault(cell.order, []).append(cell.average_precision)
    return {
        pair: {
            order: np.mean([one[: min(map(len, several))] for one in several], axis=0).tolist()
            for order, several in orders.items()
        }
        for pair, orders in by.items()
    }


def needed(curve: Curve, wanted: float) -> float:
    """Return how many windows a curve needs for an average precision, linear in the logarithm between measured ones."""
    for i, value in enumerate(curve):
        if value >= wanted:
            if i == 0:
                return float(AFTER[0])
            share = (wanted - curve[i - 1]) / (value - curve[i - 1])
            return float(AFTER[i - 1] * (AFTER[i] / AFTER[i - 1]) ** share)
    return float("inf")


def figures(cells: Sequence[Cell]) -> list[Figure]:
    """Return the figures of all curves, then what was wanted of them, each with ``pass`` or ``miss``."""
    found = []
    by_pair = curves(cells)
    for (study, vectors), orders in by_pair.items():
        for order, curve in orders.items():
            several = [cell for cell in cells if (cell.study, cell.vectors, cell.order) == (study, vectors, order)]
            error, chance = _calibration(several)
            until = ", ".join(str(cell.until) for cell in several)
            text = " ".join(f"{value:.3f}" for value in curve)
            found.append(
                Figure(f"{study}, {vectors}, {order}: macro AP at the end", float(curve[-1]), "",
                       f"after {', '.join(map(str, AFTER[: len(curve)]))}: {text}; calibration error {error:.3f}, "
                       f"{chance:.3f} by chance; every kind after {until}")
            )  # fmt: skip
    return [*found, *bars(by_pair)]


def bars(by_pair: Mapping[tuple[str, str], Mapping[str, Curve]]) -> list[Figure]:
    """Return what was wanted: half of the windows of random order, and no more than .01 behind perch-hoplite."""
    found = []
    for pair in BARS:
        if pair not in by_pair:
            continue
        orders, name = by_pair[pair], ", ".join(pair)
        target = min(WANTED, orders["random"][-1])
        random = needed(orders["random"], target)
        needs = {order: needed(orders[order], target) for order in BEGINNING if order in orders}
        best = min(needs, key=lambda order: needs[order])
        ratio = random / needs[best]
        found.append(
            Figure(f"{name}: windows for macro AP {target:.3f}, {best}", needs[best], "windows",
                   f"random {random:.0f}, half of it wanted: {_passed(ratio >= 2)}", ratio)
        )  # fmt: skip
        at = [AFTER.index(n) for n in COMPARED]
        own = {order: float(np.mean([orders[order][i] for i in at])) for order in BEGINNING if order in orders}
        peers = {order: float(np.mean([orders[order][i] for i in at])) for order in HOPLITE}
        ours, peer = max(own, key=lambda o: own[o]), max(peers, key=lambda o: peers[o])
        is_near = own[ours] >= peers[peer] - MOST_BEHIND
        found.append(
            Figure(f"{name}: mean macro AP at 20, 40 and 80, {ours}", own[ours], "",
                   f"{peer} {peers[peer]:.3f}: {_passed(is_near)}", own[ours] / peers[peer])
        )  # fmt: skip
    return found


def tables(cells: Sequence[Cell]) -> str:
    """Return a Markdown table of the curves of the joined vectors and BirdNET's, and one of all vector sets."""
    by_pair = curves(cells)
    lines = []
    for pair, orders in by_pair.items():
        if pair[1] in {JOINED, BIRDNET}:
            head = [*pair, *map(str, AFTER), "calibration error", "by chance"]
            lines += [f"\n| {', '.join(head[:2])} | {' | '.join(head[2:])} |", "|---" * (len(AFTER) + 3) + "|"]
            for order, curve in orders.items():
                several = [cell for cell in cells if (cell.study, cell.vectors, cell.order) == (*pair, order)]
                lines.append(f"{_row(order, curve)} {' | '.join(_short(value) for value in _calibration(several))} |")
    shown = (*SHOWN, "hoplite, best")
    lines += [f"\n| macro AP after 40 | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    at = AFTER.index(40)
    for pair, orders in by_pair.items():
        best = max(orders[order][at] for order in HOPLITE)
        values = [*(orders[order][at] for order in SHOWN), best]
        lines.append(f"| {pair[0]}, {pair[1]} | {' | '.join(f'{value:.2f}'.lstrip('0') for value in values)} |")
    return "\n".join(lines)


def draw(cells: Sequence[Cell], path: Path = PICTURE) -> None:
    """Draw the curves of the joined vectors and of BirdNET's, one panel each."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 (after the backend was chosen)

    pairs = {pair: orders for pair, orders in curves(cells).items() if pair[1] in {JOINED, BIRDNET}}
    styles = {
        "random": ("black", "--"), "explore": ("#1b7837", "-"), "far": ("#2166ac", "-"), "typical": ("#e08214", "-"),
        "hoplite": ("#b2182b", ":"),
    }  # fmt: skip
    columns = min(3, len(pairs))
    n_rows = -(-len(pairs) // columns)
    figure, axes = plt.subplots(n_rows, columns, figsize=(3.6 * columns, 3 * n_rows), sharey=True, squeeze=False)
    for axis, (pair, orders) in zip(axes.flat, pairs.items(), strict=False):
        peer = max(HOPLITE, key=lambda order: sum(orders[order]))
        for name, (colour, style) in styles.items():
            curve = orders[peer if name == "hoplite" else name]
            label = f"perch-hoplite's recipe, best of {len(HOPLITE)}" if name == "hoplite" else name
            axis.plot(AFTER[: len(curve)], curve, style, color=colour, label=label, marker="o", markersize=3)
        axis.set(title=f"{pair[0]}: {pair[1]}", xscale="log", xlabel="windows heard", ylim=(0, 1))
        axis.set_xticks(AFTER, list(map(str, AFTER)))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(pairs) :]:
        axis.axis("off")
    for row in axes:
        row[0].set_ylabel("macro AP, unheard recordings")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="lower center", ncols=len(styles), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})
    plt.close(figure)


def _row(order: str, curve: Curve) -> str:
    values = [f"{value:.2f}".lstrip("0") for value in curve]
    return f"| {order} | {' | '.join([*values, *['–'] * (len(AFTER) - len(values))])} |"


def _calibration(cells: Sequence[Cell]) -> tuple[float, float]:
    """Return the mean calibration error, and the mean of that by chance."""
    return float(np.mean([cell.calibration for cell in cells])), float(np.mean([cell.chance for cell in cells]))


def _short(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _passed(is_so: bool) -> str:
    return "pass" if is_so else "miss"
