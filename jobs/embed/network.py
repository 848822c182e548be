"""The network path of the ``embed`` job; the one module of it that loads torch."""

from contextlib import nullcontext
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models import VisionTransformer

from jobs.common.backbone import ModelCard, Readout, Weights, features, load_backbone, prepare
from jobs.embed.core import Encode


def encoder(folder: str, weights: Weights, readout: Readout, *, digest: str, device: str, batch_size: int) -> Encode:
    """Return the function that turns codes into vectors, batch by full batch.

    Parameters
    ----------
    folder, weights, readout
        The model, which of its weights, and what is read off its tokens.
    digest
        Digest of the model's files, under which it is kept in memory.
    device
        ``cpu`` or ``cuda``.
    batch_size
        Windows in every batch that the network sees.

    Returns
    -------
    Encode
        From uint8 codes, shape (n_windows, n_mels, n_frames) with at most ``batch_size`` windows, to
        float32, shape (n_windows, n_features). Fewer windows are filled up with copies of the last, for
        the numbers of a row may depend on how many rows there are.
    """
    torch.set_num_threads(1)  # one a worker: numbers must not depend on the machine's size
    model, card = _loaded(folder, weights, digest, device)

    def encode(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        full = np.concatenate([codes, np.repeat(codes[-1:], batch_size - len(codes), axis=0)])
        exact = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact if device.startswith("cuda") else nullcontext():
            vectors = features(model, prepare(torch.from_numpy(full).to(device), card), readout)
        return np.asarray(vectors[: len(codes)].float().cpu().numpy(), dtype=np.float32)

    return encode


@lru_cache(maxsize=1)
def _loaded(folder: str, weights: Weights, _digest: str, device: str) -> tuple[VisionTransformer, ModelCard]:
    model, card = load_backbone(folder, weights)
    return model.to(device), card
