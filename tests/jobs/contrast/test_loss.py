"""NT-Xent in closed form, against a slow twin, and its properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jobs.contrast.loss import nt_xent, partners_of, similarities


def unit(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(values / np.linalg.norm(values, axis=1, keepdims=True))


def slow(vectors: NDArray[np.float64], windows: list[int], temperature: float) -> float:
    """Return the loss one row and one other row at a time."""
    n, total = len(vectors), 0.0
    for i in range(n):
        partner = (i + n // 2) % n
        at = {k: math.exp(float(vectors[i] @ vectors[k]) / temperature) for k in range(n)}
        told_from = [k for k in range(n) if k == partner or windows[k] != windows[i]]
        total -= math.log(at[partner] / sum(at[k] for k in told_from))
    return total / n


def test_equal_vectors_give_the_loss_of_guessing() -> None:
    vectors = unit(np.ones((12, 5)))
    loss = nt_xent(vectors, torch.arange(6).repeat(2), 0.2)
    assert loss.item() == pytest.approx(math.log(11))


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_windows_at_right_angles_whose_views_agree(temperature: float) -> None:
    vectors = torch.eye(6, dtype=torch.float64).repeat(2, 1)
    loss = nt_xent(vectors, torch.arange(6).repeat(2), temperature)
    assert loss.item() == pytest.approx(math.log(1 + 10 * math.exp(-1 / temperature)))


def test_two_windows_have_two_negatives_each() -> None:
    vectors = unit(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]]))
    expected = [math.log(1 + (math.exp(0.0) + math.exp(0.8)) / math.exp(0.6))] * 2
    expected += [math.log(1 + (math.exp(0.8) + math.exp(0.96)) / math.exp(0.6))] * 2
    assert nt_xent(vectors, torch.tensor([0, 1, 0, 1]), 1.0).item() == pytest.approx(np.mean(expected))


@given(st.integers(2, 9), st.integers(1, 6), st.floats(0.05, 2.0), st.integers(0, 2**32 - 1))
def test_the_loss_is_that_of_a_slow_twin(n: int, width: int, temperature: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = unit(random.normal(size=(2 * n, width)) + 1e-3)
    windows = random.integers(0, n, n).tolist() * 2
    found = nt_xent(vectors, torch.tensor(windows), temperature).item()
    assert found == pytest.approx(slow(vectors.numpy(), windows, temperature), rel=1e-9, abs=1e-9)


def test_a_window_that_is_there_twice_is_not_told_from_itself() -> None:
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(8, 4)))
    cosines = similarities(vectors, torch.tensor([3, 5, 3, 7] * 2))
    assert cosines[0, [0, 2, 6]].tolist() == [-math.inf] * 3
    assert cosines[0, [1, 3, 4, 5, 7]].isfinite().all()
    all_same = nt_xent(vectors, torch.zeros(8, dtype=torch.int64), 0.2)
    assert all_same.item() == 0


def test_partners_are_each_others() -> None:
    partners = partners_of(10, torch.device("cpu"))
    assert partners.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    assert torch.equal(partners[partners], torch.arange(10))


def test_the_gradient_is_that_of_differences() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(6, 3))).requires_grad_()
    windows = torch.tensor([0, 1, 2] * 2)
    assert torch.autograd.gradcheck(lambda x: nt_xent(x, windows, 0.3), vectors)
