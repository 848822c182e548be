"""The device that torch computes on, and its name in ledgers and receipts."""

import torch

from lake.errors import InputError


def choose_device(wanted: str | None) -> str:
    """Return the device asked for, or CUDA where there is one, else the CPU.

    Raises
    ------
    InputError
        If CUDA is asked for and not there.
    """
    there = torch.cuda.is_available()
    if wanted is not None and wanted.startswith("cuda") and not there:
        raise InputError(
            f"device: {wanted} was asked for, but torch sees no CUDA device. Use cpu, or an image with CUDA."
        )
    return wanted or ("cuda" if there else "cpu")


def backend_of(device: str = "cpu") -> str:
    """Return what computes the numbers, such as ``cpu-AVX512`` or ``cuda-sm90``."""
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        return f"cuda-sm{major}{minor}"
    return f"cpu-{torch.backends.cpu.get_cpu_capability()}"
