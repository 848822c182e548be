import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.dino.config import Config
from jobs.dino.loss import dino_loss, entropy, moved_center, teacher_probabilities
from jobs.dino.schedule import pace

ROOT = Path(__file__).parents[3]


def softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def loss_slowly(student: NDArray[np.float64], teacher: NDArray[np.float64], temperature: float) -> float:
    """Say the loss again with loops over views, windows and prototypes."""
    total, n = 0.0, 0
    for t, probabilities in enumerate(teacher):
        for s, logits in enumerate(student):
            if s == t:
                continue
            for p, z in zip(probabilities, logits, strict=True):
                logs = np.log(softmax(z / temperature))
                total += -sum(p[k] * logs[k] for k in range(len(p)))
                n += 1
    return total / n


@pytest.mark.parametrize(("n_teacher", "n_student"), [(2, 2), (2, 6), (3, 4)])
def test_the_loss_equals_loops_over_views(n_teacher: int, n_student: int) -> None:
    random = np.random.default_rng(0)
    student = random.uniform(-1, 1, (n_student, 5, 16))
    teacher = softmax(random.uniform(-20, 20, (n_teacher, 5, 16)))
    expected = loss_slowly(student, teacher, 0.1)
    found = dino_loss(torch.from_numpy(student), torch.from_numpy(teacher), 0.1)
    assert found.item() == pytest.approx(expected, abs=1e-12)
    single = dino_loss(torch.from_numpy(student).float(), torch.from_numpy(teacher).float(), 0.1)
    assert single.item() == pytest.approx(expected, rel=1e-6)
    half = dino_loss(torch.from_numpy(student).bfloat16(), torch.from_numpy(teacher).float(), 0.1)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(expected, rel=1e-2)


def test_a_view_is_not_compared_with_itself() -> None:
    teacher = torch.eye(4)[None, [0, 1]].repeat(2, 1, 1)
    student = torch.zeros(2, 2, 4, requires_grad=True)
    torch.autograd.backward(dino_loss(student, teacher * torch.tensor([1.0, 0.0])[:, None, None], 0.1))
    assert student.grad is not None
    assert (student.grad[0] == 0).all()
    assert (student.grad[1] != 0).any()


@pytest.mark.parametrize("n_prototypes", [64, 8192])
def test_a_student_that_knows_nothing_has_the_loss_of_the_number_of_prototypes(n_prototypes: int) -> None:
    teacher = torch.softmax(torch.randn(2, 3, n_prototypes), dim=-1)
    found = dino_loss(torch.zeros(4, 3, n_prototypes), teacher, 0.1)
    assert found.item() == pytest.approx(math.log(n_prototypes), rel=1e-5)


def test_entropy_of_known_distributions() -> None:
    known = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    expected = torch.tensor([0.0, math.log(4), math.log(2)])
    torch.testing.assert_close(entropy(known), expected)


class Reference:
    """The loss of facebookresearch/dino (main_dino.py), said again in numpy."""

    def __init__(self, config: Config, n_steps: int) -> None:
        n_warmup = round(config.teacher_temperature_warmup * n_steps)
        self.temperatures = np.concatenate(
            [
                np.linspace(config.teacher_temperature_start, config.teacher_temperature, n_warmup),
                np.ones(n_steps - n_warmup) * config.teacher_temperature,
            ]
        )
        self.momentum = config.center_momentum
        self.center = np.zeros((1, config.n_prototypes))

    def __call__(self, student: NDArray[np.float64], teacher: NDArray[np.float64], epoch: int) -> float:
        n_crops = len(student)
        student_out = np.split(student.reshape(-1, student.shape[-1]) / 0.1, n_crops)
        flat = teacher.reshape(-1, teacher.shape[-1])
        teacher_out = np.split(softmax((flat - self.center) / self.temperatures[epoch]), 2)
        total_loss, n_loss_terms = 0.0, 0
        for iq, q in enumerate(teacher_out):
            for v, logits in enumerate(student_out):
                if v == iq:
                    continue
                total_loss += float(np.mean(np.sum(-q * np.log(softmax(logits)), axis=-1)))
                n_loss_terms += 1
        batch_center = flat.sum(axis=0, keepdims=True) / len(flat)
        self.center = self.center * self.momentum + batch_center * (1 - self.momentum)
        return total_loss / n_loss_terms


def test_twenty_steps_equal_the_reference() -> None:
    config = Config(
        n_prototypes=32,
        teacher_temperature_start=0.04,
        teacher_temperature=0.07,
        teacher_temperature_warmup=0.4,
    )
    random = np.random.default_rng(3)
    reference = Reference(config, 20)
    center = torch.zeros(32)
    for step in range(20):
        student = random.uniform(-1, 1, (6, 4, 32))
        teacher = random.uniform(-1, 1, (2, 4, 32)) + np.linspace(0, 0.5, 32)
        expected = reference(student, teacher, step)
        logits = torch.from_numpy(teacher).float()
        temperature = pace(step, 20, config).teacher_temperature
        found = dino_loss(torch.from_numpy(student).float(), teacher_probabilities(logits, center, temperature), 0.1)
        center = moved_center(center, logits, config.center_momentum)
        assert found.item() == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(center, reference.center[0], atol=1e-6)


def test_the_centre_moves_by_the_share_of_the_mean() -> None:
    logits = torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]])
    found = moved_center(torch.tensor([10.0, 20.0]), logits, 0.9)
    torch.testing.assert_close(found, torch.tensor([9.2, 18.4]))


RANK = """
import sys, torch
from torch import distributed
from jobs.dino.loss import moved_center
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt", weights_only=True)
center = given["center"]
for logits in given["logits"].chunk(2, dim=2)[rank]:
    center = moved_center(center, logits, 0.9)
torch.save(center, f"{folder}/center-{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_have_the_centre_of_the_whole_batch(tmp_path: Path) -> None:
    given = {"center": torch.randn(16), "logits": torch.randn(3, 2, 8, 16)}
    torch.save(given, tmp_path / "given.pt")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(tmp_path)], env=environment) for rank in range(2)
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    expected = given["center"]
    for logits in given["logits"]:
        expected = moved_center(expected, logits, 0.9)
    found: list[Tensor] = [torch.load(tmp_path / f"center-{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=0)
