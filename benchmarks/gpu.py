"""Everything that only a GPU can show, in one call: ``python -m benchmarks.gpu``. Needs no registry and no store.

A row of the table says what was found and what is asked for (``docs/dino.md``): views/s of a step of ViT-S/16 with 2
views of 224 and 8 of 96 in bf16, from made-up codes that are there (all of it on the device) and from a store in
``/dev/shm``; peak memory; compiled and not; no wait for the device between two looks; agreement with fp32.
"""

import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.loader import PER_SHARD, write_store
from benchmarks.report import Figure, report
from jobs.common.network.card import ModelCard
from jobs.common.network.devices import peak_flops, peak_memory_bytes
from jobs.common.training.data import Source, batches
from jobs.common.training.reading import open_windows
from jobs.dino.config import Config
from jobs.dino.flops import flops_per_window
from jobs.dino.train import State, advance, new_state

SIDE: Final = 1024
N_WINDOWS: Final = 768
STEPS: Final = 20
ACCEPTED: Final = 2000.0
DEVICE: Final = torch.device("cuda", 0)


def main() -> None:
    """Measure and report; without a GPU say so."""
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device: these figures stay unmeasured.")
    print(torch.cuda.get_device_name(DEVICE), "torch", torch.__version__)
    random = np.random.default_rng(0)
    codes = random.normal(80, 8, (N_WINDOWS, SIDE, SIDE)).clip(1, 255).astype(np.uint8)
    figures = [*agreement(codes)]
    best, found = Config(batch_size=256), 0.0
    for batch_size in (256, 512):
        for compiled in (False, True):
            config = Config(batch_size=batch_size)
            figure, rate = synthetic(codes, config, compiled=compiled)
            figures += figure
            if rate > found:
                best, found, best_compiled = config, rate, compiled
    figures += from_store(codes, best, found, compiled=best_compiled)
    report("gpu", figures)


def card_of(config: Config) -> ModelCard:
    """Return a card for made-up windows."""
    return ModelCard(
        arch=config.arch, patch_size=config.patch_size, input_size=config.global_size, mean_db=(-84.5,) * SIDE,
        deviation_db=4.0, seconds_per_frame=0.01, mel_first_hz=50.0, mel_last_hz=20_000.0, run="", config_id="",
    )  # fmt: skip


def do(state: State, codes: torch.Tensor, samples: NDArray[np.int64], config: Config) -> torch.Tensor:
    """Do one step and return its loss, on the device."""
    has_gap = np.zeros(len(samples), dtype=np.bool_)
    return advance(state, codes, samples, card=card_of(config), config=config, n_steps=10_000, has_gap=has_gap).loss


def rate_of(state: State, stream: Iterator[tuple[torch.Tensor, NDArray[np.int64]]], config: Config) -> float:
    """Return the windows/s of :data:`STEPS` steps after five that are not counted."""
    for _ in range(5):
        do(state, *next(stream), config)
    torch.cuda.synchronize()
    began_s = time.perf_counter()
    for _ in range(STEPS):
        do(state, *next(stream), config)
    torch.cuda.synchronize()
    return STEPS * config.batch_size / (time.perf_counter() - began_s)


def synthetic(codes: NDArray[np.uint8], config: Config, *, compiled: bool) -> tuple[list[Figure], float]:
    """Measure steps from codes that are on the device, views made there."""
    torch.cuda.reset_peak_memory_stats()
    state = new_state(card_of(config), config, DEVICE, compiled=compiled)
    batch = torch.from_numpy(codes[: config.batch_size]).to(DEVICE)

    def stream() -> Iterator[tuple[torch.Tensor, NDArray[np.int64]]]:
        first = 0
        while True:
            yield batch, np.arange(first, first + config.batch_size)
            first += config.batch_size

    rate = rate_of(state, stream(), config)
    peak = peak_flops(str(DEVICE), "bf16")
    name = f"batch {config.batch_size}, {'compiled' if compiled else 'eager'}"
    figures = [
        Figure(f"synthetic, {name}", rate, "windows/s", f"{ACCEPTED:.0f} asked for", rate / ACCEPTED),
        Figure(f"peak memory, {name}", peak_memory_bytes(str(DEVICE)) / 1e9, "GB"),
    ]
    if peak is not None:
        figures.append(Figure(f"MFU, {name}", 100 * rate * flops_per_window(config, 384, 12) / peak, "%"))
    figures.append(Figure(f"steps that waited for the device, {name}", float(_waits(state, batch, config)), "of 50"))
    return figures, rate


def _waits(state: State, batch: torch.Tensor, config: Config) -> int:
    """Count the steps of 50 in which something asked the device for a number."""
    n = 0
    torch.cuda.set_sync_debug_mode("warn")
    try:
        for i in range(50):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                do(state, batch, np.arange(i, i + config.batch_size), config)
            n += any("synchroniz" in str(each.message) for each in said)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return n


def from_store(codes: NDArray[np.uint8], config: Config, best: float, *, compiled: bool) -> list[Figure]:
    """Measure steps from a store, read by worker processes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        url = str(Path(folder) / "mels.zarr")
        write_store(Path(url), codes[: N_WINDOWS // PER_SHARD * PER_SHARD])
        places = np.zeros(N_WINDOWS, dtype=np.int32), np.arange(N_WINDOWS)
        source = Source(N_WINDOWS, SIDE, SIDE, open_windows(url, *places, n_threads=16), "")
        state = new_state(card_of(config), config, DEVICE, compiled=compiled)
        with closing(batches(source, config, range(STEPS + 5), ahead=4)) as read:
            stream = ((torch.from_numpy(b.codes).to(DEVICE, non_blocking=True), b.samples) for b in read)
            rate = rate_of(state, stream, config)
        began_s = time.perf_counter()
        for _ in range(8):
            source.read(np.random.default_rng(0).permutation(N_WINDOWS)[:256])
        windows = 8 * 256 / (time.perf_counter() - began_s)
    return [
        Figure("from the store", rate, "windows/s", "synthetic, the best", rate / best),
        Figure("windows read, 16 threads", windows, "windows/s", "twice what training takes", windows / (2 * best)),
    ]


def agreement(codes: NDArray[np.uint8]) -> Iterator[Figure]:
    """Compare the losses of 200 steps in bf16 and fp32, and of 20 compiled and eager ones."""
    losses: dict[str, list[float]] = {}
    ways = {"fp32": ("fp32", False, 200), "bf16": ("bf16", False, 200), "compiled": ("fp32", True, 20)}
    for name, (precision, compiled, n) in ways.items():
        config = Config(batch_size=32, precision=precision, drop_path=0.0, n_prototypes=4096)  # type: ignore[arg-type]  # one of two words
        state = new_state(card_of(config), config, DEVICE, compiled=compiled)
        losses[name] = []
        for i in range(n):
            samples = np.arange(32) + 32 * i
            loss = do(state, torch.from_numpy(codes[samples % N_WINDOWS]).to(DEVICE), samples, config)
            losses[name].append(float(loss))
    fp32, bf16, compiled_too = (np.array(losses[name]) for name in ("fp32", "bf16", "compiled"))
    yield Figure("bf16 against fp32, 200 steps, largest difference", 100 * float(np.abs(bf16 / fp32 - 1).max()), "%")
    eager = fp32[: len(compiled_too)]
    yield Figure("compiled against eager, 20 steps", float(np.abs(compiled_too - eager).max()), "nats")


if __name__ == "__main__":
    main()
