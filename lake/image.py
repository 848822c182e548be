"""The container image that a process runs in, for receipts and for manifests that pin one."""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from lake.digest import sha256_of_file
from lake.errors import InputError

SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST_VARIABLE = "DAWNCHORUS_IMAGE_SHA256"
"""Variable with the digest of the image file, which a process inside cannot always read."""
LABELS = Path("/.singularity.d/labels.json")


def current_image() -> dict[str, Any] | None:
    """Return what is known of the image that this process runs in, or ``None`` outside of one.

    Returns
    -------
    dict
        ``name`` of the image's file; its ``sha256``, or ``None`` if nobody handed it in and the file cannot
        be read from inside; its ``version``, ``revision`` (the commit it was built from) and ``lock`` as its
        labels say.

    Raises
    ------
    InputError
        If the digest that was handed in is none.
    """
    path = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    if not path:
        return None
    labels = _labels(LABELS)
    return {
        "name": Path(path).name,
        "sha256": _given_digest() or _file_digest(path),
        "version": labels.get("org.opencontainers.image.version"),
        "revision": labels.get("org.opencontainers.image.revision"),
        "lock": labels.get("dawnchorus.lock"),
    }


def least_driver() -> str | None:
    """Return the least NVIDIA driver that the image's labels name, or ``None``."""
    found = _labels(LABELS).get("dawnchorus.least-driver", "none")
    return None if found in {"none", "unknown"} else found


def require_image(run: str, name: str, wanted: str, found: dict[str, Any] | None) -> None:
    """Refuse to execute a run in another image than the manifest pins.

    Parameters
    ----------
    run
        The run's name.
    name, wanted
        Name and SHA-256 of the image that is pinned.
    found
        The image that this process runs in, as :func:`current_image` returns it.

    Raises
    ------
    InputError
        If it is another one, none, or one whose digest is not known.
    """
    pinned = f"run {run!r} is pinned to the image {name!r} with sha256 {wanted}"
    if found is None:
        raise InputError(
            f"{pinned}, but this process runs in no image. Type "
            f"`apptainer exec … {name}.sif dawnchorus run …`, or leave `sha256` out of the manifest."
        )
    if found["sha256"] is None:
        raise InputError(
            f"{pinned}; the digest of {found['name']!r}, which this is, is not known in here. Bind the folder of the "
            f'image, or hand it in: `apptainer exec --env {DIGEST_VARIABLE}="$(sha256sum {name}.sif | cut -c1-64)" …`.'
        )
    if found["sha256"] != wanted:
        raise InputError(
            f"{pinned}, but this is {found['name']!r} with sha256 {found['sha256']}. "
            "Run it in the pinned image, or pin this one in the manifest."
        )


def _given_digest() -> str | None:
    given = os.environ.get(DIGEST_VARIABLE)
    if not given:
        return None
    if not SHA256.fullmatch(given):
        raise InputError(f"{DIGEST_VARIABLE}={given!r}: expected the 64 hexadecimal digits that sha256sum prints.")
    return given


@cache
def _file_digest(path: str) -> str | None:
    """Return the digest of the image's file where it can be seen from inside."""
    try:
        return sha256_of_file(path)
    except OSError:  # not bound into the container
        return None


@cache
def _labels(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # an image of somebody else's
        return {}
