"""Windows as the network of frames takes them."""

import numpy as np
import torch
from torch import Tensor

from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB


def standardised(codes: Tensor, mean_db: Tensor, deviation_db: float, own_median: float = 0.5) -> Tensor:
    """Return windows as the network takes them.

    Parameters
    ----------
    codes
        uint8, shape (B, M, F), as the cube has them; 0 is missing.
    mean_db
        The study's mean level of each band, dBFS, shape (M,).
    deviation_db
        One deviation of levels about those means, dB.
    own_median
        Share of the window's own median per band (of frames that are there) that is taken off.

    Returns
    -------
    Tensor
        float32, shape (B, 1, M, F), in deviations; what is missing is 0.
    """
    level = codes.to(torch.float32).mul_(CODE_STEP_DB).add_(CODE_OFFSET_DB - mean_db[:, None])
    if own_median:
        level -= own_median * (own_medians(codes) - mean_db)[..., None]
    return level.div_(deviation_db).masked_fill_(codes == 0, 0.0)[:, None]


def own_medians(codes: Tensor) -> Tensor:
    """Return the median level of each band of each window over the frames that are there, dBFS, shape (B, M)."""
    # Sorting 16-bit numbers with NumPy takes a fortieth of the time of any median of torch on a CPU.
    if codes.device.type == "cpu":
        ordered = torch.from_numpy(np.sort(codes.numpy().astype(np.int16), axis=2))
    else:
        ordered = codes.sort(dim=2).values
    n_missing = (codes == 0).sum(dim=2, keepdim=True)
    n_there = codes.shape[2] - n_missing
    middle = [n_missing + (n_there - 1).clamp(min=0) // 2, n_missing + n_there // 2]
    pair = ordered.gather(2, torch.cat(middle, dim=2).clamp_(max=codes.shape[2] - 1)).to(torch.float32)
    return pair.mean(dim=2) * CODE_STEP_DB + CODE_OFFSET_DB
