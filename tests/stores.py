"""Tiny stores for tests, written through the lake's own functions.

Every builder takes whole arrays on (recorder, time, ...), writes blocks with ledger entries, commits, and
returns the `Run` that a runner would pass on as an input. Calling a builder again with more cells or
other values grows the store: blocks that are the same are not written again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.config import Config as ClusterConfig
from jobs.common.config import identity_config
from jobs.common.run import C, Run
from jobs.embed.config import Config as EmbedConfig
from jobs.imports.config import Config as ImportConfig
from jobs.runner.registry import JOBS
from jobs.spectrograms.config import Config as SpectrogramsConfig
from lake.constants import MS_PER_DAY, OFFSET_ARRAY, STATUS
from lake.grid import Grid
from lake.identity import config_id, short_hash
from lake.layout import Lake
from lake.ledger import Entry
from lake.read import grid_of, open_cube, open_embeddings
from lake.receipts import write_receipt
from lake.schema import DEPLOYMENT_COLUMNS, RECORDING_COLUMNS, cluster_spec, cube_spec, embedding_spec, with_offsets
from lake.specs import StoreSpec
from lake.write import commit, write_block

ORIGIN_MS = int(np.datetime64("2021-06-01", "ms").astype(np.int64))
"""Origin of every store made here: 2021-06-01T00:00Z."""
RECORDERS = ("north", "south")


def make_run(
    lake_url: str | Path,
    name: str,
    job: str,
    config: C,
    *,
    inputs: Mapping[str, Run] | None = None,
    labels: Path | None = None,
) -> Run[C]:
    """Return a run as the runner resolves it, its name taken in the lake."""
    given = dict(inputs or {})
    algorithm = JOBS[job].algorithm
    inputs_ids = {role: run.config_id for role, run in given.items()}
    identity = config_id(job, algorithm, identity_config(config), inputs_ids)
    run = Run(
        lake=Lake(str(lake_url)), name=name, job=job, kind=JOBS[job].writes, config=config, algorithm=algorithm,
        config_id=identity, inputs=given, labels=labels,
    )  # fmt: skip
    run.ledger.open_run(name, run.record)
    return run


def random_codes(
    *,
    n_recorders: int = 2,
    n_days: int = 2,
    n_per_day: int = 12,
    cells_per_day: int = 144,
    n_mels: int = 8,
    n_frames: int = 16,
    n_partial: int = 2,
    n_kinds: int = 4,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Return codes of a few windows a day that are of ``n_kinds`` kinds of sound, uint8.

    Returns
    -------
    NDArray
        Shape (n_recorders, n_days * cells_per_day, n_mels, n_frames); a missing window is all 0. In each
        recorder's first ``n_partial`` windows two frames were not recorded.
    """
    random = np.random.default_rng(seed)
    kinds = random.integers(40, 200, (n_kinds, n_mels, 1))
    out = np.zeros((n_recorders, n_days * cells_per_day, n_mels, n_frames), dtype=np.uint8)
    for i in range(n_recorders):
        days = [random.choice(cells_per_day, n_per_day, replace=False) + d * cells_per_day for d in range(n_days)]
        cells = np.sort(np.concatenate(days))
        noise = random.integers(-20, 21, (len(cells), n_mels, n_frames))
        out[i, cells] = np.clip(kinds[random.integers(n_kinds, size=len(cells))] + noise, 1, 255)
        out[i, cells[:n_partial], :, -2:] = 0
    return out


def make_cube(
    lake_url: str | Path,
    codes: NDArray[np.uint8] | None = None,
    *,
    name: str = "mels",
    recorders: Sequence[str] = RECORDERS,
    window_s: float = 6.0,
    hop_s: float = 600.0,
    shard_windows: int = 72,
    mel_hz: NDArray[np.float64] | None = None,
    utc_offset_s: int = -18_000,
) -> Run:
    """Write a cube.

    Parameters
    ----------
    codes
        Shape (n_recorders, n_days * cells_per_day, n_mels, n_frames); :func:`random_codes` by default. A
        window of zeros is missing, one with a frame of zeros is partial, every other one is ok.
    hop_s
        600 s makes 144 cells a day.
    utc_offset_s
        Local time minus UTC of every window.

    Notes
    -----
    Each recorder has one deployment ``<recorder>-1`` and one recording ``<recorder>/all.wav``.
    """
    codes = random_codes() if codes is None else codes
    _, n_cells, n_mels, n_frames = codes.shape
    config = SpectrogramsConfig(
        window_s=window_s, hop_s=hop_s, n_mels=n_mels, n_frames=n_frames, shard_windows=shard_windows
    )
    run = make_run(lake_url, name, "spectrograms", config)
    grid = make_grid(n_cells, window_s, hop_s)
    spec = cube_spec(
        grid, n_mels=n_mels, n_frames=n_frames, cells_per_shard=config.cells_per_shard,
        attrs={**run.store_attrs, "grid": grid.attrs},
    )  # fmt: skip
    frames = np.asarray(codes.any(axis=2))
    status = np.where(frames.any(axis=2), STATUS["ok"], STATUS["missing"])
    status[frames.any(axis=2) & ~frames.all(axis=2)] = STATUS["partial"]
    fill: dict[str, Any] = {
        "quality": 0, "recording": 0, "coverage": 1.0, "level_db": -40.0, "peak_db": -20.0,
        "deployment": 0, "utc_offset_s": utc_offset_s,
    }  # fmt: skip

    def more(recorder: str, cells: list[int]) -> dict[str, Any]:
        index = {key: [value] * len(cells) for key, value in fill.items()}
        index["offset_s"] = [cell * hop_s for cell in cells]
        recording = {"sha256": short_hash(recorder) * 5 + "0000", "path": f"{recorder}/all.wav"}
        return {
            "index": index, "recordings": [recording], "deployments": [{"deployment": f"{recorder}-1"}],
        }  # fmt: skip

    _write(run, spec, {"spectrogram": codes}, "status", status, recorders, more=more)
    shas = [short_hash(recorder) * 5 + "0000" for recorder in recorders]
    n = len(recorders)
    columns = {**RECORDING_COLUMNS, **DEPLOYMENT_COLUMNS}
    tables: dict[str, NDArray[Any]] = {
        **{name: np.full(n, fill, dtype=object if fill == "" else None) for name, (_, fill) in columns.items()},
        "mel": np.linspace(100.0, 100.0 * n_mels, n_mels) if mel_hz is None else mel_hz,
        "frame": (np.arange(n_frames) + 0.5) * window_s / n_frames,
        "time_is_real": np.array([not recorder.startswith("untimed:") for recorder in recorders]),
        "recording_path": _texts([f"{recorder}/all.wav" for recorder in recorders]),
        "recording_sha256": _texts(shas),
        "recording_recorder": _texts(recorders),
        "recording_start_ms": np.full(n, ORIGIN_MS),
        "recording_n_samples": np.full(n, 48_000 * 3600),
        "recording_sample_rate_hz": np.full(n, 48_000, dtype=np.int32),
        "deployment_name": _texts([f"{recorder}-1" for recorder in recorders]),
        "deployment_recorder": _texts(recorders),
        "site": _texts([f"site of {recorder}" for recorder in recorders]),
        "latitude": np.full(n, 41.8), "longitude": np.full(n, -88.1), "gain_db": np.full(n, 18.0),
        "habitat": _texts(["wood"] * n), "zone": _texts(["America/Chicago"] * n),
    }  # fmt: skip
    row_maps = {
        "recording": {sha: i for i, sha in enumerate(shas)},
        "deployment": {f"{recorder}-1": i for i, recorder in enumerate(recorders)},
    }
    commit(run.output, run.ledger, spec, list(recorders), tables, row_maps=row_maps)
    return run


def make_model(lake_url: str | Path, cube: Run, *, name: str = "dino", seed: int = 0, **card: Any) -> Run:
    """Write a tiny untrained backbone that takes a cube's windows; the only builder that loads torch.

    Parameters
    ----------
    seed
        Of the weights; those of ``initial`` have the next seed.
    card
        Replaces fields of the `ModelCard`.
    """
    import torch

    from jobs.common.network.backbone import build_backbone, save_backbone
    from jobs.common.network.card import ModelCard, Weights
    from jobs.dino.config import Config as DinoConfig

    run = make_run(lake_url, name, "dino", DinoConfig(), inputs={"spectrograms": cube})
    with open_cube(cube.output.url) as dataset:
        n_mels, n_frames = dataset.sizes["mel"], dataset.sizes["frame"]
        mel_hz, window_s = dataset["mel"].to_numpy(), grid_of(dataset).window_ms / 1000
    values: dict[str, Any] = {
        "arch": "vit_tiny_patch16_224", "embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": (n_mels, 4),
        "input_size": (n_mels, n_frames), "mean_db": (-70.0,) * n_mels, "deviation_db": 10.0,
        "seconds_per_frame": window_s / n_frames, "mel_first_hz": float(mel_hz[0]), "mel_last_hz": float(mel_hz[-1]),
        "run": name, "config_id": run.config_id,
    }  # fmt: skip
    described = ModelCard(**{**values, **card})
    kinds: tuple[Weights, ...] = ("teacher", "initial")
    for i, weights in enumerate(kinds):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + i)
            save_backbone(run.output.url, build_backbone(described), described, weights)
    run.ledger.settle_files({key: hashlib.sha256(run.output.read(key)).hexdigest() for key in run.output.list_keys()})
    return run


def settle_again(run: Run) -> None:
    """List the files of a finished store as they are now, after a test has changed them."""
    shards = {key for entry in run.ledger.written().values() for key in entry.files}
    files = {key: run.output.read(key) for key in run.output.list_keys() if key not in shards}
    content, _ = run.ledger.committed() or ("", {})
    run.ledger.settle_commit(content, {key: hashlib.sha256(data).hexdigest() for key, data in files.items()})


def finish(run: Run) -> None:
    """Leave the receipt that the runner leaves after a run was executed."""
    write_receipt(run.lake, run.name, (0, 1), {"state": "done", "inputs": {}, **run.ledger.summary()})


def make_embeddings(
    lake_url: str | Path,
    vectors: NDArray[np.floating[Any]],
    *,
    name: str = "vectors",
    recorders: Sequence[str] = RECORDERS,
    window_s: float = 6.0,
    hop_s: float = 600.0,
    cube: Run | None = None,
    imported: bool = False,
    offset_s: float = 0.0,
) -> Run:
    """Write an embedding store.

    Parameters
    ----------
    vectors
        Float32 or float16, shape (n_recorders, n_days * cells_per_day, n_features); NaN is missing.
    cube
        The cube it was made from; its grid and recorders are taken over.
    imported
        Whether the vectors were made elsewhere.
    offset_s
        From the start of each cell to that of its window.
    """
    n_cells, n_features = vectors.shape[1:]
    config = EmbedConfig(features="logmel", dtype="float16" if vectors.dtype == np.float16 else "float32")
    job, own = ("import", ImportConfig(window_s=window_s, hop_s=hop_s)) if imported else ("embed", config)
    run = make_run(lake_url, name, job, own, inputs={"spectrograms": cube} if cube else {})
    grid = make_grid(n_cells, window_s, hop_s)
    if cube is not None:
        dataset = open_cube(cube.output.url)
        grid, recorders = grid_of(dataset), dataset["recorder"].to_numpy().tolist()
    spec = embedding_spec(
        grid, n_features=n_features, dtype=config.dtype, attrs={**run.store_attrs, "grid": grid.attrs}
    )
    status = np.where(np.isnan(vectors).any(axis=2), STATUS["missing"], STATUS["ok"])

    def offsets(_recorder: str, cells: list[int]) -> dict[str, Any]:
        return {"index": {OFFSET_ARRAY: [offset_s] * len(cells)}}

    spec = with_offsets(spec) if offset_s else spec
    more = offsets if offset_s else None
    _write(run, spec, {"embedding": vectors}, "embedding_status", status, recorders, more)
    tables = {"feature": np.arange(n_features, dtype=np.int32)}
    commit(run.output, run.ledger, spec, list(recorders), tables)
    return run


def make_clusters(
    lake_url: str | Path,
    labels: NDArray[np.integer[Any]],
    *,
    name: str = "clusters",
    n_clusters: int | None = None,
    n_exemplars: int = 3,
    n_features: int = 4,
    distances: NDArray[np.float32] | None = None,
    recorders: Sequence[str] = RECORDERS,
    window_s: float = 6.0,
    hop_s: float = 600.0,
    embeddings: Run | None = None,
) -> Run:
    """Write a cluster store whose exemplars are the windows at the least distance.

    Parameters
    ----------
    labels
        Cluster of each window, shape (n_recorders, n_days * cells_per_day); -1 is missing.
    n_clusters
        One more than the largest label by default.
    distances
        Distance of each window to its centroid, same shape; the cell's number by default.
    embeddings
        The run it was made from; its grid, recorders and number of features are taken over.
    """
    labels = labels.astype(np.int16)
    k = int(labels.max()) + 1 if n_clusters is None else n_clusters
    run = make_run(
        lake_url, name, "cluster", ClusterConfig(normalise="zscore_l2", n_clusters=k, n_exemplars=n_exemplars),
        inputs={"embeddings": embeddings} if embeddings else {},
    )  # fmt: skip
    grid = make_grid(labels.shape[1], window_s, hop_s)
    if embeddings is not None:
        dataset = open_embeddings(embeddings.output.url)
        grid, recorders = grid_of(dataset), dataset["recorder"].to_numpy().tolist()
        n_features = dataset.sizes["feature"]
    spec = cluster_spec(
        grid, n_clusters=k, n_features=n_features, n_exemplars=n_exemplars,
        attrs={**run.store_attrs, "grid": grid.attrs},
    )  # fmt: skip
    if distances is None:
        distances = np.broadcast_to(np.arange(labels.shape[1], dtype=np.float32), labels.shape)
    distances = np.where(labels >= 0, distances, np.float32(np.nan)).astype(np.float32)
    status = np.where(labels >= 0, STATUS["ok"], STATUS["missing"])
    _write(run, spec, {"cluster": labels, "distance": distances}, "cluster_status", status, recorders)
    near = np.full((2, k, n_exemplars), -1, dtype=np.int64)
    for cluster in range(k):
        i, cells = np.nonzero(labels == cluster)
        order = np.argsort(distances[i, cells], kind="stable")[:n_exemplars]
        near[:, cluster, : len(order)] = i[order], cells[order]
    centroids = np.random.default_rng(0).normal(size=(k, n_features)).astype(np.float32)
    tables = {
        "feature": np.arange(n_features, dtype=np.int32),
        "feature_mean": np.zeros(n_features),
        "feature_deviation": np.ones(n_features),
        "cluster_id": np.arange(k, dtype=np.int16),
        "n_windows": np.bincount(labels[labels >= 0], minlength=k),
        "centroid": centroids,
        "exemplar_recorder": near[0].astype(np.int32),
        "exemplar_cell": near[1],
    }
    commit(run.output, run.ledger, spec, list(recorders), tables)
    return run


def make_grid(n_cells: int, window_s: float, hop_s: float) -> Grid:
    """Return the grid of that many cells from :data:`ORIGIN_MS` on; they fill whole days."""
    end_ms = ORIGIN_MS + n_cells * round(hop_s * 1000)
    assert (end_ms - ORIGIN_MS) % MS_PER_DAY == 0, "stores span whole days"
    return Grid(ORIGIN_MS, end_ms, round(window_s * 1000), round(hop_s * 1000))


def _write(
    run: Run,
    spec: StoreSpec,
    arrays: Mapping[str, NDArray[Any]],
    status_name: str,
    status: NDArray[np.integer[Any]],
    recorders: Sequence[str],
    more: Any = None,
) -> None:
    """Write every block that has a window and is not in the ledger as it is here."""
    run.ledger.settle_grid(spec.grid, recorders)
    written = run.ledger.written()
    n = spec.cells_per_block
    for i, recorder in enumerate(recorders):
        for block in range(status.shape[1] // n):
            cells = (np.flatnonzero(status[i, block * n : (block + 1) * n]) + block * n).tolist()
            parts = {key: value[i : i + 1, block * n : (block + 1) * n] for key, value in arrays.items()}
            inputs = short_hash([part.tobytes().hex() for part in parts.values()])
            known = written.get((recorder, block))
            if not cells or (known is not None and known.inputs == inputs):
                continue
            extra = more(recorder, cells) if more else {"index": {}}
            index = {**extra.pop("index"), status_name: status[i, cells].tolist()}
            entry = Entry(
                recorder=recorder, block=block, inputs=inputs, files={}, cells=cells, digests=[],
                index=index, backend="test", **extra,
            )  # fmt: skip
            write_block(run.output, run.ledger, spec, parts, entry, i_recorder=i)


def _texts(values: Sequence[str]) -> NDArray[Any]:
    return np.asarray(list(values), dtype=object)
