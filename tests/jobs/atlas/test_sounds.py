"""Sounds in an atlas: pictures of what detectors find, or of what people heard."""

from pathlib import Path

import numpy as np
import pytest
from detectors import detected, heard, learnt, vectors_with_sounds
from stores import finish, judge, make_cube, make_embeddings, make_run, random_codes

from jobs.atlas.config import Config
from jobs.atlas.sounds import sound_pictures
from jobs.common.run import Run
from lake.sounds import SPEECH


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    lake = tmp_path_factory.mktemp("lake")
    values, has = vectors_with_sounds(n_days=2)
    cube = make_cube(lake, random_codes(n_days=2, n_per_day=144))
    finish(cube)
    vectors = make_embeddings(lake, values, cube=cube)
    finish(vectors)
    heard(lake, values, has)
    return {"spectrograms": cube, "detections": detected(lake, vectors, learnt(lake, vectors))}


def atlas(runs: dict[str, Run], *roles: str) -> Run[Config]:
    url = runs["spectrograms"].lake.storage.url
    return make_run(url, f"atlas-{len(roles)}", "atlas", Config(), inputs={role: runs[role] for role in roles})


def test_detectors_and_people_have_pictures(runs: dict[str, Run], tmp_path: Path) -> None:
    for roles, of in (("spectrograms", "detections"), "windows recorded"), (("spectrograms",), "windows heard"):
        made = sound_pictures(atlas(runs, *roles), tmp_path / of)
        assert [one.sound for one in made] == ["frog", "rain", "wren"]
        assert all(one.told.endswith(of) for one in made)
        assert all((tmp_path / of / key).read_bytes()[:4] == b"\x89PNG" for one in made for key in one.keys)


def test_a_study_without_verdicts_has_none(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes(n_days=1, n_per_day=144))
    finish(cube)
    assert sound_pictures(atlas({"spectrograms": cube}, "spectrograms"), tmp_path / "out") == []


def test_speech_is_in_no_picture(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes(n_days=1, n_per_day=144))
    finish(cube)
    judge(tmp_path, [("north", 0, "wren", "yes"), ("north", 600_000, "wren", "yes"), ("north", 0, SPEECH, "yes")])
    (made,) = sound_pictures(atlas({"spectrograms": cube}, "spectrograms"), tmp_path / "out")
    assert (made.sound, made.told) == ("wren", "1 of 1 windows heard")
    assert np.all([(tmp_path / "out" / key).is_file() for key in made.keys])
