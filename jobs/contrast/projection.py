"""The projection head: what the loss compares, and what is not kept."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.common.frames.network import GROUP, WIDTH, Norm

PROJECTION: Final = (512, 128)


class Projection(nn.Module):
    """Head of the loss: a perceptron of the mean over frames, dropped after the training."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        hidden, out = PROJECTION
        self.layers = nn.Sequential(
            nn.Linear(width, hidden, bias=False), Norm(hidden), nn.ReLU(), nn.Linear(hidden, out)
        )

    def forward(self, output: Tensor) -> Tensor:
        """Return vectors of length 1, shape (n, 128), of the output of frames, shape (n, T, 256)."""
        means = output.float().mean(dim=1)
        groups = torch.split(means, GROUP) if self.training else [means]
        return functional.normalize(torch.cat([self.layers(group) for group in groups]).float(), dim=1)
