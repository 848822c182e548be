"""Print a lock of dependencies: exact versions with the digests of their files, and no host names.

``python containers/lock.py [EXTRA…]`` resolves the project with its extras (``dev`` without any) for the
Python and platform it runs on, downloads nothing but metadata, and prints what
``pip install --require-hashes -r`` takes. ``python containers/lock.py --base BASE.sif EXTRA`` resolves one
image's dependencies with the Python of the base image, which needs the network.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESOLVE = ("install", "--quiet", "--dry-run", "--ignore-installed", "--report")
PASSED = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
"""Settings of the host that resolving inside the base image needs as well."""


def main(words: list[str]) -> None:
    """Print the lock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", default=["dev"])
    parser.add_argument("--base", type=Path, help="resolve with the Python of this image")
    options = parser.parse_args(words)
    if options.base:
        report = report_inside(options.base, requirements(options.extras))
    else:
        command = [sys.executable, "-m", "pip", *RESOLVE, "-", f".[{','.join(options.extras)}]"]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print("\n".join(lock_lines(report, ",".join(options.extras), "make lock-images" if options.base else "make lock")))


def requirements(extras: list[str]) -> list[str]:
    """Return what the project needs with these extras, as pyproject.toml says it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    more = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *more]


def report_inside(base: Path, wanted: list[str]) -> dict[str, Any]:
    """Return pip's report of what it would install in the base image."""
    apptainer = shutil.which("apptainer") or shutil.which("singularity")
    if apptainer is None:
        sys.exit("lock: found neither apptainer nor singularity on the PATH.")
    with tempfile.TemporaryDirectory() as scratch:
        binds = [f"{scratch}:/mnt"]
        environment = [f"--env={name}={os.environ[name]}" for name in PASSED if name in os.environ]
        if os.environ.get("PIP_CERT"):
            binds.append(f"{os.environ['PIP_CERT']}:{os.environ['PIP_CERT']}:ro")
        (Path(scratch) / "wanted.txt").write_text("\n".join(wanted) + "\n", encoding="utf-8")
        script = (
            "python3 -m venv /mnt/venv && "
            f"TMPDIR=/mnt /mnt/venv/bin/python -m pip {' '.join(RESOLVE)} /mnt/report.json "
            "--no-cache-dir --only-binary=:all: -r /mnt/wanted.txt"
        )
        command = [apptainer, "exec", "--cleanenv", "--containall", *environment]
        command += [f"--bind={bind}" for bind in binds] + [str(base), "sh", "-c", script]
        subprocess.run(command, check=True)
        report: dict[str, Any] = json.loads((Path(scratch) / "report.json").read_text(encoding="utf-8"))
    return report


def lock_lines(report: dict[str, Any], extras: str, made_by: str) -> list[str]:
    """Return the lines of a lock of what pip reports."""
    lines = []
    for item in report["install"]:
        if "archive_info" not in item["download_info"]:
            continue  # the project itself
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        name = item["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{digest}")
    found = report.get("environment", {})
    version = found.get("python_full_version", platform.python_version())
    where = f"CPython {version}, {platform.system()} {platform.machine()}"
    return [f"# {extras}: {where}; made by `{made_by}`", *sorted(lines)]


if __name__ == "__main__":
    main(sys.argv[1:])
