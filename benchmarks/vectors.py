"""Speed of a dictionary's vectors and of the demo network's: windows per CPU-second and per second.

``python -m benchmarks.vectors``: batches as ``embed`` makes them, in memory, one thread a process as there, alternated
rounds; the cube of the demo and one of 1024 × 1024, one process and two at once.
"""

import statistics
import time
import tomllib
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.report import Figure, report
from jobs.common.dictionary import Atoms, Dictionary, encode_windows
from jobs.common.network.backbone import build_backbone, save_backbone
from jobs.common.network.card import ModelCard
from jobs.dictionary.config import Config as DictionaryConfig
from jobs.dino.config import Config as NetworkConfig
from jobs.embed.config import Config as EmbedConfig
from jobs.embed.core import Encode, encode_statistics
from jobs.embed.network import encoder

ROOT: Final = Path(__file__).parent.parent
SHAPES: Final = ((128, 256), (1024, 1024))
PROCESSES: Final = (1, 2)
N_BATCHES: Final = 3
ROUNDS: Final = 7
WAYS: Final = ("dictionary", "network", "statistics")

Rates = Mapping[str, tuple[float, float]]
"""Windows a CPU-second and a second, by way."""


def main() -> None:
    """Measure and report."""
    figures: list[Figure] = []
    for shape in SHAPES:
        with TemporaryDirectory() as folder:
            save_network(folder, shape)
            for n_processes in PROCESSES:
                with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
                    found = list(pool.map(partial(measured, folder, shape), range(n_processes)))
                figures += figures_of(found, f"{shape[0]} × {shape[1]}, {n_processes} at once")
    report("vectors", figures)


def figures_of(found: list[Rates], where: str) -> list[Figure]:
    """Return figures of processes that ran at once: the mean of their rates by CPU time, the sum by the clock."""
    by_cpu = {way: statistics.mean(each[way][0] for each in found) for way in WAYS}
    by_clock = {way: sum(each[way][1] for each in found) for way in WAYS}
    return [
        Figure(f"{way}, {where}", rates[way], unit, "network" if way != "network" else "",
               rates[way] / rates["network"] if way != "network" else None)
        for rates, unit in ((by_cpu, "windows/CPU-s"), (by_clock, "windows/s"))
        for way in WAYS
    ]  # fmt: skip


def measured(folder: str, shape: tuple[int, int], seed: int) -> Rates:
    """Return the median rates of each way in alternated rounds of this process; the first is not counted."""
    size = EmbedConfig().batch_size
    codes = np.random.default_rng(seed).normal(80, 8, (size, *shape)).clip(1, 255).astype(np.uint8)
    network = encoder(folder, "teacher", "patch_mean_std", digest="", device="cpu", batch_size=size, recorder="")
    dictionary = any_dictionary(shape)
    ways: dict[str, Encode] = {
        "dictionary": lambda batch: (encode_windows(batch, dictionary), None), "network": network,
        "statistics": encode_statistics,
    }  # fmt: skip
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with threadpool_limits(1):
        for _ in range(ROUNDS + 1):
            for way, encode in ways.items():
                seconds[way].append(timed(encode, codes))
    n = N_BATCHES * size
    return {
        way: (n / statistics.median(cpu for cpu, _ in each[1:]), n / statistics.median(wall for _, wall in each[1:]))
        for way, each in seconds.items()
    }


def timed(encode: Encode, codes: NDArray[np.uint8]) -> tuple[float, float]:
    """Return CPU and wall seconds of some batches."""
    began_cpu, began = time.process_time(), time.perf_counter()
    for _ in range(N_BATCHES):
        encode(codes)
    return time.process_time() - began_cpu, time.perf_counter() - began


def save_network(folder: str, shape: tuple[int, int]) -> None:
    """Write the demo's network, untrained, for windows of a shape."""
    text = (ROOT / "manifests" / "demo.toml").read_text(encoding="utf-8")
    config = NetworkConfig(**tomllib.loads(text)["runs"]["dino"]["config"])
    card = ModelCard(
        arch=config.arch, embed_dim=config.embed_dim, depth=config.depth, num_heads=config.num_heads,
        patch_size=config.patch_size, input_size=config.global_size, mean_db=(-85.0,) * shape[0], deviation_db=5.0,
        seconds_per_frame=0.02, mel_first_hz=50.0, mel_last_hz=11_000.0, run="", config_id="",
    )  # fmt: skip
    torch.manual_seed(0)
    save_backbone(folder, build_backbone(card), card)


def any_dictionary(shape: tuple[int, int]) -> Dictionary:
    """Return a dictionary of the default size with random atoms: the time does not depend on them."""
    config, random = DictionaryConfig(), np.random.default_rng(0)
    view = min(shape[0], config.view_size[0]), min(shape[1], config.view_size[1])
    atoms = [
        Atoms(size, random.normal(size=(size[0] * size[1], config.n_atoms)).astype(np.float32),
              random.normal(size=config.n_atoms).astype(np.float32), np.zeros((config.n_atoms, *size), np.float32))
        for size in config.patch_sizes
    ]  # fmt: skip
    return Dictionary(view, np.full(view[0], -85, dtype=np.float32), 5.0, config.n_rows, atoms)


if __name__ == "__main__":
    main()
