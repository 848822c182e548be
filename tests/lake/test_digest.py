import numpy as np
import pytest

from lake.digest import cell_digest, cell_digests


@pytest.mark.parametrize("dtypes", [["float32", "float32"], ["uint8"], ["float64", "int16", "float32"]])
def test_digests_of_cells_are_those_of_each(dtypes: list[str]) -> None:
    random = np.random.default_rng(0)
    arrays = [random.normal(scale=50, size=(7, 3, 2 + i)).astype(dtype) for i, dtype in enumerate(dtypes)]
    rows = [0, 5, 6]
    assert cell_digests(arrays, rows) == [cell_digest([array[row] for array in arrays]) for row in rows]
    assert cell_digests([array[:, ::2] for array in arrays], [1]) == [cell_digest([one[1, ::2] for one in arrays])]
