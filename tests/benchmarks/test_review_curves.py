"""Curves of learning: a bench that was stopped goes on, and what was wanted, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import ORIGIN_MS

from benchmarks import review_curves
from benchmarks.listening import AFTER, HOPLITE, ORDERS, Played
from benchmarks.review_curves import BRIEF, Cell, append, bars, figures, measure, needed, read_cells, tables
from benchmarks.review_studies import Sound, study_of
from jobs.review.orders import Population
from lake.constants import MS_PER_DAY
from lake.grid import Grid
from lake.read import Windows

CELL = Cell("demo", "log-mel", "far", 0, [10, 20], [0.1, 0.2], 0.05, 0.02, 12, "code", "of")


def load() -> Sound:
    """Return 120 windows of two kinds, of which two in three may be heard."""
    random = np.random.default_rng(0)
    truth = random.random((120, 2)) < 0.3
    vectors = random.normal(size=(120, 4)).astype(np.float32)
    grid = Grid(origin_ms=ORIGIN_MS, hop_ms=5_000, window_ms=5_000, end_ms=ORIGIN_MS + MS_PER_DAY)
    cells = np.arange(120, dtype=np.int64)
    population = Population(Windows(np.zeros(120, dtype=np.int32), cells), grid)
    return Sound(population, truth, vectors, [4], cells // 60, cells // 6, lambda seed: cells % 3 != seed)


def test_a_study_splits_what_may_be_heard_from_what_may_not() -> None:
    sound, study = load(), study_of(load(), 1)
    assert (len(study.population), len(study.unheard)) == (80, 40)
    np.testing.assert_array_equal(study.unheard_stored, sound.stored[1::3])
    np.testing.assert_allclose(np.linalg.norm(study.known.vectors, axis=1), 1, rtol=1e-5)
    rows = study.exemplars[study.exemplars >= 0]
    assert len(np.unique(rows)) == len(rows)
    for cluster, some in enumerate(study.exemplars):
        assert (study.cluster[some[some >= 0]] == cluster).all()


def test_needed_is_linear_in_the_logarithm() -> None:
    assert needed([0.1, 0.5, 0.9, 0.95, 1.0], 0.9) == pytest.approx(40)
    assert needed([0.1, 0.5, 0.9, 0.95, 1.0], 0.7) == pytest.approx(20 * 2**0.5)
    assert needed([0.9] * 5, 0.5) == AFTER[0]
    assert needed([0.1] * 5, 0.5) == float("inf")


def test_a_line_that_was_cut_off_is_no_cell_and_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    append(path, CELL)
    for length in range(1, len(path.read_bytes()), 20):
        cut = tmp_path / f"cut-{length}.jsonl"
        cut.write_bytes(path.read_bytes()[:length])
        append(cut, replace(CELL, seed=1))
        assert read_cells(cut)[-1] == replace(CELL, seed=1)
    assert read_cells(path) == [CELL]
    assert read_cells(tmp_path / "none.jsonl") == []


def test_what_is_done_is_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[tuple[str, int]] = []

    def play(_study: object, order: str, seed: int, after: list[int], **_: object) -> Played:
        played.append((order, seed))
        if len(played) == 5:
            raise KeyboardInterrupt
        return Played(np.arange(after[-1]), [0.5] * len(after), 0.1, 0.05)

    monkeypatch.setattr(review_curves, "play", play)
    path = tmp_path / "cells.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measure([("demo", "log-mel", load)], 2, path)
    cells = measure([("demo", "log-mel", load)], 2, path)
    assert len(cells) == 2 * len([*ORDERS, *HOPLITE]) == len(played) - 1
    n_played = len(played)
    monkeypatch.setattr(review_curves, "code_digest", lambda: "other")
    measure([("demo", "log-mel", load)], 1, path)
    assert len(played) == n_played + len([*ORDERS, *HOPLITE])


def test_some_orders_are_played_first_and_the_others_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []

    def play(_study: object, order: str, _seed: int, after: list[int], **_: object) -> Played:
        played.append(order)
        return Played(np.arange(after[-1]), [0.5] * len(after), 0.1, 0.05)

    monkeypatch.setattr(review_curves, "play", play)
    path = tmp_path / "cells.jsonl"
    brief = measure([("demo", "log-mel", load)], 1, path, orders=BRIEF)
    assert played == [cell.order for cell in brief] == [*BRIEF]
    assert "| demo, log-mel |" in tables(brief)
    measure([("demo", "log-mel", load)], 1, path)
    assert sorted(played) == sorted([*ORDERS, *HOPLITE])


def test_bars_by_hand() -> None:
    flat = {order: [0.1, 0.2, 0.4, 0.6, 0.8] for order in (*ORDERS, *HOPLITE)}
    pair = review_curves.BARS[0]
    half, near = bars({pair: {**flat, "far": [0.1, 0.2, 0.4, 0.8, 0.9]}})
    assert half.ratio == pytest.approx(2)
    assert [half.peer[-4:], near.peer[-4:]] == ["pass", "pass"]
    half, near = bars({pair: {**flat, "hoplite top": [0.1, 0.5, 0.5, 0.6, 0.7]}})
    assert half.ratio == pytest.approx(1)
    assert [half.peer[-4:], near.peer[-4:]] == ["miss", "miss"]


def test_a_study_of_few_windows_has_short_curves() -> None:
    cells = [replace(CELL, order=order, after=[10, 20, 40], average_precision=[0.1, 0.2, 0.3])
             for order in (*ORDERS, *HOPLITE)]  # fmt: skip
    assert "| demo, log-mel |" in tables(cells)
    assert len(figures(cells)) == len(cells)
