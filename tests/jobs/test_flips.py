"""Whatever happens to a file that a job reads, the job names it or gives the same result.

``PYTHONPATH=tests python tests/flips.py`` prints the table.
"""

from pathlib import Path

import pytest
from flips import WAYS, cases, copied, make_study, pattern, read_files, table


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small study whose lake is whole."""
    folder = tmp_path_factory.mktemp("flips") / "study"
    make_study(folder)
    return folder


def wrong(study: Path, *ways: str, names: tuple[str, ...] = ()) -> list[str]:
    found = list(table(study, ways=ways, names=names))
    assert found
    return [f"{case}: {key}: {way}: {came}" for _, case, way, key, came in found if came not in {"same", "error"}]


def test_a_flipped_bit_of_a_file_of_each_kind(study: Path) -> None:
    assert wrong(study, "flip", names=("vectors anew", "similar")) == []


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_file_of_each_kind_in_every_job(study: Path, way: str) -> None:
    assert wrong(study, way) == []


def test_the_files_are_found(study: Path, tmp_path: Path) -> None:
    """A case that reads next to nothing would prove nothing."""
    case = next(case for case in cases() if case.name == "vectors anew")
    prepared = copied(study, tmp_path / "study")
    case.prepare(prepared)
    kinds = {pattern(key) for key in read_files(prepared, case)[0]}
    assert {"lake/spectrograms/mels.zarr/zarr.json", "lake/spectrograms/mels.zarr/spectrogram/c.#.#.#.#"} <= kinds
    assert {"lake/ledgers/mels/RECORDER/DAY.jsonl", "lake/ledgers/mels/commit.json"} <= kinds
