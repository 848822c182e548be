"""The device that torch computes on, its name in ledgers and receipts, and how fast it could be."""

import re
import resource
import time
from functools import cache
from pathlib import Path
from typing import Final, Literal

import torch

from lake.errors import InputError

PEAK_FLOPS: Final = {
    "H200": {"bf16": 989e12, "fp32": 67e12},
    "H100": {"bf16": 989e12, "fp32": 67e12},
    "A100": {"bf16": 312e12, "fp32": 19.5e12},
    "V100": {"bf16": 125e12, "fp32": 15.7e12},
}
"""Dense matrix products without sparsity or TF32, operations/s, from the vendor's data sheets (SXM boards; of the
V100 that of fp16)."""

Precision = Literal["fp32", "bf16"]

SIDE: Final = 1024
CPU_INFO: Final = Path("/proc/cpuinfo")
INTEL: Final = "GenuineIntel"
BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Features of processors (x86, x86, ARM) that multiply bf16 in one instruction; elsewhere it is slower than fp32."""


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
    """Return what computes the numbers, such as ``cpu-AVX512``, ``cpu-AVX512-AuthenticAMD`` or ``cuda-sm90``.

    Notes
    -----
    MKL, which torch computes with, looks at who made a processor: on another than Intel's it takes other kernels, and
    their results differ in the last bit, whatever instructions both have.
    """
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        return f"cuda-sm{major}{minor}"
    name, maker = f"cpu-{torch.backends.cpu.get_cpu_capability()}", _maker_of(CPU_INFO)
    return name if maker in {"", INTEL} else f"{name}-{maker}"


@cache
def _maker_of(info: Path) -> str:
    """Return the maker of the processor as the processor says it; empty where it does not, as on ARM."""
    try:
        found = re.search(r"^vendor_id\s*:\s*(\w+)", info.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def chosen_precision(wanted: Literal["auto", "fp32", "bf16"], device: str) -> Precision:
    """Return the number format to compute in; with ``auto`` bf16 where the device has instructions for it."""
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if BF16_FLAGS & _flags_of(CPU_INFO) else "fp32"


@cache
def _flags_of(info: Path) -> frozenset[str]:
    """Return the features of the processor; none where the system does not list them."""
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", info.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(found[1].split()) if found else frozenset()


def peak_flops(device: str, precision: Precision) -> float | None:
    """Return the operations/s that a device could reach: by its data sheet, or what one product reaches on a CPU.

    Returns
    -------
    float or None
        ``None`` for a CUDA device that is not in :data:`PEAK_FLOPS`.
    """
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
        return next((peak[precision] for known, peak in PEAK_FLOPS.items() if known in name), None)
    square = torch.ones(SIDE, SIDE, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    best_s = float("inf")
    for _ in range(4):
        began_s = time.perf_counter()
        torch.mm(square, square)
        best_s = min(best_s, time.perf_counter() - began_s)
    return 2.0 * SIDE**3 / best_s


def peak_memory_bytes(device: str) -> int:
    """Return the most memory that this process has held so far: on a CUDA device its tensors', else its own."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
