"""Fourier transforms of many frames of one length, with a plan that is kept.

PyTorch plans each call anew, which takes a third of it. Where it brings Intel's MKL, as on x86, the same
transforms are called here as MKL offers them, and give the same numbers.
"""

import ctypes
import weakref
from functools import cache
from pathlib import Path

import torch

# MKL's header mkl_dfti.h; see "Fourier Transform Functions" of its reference.
_REAL, _NUMBER_OF_TRANSFORMS, _CONJUGATE_EVEN_STORAGE, _PLACEMENT = 33, 7, 10, 11
_INPUT_DISTANCE, _OUTPUT_DISTANCE, _THREAD_LIMIT = 14, 15, 27
_COMPLEX_COMPLEX, _NOT_INPLACE = 39, 44
_BINS_OF_A_LINE = 8


class Transform:
    """Real frames, and their spectra once it is called; belongs to one thread.

    Parameters
    ----------
    n_frames, n_fft
        How many frames, and their length.

    Attributes
    ----------
    frames, spectra
        float32 and complex64, shapes (n_frames, n_fft) and (n_frames, n_fft // 2 + 1); both start as 0. Rows of
        spectra are an odd number of cache lines apart: at a power of two they would push each other out.
    """

    def __init__(self, n_frames: int, n_fft: int) -> None:
        self.frames = torch.zeros((n_frames, n_fft))
        apart = _apart(n_fft // 2 + 1)
        self.spectra = torch.zeros((n_frames, apart), dtype=torch.complex64)[:, : n_fft // 2 + 1]
        self._mkl = _mkl()
        self._plan = None if self._mkl is None else _planned(self._mkl, n_frames, n_fft, apart)
        if self._mkl is not None and self._plan is not None:
            weakref.finalize(self, self._mkl.DftiFreeDescriptor, ctypes.byref(self._plan))
        self._places = self.frames.data_ptr(), self.spectra.data_ptr()

    def __call__(self) -> None:
        """Transform the frames."""
        if self._mkl is None or self._plan is None:
            torch.fft.rfft(self.frames, out=self.spectra)
        elif self._mkl.DftiComputeForward(self._plan, *self._places) != 0:
            raise RuntimeError("MKL did not compute a Fourier transform that it had planned")


@cache
def _mkl() -> ctypes.CDLL | None:
    """Return the library that holds PyTorch's MKL; ``None`` where it is built without, or hides it."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "DftiComputeForward"):
            library.DftiComputeForward.argtypes = [ctypes.c_void_p] * 3
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
