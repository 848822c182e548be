"""A finished chain of runs, made once and copied for every test that wants one."""

import shutil
from pathlib import Path

import pytest
from chains import run_chain, write_chain
from soundfiles import Study, usual_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[str]]:
    """Return a study whose chain of runs is done, to be left as it is, and what was said."""
    study = usual_study(tmp_path_factory.mktemp("finished"))
    return study, run_chain(write_chain(study))


@pytest.fixture
def chain(finished: tuple[Study, list[str]], tmp_path: Path) -> Study:
    """Return a copy of the finished study."""
    shutil.copytree(finished[0].folder, tmp_path, dirs_exist_ok=True)
    return Study(tmp_path, [dict(row) for row in finished[0].rows])


@pytest.fixture
def manifest(chain: Study) -> Path:
    """Return the manifest of a copy of the finished study."""
    return chain.folder / "study-lake.toml"
