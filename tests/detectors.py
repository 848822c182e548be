"""A lake with vectors of known kinds of sound, and verdicts on them: what tests of heads and detections need."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from judging import judge
from numpy.typing import NDArray
from stores import finish, make_embeddings, make_run

from jobs.common.run import Options, Run
from jobs.detect import command as detect
from jobs.detect.config import Config as DetectConfig
from jobs.learn import command as learn
from jobs.learn.config import Config as LearnConfig

HOP_MS = 600_000
CELLS_PER_DAY = 144
FEW = LearnConfig(n_unlabelled=50, n_bootstrap=50, n_few=5)


def vectors_with_sounds(
    n_days: int = 5, n_sounds: int = 3, n_features: int = 12, strength: float = 4.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return vectors of two recorders, shape (2, n_cells, n_features), and which sound is in which window.

    A window with sound i is shifted along feature i; three of four windows are recorded.
    """
    random = np.random.default_rng(seed)
    shape = (2, n_days * CELLS_PER_DAY)
    has = random.random((*shape, n_sounds)) < 0.2
    vectors = random.normal(size=(*shape, n_features)).astype(np.float32)
    vectors[..., :n_sounds] += np.float32(strength) * has
    vectors[random.random(shape) < 0.25] = np.nan
    return vectors, has


def heard(
    lake: Path,
    vectors: NDArray[np.float32],
    has: NDArray[np.bool_],
    *,
    sounds: Sequence[str] = ("wren", "rain", "frog"),
    n: int = 120,
    seed: int = 1,
    **more: Any,
) -> str:
    """Add what a person who is always right says of ``n`` random windows; return the delivery."""
    there = np.argwhere(~np.isnan(vectors[..., 0]))
    chosen = there[np.random.default_rng(seed).choice(len(there), n, replace=False)]
    return judge(
        lake,
        [
            (("north", "south")[i], int(cell) * HOP_MS, sound, "yes" if has[i, cell, j] else "no")
            for i, cell in chosen
            for j, sound in enumerate(sounds)
        ],
        **more,
    )


def learnt(lake: Path, vectors: Run, config: LearnConfig = FEW, *, name: str = "heads") -> Run[LearnConfig]:
    """Return a finished run of heads; learnt again if there is one."""
    run = make_run(lake, name, "learn", config, inputs={"embeddings": vectors})
    learn.execute(run, Options())
    finish(run)
    return run


def detect_run(
    lake: Path, vectors: Run, heads: Run, config: DetectConfig | None = None, *, name: str = "found"
) -> Run[DetectConfig]:
    """Return a run of detections, not executed."""
    return make_run(lake, name, "detect", config or DetectConfig(), inputs={"embeddings": vectors, "heads": heads})


def detected(lake: Path, vectors: Run, heads: Run) -> Run[DetectConfig]:
    """Return a finished run of detections."""
    run = detect_run(lake, vectors, heads)
    detect.execute(run, Options())
    finish(run)
    return run


def study(lake: Path, **more: Any) -> tuple[Run, Run[LearnConfig], Run[DetectConfig], NDArray[np.bool_]]:
    """Return finished runs of vectors, heads and detections, and which sound is in which window."""
    values, has = vectors_with_sounds(**more)
    vectors = make_embeddings(lake, values)
    finish(vectors)
    heard(lake, values, has)
    heads = learnt(lake, vectors)
    return vectors, heads, detected(lake, vectors, heads), has
