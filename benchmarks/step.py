"""A training step on the CPU, beside a plain re-statement of facebookresearch/dino's loop.

``python -m benchmarks.step``: the demo's network, batch and views, fp32, the same number of threads, in alternated
rounds. The reference clips tensor by tensor and asks for each norm, computes the loss pair by pair, moves the teacher
tensor by tensor with an optimiser that is not fused, and makes its views with PIL (``main_dino.py``, ``utils.py`` at
7c446df); networks and heads are equally large.
"""

import copy
import os
import statistics
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import InterpolationMode

from benchmarks.report import Figure, report
from jobs.common.network.backbone import build_backbone
from jobs.common.network.card import ModelCard
from jobs.common.training.schedule import cosine
from jobs.dino.config import Config
from jobs.dino.quick import views_of
from jobs.dino.train import State, advance, learn, new_state

ROOT: Final = Path(__file__).parent.parent
ROUNDS: Final = 15
STEPS: Final = 4
N_STEPS: Final = 1000
N_CORES: Final = len(os.sched_getaffinity(0))
FIRST_STEP: Final = 100


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(N_CORES)
    text = (ROOT / "manifests" / "demo.toml").read_text(encoding="utf-8")
    config = Config(**tomllib.loads(text)["runs"]["dino"]["config"])
    random = np.random.default_rng(0)
    codes = random.normal(80, 8, (config.batch_size, 128, 256)).clip(1, 255).astype(np.uint8)
    card = ModelCard(
        arch=config.arch, embed_dim=config.embed_dim, depth=config.depth, num_heads=config.num_heads,
        patch_size=config.patch_size, input_size=config.global_size, mean_db=(-85.0,) * 128, deviation_db=5.0,
        seconds_per_frame=0.02, mel_first_hz=50.0, mel_last_hz=11_000.0, run="", config_id="",
    )  # fmt: skip
    state = new_state(card, config, torch.device("cpu"))
    state.step = FIRST_STEP
    plain = Reference(card, config)
    samples = np.arange(config.batch_size)
    made = views_of(torch.from_numpy(codes), samples, card, config)
    crops = [crop for group in made.student for crop in group[:, :, None].unbind()]
    pictures = [Image.fromarray(window) for window in codes]
    cut = croppers(config)
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: learned(state, made, config),
        "reference": lambda: plain.step(crops),
        "ours with views": lambda: advanced(state, codes, samples, card, config),
        "reference with views": lambda: plain.step(views_by_pil(pictures, cut)),
    }
    seconds = measured(ways)
    rates = {name: config.batch_size / value for name, value in seconds.items()}
    report("step", [
        Figure("step without making views", rates["ours"], "windows/s", "reference loop",
               rates["ours"] / rates["reference"]),
        Figure("reference loop", rates["reference"], "windows/s"),
        Figure("step with making views", rates["ours with views"], "windows/s", "reference loop with PIL",
               rates["ours with views"] / rates["reference with views"]),
        Figure("reference loop with PIL", rates["reference with views"], "windows/s"),
    ])  # fmt: skip


def measured(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of a step of each way, in alternated rounds; the first is not counted."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            began_s = time.perf_counter()
            for _ in range(STEPS):
                way()
            found[name].append((time.perf_counter() - began_s) / STEPS)
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def learned(state: State, views: Any, config: Config) -> None:  # noqa: ANN401 (views of a private module)
    """Do our step with views that are there."""
    learn(state, iter([(views, None)]), 1, N_STEPS, config)
    state.step = FIRST_STEP


def advanced(
    state: State, codes: NDArray[np.uint8], samples: NDArray[np.int64], card: ModelCard, config: Config
) -> None:
    """Do our step from codes."""
    advance(state, torch.from_numpy(codes), samples, card=card, config=config, n_steps=N_STEPS)
    state.step = FIRST_STEP


class ReferenceHead(nn.Module):
    """DINOHead of ``vision_transformer.py``."""

    def __init__(self, width: int, config: Config) -> None:
        super().__init__()
        hidden, bottleneck = config.head_hidden, config.head_bottleneck
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last_layer = weight_norm(nn.Linear(bottleneck, config.n_prototypes, bias=False))
        gain = cast("Any", self.last_layer).parametrizations.weight.original0
        gain.data.fill_(1)
        gain.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return cast("Tensor", self.last_layer(functional.normalize(self.mlp(x), dim=-1, p=2)))


class ReferenceNetwork(nn.Module):
    """MultiCropWrapper of ``utils.py``: one forward for each size of view, one call of the head."""

    def __init__(self, card: ModelCard, config: Config) -> None:
        super().__init__()
        self.backbone = build_backbone(card)
        self.head = ReferenceHead(int(self.backbone.num_features), config)

    def forward(self, crops: Sequence[Tensor]) -> Tensor:
        """Return logits of all views, one below the other."""
        widths = torch.tensor([crop.shape[-1] for crop in crops])
        ends = torch.cumsum(torch.unique_consecutive(widths, return_counts=True)[1], 0)
        start, outputs = 0, []
        for end in ends.tolist():
            tokens = self.backbone.forward_features(torch.cat(list(crops[start:end])))
            outputs.append(tokens[:, self.backbone.num_prefix_tokens :].mean(dim=1))
            start = end
        return cast("Tensor", self.head(torch.cat(outputs)))


class Reference:
    """``train_one_epoch`` of ``main_dino.py``, one step at a time."""

    def __init__(self, card: ModelCard, config: Config) -> None:
        self.config = config
        self.student = ReferenceNetwork(card, config)
        self.teacher = copy.deepcopy(self.student)
        for parameter in self.teacher.parameters():
            parameter.requires_grad = False
        decayed = [p for n, p in self.student.named_parameters() if p.requires_grad and not _is_plain(n, p)]
        others = [p for n, p in self.student.named_parameters() if p.requires_grad and _is_plain(n, p)]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups)
        self.center = torch.zeros(1, config.n_prototypes)

    def step(self, crops: Sequence[Tensor]) -> float:
        """Do a step; return its loss."""
        config = self.config
        for i, group in enumerate(self.optimizer.param_groups):
            group["lr"] = cosine(FIRST_STEP, N_STEPS, start=config.lr * config.batch_size / 256, end=config.final_lr)
            if i == 0:
                group["weight_decay"] = 0.1
        with torch.no_grad():
            teacher_output = self.teacher(crops[: config.n_global])
        loss = self._loss(self.student(crops), teacher_output)
        if not np.isfinite(loss.item()):
            raise FloatingPointError
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        for parameter in self.student.parameters():
            if parameter.grad is not None:
                coefficient = config.clip / (parameter.grad.data.norm(2).item() + 1e-6)
                if coefficient < 1:
                    parameter.grad.data.mul_(coefficient)
        self.optimizer.step()
        with torch.no_grad():
            for own, goal in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                own.data.mul_(0.99).add_(0.01 * goal.detach().data)
        return loss.item()

    def _loss(self, student_output: Tensor, teacher_output: Tensor) -> Tensor:
        config = self.config
        n_crops = config.n_global + config.n_local
        student = (student_output / config.student_temperature).chunk(n_crops)
        teacher = functional.softmax((teacher_output - self.center) / config.teacher_temperature, dim=-1)
        total, n_terms = torch.zeros(()), 0
        for i, q in enumerate(teacher.detach().chunk(config.n_global)):
            for v in range(n_crops):
                if v != i:
                    total = total + torch.sum(-q * functional.log_softmax(student[v], dim=-1), dim=-1).mean()
                    n_terms += 1
        batch_center = torch.sum(teacher_output, dim=0, keepdim=True) / len(teacher_output)
        self.center = self.center * 0.9 + batch_center * 0.1
        return total / n_terms


def _is_plain(name: str, parameter: Tensor) -> bool:
    return name.endswith(".bias") or len(parameter.shape) == 1


def croppers(config: Config) -> list[Any]:
    """Return DataAugmentationDINO of ``main_dino.py`` for grey pictures: a transform for each view."""

    def pipeline(size: tuple[int, int], scale: tuple[float, float], blur: float, solarize: float) -> Any:  # noqa: ANN401 (a transform)
        return v2.Compose([
            v2.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(0.5), v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], blur),
            v2.RandomSolarize(128, solarize), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5], [0.5]),
        ])  # fmt: skip

    first, second = (
        pipeline(config.global_size, (0.4, 1.0), 1.0, 0.0),
        pipeline(config.global_size, (0.4, 1.0), 0.1, 0.2),
    )
    return [first, second, *[pipeline(config.local_size, (0.05, 0.4), 0.5, 0.0)] * config.n_local]


def views_by_pil(pictures: Sequence[Image.Image], cut: Sequence[Any]) -> list[Tensor]:
    """Return the views of a batch, one picture after the other, as a worker of the reference's loader does."""
    return [torch.stack([crop(picture) for picture in pictures]) for crop in cut]


if __name__ == "__main__":
    main()
