"""The loop of hearing and learning: every window once, half of kinds apart by closed form, and calibration by hand."""

import numpy as np
import pytest
from stores import ORIGIN_MS

from benchmarks import listening
from benchmarks.hoplite import linear_heads
from benchmarks.listening import AFTER, HOPLITE, ORDERS, Learnt, Study, calibration_error, play
from jobs.review.orders import Population
from jobs.workflows.rehearsal import Rehearsed
from lake.grid import Grid
from lake.read import Windows


def make_study() -> Study:
    """Return 200 windows of two kinds that lie apart, and 100 more of which none is heard."""
    random = np.random.default_rng(0)
    truth = random.random((300, 2)) < 0.3
    vectors = (truth @ np.array([[4.0, 0.0], [0.0, 4.0]]) + random.normal(size=(300, 2)) * 0.1).astype(np.float32)
    n = 200
    grid = Grid(origin_ms=ORIGIN_MS, hop_ms=5_000, window_ms=5_000, end_ms=ORIGIN_MS + 5 * 86_400_000)
    cells = np.tile(np.arange(100, dtype=np.int64) * 720, 2)
    population = Population(Windows(np.repeat(np.arange(2, dtype=np.int32), 100), cells), grid)
    hours = cells // 720
    cluster = np.arange(n) % 10
    exemplars = np.arange(n).reshape(20, 10).T[:, :5]
    known = Rehearsed(vectors[:n], truth[:n], hours // 24, hours)
    return Study(population, known, vectors[:n], exemplars, cluster, vectors[n:], vectors[n:], truth[n:])


@pytest.mark.parametrize("order", ORDERS)
def test_kinds_that_lie_apart_are_found_by_every_order(order: str) -> None:
    found = play(make_study(), order, 1)
    assert found.average_precision[-1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("order", [*ORDERS, *HOPLITE])
def test_every_window_is_heard_once(order: str) -> None:
    found = play(make_study(), order, 1, AFTER[:3])
    assert len(np.unique(found.heard)) == len(found.heard) == AFTER[2]


def test_orders_that_heard_the_same_share_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    study, learnt = make_study(), Learnt()
    alone = play(study, "auto", 1, AFTER[:3])
    first = play(study, "typical", 1, AFTER[:3], learnt=learnt)
    assert len(learnt) == 3
    monkeypatch.setattr(listening, "own_scores", None)  # nothing is learnt again
    again = play(study, "auto", 1, AFTER[:3], learnt=learnt)
    np.testing.assert_array_equal(again.heard, first.heard)
    assert again.average_precision == alone.average_precision


def test_calibration_by_hand() -> None:
    probability = np.array([[0.05, 0.2], [0.25, 0.95]])
    truth = np.array([[True, False], [True, True]])
    # .05 is left out; in the third tenth .2 and .25, one of them true: |.45 - 1| = .55; in the last |.95 - 1|
    assert calibration_error(probability, truth) == pytest.approx((0.55 + 0.05) / 3)
    assert calibration_error(np.zeros((3, 1)), np.zeros((3, 1), dtype=np.bool_)) == 0


def test_heads_of_perch_hoplite_are_those_of_adam_in_torch() -> None:
    """With as many windows as a batch every batch is all of them, and the order in it says nothing."""
    import torch

    random = np.random.default_rng(4)
    vectors = random.normal(size=(256, 5)).astype(np.float32)
    truth = random.random((256, 2)) < 0.4
    heard = np.arange(128)
    weights, bias = linear_heads(vectors, heard, truth, np.random.default_rng(1))

    bound = np.sqrt(6 / (5 + 2))
    layer = torch.tensor(np.random.default_rng(1).uniform(-bound, bound, (5, 2)), requires_grad=True)
    offset = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    is_yes = torch.tensor(truth & (np.arange(256) < 128)[:, None], dtype=torch.float64)
    weight = torch.tensor(np.where(np.arange(256) < 128, 1.0, 0.05)[:, None].repeat(2, axis=1))
    optimizer = torch.optim.Adam([layer, offset], lr=1e-3, eps=1e-7)
    for _ in range(128):
        logits = torch.tensor(vectors, dtype=torch.float64) @ layer + offset
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, is_yes, weight)
        layer.grad, offset.grad = torch.autograd.grad(loss, [layer, offset])
        optimizer.step()
    np.testing.assert_allclose(weights, layer.detach().numpy(), atol=2e-4)
    np.testing.assert_allclose(bias, offset.detach().numpy(), atol=2e-4)
