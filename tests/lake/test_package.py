import subprocess
import sys

import pytest

import lake
from lake import read


def test_stores_are_opened_from_the_package() -> None:
    assert lake.open_embeddings is read.open_embeddings
    assert lake.open_cube is read.open_cube
    assert lake.open_clusters is read.open_clusters
    with pytest.raises(AttributeError, match="module 'lake' has no attribute 'open_nothing'"):
        lake.open_nothing  # noqa: B018


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = "import lake, sys; assert not {'xarray', 'zarr'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
