"""A small network of frames: convolutions that keep the time axis, then a perceptron for each frame.

Axes: n windows or views, M mel bands, F frames, T = F / 4 frames of the output.
"""

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUP: Final = 32
"""Views that are normalised together while training: fixed, so that shares and parts of a batch give the same."""
CHANNELS: Final = (1, 32, 64, 64, 96)
STRIDES: Final = ((2, 2), (2, 2), (2, 1), (2, 1))
FRAMES_PER_OUTPUT: Final = 4
WIDTH: Final = 256


class Norm(nn.Module):
    """Batch normalisation over what it is given; for inference by moments that :func:`calibrate` measured.

    Training has no state here: nothing depends on earlier steps, or on how many processes share a batch.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.measured: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised per channel (its axis 1)."""
        if not self.training:
            return functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias)
        if self.measured is not None:
            axes = [axis for axis in range(x.ndim) if axis != 1]
            self.measured.append(torch.stack([x.float().mean(axes), x.float().square().mean(axes)]))
        return functional.batch_norm(x, None, None, self.weight, self.bias, training=True)


class FrameNet(nn.Module):
    """Vectors of frames.

    Parameters
    ----------
    n_bands
        Mel bands of the input, a multiple of 16.

    Notes
    -----
    3×3 convolutions without bias of 32, 64, 64 and 96 channels, strides (2, 2), (2, 2), (2, 1), (2, 1) along
    (bands, frames), each with batch normalisation and ReLU; their channels and rows of bands, side by side, are the
    "stem" of a frame; a perceptron of two layers with ReLU makes the "output" of it. 374 k parameters at 128 bands,
    where the stem has 768 numbers.
    """

    def __init__(self, n_bands: int = 128) -> None:
        super().__init__()
        if n_bands % 16:
            raise ValueError(f"n_bands: expected a multiple of 16, found {n_bands}")
        layers: list[nn.Module] = []
        for i, stride in enumerate(STRIDES):
            conv = nn.Conv2d(CHANNELS[i], CHANNELS[i + 1], 3, stride=stride, padding=1, bias=False)
            layers += [conv, Norm(CHANNELS[i + 1]), nn.ReLU(inplace=True)]
        self.n_bands = n_bands
        self.n_stem = CHANNELS[-1] * n_bands // 16
        self.n_output = WIDTH
        self.stem = nn.Sequential(*layers)
        self.perceptron = nn.Sequential(nn.Linear(self.n_stem, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return output and stem of each fourth frame.

        Parameters
        ----------
        x
            Windows or views (:func:`jobs.common.frames.inputs.standardised`), float32, shape (n, 1, M, F): bands from
            low to high, then time, as the cube has them.

        Returns
        -------
        output
            Shape (n, ceil(F / 4), 256).
        stem
            Shape (n, ceil(F / 4), 6 M), channels first, then rows of bands.

        Notes
        -----
        While training, each :data:`GROUP` of neighbours is normalised by itself; n should be a multiple of it.
        """
        if not self.training:
            return self._frames(x)
        outputs, stems = zip(*(self._frames(group) for group in torch.split(x, GROUP)), strict=True)
        return torch.cat(outputs), torch.cat(stems)

    def _frames(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.stem(x.contiguous(memory_format=torch.channels_last))
        stem = maps.permute(0, 3, 1, 2).flatten(2)
        return self.perceptron(stem), stem


def readout(output: Tensor, stem: Tensor) -> Tensor:
    """Return mean and deviation over time of the output, then of the stem, float32, shape (n, 2 (256 + 6 M))."""
    return torch.cat([mean_and_deviation(output), mean_and_deviation(stem)], dim=1)


def mean_and_deviation(frames: Tensor) -> Tensor:
    """Return mean and deviation over time of frames of shape (n, T, width), float32, shape (n, 2 width)."""
    frames = frames.float()
    return torch.cat([frames.mean(dim=1), frames.std(dim=1, correction=0)], dim=1)


@torch.no_grad()
def calibrate(net: FrameNet, windows: Iterable[Tensor]) -> None:
    """Set the moments that the network normalises by in inference, as its layers find them in windows.

    Parameters
    ----------
    net
        Left in inference mode.
    windows
        Standardised windows in some batches, each of shape (n, 1, M, F); whole :data:`GROUP` s.

    Notes
    -----
    "Precise" batch normalisation (Wu and Johnson 2021): each layer's moments over all groups, each group normalised by
    itself below. No moving average is kept while training.
    """
    norms = [each for each in net.modules() if isinstance(each, Norm)]
    for norm in norms:
        norm.measured = []
    net.train()
    for batch in windows:
        net(batch)
    for norm in norms:
        assert norm.measured
        mean, square = torch.stack(norm.measured).mean(dim=0)
        norm.mean.copy_(mean)
        norm.variance.copy_((square - mean.square()).clamp_(min=0))
        norm.measured = None
    net.eval()
