"""Orders of listening that were tried, on splits of their own: what joins `far`, `typical` and `margin`.

    python -m benchmarks.review_tried --study demo
    python -m benchmarks.review_tried --study ESC-10 --audio /some/folder

Seeds from 100 on: of the same recordings as the tables of ``docs/benchmarks.md``, so not independent of them. Each
order and seed is one line of ``build/bench/review-tried.jsonl``, and is not played again.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.listening import AFTER, Learnt, Scores, Study, macro_ap, own_scores
from benchmarks.quality import ROOT
from benchmarks.report import FOLDER
from benchmarks.review_curves import COMPARED, JOINED, needed
from benchmarks.review_studies import Sound, of_birdnet, of_demo, study_of
from jobs.review import typical as module
from jobs.review.orders import Population, at_random, farthest, ranked
from jobs.review.typical import typical
from jobs.workflows.quickstart import prepare_study
from lake.scaling import Vectors

Rows = NDArray[np.int64]
Next = Callable[["Step"], Rows]

LINES: Final = FOLDER / "review-tried.jsonl"
FIRST_SEED: Final = 100
WANTED: Final = {"demo": 0.9, "ESC-10": 0.85}


class Step:
    """One batch: what may be heard, what was, and how many are wanted; an order returns numbers among ``left``."""

    def __init__(
        self, study: Study, heard: Rows, n: int, scored: Mapping[int, Scores], random: np.random.Generator
    ) -> None:
        self.left = np.setdiff1d(np.arange(len(study.population)), heard)
        self.there = Population(study.population.windows.take(self.left), study.population.grid)
        self.vectors, self.heard = study.known.vectors[self.left], study.known.vectors[heard]
        self.n, self.scored, self.random = n, scored, random

    @property
    def every(self) -> Rows:
        """Return the numbers of all windows that are left."""
        return np.arange(len(self.there))


def by_far(step: Step) -> Rows:
    """Return windows far from each other."""
    return farthest(step.there, step.every, step.vectors, step.heard, step.n).rows


def by_typical(step: Step) -> Rows:
    """Return the middles of clusters."""
    return typical(step.there, step.every, step.vectors, step.heard, step.n, random=step.random).rows


def far_until(n_heard: int, then: Next = by_typical) -> Next:
    """Return an order that is ``far`` until so many windows were heard."""
    return lambda step: by_far(step) if len(step.heard) < n_heard else then(step)


def half_margin(step: Step) -> Rows:
    """Return, once 40 were heard, ``margin`` of sounds that have a detector in turn with ``typical``."""
    own = by_typical(step)
    if len(step.heard) < 40 or not step.scored:
        return own
    probability = {str(kind): one.probability[step.left] for kind, one in step.scored.items()}
    unsure = ranked(step.there, probability, step.n, key=lambda values: -np.abs(values - 0.5)).rows
    both = np.stack([own, unsure], axis=1).ravel()
    _, first = np.unique(both, return_index=True)
    return np.asarray(both[np.sort(first)][: step.n])


def far_first(step: Step) -> Rows:
    """Return the middles of clusters whose first centroids are those heard and the farthest from them."""

    def first(_vectors: Vectors, n_clusters: int, _random: np.random.Generator) -> Vectors:
        chosen = step.heard[:n_clusters]
        rows = farthest(step.there, step.every, step.vectors, step.heard, n_clusters - len(chosen)).rows
        return np.concatenate([chosen, step.vectors[rows]])

    with mock.patch.object(module, "_first", first):
        return by_typical(step)


def heard_stay(step: Step) -> Rows:
    """Return the middles of new clusters, where each window heard is a centroid that does not move."""
    drawn, heard = step.vectors, step.heard
    lengths = np.einsum("ij,ij->i", drawn, drawn)
    nearest = np.full(len(drawn), np.inf)

    def nearer(one: Vectors) -> None:
        np.minimum(nearest, np.maximum(lengths + one @ one - 2 * (drawn @ one), 0), out=nearest)

    for one in heard:
        nearer(one)
    chosen: list[int] = [] if len(heard) else [int(step.random.integers(len(drawn)))]
    if chosen:
        nearer(drawn[chosen[0]])
    while len(chosen) < step.n:
        chosen.append(int(step.random.choice(len(drawn), p=nearest / nearest.sum())))
        nearer(drawn[chosen[-1]])
    centroids = np.concatenate([heard, drawn[chosen]])
    for _ in range(module.N_STEPS):
        label, moved = module._assigned(drawn, centroids)
        centroids[len(heard) :] = moved[len(heard) :]
    label, _ = module._assigned(drawn, centroids)
    apart = drawn - centroids[label]
    distance = np.einsum("ij,ij->i", apart, apart)
    sizes = np.bincount(label, minlength=len(centroids))
    spans, asked, rows = step.there.spans(step.every), set[int](), list[int]()
    for cluster in sorted(range(len(heard), len(centroids)), key=lambda c: -sizes[c]):
        mine = np.flatnonzero(label == cluster)
        mine = mine[np.argsort(distance[mine], kind="stable")]
        if len(mine):
            best = next((int(i) for i in mine if int(spans[i]) not in asked), int(mine[0]))
            asked.add(int(spans[best]))
            rows.append(best)
    return np.array(rows, dtype=np.int64)


def far_middles(step: Step) -> Rows:
    """Return the middles of twice as many clusters that are farthest from each other and from what was heard."""
    wide = typical(step.there, step.every, step.vectors, step.heard, 2 * step.n, random=step.random).rows
    there = Population(step.there.windows.take(wide), step.there.grid)
    return wide[farthest(there, np.arange(len(wide)), step.vectors[wide], step.heard, step.n).rows]


TRIED: Final[Mapping[str, Next]] = {
    "random": lambda step: at_random(step.there, step.n, step.random).rows,
    "far": by_far,
    "typical": by_typical,
    "far until 20, then typical": far_until(20),
    "far until 40, then typical": far_until(40),
    "first centroids far": far_first,
    "far until 40, then first centroids far": far_until(40, far_first),
    "heard stay": heard_stay,
    "far until 40, then heard stay": far_until(40, heard_stay),
    "far middles": far_middles,
    "typical, margin after 40": half_margin,
}


def main() -> None:
    """Play what was not played, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=WANTED, required=True)
    parser.add_argument("--audio", type=Path, help="folder of labelled recordings, for ESC-10")
    parser.add_argument("--demo", type=Path, default=ROOT / "data" / "demo")
    parser.add_argument("--order", choices=TRIED, nargs="*", default=list(TRIED))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    asked = parser.parse_args()
    if asked.study == "demo":
        prepare_study(asked.demo, 1, print)
        sound = of_demo(asked.demo, JOINED, 1)
    else:
        sound = of_birdnet(asked.study, asked.audio)
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        play_all(sound, asked.study, asked.order, seed)
    print(table(asked.study))


def play_all(sound: Sound, name: str, orders: list[str], seed: int) -> None:
    """Play orders with one seed and keep a line of each; heads of the same windows are learnt once."""
    done = {(one["study"], one["order"], one["seed"]) for one in lines()}
    orders = [order for order in orders if (name, order, seed) not in done]
    if not orders:
        return
    with threadpool_limits(1):
        study, learnt = study_of(sound, seed), Learnt()
        for order in orders:
            random = np.random.default_rng([seed, 1])
            heard, worth, scored = np.empty(0, dtype=np.int64), list[float](), dict[int, Scores]()
            for n in AFTER:
                step = Step(study, heard, n - len(heard), scored, random)
                rows = step.left[TRIED[order](step)]
                if len(rows) < step.n:
                    rest = random.permutation(np.setdiff1d(step.left, rows))
                    rows = np.concatenate([rows, rest[: step.n - len(rows)]])
                heard = np.concatenate([heard, rows])
                key = heard.tobytes()
                if key not in learnt:
                    learnt[key] = own_scores(study, heard)
                scored = learnt[key]
                worth.append(macro_ap({kind: one.on_unheard for kind, one in scored.items()}, study.unheard_truth))
            LINES.parent.mkdir(parents=True, exist_ok=True)
            with LINES.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"study": name, "order": order, "seed": seed, "worth": worth}) + "\n")
            print(name, order, seed, np.round(worth, 3), flush=True)


def lines() -> list[dict[str, object]]:
    """Return what was played."""
    return [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()] if LINES.exists() else []


def table(study: str) -> str:
    """Return the mean of each order as a Markdown table, with the windows that it needs."""
    found = [f"| {study} | {' | '.join(map(str, AFTER))} | mean at {COMPARED} | windows for {WANTED[study]} | seeds |"]
    for order in TRIED:
        several = [one["worth"] for one in lines() if (one["study"], one["order"]) == (study, order)]
        if several:
            curve = np.mean(np.array(several, dtype=np.float64), axis=0)
            at = np.mean([curve[AFTER.index(n)] for n in COMPARED])
            values = " | ".join(f"{value:.3f}" for value in curve)
            found.append(
                f"| {order} | {values} | {at:.3f} | {needed(list(curve), WANTED[study]):.0f} | {len(several)} |"
            )
    return "\n".join(found)


if __name__ == "__main__":
    main()
