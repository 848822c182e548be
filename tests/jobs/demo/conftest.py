"""The small study, made once."""

from pathlib import Path

import pytest

from jobs.demo.config import SMALL
from jobs.demo.study import StudySummary, make_study


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> StudySummary:
    folder: Path = tmp_path_factory.mktemp("demo") / "study"
    return make_study(folder, SMALL)
