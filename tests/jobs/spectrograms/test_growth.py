"""Growth: what is added is written; no ok window changes, no other shard is touched, and it is what it always was."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xxhash
from chains import standing
from soundfiles import Study, sound, usual_study

from jobs.common.run import Options
from jobs.runner.execute import execute_runs, verify_runs
from jobs.runner.manifest import read_manifest
from lake.constants import STATUS
from lake.errors import QuarantineError
from lake.layout import Lake
from lake.ledger import Ledger
from lake.read import open_cube
from lake.receipts import latest_receipt

Cell = tuple[str, str]
"""Recorder and time."""


@dataclass(frozen=True)
class Case:
    """What is added, what is new after it, and how many shards that stood gain windows."""

    grow: Callable[[Study], object]
    recorders: set[str]
    is_longer: bool
    n_rewritten: int
    n_completed: int = 0


def gain_zone(study: Study) -> None:
    row = study.rows[-1]
    row.update(start_utc=row["start_local"] + pd.Timedelta(hours=5), utc_offset="-05:00", problems="")


CASES = {
    "later days, another month": Case(lambda s: s.add("a", 86_400 * 20, sound(12, 9)), set(), True, 0),
    "an earlier day inside the span": Case(lambda s: s.add("a", -86_400 * 9, sound(12, 9)), set(), False, 0),
    "a new recorder": Case(lambda s: s.add("aa", 3.0, sound(12, 9)), {"aa"}, False, 0),
    "a file in a gap": Case(lambda s: s.add("a", 42.0, sound(8, 9)), set(), False, 2),
    "a file that completes a partial cell": Case(
        lambda s: s.add("b", 25.5, sound(0.5, 8, n_channels=2), suffix="flac"), set(), False, 1, n_completed=1
    ),
    "rows that gain a time zone": Case(gain_zone, {"z"}, False, 0),
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return the usual study and a recording of which only the local time is known."""
    study = usual_study(tmp_path)
    local = pd.Timestamp("2021-07-10T05:00:00")
    study.add("z", 0.0, sound(11, 10))
    study.rows[-1].update(start_utc=pd.NaT, start_local=local, utc_offset="", problems="zone_unknown")
    return study


SLOW = ("later days, another month", "a new recorder", "a file in a gap")
"""Cases that the job's own test of growth has too, if not by themselves."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, case in CASES.items()]
)
def test_growth(study: Study, case: Case) -> None:
    manifest = study.write()
    run(manifest)
    lake = study.folder / "lake"
    before, digests, shards = cube(lake), windows(lake), stamps(lake)
    ok = set(cells_of(before, "ok"))
    case.grow(study)
    study.write()
    state, detail = standing(manifest)["mels"]
    assert (state, detail.split(", ")[1]) == ("stale", "its recordings grew")
    run(manifest)
    assert standing(manifest)["mels"][0] == "done"

    after, grown, now = cube(lake), windows(lake), stamps(lake)
    assert set(after["recorder"].to_numpy()) - set(before["recorder"].to_numpy()) == case.recorders
    assert after["recorder"].to_numpy().tolist()[: before.sizes["recorder"]] == before["recorder"].to_numpy().tolist()
    assert (after.sizes["time"] > before.sizes["time"]) == case.is_longer
    assert after["time"].to_numpy()[0] == before["time"].to_numpy()[0]
    assert set(grown) >= set(digests)
    assert {cell: grown[cell] for cell in ok} == {cell: digests[cell] for cell in ok}, "no ok window changed"
    rewritten = {name for name in shards if now[name] != shards[name]}
    assert len(rewritten) == case.n_rewritten, "all others keep their digest and their time"
    assert len(now) > len(shards) or rewritten
    completed = set(cells_of(before, "partial")) & set(cells_of(after, "ok"))
    assert len(completed) == case.n_completed
    assert bool(completed) != (len(grown) > len(digests)), "a completed cell is no new one"
    assert all(grown[cell] != digests[cell] for cell in completed)
    same_beside(before, after, ok)

    receipt = latest_receipt(Lake(str(lake)), "mels") or {}
    n_new = len(set(grown) - set(digests))
    assert receipt["counts"].get("ok", 0) + receipt["counts"].get("partial", 0) >= n_new
    run(study.write(lake="always"))
    assert windows(study.folder / "always") == grown, "as if it had been there always"
    verify_runs(read_manifest(manifest), [], lambda _: None)


def run(manifest: Path) -> None:
    with suppress(QuarantineError):  # what has no time yet is one of seven
        execute_runs(read_manifest(manifest), [], Options(), lambda _: None)


def cube(lake: Path) -> xr.Dataset:
    """Return all of a cube but its codes."""
    with open_cube(str(lake / "spectrograms/mels.zarr"), times=True) as store:
        return store.drop_vars("spectrogram").load()


def windows(lake: Path) -> dict[Cell, str]:
    """Return the digest of the codes of every window, as they are in the cube."""
    with open_cube(str(lake / "spectrograms/mels.zarr"), times=True) as store:
        found = {}
        for i, cell in np.argwhere(np.isin(store["status"].to_numpy(), [STATUS["ok"], STATUS["partial"]])):
            codes = store["spectrogram"][i, cell].to_numpy()
            key = str(store["recorder"].to_numpy()[i]), str(store["time"].to_numpy()[cell])
            found[key] = xxhash.xxh3_64_hexdigest(codes.tobytes())
    listed = {
        digest
        for _, _, day in Ledger(Lake(str(lake)).ledger("mels")).entries()
        for entry in day.values()
        for digest in entry.digests
    }
    assert set(found.values()) == listed, "the ledger says the same"
    return found


def stamps(lake: Path) -> dict[str, tuple[int, str]]:
    """Return time of the last change and digest of every shard."""
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (lake / "spectrograms/mels.zarr/spectrogram").glob("c.*")
    }


def cells_of(store: xr.Dataset, status: str) -> list[Cell]:
    recorders, times = store["recorder"].to_numpy(), store["time"].to_numpy()
    return [(str(recorders[i]), str(times[j])) for i, j in np.argwhere(store["status"].to_numpy() == STATUS[status])]


def same_beside(before: xr.Dataset, after: xr.Dataset, ok: set[Cell]) -> None:
    """Check that the index values of ok windows are what they were, and what they refer to."""
    names = [name for name, variable in before.data_vars.items() if variable.dims == ("recorder", "time")]
    assert len(names) >= 9
    recorders, times = zip(*sorted(ok), strict=True)
    at = {
        "recorder": xr.DataArray(list(recorders), dims="cell"),
        "time": xr.DataArray(np.array(times, dtype="datetime64[ns]"), dims="cell"),
    }
    indexed = [store.set_index(recorder="recorder", time="time") for store in (before, after)]
    old, new = (store[names].sel(at) for store in indexed)
    xr.testing.assert_equal(old, new)
    n = before.sizes["recordings"]
    assert after["recording_path"].to_numpy()[:n].tolist() == before["recording_path"].to_numpy().tolist()
