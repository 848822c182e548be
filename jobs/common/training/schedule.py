"""Curves over the steps of a training: pure functions.

The formulas are those of facebookresearch/dino (``utils.cosine_scheduler``), with warm-ups given as shares of the
steps, so that they fit a training of any length.
"""

import math


def cosine(step: int, n_steps: int, *, start: float, end: float, n_warmup: int = 0) -> float:
    """Return a half cosine from ``start`` to ``end``, after a linear rise from 0 to ``start``.

    The rise takes ``n_warmup`` steps, of which the first is 0 and the last is ``start``; ``end`` is
    what step ``n_steps`` would have.
    """
    if step < n_warmup:
        return ramp(step, n_warmup, start=0.0, end=start)
    done = (step - n_warmup) / max(n_steps - n_warmup, 1)
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * done))


def ramp(step: int, n_warmup: int, *, start: float, end: float) -> float:
    """Return a straight line from ``start`` at step 0 to ``end`` at step ``n_warmup - 1``, then ``end``."""
    if step >= n_warmup:
        return end
    return start + (end - start) * step / max(n_warmup - 1, 1)
