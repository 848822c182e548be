"""Reading tables of a cube."""

from typing import Any

import numpy as np
import xarray as xr

from lake.read import table_rows
from lake.schema import DEPLOYMENT_COLUMNS, RECORDING_COLUMNS


def test_a_column_that_an_older_cube_lacks_has_its_fill_value() -> None:
    for columns in (RECORDING_COLUMNS, DEPLOYMENT_COLUMNS):
        whole: list[dict[str, Any]] = [
            {key: f"{key} {i}" if fill == "" else i for key, fill in columns.values()} for i in range(3)
        ]
        arrays = {name: ("rows", np.array([row[key] for row in whole])) for name, (key, _) in columns.items()}
        assert table_rows(xr.Dataset(arrays), columns) == whole
        for missing, (key, fill) in columns.items():
            older = xr.Dataset({name: array for name, array in arrays.items() if name != missing})
            found = table_rows(older, columns, np.array([2, 0]))
            expected = [{**whole[i], key: fill} for i in (2, 0)]
            assert [list(row) for row in found] == [list(row) for row in expected], "in the order of the columns"
            assert str(found) == str(expected), "NaN too"


def test_a_table_without_rows() -> None:
    empty = xr.Dataset({name: ("rows", np.array([])) for name in RECORDING_COLUMNS})
    assert table_rows(empty, RECORDING_COLUMNS) == []
