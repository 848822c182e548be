"""From recordings on disk to a finished store: ours, librosa and PNG files, and torchaudio into the same store.

CPU time of this process and all its children, one thread each, five alternated rounds, medians. What is
imported and compiled once stays out: each way does a few windows before it counts.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import psutil
import soundfile
import torch
import torchaudio
import zarr
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits
from zarr.codecs import ZstdCodec

from benchmarks.report import Figure, report
from jobs.catalog.command import run_catalog
from jobs.common.audio.probe import open_audio
from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.spectrograms.config import Config
from jobs.spectrograms.fourier import Transform, plan_transform
from jobs.spectrograms.kernels import SPECTRA_AT_ONCE
from jobs.spectrograms.mel import fft_lengths
from lake.shards import ZSTD_LEVEL, compressor

RATE_HZ, WINDOW_S, ROUNDS, ROUNDS_OF_WORKERS = 48_000, 6, 5, 3
N, N_FRAMES = RATE_HZ * WINDOW_S, 1024
MINUTES = 80
N_WINDOWS = {"ours": MINUTES * 60 // WINDOW_S, "librosa": 8, "torchaudio": 24, "floor": 400}
MANIFEST = """
lake = "{lake}"
recordings = {{ table = "recordings.csv", root = "audio" }}
[runs.mels]
job = "spectrograms"
"""


@dataclass(frozen=True)
class Study:
    """A folder with recordings of one minute and more, their table and a manifest."""

    folder: Path
    manifest: Path

    @property
    def recordings(self) -> list[Path]:
        """All sound files, sorted."""
        return sorted(path for path in (self.folder / "audio").rglob("*") if path.is_file())


def make_study(folder: Path, form: str, minutes: int, recorders: int = 1) -> Study:
    """Write a study of pink noise at -40 dBFS with a wavering whistle, mono, 48 kHz, 16 bit."""
    for number in range(recorders):
        random = np.random.default_rng(number)
        shape = np.sqrt(np.maximum(np.arange(RATE_HZ * 30 + 1), 1))
        noise = np.fft.irfft(np.fft.rfft(random.standard_normal(RATE_HZ * 60)) / shape)
        t = np.arange(RATE_HZ * 60) / RATE_HZ
        whistle = np.sin(2 * np.pi * (3000 * t + 80 * np.sin(2 * np.pi * t))) * (np.sin(2 * np.pi * t / 7) > 0.8)
        samples = np.tile(0.01 * noise / noise.std() + 0.02 * whistle, minutes)
        path = folder / "audio" / f"R{number}" / f"20210601_060000.{form}"
        path.parent.mkdir(parents=True)
        soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    run_catalog([folder / "audio"], folder / "recordings.csv", zones={"": "UTC"}, workers=1)
    return Study(folder, _manifest(folder, "lake"))


def _manifest(folder: Path, lake: str) -> Path:
    path = folder / f"{lake}.toml"
    path.write_text(MANIFEST.format(lake=lake), encoding="utf-8")
    return path


def run_ours(study: Study, workers: int = 1) -> None:
    """Run the job as the command line does, the whole of it: plan, shards, ledger, index, commit, receipt."""
    shutil.rmtree(study.folder / "lake", ignore_errors=True)
    execute_runs(read_manifest(study.manifest), ["mels"], Options(workers=workers), lambda _: None)


def run_librosa(study: Study, n_windows: int) -> None:
    """One PNG per window from librosa's mel spectrogram: how the arboretum's were made."""
    folder = study.folder / "png"
    folder.mkdir(exist_ok=True)
    for i, samples in enumerate(windows_of(study, n_windows)):
        mel = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=4096, hop_length=281, n_mels=1024)
        level = librosa.power_to_db(mel, ref=np.max)
        grey = ((level - level.min()) / (level.max() - level.min()) * 255).astype(np.uint8)
        Image.fromarray(grey[::-1]).save(folder / f"{i}.png")


def run_torchaudio(study: Study, n_windows: int, batch: int) -> None:
    """Make torchaudio's mel spectrograms, into a store with the same chunks, shards and compression."""
    transform = torchaudio.transforms.MelSpectrogram(
        RATE_HZ, n_fft=4096, hop_length=281, n_mels=1024, f_max=20_000.0, power=2.0
    )
    array = zarr.create_array(
        str(study.folder / "torchaudio.zarr"), shape=(1, n_windows, 1024, 1024), dtype="uint8", fill_value=0,
        chunks=(1, 1, 1024, 1024), shards=(1, n_windows, 1024, 1024), overwrite=True,
        compressors=[ZstdCodec(level=ZSTD_LEVEL)],
    )  # fmt: skip
    shard = np.zeros((1, n_windows, 1024, 1024), dtype=np.uint8)
    held: list[NDArray[np.float32]] = []
    for i, samples in enumerate(windows_of(study, n_windows)):
        held.append(samples)
        if len(held) == batch or i == n_windows - 1:
            level = 10 * torch.log10(transform(torch.from_numpy(np.stack(held)))[..., :1024].clamp_min(1e-30))
            codes = torch.clamp(torch.round((level + 124.5) * 2), 1, 255).to(torch.uint8)
            shard[0, i + 1 - len(held) : i + 1] = codes.numpy()
            held.clear()
    array[...] = shard


def windows_of(study: Study, n_windows: int) -> Iterator[NDArray[np.float32]]:
    """Yield windows of the first recording as libsndfile decodes them, shape (N,)."""
    with soundfile.SoundFile(study.recordings[0]) as audio:
        for _ in range(n_windows):
            yield audio.read(N, dtype="float32")


def floor_s(study: Study, n_windows: int) -> float:
    """CPU time of a window's decoding, Fourier transforms and compression, each measured alone, added up."""
    with open_audio(study.recordings[0], "libsndfile") as audio:
        decode = _cpu_of(lambda: [audio.read(i * N, N).shape for i in range(n_windows)])
    transform = plan_transform(SPECTRA_AT_ONCE, fft_lengths(Config(), RATE_HZ)[1])
    transform.frames[:] = np.random.default_rng(0).standard_normal(transform.frames.shape)
    transformed = _cpu_of(lambda: _transform_windows(transform, n_windows))
    store = zarr.open_array(str(study.folder / "lake" / "spectrograms" / "mels.zarr" / "spectrogram"), mode="r")
    codes = [np.ascontiguousarray(store[0, int(i)]) for i in _written(study)[:n_windows]]
    codec = compressor(2**20)
    compress = _cpu_of(lambda: [len(codec.compress(one.data)) for one in codes])
    return (decode + transformed) / n_windows + compress / len(codes)


def _transform_windows(transform: Transform, n_windows: int) -> None:
    for _ in range(n_windows * N_FRAMES // SPECTRA_AT_ONCE):
        transform()


def _written(study: Study) -> NDArray[np.int64]:
    status = zarr.open_array(str(study.folder / "lake" / "spectrograms" / "mels.zarr" / "status"), mode="r")
    return np.flatnonzero(np.asarray(status[0]))


def cpu_s() -> float:
    """CPU time of this process, its live children and those that ended, in seconds."""
    me = psutil.Process()
    times = [me.cpu_times(), *(child.cpu_times() for child in me.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def _cpu_of(work: Callable[[], object]) -> float:
    begin = cpu_s()
    work()
    return cpu_s() - begin


def compare(study: Study, form: str) -> list[Figure]:
    """Measure all ways in alternated rounds; per window, in seconds of CPU."""
    n = N_WINDOWS
    tried = {}
    for batch in (8, 1, 8):  # the first one imports and compiles
        begin = cpu_s()
        run_torchaudio(study, n["torchaudio"], batch)
        tried[batch] = cpu_s() - begin
    batch = min(tried, key=lambda batch: tried[batch])
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: _cpu_of(lambda: run_ours(study)) / n["ours"],
        "floor": lambda: floor_s(study, n["floor"]),
        "librosa": lambda: _cpu_of(lambda: run_librosa(study, n["librosa"])) / n["librosa"],
        "torchaudio": lambda: _cpu_of(lambda: run_torchaudio(study, n["torchaudio"], batch)) / n["torchaudio"],
    }
    for way in ways.values():  # what is imported and compiled once
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            taken[name].append(way())
        told = ", ".join(f"{name} {1000 * values[-1]:.1f} ms" for name, values in taken.items())
        print(f"{form}, round {number + 1} of {ROUNDS}: {told} a window (torchaudio: {batch} at once)", flush=True)
    ms = {name: 1000 * statistics.median(values) for name, values in taken.items()}
    peers = {
        f"librosa and PNG: {ms['librosa']:.1f} ms": ms["librosa"],
        f"torchaudio into the same store: {ms['torchaudio']:.1f} ms": ms["torchaudio"],
        f"its decoding, FFT and compression alone: {ms['floor']:.1f} ms": ms["floor"],
    }
    name = f"{form}: CPU of a window"
    figures = [Figure(name, ms["ours"], "ms", peer, peer_ms / ms["ours"]) for peer, peer_ms in peers.items()]
    return [*figures, Figure(f"{form}: audio in an hour of one core", 1000 * WINDOW_S / ms["ours"], "h")]


def scaling(folder: Path) -> Figure:
    """Throughput of two workers over one, 300 windows each and every start-up taken out.

    The time of one partition more per worker is the difference of two runs, so what does not grow falls out. Medians of
    alternated rounds: the runs of one kind differ by a fifth from each other.
    """
    study = make_study(folder, "flac", 30, recorders=4)
    wall: dict[tuple[int, int], list[float]] = {(1, 1): [], (1, 2): [], (2, 2): [], (2, 4): []}
    table = (folder / "recordings.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    for _ in range(ROUNDS_OF_WORKERS):
        for (workers, partitions), taken in wall.items():
            (folder / "recordings.csv").write_text("".join(table[: partitions + 1]), encoding="utf-8")
            begin = time.perf_counter()
            run_ours(study, workers)
            taken.append(time.perf_counter() - begin)
    median = {which: statistics.median(taken) for which, taken in wall.items()}
    one, two = median[1, 2] - median[1, 1], median[2, 4] - median[2, 2]
    return Figure(
        "2 workers, 600 windows", two, "s wall", f"1 worker, 300 windows: {one:.2f} s; throughput", 2 * one / two
    )


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    figures = []
    with tempfile.TemporaryDirectory() as temporary, threadpool_limits(1):
        for form in ("flac", "wav"):
            figures += compare(make_study(Path(temporary) / form, form, MINUTES), form)
        figures.append(scaling(Path(temporary) / "scaling"))
    report("spectrograms", figures)


if __name__ == "__main__":
    main()
