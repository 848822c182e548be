"""The proof of the images: a study through them, with real Apptainer and, where it is there, real Slurm.

``python containers/proof.py IMAGES WORK`` with an interpreter that has everything (the development environment).
A small demo study goes through the whole chain three times: outside of any image; as ``submit --site local``,
each job in its image; and, with ``--slurm``, as dependent jobs of Slurm, of which one task and one training are
killed on the way. All three must hold the same values, and each side must read the other's stores.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
import xarray as xr

from jobs.demo.config import SMALL
from jobs.demo.study import make_study
from jobs.manifest import Manifest, read_manifest
from jobs.reproduce import compare
from lake.receipts import latest_receipt, read_receipts

ROOT = Path(__file__).resolve().parents[1]
RESOURCES: dict[str, dict[str, Any]] = {
    "mels": {"tasks": 2, "workers": 1, "hours": 0.2},
    "dino": {"workers": 2, "hours": 0.2},
}
"""Two tasks of an array, a training of two processes; everything else has one worker."""
PROFILE = 'like = "slurm"\nworkers = 1\nwarn_s = 5\n'
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
DAWNCHORUS = (sys.executable, "-m", "jobs")


def main(words: Sequence[str]) -> None:
    """Do all of it; the first thing that is not as it must be ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("work", type=Path, help="a folder, made anew")
    parser.add_argument("--slurm", action="store_true", help="a Slurm answers to sbatch")
    options = parser.parse_args(words)
    images, work = options.images.resolve(), options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with timed("a small study"):
        make_study(work / "study", SMALL)
    catalog(images, work)
    outside, inside = (write_manifest(work, name) for name in ("outside", "inside"))
    with timed("the chain outside"):
        run_outside(outside)
    with timed("the chain in its images"):
        submit(inside, images, "local", work / "jobs-inside")
    same_values(outside, inside)
    each_reads_the_others(images, outside, inside)
    with timed("refusals"):
        refusals(images, work, inside)
    with timed("as an ordinary user without a home, and without a network"):
        ordinary_user(images, inside)
    with timed("reproduce"):
        again(images, work, inside)
    if options.slurm:
        with timed("the chain under Slurm"):
            under_slurm(images, work, inside)
    print("proof: all is as it must be", flush=True)


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


def catalog(images: Path, work: Path) -> None:
    """Write the table of recordings in the image; outside it must be the same."""
    words = ("dawnchorus", "catalog", work / "study/audio", "--zone", "America/Chicago", "--workers", 1, "--out")
    with timed("the catalog, in its image and outside"):
        command(*inside_of(images / "spectrograms.sif", *words, work / "recordings.csv", binds=[str(work)]))
        command(*DAWNCHORUS, *words[1:], work / "outside.csv")
    if (work / "recordings.csv").read_bytes() != (work / "outside.csv").read_bytes():
        sys.exit("proof: the catalog's table differs between image and outside")


def write_manifest(work: Path, name: str) -> Path:
    """Write the demo's manifest for the small study, with a short training; return its path."""
    text = tomllib.loads((ROOT / "manifests/demo.toml").read_text(encoding="utf-8"))
    text |= {"lake": name, "labels": "study/truth.csv"}
    tables = {"table": "recordings.csv", "root": "study/audio", "deployments": "study/deployments.csv"}
    text["recordings"] = {**text["recordings"], **tables}
    for key, run in text["runs"].items():
        run["resources"] = RESOURCES.get(key, {"workers": 1, "hours": 0.2})
        if run["job"] == "dino":
            run["config"] |= {"steps": 24, "batch_size": 8}
        if run["job"] == "cluster":
            run["config"] |= {"n_clusters": 6}
    path = work / f"{name}.toml"
    path.write_text(tomli_w.dumps(text), encoding="utf-8")
    return path


def run_outside(manifest: Path) -> None:
    """Run the chain in this environment; the training by two processes, as everywhere."""
    command(*DAWNCHORUS, "run", manifest, "mels", "--workers", 1)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    command(*torchrun, "-m", "jobs", "run", manifest, "dino", "--workers", 1)
    command(*DAWNCHORUS, "run", manifest, "--workers", 1)


def submit(manifest: Path, images: Path, site: str | Path, out: Path) -> str:
    """Submit a manifest as a user does."""
    return command(*DAWNCHORUS, "submit", manifest, "--site", site, "--images", images, "--out", out)


def same_values(one: Path, other: Path) -> None:
    """Compare the runs of two manifests window by window, and file by file."""
    first, second = read_manifest(one), read_manifest(other)
    wrong = []
    for name, run in first.runs.items():
        if run.kind in {"atlas", "scores"}:
            continue  # drawn by other versions of matplotlib outside
        lines = list(compare(run.ledger, second.runs[name].ledger))
        contents = {of.runs[name].ledger.summary()["content_id"] for of in (first, second)}
        print(f"proof: {name}: {'same bytes' if len(contents) == 1 else 'same values' if not lines else 'DIFFERS'}")
        wrong += [f"{name}: {line}" for line in lines]
    if wrong:
        sys.exit(f"proof: {one.stem} and {other.stem} differ:\n" + "\n".join(wrong[:20]))


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


def each_reads_the_others(images: Path, outside: Path, inside: Path) -> None:
    """Read and verify the stores of the images outside, and those of outside in an image."""
    command(*DAWNCHORUS, "verify", inside)
    command(
        *inside_of(
            images / "cluster.sif", "dawnchorus", "verify", outside, binds=[f"{outside.parent}:{outside.parent}:ro"]
        )
    )
    code = (
        "import sys, xarray as xr, zarr\n"
        "for path in sys.argv[1:]:\n"
        "    store = xr.open_dataset(path, engine='zarr')\n"
        "    print(zarr.__version__, sorted(store.sizes.items()), int(store.time.size))\n"
    )
    kinds = ("spectrograms/mels", "embeddings/vectors", "clusters/clusters")
    lakes = {
        manifest.stem: [manifest.parent / manifest.stem / f"{kind}.zarr" for kind in kinds]
        for manifest in (outside, inside)
    }
    here = command(sys.executable, "-c", code, *lakes["inside"])
    there = command(
        *inside_of(images / "cluster.sif", "python", "-c", code, *lakes["outside"], binds=[str(outside.parent)])
    )
    print(f"proof: read outside with zarr {here.split()[0]}, in the image with {there.split()[0]}")
    if [line.split(" ", 1)[1] for line in here.splitlines()] != [line.split(" ", 1)[1] for line in there.splitlines()]:
        sys.exit(f"proof: the stores have other sizes:\n{here}{there}")
    for kind in kinds:
        one, other = (xr.open_dataset(lakes[name][kinds.index(kind)], engine="zarr") for name in ("outside", "inside"))
        xr.testing.assert_equal(one.coords.to_dataset(), other.coords.to_dataset())
    images_used = {
        name: (latest_receipt(run.lake, name) or {})["image"] for name, run in read_manifest(inside).runs.items()
    }
    digests = {path.stem: json.loads(path.with_suffix(".json").read_text())["sha256"] for path in images.glob("*.sif")}
    for name, image in images_used.items():
        if image is None or image["sha256"] != digests[image["name"].removesuffix(".sif")]:
            sys.exit(f"proof: the receipt of {name} names the image {image}, not one of {digests}")


def refusals(images: Path, work: Path, inside: Path) -> None:
    """Run in another image than the pinned one, and ask for GPUs that are not there."""
    text = tomllib.loads(inside.read_text(encoding="utf-8"))
    text["lake"] = "pinned"
    text["runs"] = {"mels": {**text["runs"]["mels"], "image": {"name": "spectrograms", "sha256": "0" * 64}}}
    text.pop("labels")
    pinned = work / "pinned.toml"
    pinned.write_text(tomli_w.dumps(text), encoding="utf-8")
    words, binds = ("dawnchorus", "run", pinned, "--workers", 1), [str(work), str(images)]
    told = command(*inside_of(images / "spectrograms.sif", *words, binds=binds), code=3)
    digest = json.loads((images / "spectrograms.json").read_text())["sha256"]
    for part in (
        "run 'mels' is pinned to the image 'spectrograms'",
        f"but this is 'spectrograms.sif' with sha256 {digest}",
    ):
        if part not in told:
            sys.exit(f"proof: the refusal of another image does not say {part!r}: {told}")
    text["runs"]["mels"] |= {"image": {"name": "spectrograms", "sha256": digest}, "resources": {"gpus": 1}}
    pinned.write_text(tomli_w.dumps(text), encoding="utf-8")
    told = command(*inside_of(images / "spectrograms.sif", *words, binds=binds, more=["--nv"]))
    if not Path("/dev/nvidia0").exists() and "asks for 1 GPU, none is seen here (give apptainer `--nv`" not in told:
        sys.exit(f"proof: a GPU that is not there is not told: {told}")


def ordinary_user(images: Path, inside: Path) -> None:
    """Verify a lake as nobody, who has no home, without a network."""
    words = inside_of(
        images / "cluster.sif", "sh", "-c", f"! touch /opt/mine 2>/dev/null && dawnchorus verify {inside} && id -u",
        binds=[f"{inside.parent}:{inside.parent}:ro"], more=["--unsquash"],
    )  # fmt: skip
    user = [] if os.geteuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    scratch = inside.parent / "nobody"
    scratch.mkdir()
    scratch.chmod(0o777)
    environment = {
        **ENVIRONMENT,
        "HOME": "/nonexistent",
        "APPTAINER_TMPDIR": str(scratch),
        "APPTAINER_CACHEDIR": str(scratch),
    }
    told = command(*user, *words, env=environment, cwd=Path("/"))
    if user and "\n65534\n" not in told:
        sys.exit(f"proof: expected to be 65534, found {told}")
    if not os.geteuid():
        without = inside_of(
            images / "cluster.sif",
            "dawnchorus",
            "status",
            inside,
            binds=[str(inside.parent)],
            more=["--net", "--network=none"],
        )
        command(*without)


def again(images: Path, work: Path, inside: Path) -> None:
    """Reproduce a run of every job from its receipt, in its image."""
    for name, run in read_manifest(inside).runs.items():
        if name in {"untrained", "logmel", "clusters-untrained", "clusters-logmel"}:
            continue
        keys = [
            path
            for path in Path(run.lake.receipts(name).url).glob("*.json")
            if json.loads(path.read_text())["state"] == "done"
        ]
        told = command(
            *DAWNCHORUS, "reproduce", max(keys), "--into", work / "again" / name, "--images", images, "--workers", 1
        )
        print(f"proof: {told.strip().splitlines()[-1]}")
        if "the same bytes" not in told:
            sys.exit(f"proof: {name} is not the same again: {told}")


# Slurm -----------------------------------------------------------------------------------------------------


def under_slurm(images: Path, work: Path, inside: Path) -> None:
    """Submit the chain to Slurm, kill a task of the array and the training once, and end with the same bytes."""
    profile = work / "site.toml"
    profile.write_text(PROFILE, encoding="utf-8")
    manifest, out = write_manifest(work, "slurm"), work / "jobs-slurm"
    submit(manifest, images, profile, out)
    array = numbers(out)["mels"]
    wait_until(lambda: bool(squeue(f"{array}_1", "RUNNING")), "the second task of the array runs", out)
    command("scancel", "--signal=KILL", "--full", f"{array}_1")
    wait_until(lambda: not squeue(None), "Slurm's queue is empty", out)
    done = [name for name, run in read_manifest(manifest).runs.items() if latest_receipt(run.lake, name)]
    if (out / f"mels-{array}_0.log").read_text().count("mels: done") != 1:
        sys.exit(f"proof: the other task of the array was to go on: {(out / f'mels-{array}_0.log').read_text()}")
    if done:
        sys.exit(f"proof: a task was killed, and {', '.join(done)} went on all the same")
    print(f"proof: a task of {array} was killed: what depends on it did not run; submitted again")
    submit(manifest, images, profile, out)
    training = numbers(out)["dino"]
    checkpoint = manifest.parent / "slurm/models/dino/metrics.jsonl"
    wait_until(checkpoint.exists, "the training has begun", out)
    command("scancel", "--signal=TERM", "--batch", training)
    wait_until(lambda: not squeue(None), "Slurm's queue is empty", out)
    (log,) = out.glob(f"dino-{training}.log")
    print(
        "proof: the training's log:\n"
        + "".join(f"    {line}\n" for line in log.read_text().splitlines() if "dino: " in line)
    )
    if "back into the queue" not in log.read_text():
        sys.exit(f"proof: the training was not taken back into the queue:\n{log.read_text()[-4000:]}")
    same_bytes(inside, manifest)
    shares = [receipt["part"] for receipt in read_receipts(read_manifest(manifest).runs["mels"].lake, "mels")]
    print(f"proof: the same bytes as in the images without Slurm; receipts of mels: {shares}")


def numbers(out: Path) -> dict[str, str]:
    """Return the job's number by step."""
    return dict(line.split() for line in (out / "jobs.txt").read_text().splitlines())


def squeue(job: str | None, state: str | None = None) -> list[str]:
    """Return the states of jobs that Slurm still knows as not ended."""
    words = ["squeue", "--noheader", "--array", "--format=%T"] + ([f"--jobs={job}"] if job else [])
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    return [line for line in done.stdout.split() if state in {None, line}]


def wait_until(is_so: Callable[[], bool], what: str, out: Path, at_most_s: float = 900) -> None:
    """Wait until something is so, as long as Slurm has jobs that could make it so."""
    until = time.monotonic() + at_most_s
    while not is_so():
        if time.monotonic() > until or not (squeue(None) or is_so()):
            logs = "\n".join(f"{path.name}: {path.read_text()[-1000:]}" for path in sorted(out.glob("*.log")))
            sys.exit(f"proof: waited in vain until {what}\n{command('squeue')}\n{logs}")
        time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1:])
