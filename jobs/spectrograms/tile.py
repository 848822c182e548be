"""Power of a tile of spectra, turned: the one step that a compiler does not make good code of by itself.

Whoever changes this has to remove what was compiled of it (``__pycache__``): numba looks at the date of
``kernels.py``, which calls it.
"""
# ruff: noqa: ANN401 (numba's and LLVM's own types have no names here)

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

TILE = 16


def _lay_power(_context: Any, _source: Any, _source_step: Any, _target: Any, _target_step: Any) -> Any:
    return types.void(types.intp, types.intp, types.intp, types.intp), _generate


def _generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    """Write the instructions."""
    source, source_step, target, target_step = args
    lanes = ir.VectorType(ir.FloatType(), TILE)

    def at(first: Any, step: Any, number: int) -> Any:
        return builder.inttoptr(builder.add(first, builder.mul(step, step.type(number))), lanes.as_pointer())

    def picked(a: Any, b: Any, places: Iterable[int]) -> Any:
        whole = ir.IntType(32)
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(whole, TILE), [whole(i) for i in places]))

    def squared(x: Any) -> Any:
        return builder.fmul(x, x, flags=["contract"])

    second_half = builder.add(source, source.type(4 * TILE))
    rows = []
    for number in range(TILE):
        a, b = (builder.load(at(first, source_step, number), align=4) for first in (source, second_half))
        real, imaginary = picked(a, b, range(0, 2 * TILE, 2)), picked(a, b, range(1, 2 * TILE, 2))
        rows.append(builder.fadd(squared(real), squared(imaginary), flags=["contract"]))
    by_turns = [place for i in range(TILE) for place in (i, TILE + i)]
    for _ in range(TILE.bit_length() - 1):  # rows i and i + 8 are merged value by value: four times is a turn
        pairs = zip(rows[: TILE // 2], rows[TILE // 2 :], strict=True)
        rows = [picked(a, b, places) for a, b in pairs for places in (by_turns[:TILE], by_turns[TILE:])]
    for number, row in enumerate(rows):
        builder.store(row, at(target, target_step, number), align=4)
    return context.get_dummy_value()


lay_power: Any = intrinsic(_lay_power)
"""Square TILE bins of TILE spectra, and lay each bin in a row, in half of the time of loops.

Takes the address of the first bin of the first spectrum, the bytes between spectra, the address of the first row,
and the bytes between rows.
"""
