"""The proof of the images: a study through them, with real Apptainer and, where it is there, real Slurm.

``python containers/proof.py IMAGES WORK`` with an interpreter that has everything (the development environment).
A small demo study goes through the whole chain three times: outside of any image; as ``submit --site local``,
each job in its image; and, with ``--slurm``, as dependent jobs of Slurm, of which one task and one training are
killed on the way. All three must hold the same values, and each side must read the other's stores.
"""

import argparse
import json
import logging
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
import numpy as np
import tomli_w
import xarray as xr
from moto.server import ThreadedMotoServer
from proof_slurm import under_slurm
from proof_tools import DAWNCHORUS, ENVIRONMENT, command, inside_of, make_guests, submit, timed, write_manifest

from jobs.demo.config import SMALL
from jobs.demo.study import make_study
from jobs.runner.manifest import read_manifest
from jobs.runner.reproduce import compare
from lake.receipts import latest_receipt


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
    make_guests(work)
    outside, inside = (write_manifest(work, name) for name in ("outside", "inside"))
    with timed("the chain outside"):
        run_outside(outside)
    with timed("the chain in its images"):
        submit(inside, images, "local", work / "jobs-inside")
    same_values(outside, inside)
    each_reads_the_others(images, outside, inside)
    with timed("commands in the image and outside"):
        commands_agree(images, inside)
    with timed("refusals"):
        refusals(images, work, inside)
    with timed("as an ordinary user without a home, and without a network"):
        ordinary_user(images, inside)
    with timed("a lake of objects"):
        on_objects(images, work, inside)
    with timed("reproduce"):
        again(images, work, inside)
    if options.slurm:
        with timed("the chain under Slurm"):
            under_slurm(images, work, inside)
    print("proof: all is as it must be", flush=True)


def catalog(images: Path, work: Path) -> None:
    """Write the table of recordings in the image; outside it must be the same."""
    words = ("dawnchorus", "catalog", work / "study/audio", "--zone", "America/Chicago", "--workers", 1, "--out")
    with timed("the catalog, in its image and outside"):
        command(*inside_of(images / "spectrograms.sif", *words, work / "recordings.csv", binds=[str(work)]))
        command(*DAWNCHORUS, *words[1:], work / "outside.csv")
    if (work / "recordings.csv").read_bytes() != (work / "outside.csv").read_bytes():
        sys.exit("proof: the catalog's table differs between image and outside")


def run_outside(manifest: Path) -> None:
    """Run the chain in this environment; the training by two processes, as everywhere."""
    command(*DAWNCHORUS, "run", manifest, "mels", "--workers", 1)
    command(*DAWNCHORUS, "run", manifest, "dino", "--ranks", 2, "--workers", 1)
    command(*DAWNCHORUS, "run", manifest, "--workers", 1)


def same_values(one: Path, other: Path) -> None:
    """Compare the runs of two manifests window by window, and file by file; of clusterings, labels and distances."""
    first, second = read_manifest(one), read_manifest(other)
    wrong = []
    for name, run in first.runs.items():
        if run.kind in {"atlas", "scores"}:
            continue  # drawn by other versions of matplotlib outside
        lines = list(compare(run.ledger, second.runs[name].ledger))
        contents = {of.runs[name].ledger.summary()["content_id"] for of in (first, second)}
        what = "same bytes" if len(contents) == 1 else "same values" if not lines else "DIFFERS"
        if lines and run.kind == "clusters" and is_same_clustering(run.output.url, second.runs[name].output.url):
            what, lines = "same labels, distances within 1e-6", []
        print(f"proof: {name}: {what}")
        wrong += [f"{name}: {line}" for line in lines]
    if wrong:
        sys.exit(f"proof: {one.stem} and {other.stem} differ:\n" + "\n".join(wrong[:20]))


def is_same_clustering(one: str, other: str) -> bool:
    """Return whether windows have the same clusters; another NumPy rounds the last digit of a distance otherwise."""
    first, second = (xr.open_dataset(url, engine="zarr") for url in (one, other))
    labels = ["cluster", "cluster_status"]
    here, there = (store["distance"].to_numpy() for store in (first, second))
    return bool(first[labels].equals(second[labels]) and np.allclose(here, there, rtol=0, atol=1e-6, equal_nan=True))


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


def commands_agree(images: Path, inside: Path) -> None:
    """Ask a lake in the image and outside; the answers must be the same."""
    lake = inside.parent / inside.stem
    with xr.open_dataset(lake / "clusters/clusters.zarr", engine="zarr") as store:
        first = store.cluster.stack(window=("recorder", "time")).dropna("window")[0]
        of = ("--recorder", str(first.recorder.item()), "--time", str(first.time.to_numpy())[:19])
    clusters, vectors, out = lake / "clusters/clusters.zarr", lake / "embeddings/vectors.zarr", inside.parent / "asked"
    asked = [
        ("status", inside),
        ("query", clusters, "--date", "2021-06", "--json"),
        ("query", vectors, "--features", "--out", out / "features.csv"),
        ("similar", vectors, *of, "--n", 5),
        ("trace", clusters, *of, "--audio", out / "window.wav", "--root", inside.parent / "study/audio"),
        ("export", clusters, "--to", "raven", "--out", out / "raven"),
        ("names", clusters, clusters),
    ]
    told: list[dict[str, str]] = []
    for image in (None, images / "cluster.sif"):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        binds = [str(inside.parent)]
        found = {}
        for words in asked:
            line = [*DAWNCHORUS, *words] if image is None else inside_of(image, "dawnchorus", *words, binds=binds)
            found[" ".join(map(str, words))] = without_clock(command(*line))
        found |= {str(path): path.read_bytes().hex() for path in sorted(out.rglob("*")) if path.is_file()}
        told.append(found)
    if told[0] != told[1]:
        other = [key for key in {**told[0], **told[1]} if told[0].get(key) != told[1].get(key)]
        shown = "\n".join(f"{key}\noutside: {told[0].get(key)}\ninside: {told[1].get(key)}"[:2000] for key in other)
        sys.exit(f"proof: the image and outside answer otherwise:\n{shown}")
    print(f"proof: {len(asked)} commands answer the same, {len(told[0]) - len(asked)} files of theirs are the same")


def without_clock(told: str) -> str:
    """Return what a command printed without its lines of progress, and with distances as exact as sums are."""
    kept = [line for line in told.splitlines() if not re.search(r" of \d+ \w+, [\d.]+ s$", line)]
    return re.sub(r"\d+\.\d{6,}", lambda found: f"{float(found[0]):.5f}", "\n".join(kept))


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
    with TemporaryDirectory() as folder:  # images and lake may lie where nobody else can go, as in root's home
        place = Path(folder)
        place.chmod(0o755)
        image, lake, scratch = (place / name for name in ("cluster.sif", "lake", "scratch"))
        shutil.copy(images / image.name, image)
        shutil.copytree(inside.parent, lake)
        scratch.mkdir()
        scratch.chmod(0o777)
        words = inside_of(
            image, "sh", "-c", f"! touch /opt/mine 2>/dev/null && dawnchorus verify {inside} && id -u",
            binds=[f"{lake}:{inside.parent}:ro"], more=["--unsquash"],
        )  # fmt: skip
        user = [] if os.geteuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
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


def on_objects(images: Path, work: Path, inside: Path) -> None:
    """Make and verify the cube in images, on a service that stands in for S3; the bytes must be those of a disk."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
    }  # fmt: skip
    os.environ.update(settings)
    fsspec.config.set_conf_env(fsspec.config.conf)
    fsspec.filesystem("s3").mkdir("bucket")
    text = tomllib.loads(inside.read_text(encoding="utf-8"))
    text |= {"lake": "s3://bucket/study", "runs": {"mels": text["runs"]["mels"]}}
    text.pop("labels")
    manifest = work / "objects.toml"
    manifest.write_text(tomli_w.dumps(text), encoding="utf-8")
    more = [f"--env={key}={value}" for key, value in settings.items()]
    for image, words in (("spectrograms", ("run", manifest, "--workers", 1)), ("cluster", ("verify", manifest))):
        command(*inside_of(images / f"{image}.sif", "dawnchorus", *words, binds=[str(work)], more=more))
    stored, there = (read_manifest(of).runs["mels"].ledger for of in (inside, manifest))
    same, lines = stored.summary()["content_id"] == there.summary()["content_id"], list(compare(stored, there))
    server.stop()
    if not same or lines:
        sys.exit("proof: the cube has other bytes on an object store:\n" + "\n".join(lines))


def again(images: Path, work: Path, inside: Path) -> None:
    """Reproduce a run of every job from its receipt, in its image."""
    for name, run in read_manifest(inside).runs.items():
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


if __name__ == "__main__":
    main(sys.argv[1:])
