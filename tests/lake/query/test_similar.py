from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from stores import make_embeddings

from lake.errors import InputError
from lake.query.nearest import Metric
from lake.query.similar import similar

FIRST = np.datetime64("2021-06-01")


def vectors_of(seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(2, 288, 5)).astype(np.float32)
    vectors[random.random((2, 288)) < 0.4] = np.nan
    vectors[0, 100] = [1, 2, 3, 4, 5]
    return vectors


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_nearest_of_all_by_a_slow_twin(tmp_path: Path, metric: Metric, threads: int) -> None:
    vectors = vectors_of()
    url = make_embeddings(tmp_path, vectors).output.url
    found = similar(
        url, "north", "2021-06-01T16:40:00", n=25, metric=metric, normalise="none", threads=threads, apart_s=1800.0
    )
    rows = []
    for i, cell in zip(*np.nonzero(~np.isnan(vectors[..., 0])), strict=True):
        x, y = vectors[i, cell].astype(float), vectors[0, 100].astype(float)
        apart = np.linalg.norm(x - y) if metric == "euclidean" else 1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y)
        if i == 1 or abs(cell - 100) >= 3:
            rows.append((("north", "south")[i], FIRST + cell * np.timedelta64(600, "s"), apart))
    expected = pd.DataFrame(rows, columns=["recorder", "time", "distance"]).sort_values("distance").head(25)
    assert found["recorder"].tolist() == expected["recorder"].tolist()
    assert found["time"].tolist() == expected["time"].tolist()
    np.testing.assert_allclose(found["distance"], expected["distance"], atol=1e-9)


def test_a_copy_is_found_wherever_it_stands_and_the_window_itself_is_not(tmp_path: Path) -> None:
    vectors = vectors_of()
    vectors[1, 287] = vectors[0, 100]
    vectors[1, 5] = 2 * vectors[0, 100]
    url = make_embeddings(tmp_path, vectors).output.url
    by_angle = similar(url, "north", "2021-06-01T16:47:30Z", n=3, normalise="none")
    assert by_angle["time"].tolist()[:2] == [pd.Timestamp("2021-06-01T00:50"), pd.Timestamp("2021-06-02T23:50")]
    np.testing.assert_allclose(by_angle["distance"][:2], 0, atol=1e-9)
    assert similar(url, "north", "2021-06-01T16:40", n=1, metric="euclidean", normalise="none")[
        "recorder"
    ].tolist() == ["south"]


def test_fewer_windows_than_asked_for(tmp_path: Path) -> None:
    vectors = np.full((2, 144, 3), np.nan, dtype=np.float32)
    vectors[0, :4] = np.eye(4, 3) + 1
    counted: list[int] = []
    url = make_embeddings(tmp_path, vectors).output.url
    assert len(similar(url, "north", "2021-06-01", n=20, advance=counted.append)) == 3
    assert sum(counted) == 4


@pytest.mark.parametrize(
    ("recorder", "time", "told"),
    [
        ("east", "2021-06-01", r"recorder 'east' is not in the store; it has north, south"),
        ("north", "noon", r"--time 'noon': expected a time in UTC such as"),
        ("north", "2022-01-01", r"--time '2022-01-01': the store goes from 2021-06-01T00:00:00Z to 2021-06-03"),
        ("south", "2021-06-01T16:40", r"recorder 'south' has no vector at 2021-06-01T16:40:00Z"),
    ],
)
def test_windows_that_are_not_there(tmp_path: Path, recorder: str, time: str, told: str) -> None:
    vectors = vectors_of()
    vectors[1, 100] = np.nan
    with pytest.raises(InputError, match=told):
        similar(make_embeddings(tmp_path, vectors).output.url, recorder, time)
