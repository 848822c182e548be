"""The ``dictionary`` job: a cube and a folder of files around the pure core."""

import io
import json

import numpy as np
import safetensors.numpy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from jobs.common.cubes import WINDOWS_AT_ONCE, Cube, batches, cube_of, drawn
from jobs.common.dictionary import (
    CARD_FILE,
    WEIGHTS_FILE,
    Array,
    Atoms,
    Card,
    Dictionary,
    normalised,
    to_tensors,
)
from jobs.common.folders import publish_files
from jobs.common.needs import FILE_BYTES, LIBRARIES_BYTES, described
from jobs.common.processors import blas_backend
from jobs.common.progress import progress
from jobs.common.reduce import Size, reduced_levels, reduced_size
from jobs.common.run import Options, Outcome, Run
from jobs.common.space import Space
from jobs.dictionary.config import Config
from jobs.dictionary.core import LevelSums, learn_atoms
from jobs.dictionary.picture import draw_atoms
from lake.errors import InputError

SMALLEST_RANGE = 1e-3
"""Patches that differ by less, in deviations, differ by rounding."""
PICTURE_BYTES = 1_000_000
"""More than the picture of the atoms takes."""


def execute(run: Run[Config], options: Options) -> Outcome:
    """Learn the atoms of a cube's windows and write them; ``embed`` uses them as it uses a network.

    Everything follows from the seed: a run that was killed and starts again writes the same bytes.

    Raises
    ------
    InputError
        If the cube has no usable window, windows that do not vary, or fewer bands or frames than a patch.
    """
    config, cube = run.config, run.inputs["spectrograms"]
    found = cube_of(run, partial=config.partial)
    mel_hz, shape, window_s = found.mel_hz, found.shape, found.window_s
    view = reduced_size(shape, config.view_size)
    _require_room(run, cube.name, view, config)
    run = options.begin(run, Outcome(did=True, counts={}))
    sample = drawn(found, config.n_windows, config.seed)
    with threadpool_limits(1):
        dictionary = _learnt(run, sample, view, config)
    card = Card(
        view=view, patch_sizes=config.patch_sizes, n_atoms=config.n_atoms, n_rows=config.n_rows,
        deviation_db=dictionary.deviation_db, n_mels=shape[0], n_frames=shape[1],
        seconds_per_frame=window_s / view[1], mel_first_hz=float(mel_hz[0]), mel_last_hz=float(mel_hz[-1]),
        run=run.name, config_id=run.config_id,
    )  # fmt: skip
    content = {
        "architecture": "dictionary",
        "num_features": dictionary.n_features(view),
        "card": card.model_dump(mode="json"),
    }
    files = {
        WEIGHTS_FILE: safetensors.numpy.save(to_tensors(dictionary)),
        CARD_FILE: f"{json.dumps(content, indent=2)}\n".encode(),
        "atoms.png": draw_atoms(dictionary.atoms, io.BytesIO()),
    }
    publish_files(run, files)
    counts = {"windows": len(sample.windows), "atoms": sum(len(each.offset) for each in dictionary.atoms)}
    return Outcome(did=True, counts=counts, backend=blas_backend())


def describe(run: Run[Config], _options: Options) -> list[str]:
    """Return what a run would read, write and take, without writing anything."""
    config = run.config
    cube = cube_of(run, partial=config.partial)
    n_read, view = min(config.n_windows, len(cube.windows)), reduced_size(cube.shape, config.view_size)
    areas = [bands * frames for bands, frames in config.patch_sizes]
    weights_bytes = sum(4 * config.n_atoms * (2 * area + 1) for area in areas) + 4 * view[0]
    patches_bytes = 4 * config.n_patches * (sum(areas) + 2 * max(areas))
    return described(
        run,
        read=[f"{n_read} of {len(cube.windows)} windows of {run.inputs['spectrograms'].name}, three times"],
        written=f"a dictionary of {config.n_atoms * len(areas)} atoms, {config.n_atoms} of each size of patch",
        takes=Space(weights_bytes + PICTURE_BYTES + 2 * FILE_BYTES, 3),
        memory_bytes=LIBRARIES_BYTES + patches_bytes + WINDOWS_AT_ONCE * 8 * cube.shape[0] * cube.shape[1],
    )


def _require_room(run: Run[Config], cube: str, view: Size, config: Config) -> None:
    small = [size for size in config.patch_sizes if size[0] > view[0] or size[1] > view[1]]
    if small:
        raise InputError(
            f"run {run.name!r}: patches of {' and '.join(f'{a} × {b}' for a, b in small)} bands × frames, but windows "
            f"of {cube!r} have {view[0]} × {view[1]}. Set patch_sizes to smaller ones, or make a cube with more."
        )


def _learnt(run: Run[Config], sample: Cube, view: Size, config: Config) -> Dictionary:
    sums = LevelSums(view[0])
    with progress(f"{run.name}: levels", len(sample.windows), "windows") as advance:
        for codes in batches(sample):
            sums.add(reduced_levels(codes, view))
            advance(len(codes))
    mean_db, deviation_db = sums.statistics()
    places = [_places(len(sample.windows), view, size, config) for size in config.patch_sizes]
    found = [np.empty((config.n_patches, size[0] * size[1]), dtype=np.float32) for size in config.patch_sizes]
    with progress(f"{run.name}: patches", len(sample.windows), "windows") as advance:
        first = 0
        for codes in batches(sample):
            levels = normalised(codes, view, mean_db, deviation_db)
            for size, place, out in zip(config.patch_sizes, places, found, strict=True):
                _cut(levels, first, size, place, out)
            first += len(codes)
            advance(len(codes))
    atoms: list[Atoms] = []
    with progress(f"{run.name}: atoms", len(found), "sizes of patch") as advance:
        for size in config.patch_sizes:
            patches = found.pop(0)
            if np.ptp(patches) < SMALLEST_RANGE:
                raise InputError(
                    f"run {run.name!r}: the windows of {run.inputs['spectrograms'].name!r} do not vary, so that every "
                    "patch is the same; nothing to learn from. Look at the recordings."
                )
            atoms.append(
                learn_atoms(
                    patches, size, n_atoms=config.n_atoms, n_rounds=config.n_rounds, shrinkage=config.shrinkage,
                    seed=config.seed,
                )
            )  # fmt: skip
            advance(1)
    return Dictionary(view, mean_db, deviation_db, config.n_rows, atoms)


def _places(n_windows: int, view: Size, size: Size, config: Config) -> NDArray[np.int64]:
    """Return window, first band and first frame of each patch, shape (3, n_patches), sorted by window."""
    random = np.random.default_rng([config.seed, 1, *size])
    highest = (n_windows, view[0] - size[0] + 1, view[1] - size[1] + 1)
    places = np.stack([random.integers(0, n, config.n_patches) for n in highest])
    return places[:, np.argsort(places[0], kind="stable")]


def _cut(levels: Array, first: int, size: Size, places: NDArray[np.int64], out: Array) -> None:
    """Write the patches of some windows, numbered from a first one, into their rows."""
    low, high = np.searchsorted(places[0], [first, first + len(levels)])
    window, band, frame = places[:, low:high]
    out[low:high] = sliding_window_view(levels, size, axis=(1, 2))[window - first, band, frame].reshape(
        high - low, out.shape[1]
    )
