"""SIGKILL to driver, worker and both, at every kind of step; then the same command again gives the same bytes."""

import random
import signal
from pathlib import Path

import faults
import pytest
import xarray as xr
from faults import WHENS, Moment
from soundfiles import Study, files, sound, usual_study

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from lake.layout import Lake
from lake.ledger import Ledger
from lake.read import open_cube, read_codes, usable_windows

Whole = tuple[dict[str, bytes], str]
"""Files of a finished cube, and its content's identity."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    study = usual_study(tmp_path_factory.mktemp("undisturbed"))
    run(study.write())
    return whole(study)


def test_sigkill_at_every_kind_of_step(tmp_path: Path, undisturbed: Whole) -> None:
    study = usual_study(tmp_path)
    pairs = {"shard": ("before", "torn"), "ledger": ("torn", "after"), "index": ("after", "before")}
    for step, whens in {**pairs, "commit": ("torn", "after")}.items():
        for when in whens:
            kill(study, [Moment("driver", step, 2 if step in {"shard", "index"} else 1, when)])
    assert resumed(study) == undisturbed


def test_sigkill_to_a_worker_and_then_to_it_and_the_driver(tmp_path: Path, undisturbed: Whole) -> None:
    study = usual_study(tmp_path)
    kill(study, [Moment("worker", "shard", 1, "torn"), Moment("both", "ledger", 2, "torn")], workers=2)
    assert resumed(study) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_sigkill_many_times(tmp_path: Path, undisturbed: Whole, seed: int) -> None:
    choose, study = random.Random(seed), usual_study(tmp_path)
    for moments, workers in moments_of(choose):
        kill(study, moments, workers=workers)
    assert resumed(study) == undisturbed, f"seed {seed}"


def moments_of(choose: random.Random) -> list[tuple[list[Moment], int]]:
    """Return twelve moments by start of the run, those of one start together, and its number of workers.

    A step's number is small, so that work remains for the later ones; a commit is there but once. A task whose
    workers died twice ends a run, so that one start has one worker killed, and then another with the driver.
    """
    alone = [
        ([Moment("driver", step, choose.randint(1, most), choose.choice(WHENS))], 1)
        for step, n, most in (("shard", 2, 2), ("ledger", 2, 1))
        for _ in range(n)
    ]
    choose.shuffle(alone)
    worker = Moment("worker", choose.choice(("shard", "ledger")), 1, choose.choice(WHENS))
    both = Moment("both", choose.choice(("shard", "ledger")), 2, choose.choice(WHENS))
    late = [([Moment("driver", "index", choose.randint(1, 9), choose.choice(WHENS))], 1) for _ in range(4)]
    commit = [([Moment("driver", "commit", 1, when)], 1) for when in ("before", choose.choice(("torn", "after")))]
    return [*alone, ([worker, both], 2), *late, *commit]


def grow(study: Study) -> None:
    """Add sound inside the span, in the gap that a partial cell waits for, and in another month."""
    study.add("a", 41.0, sound(9, 7))
    study.add("b", 25.5, sound(3, 8, n_channels=2), suffix="flac")
    study.add("b", 86_400 * 20, sound(12, 9))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    study = usual_study(tmp_path_factory.mktemp("grown"))
    run(study.write())
    grow(study)
    run(study.write())
    return whole(study)


def test_a_reader_sees_the_old_extent_until_growth_is_committed(tmp_path: Path, grown: Whole) -> None:
    study = usual_study(tmp_path)
    run(study.write())
    with cube(study) as store:
        before, extent = windows(store), store.sizes["time"]
    grow(study)
    for step, when in (("shard", "after"), ("ledger", "torn"), ("index", "after"), ("commit", "torn")):
        kill(study, [Moment("driver", step, 1, when)])
        assert seen(study, before) == extent
    kill(study, [Moment("driver", "commit", 1, "after")])
    assert seen(study, before) > extent
    assert resumed(study) == grown


def seen(study: Study, before: dict[tuple[str, str], bytes]) -> int:
    """Check that all windows that were there before are the same; return how many cells a reader sees."""
    with cube(study) as store:
        now = windows(store)
        assert {key: now[key] for key in before} == before
        return store.sizes["time"]


def kill(study: Study, moments: list[Moment], *, workers: int = 1) -> None:
    """Start the run in a process of its own and have it, or its workers, killed at the moments; all have to come."""
    marks = study.folder / "marks"
    marks.mkdir(exist_ok=True)
    for mark in marks.iterdir():
        mark.unlink()
    manifest = study.write()
    code = faults.in_child(faults.run_until_killed, str(manifest), moments, workers, str(marks))
    assert sorted(mark.name for mark in marks.iterdir()) == sorted({moment.mark for moment in moments})
    assert code == (0 if all(moment.who == "worker" for moment in moments) else -signal.SIGKILL)
    if (study.folder / "lake/spectrograms/mels.zarr/zarr.json").exists():
        with cube(study) as store:
            assert len(windows(store)) > 0, "what opens is whole"


def resumed(study: Study) -> Whole:
    """Type the same command again and return what is there then."""
    run(study.write())
    return whole(study)


def whole(study: Study) -> Whole:
    lake = study.folder / "lake"
    return files(lake / "spectrograms"), Ledger(Lake(str(lake)).ledger("mels")).summary()["content_id"]


def run(manifest: Path) -> None:
    execute_runs(read_manifest(manifest), [], Options(), lambda _: None)


def cube(study: Study) -> xr.Dataset:
    return open_cube(str(study.folder / "lake/spectrograms/mels.zarr"), times=True)


def windows(store: xr.Dataset) -> dict[tuple[str, str], bytes]:
    """Return the codes of the ok windows by recorder and time."""
    found = usable_windows(store, partial=False)
    codes = read_codes(store, found.recorder, found.cell)
    names, times = store["recorder"].to_numpy(), store["time"].to_numpy()
    keys = [(str(names[i]), str(times[cell])) for i, cell in zip(found.recorder, found.cell, strict=True)]
    return dict(zip(keys, [window.tobytes() for window in codes], strict=True))
