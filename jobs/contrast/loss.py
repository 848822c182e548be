"""NT-Xent (Chen et al. 2020, arXiv:2002.05709): each view has to find the other view of its window among all views.

Axes: B windows, D numbers of a projected vector. The first B rows are the first views, the others the second ones.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(vectors: Tensor, windows: Tensor, temperature: float) -> Tensor:
    """Return the loss of all views of a batch.

    Parameters
    ----------
    vectors
        Of length 1, fp32, shape (2 B, D).
    windows
        Number of each row's window, int64, shape (2 B,): views of a window that is in the batch twice, as where a pass
        over few windows ends in it, are no negatives of each other.
    temperature
        That cosines are divided by.

    Returns
    -------
    Tensor
        Mean over the rows of ``-log(exp(c_p / t) / sum of exp(c_k / t))``, nats, a scalar: c are the cosines with the
        other view of the window (p), and with it and all views of other windows (k).
    """
    logits = similarities(vectors, windows) / temperature
    return functional.cross_entropy(logits, partners_of(len(vectors), vectors.device))


def similarities(vectors: Tensor, windows: Tensor) -> Tensor:
    """Return the cosine of each row with each other row that is its negative or its partner; else minus infinity."""
    rows = torch.arange(len(vectors), device=vectors.device)
    is_left_out = windows[:, None] == windows[None, :]
    is_left_out[rows, partners_of(len(vectors), vectors.device)] = False
    return (vectors @ vectors.T).masked_fill(is_left_out, -math.inf)


def partners_of(n: int, device: torch.device) -> Tensor:
    """Return the number of the row that is the other view of each row's window, shape (2 B,)."""
    return torch.arange(n, device=device).roll(n // 2)
