"""Receipts: the append-only records that executions of a run leave."""

import platform
import shutil
import socket
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from lake.image import current_image
from lake.layout import Lake
from lake.records import damaged, seal, unseal
from lake.storage import Storage

PACKAGES = (
    "dawnchorus", "dask", "numpy", "pandas", "scikit-learn", "soundfile", "timm", "torch", "torchaudio", "xarray",
    "zarr",
)  # fmt: skip


ADVICE = "Restore it from a copy; or remove it and type `dawnchorus run`: what it lacks is written again."


def write_receipt(lake: Lake, run: str, part: tuple[int, int], facts: Mapping[str, Any]) -> str:
    """Store a receipt of part i of n of a run and return its key.

    Parameters
    ----------
    lake, run, part
        Whose receipt it is.
    facts
        JSON values: config, ids, digests, counts, timings. Host, versions and time are added.
    """
    storage, made_by = lake.receipts(run), environment()
    while True:
        now = datetime.now(UTC)
        receipt = {
            "run": run,
            "part": list(part),
            "written": now.isoformat(timespec="milliseconds"),
            **facts,
            **made_by,
        }
        key = f"{now.strftime('%Y%m%dT%H%M%S%fZ')}-{part[0]}of{part[1]}.json"
        if storage.create(key, seal(receipt, indent=2)):
            return key


def read_receipts(lake: Lake, run: str) -> list[dict[str, Any]]:
    """Return a run's receipts, oldest first.

    Raises
    ------
    StoreError
        If a receipt cannot be read.
    """
    storage = lake.receipts(run)
    return [read_receipt(storage, key, run) for key in storage.list_keys() if key.endswith(".json")]


def read_receipt(storage: Storage, key: str, run: str) -> dict[str, Any]:
    """Return one receipt of a run; raises as :func:`read_receipts`."""
    where = storage.path(key)
    receipt = unseal(storage.read(key), where, ADVICE)
    if receipt.get("run") != run:
        raise damaged(where, f"expected a receipt of the run {run!r}, found one of {receipt.get('run')!r}", ADVICE)
    return receipt


def latest_receipt(lake: Lake, run: str) -> dict[str, Any] | None:
    """Return the last receipt of a run that was finished, or ``None``."""
    done = [receipt for receipt in read_receipts(lake, run) if receipt.get("state") == "done"]
    return done[-1] if done else None


def environment() -> dict[str, Any]:
    """Return what made the bytes: host, container image, versions and commit."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    image = current_image()
    return {
        "image": image,
        "host": {"name": socket.gethostname(), "machine": platform.machine(), "system": platform.platform()},
        "python": platform.python_version(),
        "versions": versions,
        "git_commit": _git_commit() or (image or {}).get("revision"),
    }


def _git_commit() -> str | None:
    """Return the commit of the tree this code runs from, or ``None`` when it is installed."""
    root = Path(__file__).resolve().parent.parent
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    done = subprocess.run(  # noqa: S603 (fixed arguments)
        [git, "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or None
