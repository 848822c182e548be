"""Student and teacher: a backbone with a head each, and the teacher's running average."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from jobs.common.network.backbone import build_backbone, pool
from jobs.common.network.card import ModelCard
from jobs.dino.config import Config


class Head(nn.Module):
    """DINO's projection head: a perceptron, L2 norm, and prototypes of length one.

    Holding the prototypes' length at one is what the reference does with weight normalisation and a
    fixed gain; here the matrix itself is normalised, which keeps one parameter under one name.

    Parameters
    ----------
    width
        Width of the backbone.
    config
        Its sizes.
    """

    def __init__(self, width: int, config: Config) -> None:
        super().__init__()
        sizes = [width, *[config.head_hidden] * (config.head_layers - 1), config.head_bottleneck]
        layers: list[nn.Module] = []
        for i in range(config.head_layers):
            linear = nn.Linear(sizes[i], sizes[i + 1])
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])
        bound = config.head_bottleneck**-0.5
        self.prototypes = nn.Parameter(torch.empty(config.n_prototypes, config.head_bottleneck).uniform_(-bound, bound))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return cosines with the prototypes, fp32, shape (..., n_prototypes)."""
        projected = self.layers(pooled)
        with torch.autocast(projected.device.type, enabled=False):
            direction = functional.normalize(projected.float(), dim=-1, eps=1e-6)
            return functional.linear(direction, functional.normalize(self.prototypes, dim=-1, eps=1e-6))


class Network(nn.Module):
    """A backbone and its head.

    Parameters
    ----------
    backbone
        A timm vision transformer.
    config
        Of the head, and what it sees.
    """

    def __init__(self, backbone: VisionTransformer, config: Config) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = Head(backbone.num_features, config)
        self.pooling = config.pooling

    def forward(self, groups: Sequence[Tensor], patches: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return features and logits of views.

        Parameters
        ----------
        groups
            Views of one size each, shape (n_views, n_windows, mel, frame).
        patches
            Numbers of patches among all patches of the first group, shape (n,).

        Returns
        -------
        pooled, logits, of_patches
            Shape (all views, n_windows, width) and (all views, n_windows, n_prototypes), in the order
            of the groups; and (n, n_prototypes), or ``None`` where no patches are asked for.
        """
        tokens = [self.backbone.forward_features(views.flatten(0, 1)[:, None]) for views in groups]
        parts = []
        for views, each in zip(groups, tokens, strict=True):
            pooled = pool(each, self.backbone, self.pooling)
            parts.append(pooled.reshape(*views.shape[:2], pooled.shape[-1]))
        features = torch.cat(parts)
        logits = self.head(features)
        if patches is None:
            return features, logits, None
        asked = tokens[0][:, self.backbone.num_prefix_tokens :].flatten(0, 1)[patches]
        return features, logits, self.head(asked)


@dataclass(frozen=True)
class Pair:
    """A student, and the teacher that follows it.

    Attributes
    ----------
    student, teacher
        Of the same shape; the teacher is in evaluation mode and has no gradients.
    """

    student: Network
    teacher: Network


def build_pair(card: ModelCard, config: Config) -> Pair:
    """Make a student and a teacher that starts as its copy.

    Parameters
    ----------
    card, config
        Their shape; weights are drawn from a generator of their own, seeded by ``config.seed``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        student = Network(build_backbone(card, drop_path=config.drop_path), config)
        teacher = Network(build_backbone(card), config)
    teacher.load_state_dict(student.state_dict(), strict=True)
    teacher.requires_grad_(requires_grad=False).eval()
    buffers = [name for name, _ in student.named_buffers()]
    assert not buffers, f"the teacher's average would miss the buffers {buffers}"
    return Pair(student.train(), teacher)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, share: Tensor) -> None:
    """Move each of the teacher's weights towards the student's of the same name.

    Parameters
    ----------
    teacher, student
        With the same parameter names.
    share
        Of the way, a scalar on their device; 0 leaves the teacher as it is, bit for bit.
    """
    goal: dict[str, Tensor] = dict(student.named_parameters())
    own: dict[str, Tensor] = dict(teacher.named_parameters())
    assert goal.keys() == own.keys(), f"names differ: {sorted(goal.keys() ^ own.keys())}"
    weights = list(own.values())
    steps = list(torch._foreach_sub([goal[name] for name in own], weights))
    torch._foreach_mul_(steps, share)
    torch._foreach_add_(weights, steps)
