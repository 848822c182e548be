from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from lake.blocks import block_key, decode_block, encode_block
from lake.shards import Shard
from lake.specs import ArraySpec

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


def test_a_shard_put_together_piece_by_piece_is_the_whole_one_and_its_memory_serves_again() -> None:
    whole = RANDOM.integers(1, 255, (1, 4, 5)).astype(np.uint8)
    whole[0, [0, 2]] = 0
    shard = Shard(SHARDED)
    for _ in range(2):
        shard.put(1, whole[0, 1])
        shard.put(2, whole[0, 2])
        shard.put(3, whole[:, 3:])
        found = shard.finish()
        assert found is not None
        assert bytes(found) == encode_block(SHARDED, whole)
        assert shard.finish() is None, "nothing was put since"


@pytest.mark.parametrize("number", [-1, 1, 4])
def test_chunks_come_in_order(number: int) -> None:
    shard = Shard(SHARDED)
    shard.put(0, np.ones(5))
    shard.put(1, np.ones(5))
    with pytest.raises(ValueError, match=f"chunk {number} comes after 2 of 4"):
        shard.put(number, np.ones(5))


def test_a_chunk_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="a chunk has 5 bytes, found 4"):
        Shard(SHARDED).put(0, np.ones(4))
