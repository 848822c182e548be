"""Identity of a run: the hash of its configuration, the hash of its content, and the difference of two."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lake.digest import sha256
from lake.errors import IdentityError

Json = Mapping[str, Any]


def canonical(value: object, *, allow_nan: bool = False) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=allow_nan).encode()


def short_hash(value: object) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return sha256(canonical(value))[:12]


def config_id(job: str, algorithm: int, config: Json, inputs: Mapping[str, str]) -> str:
    """Return the identity of a run's configuration.

    Parameters
    ----------
    job, algorithm
        The job's name and the number of its algorithm, raised when a change alters bytes.
    config
        The resolved configuration, without fields that stand at the value they were introduced with
        after the job's first release.
    inputs
        The ``config_id`` of the run in each input role. Contents are not part of the identity.
    """
    return short_hash({"job": job, "algorithm": algorithm, "config": dict(config), "inputs": dict(inputs)})


def content_id(digests: Iterable[tuple[str, str]]) -> str:
    """Return the identity of a run's content from the (key, digest) pairs of its ledger, in any order."""
    return short_hash(sorted(digests))


def require_same(run: str, stored: Json, wanted: Json, introduced: Json | None = None) -> None:
    """Refuse to go on with a run whose name is taken by another configuration.

    Parameters
    ----------
    run
        The run's name.
    stored, wanted
        Records with ``job``, ``algorithm``, ``config``, ``inputs`` and ``config_id``.
    introduced
        Values of settings that a record without them had.

    Raises
    ------
    IdentityError
        With one line for each field that differs.
    """
    if stored["config_id"] == wanted["config_id"]:
        return
    lines = [f"  {line}" for line in differences(stored, wanted, introduced)]
    raise IdentityError(
        f"run {run!r} exists with another configuration (stored {stored['config_id']}, wanted {wanted['config_id']}):\n"
        + "\n".join(lines)
        + "\nGive the run a new name in the manifest, or restore these values."
    )


def differences(stored: Json, wanted: Json, introduced: Json | None = None) -> list[str]:
    """Return one line for each field of two run records that differs; see :func:`require_same`."""
    lines = [
        f"{part}: stored {stored[part]!r}, wanted {wanted[part]!r}"
        for part in ("job", "algorithm")
        if stored[part] != wanted[part]
    ]
    for part in ("config", "inputs"):
        for key in sorted({*stored[part], *wanted[part]}):
            absent = (introduced or {}).get(key, "(absent)") if part == "config" else "(absent)"
            old, new = stored[part].get(key, absent), wanted[part].get(key, absent)
            if old != new:
                lines.append(f"{part}.{key}: stored {old!r}, wanted {new!r}")
    return lines
