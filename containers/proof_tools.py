"""Helpers of the proof of the images: commands, with and without an image, and manifests."""

import csv
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import timm
import tomli_w
import torch
from safetensors.torch import save_file

from jobs.runner.manifest import Manifest, read_manifest
from lake.receipts import latest_receipt

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
DAWNCHORUS = (sys.executable, "-m", "jobs")
RESOURCES: dict[str, dict[str, Any]] = {
    "mels": {"tasks": 2, "workers": 1, "hours": 0.2},
    "dino": {"workers": 2, "hours": 0.2},
}
"""Two tasks of an array, a training of two processes; everything else has one worker."""
GUESTS = """
[network]
job = "adopt"
inputs = { spectrograms = "mels" }
files = { weights = "guests/weights.safetensors" }
config = { arch = "vit_tiny_patch16_224", input_size = [32, 64] }

[adopted]
job = "embed"
inputs = { spectrograms = "mels", model = "network" }

[imported]
job = "import"
inputs = { spectrograms = "mels" }
files = { table = "guests/vectors.csv", vectors = "guests/vectors.npy" }
config = { shared_cells = "nearest" }

[scores]
job = "evaluate"
inputs = { trained = "clusters", adopted = "adopted", imported = "imported" }
"""
"""Beside the demo's own runs: a network and vectors from outside, and what the scores are of."""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print what is done and how long it took."""
    print(f"proof: {what} …", flush=True)
    began = time.monotonic()
    yield
    print(f"proof: {what}: {time.monotonic() - began:.0f} s", flush=True)


def command(*words: object, code: int = 0, env: Mapping[str, str] = ENVIRONMENT, cwd: Path = ROOT) -> str:
    """Run a command that must end with a code; return all that it printed."""
    text = [str(word) for word in words]
    done = subprocess.run(
        text, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != code:
        sys.exit(f"proof: {' '.join(text)}\nended with {done.returncode}, expected {code}:\n{done.stdout[-4000:]}")
    return done.stdout


def inside_of(image: Path, *words: object, binds: Sequence[str] = (), more: Sequence[str] = ()) -> list[str]:
    """Return the words that run a command in an image, which sees what is bound and nothing else."""
    bound = [f"--bind={bind}" for bind in binds]
    return ["apptainer", "exec", "--cleanenv", "--containall", *more, *bound, str(image), *map(str, words)]


def make_guests(work: Path) -> None:
    """Write what comes from outside of the study: a network's weights, and another program's vectors."""
    folder = work / "guests"
    folder.mkdir()
    torch.manual_seed(0)
    weights = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0).state_dict()
    save_file(weights, folder / "weights.safetensors")
    with (work / "recordings.csv").open(encoding="utf-8", newline="") as file:
        long = {row["path"]: float(row["duration_s"] or 0) for row in csv.DictReader(file) if row["start_utc"]}
    starts = [(path, 3 * i) for path, duration_s in long.items() for i in range(int(duration_s // 3))]
    with (folder / "vectors.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("recording", "start_s"), *starts])
    vectors = np.random.default_rng(0).normal(size=(len(starts), 16)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)


def write_manifest(work: Path, name: str) -> Path:
    """Write the demo's manifest for the small study, with a short training, guests and a name; return its path."""
    text = tomllib.loads((ROOT / "manifests/demo.toml").read_text(encoding="utf-8"))
    text |= {"lake": name, "labels": "study/truth.csv"}
    tables = {"table": "recordings.csv", "root": "study/audio", "deployments": "study/deployments.csv"}
    text["recordings"] = {**text["recordings"], **tables}
    runs = {key: text["runs"][key] for key in ("mels", "dino", "vectors", "clusters", "atlas")}
    runs["dino"]["config"] |= {"steps": 24, "batch_size": 8}
    # As vectors are made in the images and outside; whitening would follow the last digits of another NumPy.
    runs["clusters"] |= {"inputs": {"embeddings": "vectors"}}
    runs["clusters"]["config"] |= {"n_clusters": 6, "normalise": "zscore_l2"}
    runs |= tomllib.loads(GUESTS)
    for key, run in runs.items():
        run["resources"] = RESOURCES.get(key, {"workers": 1, "hours": 0.2})
    path = work / f"{name}.toml"
    path.write_text(tomli_w.dumps({**text, "runs": runs}), encoding="utf-8")
    names = work / name / "clusters/clusters.names.csv"
    names.parent.mkdir(parents=True, exist_ok=True)
    names.write_text("cluster,name,notes\n0,wren,\n", encoding="utf-8")
    return path


def submit(manifest: Path, images: Path, site: str | Path, out: Path) -> str:
    """Submit a manifest as a user does."""
    return command(*DAWNCHORUS, "submit", manifest, "--site", site, "--images", images, "--out", out)


def same_bytes(one: Path, other: Path) -> None:
    """Compare the content of all runs of two manifests."""
    first, second = contents(read_manifest(one)), contents(read_manifest(other))
    wrong = [name for name in first if first[name] != second[name]]
    if wrong:
        sys.exit(f"proof: {one.stem} and {other.stem} have other bytes in {', '.join(wrong)}")


def contents(manifest: Manifest) -> dict[str, str]:
    """Return the content_id of every run; all must be done."""
    receipts = {name: latest_receipt(run.lake, name) for name, run in manifest.runs.items()}
    missing = [name for name, receipt in receipts.items() if receipt is None]
    if missing:
        sys.exit(f"proof: {manifest.path.stem}: not done: {', '.join(missing)}")
    return {name: str(receipt["content_id"]) for name, receipt in receipts.items() if receipt}
