from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from lake.blocks import block_key, decode_block, encode_block
from lake.schema import ArraySpec

SHARDED = ArraySpec("a", ("recorder", "time", "x"), "uint8", 0, (1, 1, 5), (1, 4, 5))
DEEP = ArraySpec("d", ("recorder", "time", "x"), "float32", float("nan"), (1, 2, 3), (1, 6, 6))
PLAIN = ArraySpec("b", ("recorder", "time"), "float32", float("nan"), (1, 4))
TEXT = ArraySpec("c", ("recorder",), "str", "", (3,))
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("spec", "block"),
    [
        (SHARDED, RANDOM.integers(0, 255, (1, 4, 5)).astype(np.uint8)),
        (DEEP, RANDOM.normal(size=(1, 6, 6)).astype(np.float32)),
        (DEEP, np.where(np.arange(36).reshape(1, 6, 6) < 18, np.nan, 1).astype(np.float32)),
        (PLAIN, RANDOM.normal(size=(1, 4)).astype(np.float32)),
        (TEXT, np.array(["äö", "", "z" * 99], dtype=object)),
    ],
)
def test_a_block_is_the_file_that_zarr_itself_would_write(spec: ArraySpec, block: NDArray[Any], tmp_path: Any) -> None:
    data = encode_block(spec, block)
    assert data is not None
    assert data == encode_block(spec, block), "the same block has the same bytes"
    np.testing.assert_array_equal(decode_block(spec, data), block)
    array = zarr.create_array(
        str(tmp_path / "zarr"), shape=tuple(3 * n for n in spec.block), chunks=spec.chunks, shards=spec.shards,
        dtype=str if spec.dtype == "str" else spec.dtype, fill_value=spec.fill,
        chunk_key_encoding={"name": "default", "separator": "."},
    )  # fmt: skip
    at = (1,) * len(spec.dims)
    (tmp_path / "zarr" / block_key(spec, at).split("/")[1]).write_bytes(data)
    np.testing.assert_array_equal(array.blocks[at], block)


def test_a_block_of_fill_values_has_no_file() -> None:
    assert encode_block(SHARDED, np.zeros((1, 4, 5), dtype=np.uint8)) is None


def test_less_than_a_shard_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a: a block has the shape \(1, 4, 5\), found \(1, 2, 5\)"):
        encode_block(SHARDED, np.zeros((1, 2, 5), dtype=np.uint8))
