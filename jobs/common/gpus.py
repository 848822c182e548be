"""List the NVIDIA GPUs and the driver that this process sees, without torch."""

import re
from collections.abc import Iterator
from pathlib import Path

from lake.image import current_image, least_driver

DEVICES = Path("/dev")
DRIVER = Path("/proc/driver/nvidia/version")


def missing_gpus(wanted: int, devices: Path = DEVICES, driver: Path = DRIVER) -> Iterator[str]:
    """Yield what stands between a run and the GPUs it asks for.

    Parameters
    ----------
    wanted
        GPUs that the run asks for on this machine.
    devices, driver
        Where the devices appear, and what the driver says of itself.
    """
    there = [path for path in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    version, least = driver_version(driver), least_driver()
    if not there:
        hint = "give apptainer `--nv`, on a node that has them" if current_image() else "is there a driver?"
        yield f"asks for {wanted} GPU{'s'[: wanted - 1]}, none is seen here ({hint}); the CPU is used instead"
    elif len(there) < wanted:
        yield f"asks for {wanted} GPUs, {len(there)} are seen here"
    if there and version and least and _numbers(version) < _numbers(least):
        yield (
            f"the NVIDIA driver here is {version}, the CUDA of this image needs {least} or newer; build the image with "
            "an older CUDA (`make images TORCH_INDEX=…`)"
        )


def driver_version(path: Path = DRIVER) -> str | None:
    """Return the version of the NVIDIA kernel driver, or ``None`` without one."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", path.read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1] if found else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
