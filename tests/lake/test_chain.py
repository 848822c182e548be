"""Which runs a store was made from: the kind of each follows from its ledger, whatever its job is called."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from stores import finish, make_clusters, make_cube, make_embeddings, make_model

from jobs.common.run import Run
from lake.chain import clusterings_of, made_by


@pytest.fixture
def clusters(tmp_path: Path) -> Run:
    """Return a clustering of vectors of a cube, all finished."""
    cube = make_cube(tmp_path)
    vectors = make_embeddings(tmp_path, np.ones((2, 288, 3), dtype=np.float32), cube=cube)
    found = make_clusters(tmp_path, np.zeros((2, 288), dtype=np.int16), embeddings=vectors)
    for run in (cube, vectors, found):
        finish(run)
    return found


@pytest.mark.parametrize("gone", [(), ("embeddings",), ("embeddings", "spectrograms")])
def test_the_kind_of_a_store_that_is_gone_is_in_its_ledger(
    clusters: Run, tmp_path: Path, gone: tuple[str, ...]
) -> None:
    for kind in gone:
        shutil.rmtree(tmp_path / kind)
    made = made_by(clusters.output.url)
    assert [one.kind for one in made.above()] == ["clusters", "embeddings", "spectrograms"]


def test_a_folder_of_the_same_name_does_not_change_the_kind(clusters: Run, tmp_path: Path) -> None:
    cube = made_by(clusters.output.url).nearest("spectrograms")
    assert cube is not None
    for kind in ("scores", "models", "atlas"):
        (tmp_path / kind / cube.name).mkdir(parents=True)
    again = made_by(clusters.output.url).nearest("spectrograms")
    assert again is not None
    assert again.output.url == cube.output.url


def test_a_run_without_a_ledger_of_windows_is_of_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    model = make_model(tmp_path, cube)
    for run in (cube, model):
        finish(run)
    assert made_by(model.output.url).kind == "models"
    assert [one.kind for one in made_by(model.output.url).above()] == ["models", "spectrograms"]


def test_clusterings_are_found_by_what_they_wrote(clusters: Run) -> None:
    made = made_by(clusters.output.url)
    assert clusterings_of(made.inputs["embeddings"]) == [clusters.name]
    assert clusterings_of(made) == []
