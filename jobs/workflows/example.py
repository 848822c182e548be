"""Vectors of a clip of sound, as the runs of a lake would make them."""

import math
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from jobs.common.audio.probe import is_float, probe, read_samples
from jobs.common.run import Run
from jobs.embed.command import encoder_of
from jobs.embed.config import Config as EmbedConfig
from jobs.embed.core import faulty
from jobs.runner.reproduce import recorded_run
from jobs.spectrograms.config import Config as SpectrogramConfig
from jobs.spectrograms.core import window_codes
from lake.chain import made_by
from lake.constants import QUALITY
from lake.errors import InputError, StoreError

USELESS = ("silent", "constant", "not_a_number")
"""Marks of a clip that has nothing to compare."""


def clip_vector(urls: list[str], path: Path, start_s: float, *, recorder: str = "") -> NDArray[np.float32]:
    """Return the vector of a clip, a window long, as the runs of embedding stores make it; of several, side by side.

    Parameters
    ----------
    urls
        Embedding stores inside their lake, made of one cube.
    path, start_s
        A sound file, and the second of it that the window begins at.
    recorder
        Whose background is subtracted, by a model that subtracts those of recorders.

    Returns
    -------
    NDArray
        float32, shape (n_features,).

    Raises
    ------
    InputError
        If the clip cannot be decoded, is too short, has no such channel, or nothing to compare; if vectors were made
        elsewhere, or by another version; if the stores are of several cubes.
    """
    codes: dict[str, NDArray[np.uint8]] = {}
    vectors = []
    for url in urls:
        run = _run_of(url)
        cube = run.inputs["spectrograms"]
        if cube.config_id not in codes:
            codes[cube.config_id] = clip_codes(path, start_s, cast("SpectrogramConfig", cube.config))
        encode = encoder_of(run, recorder)
        with np.errstate(over="ignore"):  # what float16 cannot hold is refused just below
            vector = encode(codes[cube.config_id][None])[0].astype(run.config.dtype)
        if faulty(vector).any():
            raise InputError(f"{path}: its vector is zero or not finite as {run.config.dtype}. Take another clip.")
        vectors.append(vector[0].astype(np.float32))
    return np.concatenate(vectors)


def clip_codes(path: Path, start_s: float, config: SpectrogramConfig) -> NDArray[np.uint8]:
    """Return the level codes of a window's length of a clip, uint8, shape (n_mels, n_frames).

    Raises
    ------
    InputError
        As :func:`clip_vector`.
    """
    if not (math.isfinite(start_s) and start_s >= 0):
        raise InputError(f"--start {start_s:g}: expected seconds from the clip's beginning, 0 or more.")
    info = probe(path)
    rate = info.sample_rate_hz
    first, count = round(start_s * rate), round(config.window_s * rate)
    if first + count > info.n_samples:
        cut = ", cut short: its header promises more" if "truncated" in info.problems else ""
        raise InputError(
            f"{path}: expected {config.window_s:g} s, the length of a window, from second {start_s:g} on; found a clip "
            f"of {info.duration_s:g} s{cut}. Take a longer clip, or an earlier --start."
        )
    if isinstance(config.channel, int) and config.channel >= info.n_channels:
        raise InputError(
            f"{path}: expected channel {config.channel}, which the spectrograms are made of; found {info.n_channels} "
            "channels, numbered from 0. Take a clip with all channels of the recording."
        )
    samples = read_samples(path, first, count, reading=info.reading)
    codes, facts = window_codes(samples, [(0, count)], rate, config, is_float=is_float(info.format))
    wrong = [name for name in USELESS if facts.quality & QUALITY[name]]
    if wrong or not codes.any():
        raise InputError(
            f"{path}: expected a sound from second {start_s:g} on, found samples that are "
            f"{' and '.join(wrong).replace('_', ' ') or f'below the lowest band, at {rate} Hz'}. Choose another "
            "--start or clip."
        )
    return codes


def _run_of(url: str) -> Run[EmbedConfig]:
    """Return the run that wrote a store of vectors, as its receipt has it."""
    made = made_by(url)
    cube = made.inputs.get("spectrograms")
    if made.job != "embed" or cube is None or cube.job != "spectrograms":
        raise InputError(
            f"{url}: expected vectors that an `embed` run made of a cube of a `spectrograms` run, found those of "
            f"{made.job!r}: what made them is not known here, and cannot be applied to a clip. Name a window with "
            "--recorder and --time."
        )
    if not made.receipt:
        raise StoreError(f"{url}: its run has left no receipt. Type `dawnchorus run MANIFEST {made.name}`.")
    run = recorded_run(made.lake, made.receipt)
    for role, source in run.inputs.items():
        then = made.receipt["inputs"][role].get("content_id")
        if role == "model" and then != (now := source.ledger.summary()["content_id"]):
            raise StoreError(
                f"{url}: its vectors are of the model {source.name!r} as it was before (content {then}, now {now}). "
                f"Type `dawnchorus run MANIFEST {made.name}`."
            )
    return cast("Run[EmbedConfig]", run)
