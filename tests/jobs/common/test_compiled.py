from collections.abc import Callable
from typing import Any

import numba
import pytest

from jobs.common.compiled import compiled


def test_loops_compile_without_a_folder_for_their_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = numba.njit

    def one_more(number: int) -> int:
        return number + 1

    def no_cache(*, cache: bool = False, **options: Any) -> Callable[..., Any]:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        made: Callable[..., Any] = compile_(**options)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(numba, "njit", no_cache)
        quick = compiled(one_more)
    assert quick(1) == 2
