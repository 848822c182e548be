"""Compiling loops that array expressions would take several passes for."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function; the machine code is kept beside its file, or in the user's cache, where there is one.

    Multiplications and additions may contract, nothing else of the arithmetic is freed: results do not depend
    on the width of the processor's vectors. Other threads run meanwhile.
    """
    try:
        return cast("Function", numba.njit(fastmath={"contract"}, cache=True, nogil=True)(function))
    except RuntimeError:  # no folder that can be written to, as in a read-only container without a home
        return cast("Function", numba.njit(fastmath={"contract"}, nogil=True)(function))
