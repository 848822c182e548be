"""Fourier transforms of many frames of one length, with a plan that is kept.

PyTorch plans each call anew, which takes a third of it. Where it brings Intel's MKL, as on x86, the same
transforms are called here as MKL offers them, and give the same numbers.
"""

import ctypes
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

FAILED = "a Fourier transform failed that had been planned"
_ADDRESSES = [ctypes.c_size_t] * 3
_FORWARD = ctypes.CFUNCTYPE(ctypes.c_long, *_ADDRESSES)

# MKL's header mkl_dfti.h; see "Fourier Transform Functions" of its reference.
_REAL, _NUMBER_OF_TRANSFORMS, _CONJUGATE_EVEN_STORAGE, _PLACEMENT = 33, 7, 10, 11
_INPUT_DISTANCE, _OUTPUT_DISTANCE, _THREAD_LIMIT = 14, 15, 27
_COMPLEX_COMPLEX, _NOT_INPLACE = 39, 44
_BINS_OF_A_LINE = 8


class Transform(NamedTuple):
    """A planned transform of real frames, for Python and compiled code; belongs to one thread.

    Attributes
    ----------
    forward
        A C function of ``number`` and of the addresses of frames and spectra; it returns 0 if it succeeds.
    number
        Tells it what was planned, as long as the frames are there.
    frames, spectra
        float32 and complex64, shapes (n_frames, n_fft) and (n_frames, n_fft // 2 + 1); both start as 0. Rows of
        spectra are an odd number of cache lines apart: at a power of two they would push each other out.
    """

    forward: Any
    number: int
    frames: NDArray[np.float32]
    spectra: NDArray[np.complex64]

    def __call__(self) -> None:
        """Fill the spectra.

        Raises
        ------
        RuntimeError
            If that fails.
        """
        if self.forward(self.number, self.frames.ctypes.data, self.spectra.ctypes.data) != 0:
            raise RuntimeError(FAILED)


def plan_transform(n_frames: int, n_fft: int) -> Transform:
    """Return a transform of some frames of one length."""
    frames = torch.zeros((n_frames, n_fft))
    apart = _apart(n_fft // 2 + 1)
    spectra = torch.zeros((n_frames, apart), dtype=torch.complex64)[:, : n_fft // 2 + 1]
    mkl = _mkl()
    plan = None if mkl is None else _planned(mkl, n_frames, n_fft, apart)
    if mkl is None or plan is None or plan.value is None:
        return Transform(_FORWARD(_by_torch(frames, spectra)), 0, frames.numpy(), spectra.numpy())
    transform = Transform(mkl.DftiComputeForward, plan.value, frames.numpy(), spectra.numpy())
    weakref.finalize(transform.frames, mkl.DftiFreeDescriptor, ctypes.byref(plan))
    return transform


def _by_torch(frames: torch.Tensor, spectra: torch.Tensor) -> Callable[[int, int, int], int]:
    def forward(_number: int, _frames: int, _spectra: int) -> int:
        try:
            torch.fft.rfft(frames, out=spectra)
        except RuntimeError:  # C hears of an exception only what is returned
            return 1
        return 0

    return forward


@cache
def _mkl() -> ctypes.CDLL | None:
    """Return the library that holds PyTorch's MKL; ``None`` where it is built without, or hides it."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "DftiComputeForward"):
            library.DftiComputeForward.argtypes = _ADDRESSES
            library.DftiComputeForward.restype = ctypes.c_long
            return library
    return None


def _apart(n_bins: int) -> int:
    """Return the next number of bins that fill an odd number of cache lines."""
    n_lines = -(-n_bins // _BINS_OF_A_LINE)
    return _BINS_OF_A_LINE * (n_lines + 1 - n_lines % 2)


def _planned(mkl: ctypes.CDLL, n_frames: int, n_fft: int, apart: int) -> ctypes.c_void_p | None:
    """Return a plan for one thread, ``None`` if MKL has none."""
    plan = ctypes.c_void_p()
    steps = [mkl.DftiCreateDescriptor_s_1d(ctypes.byref(plan), _REAL, ctypes.c_long(n_fft))]
    settings = {
        _NUMBER_OF_TRANSFORMS: n_frames, _CONJUGATE_EVEN_STORAGE: _COMPLEX_COMPLEX, _PLACEMENT: _NOT_INPLACE,
        _INPUT_DISTANCE: n_fft, _OUTPUT_DISTANCE: apart, _THREAD_LIMIT: 1,
    }  # fmt: skip
    steps += [mkl.DftiSetValue(plan, name, ctypes.c_long(value)) for name, value in settings.items()]
    return None if any(steps) or mkl.DftiCommitDescriptor(plan) != 0 else plan
