"""Windows from a store to views, beside PNG files through PIL and torchvision, and beside tensorstore.

``python -m benchmarks.loader``: windows of 1024 x 1024 codes, 2 global views of 224 and 8 local ones of 96; everything
on the CPU, with as many processes or threads as there are cores, in alternated rounds on files in the page cache.
"""

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorstore as ts
import torch
import zarr
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import InterpolationMode
from zarr.codecs import ZstdCodec

from benchmarks.report import Figure, report
from jobs.common.network.card import ModelCard
from jobs.common.training.data import Source, batches
from jobs.common.training.reading import open_windows
from jobs.dino.config import Config
from jobs.dino.quick import views_of
from lake.shards import ZSTD_LEVEL

SIDE: Final = 1024
PER_SHARD: Final = 96
N_WINDOWS: Final = 192
BATCH: Final = 32
ROUNDS: Final = 5
N_CORES: Final = len(os.sched_getaffinity(0))
THREADS: Final = tuple(sorted({1, N_CORES, 2 * N_CORES}))
"""Threads that read: a training has as many as its ``--workers``."""
CONFIG: Final = Config(batch_size=BATCH, active_share=0.5)
N_VIEWS: Final = CONFIG.n_global + CONFIG.n_local


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(N_CORES)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        codes = soundscape()
        write_store(folder / "mels.zarr", codes)
        (folder / "png").mkdir()
        for i, window in enumerate(codes):
            Image.fromarray(window).save(folder / "png" / f"{i}.png")
        del codes
        ways: dict[str, Callable[[], int]] = {
            "ours": partial(ours, folder), "plain": partial(pictures, folder, plain=True),
            "authors": partial(pictures, folder, plain=False), "tensorstore": partial(read_tensorstore, folder),
            **{f"read {n}": partial(read_ours, folder, n) for n in THREADS},
        }  # fmt: skip
        rates = measured(ways)
    report("loader", [
        Figure("views/s from the store", rates["ours"], "views/s", "PNG, PIL, RandomResizedCrop",
               rates["ours"] / rates["plain"]),
        Figure("views/s from the store", rates["ours"], "views/s", "the same with flips, blur and solarize",
               rates["ours"] / rates["authors"]),
        Figure("PNG, PIL, RandomResizedCrop", rates["plain"], "views/s"),
        Figure("the same with flips, blur and solarize", rates["authors"], "views/s"),
        *(Figure(f"windows/s, read at random, {n} threads", rates[f"read {n}"], "windows/s", "tensorstore",
                 rates[f"read {n}"] / rates["tensorstore"]) for n in THREADS),
        Figure("tensorstore", rates["tensorstore"], "windows/s"),
    ])  # fmt: skip


def measured(ways: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Return the median rate of each way over alternated rounds; the first round is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            began_s = time.perf_counter()
            n = way()
            rates[name].append(n / (time.perf_counter() - began_s))
    return {name: float(np.median(found[1:])) for name, found in rates.items()}


def soundscape() -> NDArray[np.uint8]:
    """Return windows of noise with a few calls; zstd takes about a third off, as off real ones."""
    random = np.random.default_rng(0)
    codes = np.empty((N_WINDOWS, SIDE, SIDE), dtype=np.uint8)
    for window in codes:
        level = random.normal(80, 10) - 20 * np.linspace(0, 1, SIDE)[:, None] + random.normal(0, 8, (SIDE, SIDE))
        for _ in range(6):
            band, frame = random.integers(100, SIDE - 100, 2)
            level[band - 20 : band + 20, frame : frame + 90] += 40
        window[:] = level.clip(1, 255)
    return codes


def write_store(path: Path, codes: NDArray[np.uint8]) -> None:
    """Write windows as a cube's array lies: one chunk a window, 96 in a shard."""
    group = zarr.open_group(path, mode="w")
    array = group.create_array(
        "spectrogram", shape=(1, *codes.shape), dtype="uint8", chunks=(1, 1, SIDE, SIDE),
        shards=(1, PER_SHARD, SIDE, SIDE), compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)], fill_value=0,
        chunk_key_encoding={"name": "default", "separator": "."},
    )  # fmt: skip
    for first in range(0, len(codes), PER_SHARD):
        array[0, first : first + PER_SHARD] = codes[first : first + PER_SHARD]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        zarr.consolidate_metadata(path, zarr_format=3)


def source_of(folder: Path, n_threads: int = N_CORES) -> Source:
    """Return the store's windows, read as a training with so many ``--workers`` reads them."""
    places = np.zeros(N_WINDOWS, dtype=np.int32), np.arange(N_WINDOWS)
    read = open_windows(str(folder / "mels.zarr"), *places, n_threads=n_threads)
    return Source(N_WINDOWS, SIDE, SIDE, read, "")


def ours(folder: Path) -> int:
    """Read all windows once and make their views, as a training on this machine does."""
    card = ModelCard(
        arch=CONFIG.arch, patch_size=CONFIG.patch_size, input_size=CONFIG.global_size, mean_db=(-90.0,) * SIDE,
        deviation_db=10.0, seconds_per_frame=0.01, mel_first_hz=50.0, mel_last_hz=20_000.0, run="", config_id="",
    )  # fmt: skip
    n = 0
    for batch in batches(source_of(folder), CONFIG, range(N_WINDOWS // BATCH)):
        views = views_of(torch.from_numpy(batch.codes), batch.samples, card, CONFIG)
        n += sum(group.shape[0] * group.shape[1] for group in views.student)
    return n


class Pictures(Dataset[list[torch.Tensor]]):
    """One PNG a window and its views, as torchvision makes them."""

    def __init__(self, folder: Path, *, plain: bool) -> None:
        self._paths = [folder / "png" / f"{i}.png" for i in range(N_WINDOWS)]
        low, high = (0.4, 1.0), (0.05, 0.4)
        self._crops = [_pipeline(224, low, 1.0, 0.0, plain=plain), _pipeline(224, low, 0.1, 0.2, plain=plain)]
        self._crops += [_pipeline(96, high, 0.5, 0.0, plain=plain)] * CONFIG.n_local

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, i: int) -> list[torch.Tensor]:
        picture = Image.open(self._paths[i]).convert("L")
        return [crop(picture) for crop in self._crops]


def _pipeline(size: int, scale: tuple[float, float], blur: float, solarize: float, *, plain: bool) -> Any:  # noqa: ANN401 (a transform)
    """Return the transform of one view; the shares are those of main_dino.py."""
    cut = v2.RandomResizedCrop(size, scale=scale, interpolation=InterpolationMode.BICUBIC)
    more = [
        v2.RandomHorizontalFlip(0.5), v2.RandomApply([v2.GaussianBlur(_odd(size), (0.1, 2.0))], blur),
        v2.RandomSolarize(128, solarize),
    ]  # fmt: skip
    end = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])]
    return v2.Compose([cut, *([] if plain else more), *end])


def _odd(size: int) -> int:
    return 2 * (size // 20) + 1


@cache
def workers(folder: Path, *, plain: bool) -> DataLoader[list[torch.Tensor]]:
    """Return the authors' loader, with a process for each core; they stay, so that no round pays for their start."""
    return DataLoader(
        Pictures(folder, plain=plain), batch_size=BATCH, shuffle=True, num_workers=N_CORES, persistent_workers=True
    )


def pictures(folder: Path, *, plain: bool) -> int:
    """Make the views of all windows once from PNG files."""
    loader = workers(folder, plain=plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(len(view) for views in loader for view in views)


def read_ours(folder: Path, n_threads: int) -> int:
    """Read windows at random, batch by batch."""
    source, random = source_of(folder, n_threads), np.random.default_rng(0)
    for _ in range(6):
        source.read(random.permutation(N_WINDOWS)[:64])
    return 6 * 64


def read_tensorstore(folder: Path) -> int:
    """Read windows at random with tensorstore's own batching."""
    context = ts.Context({"cache_pool": {"total_bytes_limit": 0}, "data_copy_concurrency": {"limit": N_CORES}})
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / "mels.zarr" / "spectrogram")}}
    array = ts.open(spec, context=context).result()
    random = np.random.default_rng(0)
    for _ in range(6):
        chosen = random.permutation(N_WINDOWS)[:64]
        with ts.Batch() as batch:
            waiting = [array[0, int(i)].read(batch=batch) for i in chosen]
        np.stack([each.result() for each in waiting])
    return 6 * 64


if __name__ == "__main__":
    main()
