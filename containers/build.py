"""Build the images: the base, then each job image on it; what is up to date is left alone.

``python containers/build.py [IMAGE…]`` with nothing but the standard library, hatchling and pip. Wheels are
downloaded on the host against the digests in ``<image>.lock`` and bound into the build, so that nothing
inside needs the network, a certificate or the name of a registry.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "containers"
IMAGES = ("spectrograms", "dino", "cluster")
PYTHON = "3.13"
TORCH_FAMILY = re.compile(r"(torch|torchaudio|torchvision|triton|nvidia-.*|cuda-.*)==")
ROOM_PER_WHEEL = 5
"""Bytes that a build takes for each byte of its wheels: 2.4 unpacked, 1.1 as a file system, 1.1 as an image."""
LEAST_DRIVER = {13: "580.65.06", 12: "525.60.13", 11: "450.80.02"}
"""Least Linux driver by major version of the CUDA runtime, as NVIDIA's release notes list it."""


@dataclass(frozen=True)
class Options:
    """Settings of a build: the folder, the mirror or OCI image, the version of torch."""

    out: Path
    wheels: Path
    mirror: str | None
    suite: str
    oci: str | None
    torch_index: str | None
    compression: int
    fakeroot: bool


def main(words: Sequence[str]) -> None:
    """Build the images that are asked for."""
    images, options = parse(words)
    if shutil.which("apptainer") is None:
        sys.exit("build: apptainer is not on the PATH; see docs/containers.md.")
    options.out.mkdir(parents=True, exist_ok=True)
    base = build_base(options)
    if images:
        wheel = build_wheel(options.out.parent / "wheel")
        for image in images:
            build_image(image, base, wheel, options)


def parse(words: Sequence[str]) -> tuple[list[str], Options]:
    """Return the images asked for and how to build them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(IMAGES)}, or base alone; all")
    parser.add_argument("--out", type=Path, default=ROOT / "build/images", help="folder of the images")
    parser.add_argument("--wheels", type=Path, default=ROOT / "build/wheels", help="folder that keeps downloads")
    parser.add_argument("--mirror", help="Debian mirror; that of this machine if it is a Debian")
    parser.add_argument("--suite", default="trixie", help="Debian release")
    parser.add_argument("--oci", nargs="?", const="python:3.13-slim", help="start from this OCI image, no mirror")
    parser.add_argument("--torch-index", help="index to take torch from: for the CPU alone, or an older CUDA")
    parser.add_argument("--compression", type=int, default=3, help="zstd level; 19 for images to publish")
    parser.add_argument("--fakeroot", action="store_true", default=os.geteuid() != 0, help="as an ordinary user")
    given = vars(parser.parse_args(words))
    images = given.pop("images") or list(IMAGES)
    unknown = [image for image in images if image not in {*IMAGES, "base"}]
    if unknown:
        parser.error(f"no image {unknown[0]!r}; there are {', '.join(IMAGES)} and base")
    given["out"], given["wheels"] = given["out"].resolve(), given["wheels"].resolve()
    return [image for image in images if image != "base"], Options(**given)


def build_base(options: Options) -> Path:
    """Build the base image unless it is up to date; return its path."""
    target = options.out / "base.sif"
    definition = HERE / ("base-oci.def" if options.oci else "base.def")
    made_of = {"definition": sha256(definition), "from": options.oci or options.suite, "machine": platform.machine()}
    if is_current(target, made_of):
        return target
    arguments = {"OCI": options.oci} if options.oci else {"SUITE": options.suite, "MIRROR": find_mirror(options)}
    apptainer_build(target, definition, arguments, [], options)
    stamp(target, made_of)
    return target


def build_image(image: str, base: Path, wheel: Path, options: Options) -> None:
    """Build one job image unless it is up to date."""
    target, lock = options.out / f"{image}.sif", HERE / f"{image}.lock"
    sources = [HERE / "job.def", HERE / "check.py", ROOT / "tests/stores.py", lock, wheel]
    made_of = {
        **{path.name: sha256(path) for path in sources},
        "base": json.loads(stamp_path(base).read_text())["made_of"],
        "torch": options.torch_index or "locked",
        "compression": options.compression,
    }
    if is_current(target, made_of):
        return
    stage = options.out.parent / "stage" / image
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        names = fetch(lock, stage, options)
        require_room(image, stage, options)
        for path in (HERE / "check.py", ROOT / "tests/stores.py", wheel):
            shutil.copy(path, stage)
        arguments = {
            "BASE": str(base), "IMAGE": image, "VERSION": version(), "COMMIT": commit(),
            "LOCK": f"sha256:{sha256(stage / 'lock.txt')}", "DRIVER": least_driver(names),
            "TORCH": torch_of(names),
        }  # fmt: skip
        apptainer_build(target, HERE / "job.def", arguments, [f"{stage}:/mnt:ro"], options)
    finally:
        shutil.rmtree(stage)
    stamp(target, made_of)


def require_room(image: str, stage: Path, options: Options) -> None:
    """Exit unless Apptainer's temporary folder and the folder of the images have room for a build."""
    least = ROOM_PER_WHEEL * sum(path.stat().st_size for path in stage.glob("*.whl"))
    for folder in (Path(os.environ.get("APPTAINER_TMPDIR") or tempfile.gettempdir()), options.out):
        free = shutil.disk_usage(folder).free
        if free < least:
            sys.exit(
                f"build: {image} takes up to {least / 1e9:.1f} GB while it is built, and {folder} has "
                f"{free / 1e9:.1f} GB free. Free some space, or give other folders with APPTAINER_TMPDIR and --out."
            )


def fetch(lock: Path, stage: Path, options: Options) -> list[str]:
    """Put the wheels of a lock into a folder, with ``lock.txt``; return their names."""
    options.wheels.mkdir(parents=True, exist_ok=True)
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    kept = [line for line in lines if not (options.torch_index and TORCH_FAMILY.match(line))]
    (stage / "lock.txt").write_text("\n".join(kept) + "\n")
    print(f"{lock.stem}: fetching {len(lines)} packages", flush=True)
    pip_download(options.wheels, "--no-deps", "--require-hashes", "-r", str(stage / "lock.txt"))
    link_wheels(options.wheels, stage, {line.split("--hash=sha256:")[1] for line in kept})
    if options.torch_index:
        pinned = [line.split()[0] for line in lines if line.startswith(("torch==", "torchaudio==", "torchvision=="))]
        (stage / "pins.txt").write_text("".join(line.split()[0] + "\n" for line in kept))
        pip_download(
            stage,
            "--index-url",
            options.torch_index,
            "--find-links",
            str(stage),
            "-c",
            str(stage / "pins.txt"),
            *pinned,
        )
        relock(stage)
    return sorted(path.name for path in stage.glob("*.whl"))


def pip_download(folder: Path, *words: str) -> None:
    """Download wheels for the images' Python, whatever this one is."""
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(5, 42)]
    platforms += [f"manylinux{year}_{machine}" for year in (1, 2010, 2014)] + [f"linux_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", "--dest", str(folder)]
    command += [word for name in platforms for word in ("--platform", name)]
    if subprocess.run([*command, *words], check=False).returncode:
        index = words[words.index("--index-url") + 1] if "--index-url" in words else "pip's own index"
        sys.exit(
            f"build: pip did not get what the lock names from {index}; its reason is above. The wheels must be for "
            f"CPython {PYTHON} on {machine}. Choose another index, or resolve the locks anew with `make lock-images`."
        )


def link_wheels(source: Path, stage: Path, digests: set[str]) -> None:
    """Link the wheels with these digests into a folder; digests are kept beside the wheels, by size and time."""
    known_path = source / "digests.json"
    known = json.loads(known_path.read_text()) if known_path.exists() else {}
    for path in sorted(source.glob("*.whl")):
        state = path.stat()
        key = f"{path.name} {state.st_size} {state.st_mtime_ns}"
        known[key] = known.get(key) or sha256(path)
        if known[key] in digests:
            (stage / path.name).hardlink_to(path)
    known_path.write_text(json.dumps(known, indent=1))


def relock(stage: Path) -> None:
    """Write ``lock.txt`` anew from what lies in a folder, which came from another index than the lock's."""
    lines = []
    for path in sorted(stage.glob("*.whl")):
        name, number = path.name.split("-")[:2]
        lines.append(f"{name.replace('_', '-').lower()}=={number} --hash=sha256:{sha256(path)}")
    (stage / "lock.txt").write_text("\n".join(lines) + "\n")


def apptainer_build(
    target: Path, definition: Path, arguments: dict[str, str], binds: Iterable[str], options: Options
) -> None:
    """Build one image aside, tell how long it took, and put it in place."""
    began, aside = time.monotonic(), target.with_suffix(".new.sif")
    command = ["apptainer", "--quiet", "build", "--force", *(["--fakeroot"] if options.fakeroot else [])]
    command += ["--mksquashfs-args", f"-comp zstd -Xcompression-level {options.compression}"]
    command += [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    command += [word for bind in binds for word in ("--bind", bind)]
    log = target.with_suffix(".log")
    print(f"{target.stem}: building (log: {log})", flush=True)
    with log.open("w") as file:
        done = subprocess.run(
            [*command, str(aside), str(definition)], stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        aside.unlink(missing_ok=True)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        sys.exit(f"build: {target.stem} failed after {time.monotonic() - began:.0f} s:\n{tail}")
    aside.replace(target)
    print(f"{target.stem}: built in {time.monotonic() - began:.0f} s", flush=True)


def build_wheel(folder: Path) -> Path:
    """Build the project's wheel; the same tree gives the same bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def is_current(target: Path, made_of: Mapping[str, object]) -> bool:
    """Return whether the image exists and was made of exactly this; print so."""
    if not (target.exists() and stamp_path(target).exists()):
        return False
    stored = json.loads(stamp_path(target).read_text())
    if stored["made_of"] != json.loads(json.dumps(made_of)) or stored["size"] != target.stat().st_size:
        return False
    say(target, stored, "up to date")
    return True


def stamp(target: Path, made_of: Mapping[str, object]) -> None:
    """Write beside an image what it was made of, its size and its digest."""
    found = {"made_of": made_of, "size": target.stat().st_size, "sha256": sha256(target)}
    stamp_path(target).write_text(json.dumps(found, indent=2) + "\n")
    target.with_suffix(".sif.sha256").write_text(f"{found['sha256']}  {target.name}\n")
    say(target, found, "built")


def say(target: Path, found: Mapping[str, object], what: str) -> None:
    """Print an image's line."""
    size = target.stat().st_size / 1e6
    print(f"{target.stem}: {what}, {size:,.0f} MB, sha256 {found['sha256']}", flush=True)


def stamp_path(target: Path) -> Path:
    """Return where an image's stamp is."""
    return target.with_suffix(".json")


def find_mirror(options: Options) -> str:
    """Return the mirror that was given, or the one that this Debian itself uses."""
    if options.mirror:
        return options.mirror
    text = ""
    for path in [*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")]:
        text += path.read_text() + "\n" if path.exists() else ""
    uris = re.findall(r"^URIs:\s*(\S+)", text, re.MULTILINE) + re.findall(
        r"^deb\s+(?:\[.*?\]\s+)?(\S+)", text, re.MULTILINE
    )
    mirrors = [uri for uri in uris if re.search(r"/debian/?$", uri)]
    if not mirrors:
        sys.exit(
            "build: this machine names no Debian mirror; give one with --mirror URL, or start from OCI with --oci."
        )
    return str(mirrors[0])


def least_driver(names: Sequence[str]) -> str:
    """Return the least NVIDIA driver for the CUDA runtime among these wheels."""
    for name in names:
        found = re.match(r"nvidia_cuda_runtime(?:_cu\d+)?-(\d+)\.", name)
        if found:
            return LEAST_DRIVER.get(int(found[1]), "unknown")
    return "none"


def torch_of(names: Sequence[str]) -> str:
    """Return the version of torch among these wheels."""
    return next((name.split("-")[1] for name in names if name.startswith("torch-")), "none")


def version() -> str:
    """Return the project's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def commit() -> str:
    """Return the commit that is built, with ``-dirty`` where the tree differs."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return "unknown"
    command = [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def sha256(path: Path) -> str:
    """Return a file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main(sys.argv[1:])
