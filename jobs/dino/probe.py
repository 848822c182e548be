"""Features of a sample of windows while a training runs, as ``embed`` would compute them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.network.backbone import pool
from jobs.common.network.card import ModelCard
from jobs.common.network.inputs import prepare, resize
from jobs.common.training import probe
from jobs.common.training.data import Source
from jobs.dino.config import Config
from jobs.dino.model import Network


def features(
    network: Network, codes: NDArray[np.uint8], recorder: Sequence[str] | None, card: ModelCard, config: Config
) -> Tensor:
    """Return a network's pooled features of windows, float32 on the CPU, shape (n, width)."""
    device = network.head.prototypes.device
    was_training = network.training
    network.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        x = resize(prepare(torch.from_numpy(codes).to(device), card, recorder), config.global_size)
        pooled = pool(network.backbone.forward_features(x), network.backbone, config.pooling)
    network.train(was_training)
    return pooled.float().cpu()


def embedded(
    network: Network, source: Source, windows: NDArray[np.int64], card: ModelCard, config: Config
) -> NDArray[np.float32]:
    """Return the features of windows by their numbers; see :func:`jobs.common.training.probe.embedded`."""
    return probe.embedded(
        lambda codes, recorder: features(network, codes, recorder, card, config),
        source,
        windows,
        int(network.backbone.num_features),
        named=card.background_db is not None,
    )


def signs(
    network: Network, source: Source, windows: NDArray[np.int64], card: ModelCard, config: Config
) -> dict[str, float]:
    """Return what the features of a sample of windows show; see :func:`jobs.common.training.probe.signs`."""
    return probe.signs(embedded(network, source, windows, card, config), source.places, windows)
