"""Fixtures of the atlas job's tests."""

from pathlib import Path

import pytest
from atlases import Study, build_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return build_study(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="session")
def atlas(study: Study) -> Path:
    return study.atlas()
