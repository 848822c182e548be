"""Describe the kind of processor that numbers were computed on."""

from threadpoolctl import threadpool_info


def blas_backend() -> str:
    """Return the processor that the linear algebra library works for, such as ``cpu-SkylakeX``."""
    kinds = sorted({str(info["architecture"]) for info in threadpool_info() if info.get("architecture")})
    return "-".join(["cpu", *kinds])
