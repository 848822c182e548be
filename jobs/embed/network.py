"""The network path of the ``embed`` job; the one module of it that loads torch."""

from contextlib import nullcontext
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models import VisionTransformer

from jobs.common.network.backbone import features, load_backbone
from jobs.common.network.card import ModelCard, Weights
from jobs.common.network.inputs import prepare
from jobs.common.network.readouts import Readout
from jobs.embed.attention import class_attention, require_class_token
from jobs.embed.core import Encode, Maps


def encoder(
    folder: str, weights: Weights, readout: Readout,
    *, digest: str, device: str, batch_size: int, recorder: str, attention: bool = False,
) -> Encode:  # fmt: skip
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
    recorder
        Whose windows they are: a model may take each recorder's background off.
    attention
        Whether the class token's attention is wanted as well.

    Returns
    -------
    Encode
        From uint8 codes, shape (n_windows, n_mels, n_frames) with at most ``batch_size`` windows, to
        float32, shape (n_windows, n_features), and the attention or ``None``. Fewer windows are filled up with
        copies of the last, for the numbers of a row may depend on how many rows there are.
    """
    torch.set_num_threads(1)  # one a worker: numbers must not depend on the machine's size
    model, card = _loaded(folder, weights, digest, device)

    def encode(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Maps | None]:
        full = np.concatenate([codes, np.repeat(codes[-1:], batch_size - len(codes), axis=0)])
        exact = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact if device.startswith("cuda") else nullcontext():
            levels = prepare(torch.from_numpy(full).to(device), card, [recorder] * len(full))
            with class_attention(model) if attention else nullcontext() as maps:
                vectors = features(model, levels, readout)
        found = np.asarray(vectors[: len(codes)].float().cpu().numpy(), dtype=np.float32)
        return found, maps[0][: len(codes)].cpu().numpy().astype(np.float16) if maps else None

    return encode


def require_model(folder: str, weights: Weights, *, digest: str, device: str, attention: bool) -> None:
    """Load a model, which :func:`encoder` then finds in memory.

    Raises
    ------
    InputError
        If it cannot be read, or attention is wanted of a network without a class token.
    """
    model, _ = _loaded(folder, weights, digest, device)
    if attention:
        require_class_token(model)


@lru_cache(maxsize=1)
def _loaded(folder: str, weights: Weights, _digest: str, device: str) -> tuple[VisionTransformer, ModelCard]:
    model, card = load_backbone(folder, weights)
    return model.to(device), card
