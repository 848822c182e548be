"""Vectors of a network of frames, as ``contrast`` trains it."""

from contextlib import nullcontext
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.common.frames.card import FrameCard
from jobs.common.frames.inputs import standardised
from jobs.common.frames.network import FrameNet, mean_and_deviation
from jobs.common.frames.resampling import Shape, resampler
from jobs.common.frames.stored import load_network
from jobs.common.network.card import Weights
from jobs.common.network.readouts import Readout
from jobs.embed.core import Encode


def encoder(
    folder: str, weights: Weights, readout: Readout, cube: Shape, *, digest: str, device: str, batch_size: int
) -> Encode:
    """Return the function that turns codes into vectors, batch by full batch.

    Parameters
    ----------
    folder, weights, readout
        The model, which of its weights, and whether the mean and deviation over time are those of its output or stem.
    cube
        The windows, which are brought to the network's bands and frames.
    digest
        Digest of the model's files, under which it is kept in memory.
    device, batch_size
        What computes, and windows in every batch: fewer are filled up with copies of the last, for the numbers of a row
        may depend on how many rows there are.
    """
    torch.set_num_threads(1)  # one a worker: numbers must not depend on the machine's size
    net, card = _loaded(folder, weights, digest, device)
    resample, _ = resampler(cube, np.array(card.mel_hz), card.seconds_per_frame)
    mean_db = torch.tensor(card.mean_db, dtype=torch.float32, device=device)

    def encode(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], None]:
        full = np.concatenate([codes, np.repeat(codes[-1:], batch_size - len(codes), axis=0)])
        exact = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact if device.startswith("cuda") else nullcontext():
            here = torch.from_numpy(resample(full)).to(device)
            frames = net(standardised(here, mean_db, card.deviation_db, card.own_median))
            vectors = mean_and_deviation(frames[0 if readout == "output" else 1])
        return np.asarray(vectors[: len(codes)].cpu().numpy(), dtype=np.float32), None

    return encode


def require_model(folder: str, weights: Weights, *, digest: str, device: str) -> None:
    """Load a model, which :func:`encoder` then finds in memory.

    Raises
    ------
    InputError, StoreError, StoreFormatError
        If it cannot be read.
    """
    _loaded(folder, weights, digest, device)


@lru_cache(maxsize=1)
def _loaded(folder: str, weights: Weights, _digest: str, device: str) -> tuple[FrameNet, FrameCard]:
    net, card = load_network(folder, weights)
    return net.to(device), card
