"""The job as a whole, on real files: invariance, kills, growth, refusals."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soundfiles import CONFIG, RATE, START, Study, files, mels_of, sound, usual_study

from jobs.common.audio.probe import open_audio
from jobs.common.run import Options
from jobs.runner.execute import execute_runs, finalise_run
from jobs.runner.manifest import read_manifest
from jobs.runner.state import states
from jobs.spectrograms.command import describe
from jobs.spectrograms.config import Config
from jobs.spectrograms.core import window_codes
from lake.constants import QUALITY, STATUS
from lake.errors import IdentityError, InputError, QuarantineError, StoreError, TryAgainError
from lake.read import open_cube, read_codes, usable_windows
from lake.storage import Storage


def run(manifest: Path, **options: object) -> str:
    said: list[str] = []
    execute_runs(read_manifest(manifest), [], Options(**options), said.append)  # type: ignore[arg-type] # as typed there
    return "\n".join(said)


def cube(manifest: Path) -> xr.Dataset:
    return open_cube(read_manifest(manifest).runs["mels"].output.url, times=True)


def windows(store: xr.Dataset, *, partial: bool = True) -> dict[tuple[str, str], bytes]:
    """Return the codes of all windows by recorder and time."""
    found = usable_windows(store, partial=partial)
    codes = read_codes(store, found.recorder, found.cell)
    names, times = store["recorder"].to_numpy(), store["time"].to_numpy()
    keys = [(str(names[i]), str(times[cell])) for i, cell in zip(found.recorder, found.cell, strict=True)]
    return dict(zip(keys, [window.tobytes() for window in codes], strict=True))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return usual_study(tmp_path)


def check_against_a_slow_reader(study: Study, store: xr.Dataset, config: Config) -> set[str]:
    """Compare every cell around the recordings with what whole tracks in memory give; return the statuses seen.

    Recordings start at whole samples. A recorder has one rate; a change of the number of channels splits windows.
    """
    hop, window = round(config.hop_s * RATE), round(config.window_s * RATE)
    origin = pd.Timestamp(store["time"].to_numpy()[0])
    seen = set()
    for i, recorder in enumerate(store["recorder"].to_numpy().tolist()):
        mine = [row for row in study.rows if row["recorder"] == recorder]
        zero = (min(row["start_utc"] for row in mine) - origin).total_seconds() // config.hop_s * config.hop_s
        places = [round(((row["start_utc"] - origin).total_seconds() - zero) * RATE) + 2 * window for row in mine]
        length = max(at + row["n_samples"] for at, row in zip(places, mine, strict=True)) + 2 * window
        track, owner = np.zeros((2, length), dtype=np.float32), np.full(length, -1)
        order = sorted(range(len(mine)), key=lambda n: (mine[n]["start_utc"], mine[n]["sha256"]))
        for n in order:
            with open_audio(study.folder / "audio" / mine[n]["path"], "libsndfile") as audio:
                samples = audio.read(0, mine[n]["n_samples"])
            part = slice(places[n], places[n] + samples.shape[1])
            free = owner[part] < 0
            track[: len(samples), part][:, free] = samples[:, free]
            owner[part][free] = n
        first_cell = round(zero / config.hop_s)
        n_steps = (length - 3 * window) // hop + 1
        near = store.isel(recorder=i, time=slice(first_cell - window // hop, first_cell + n_steps)).load()
        for step in range(-(window // hop), n_steps):
            at = 2 * window + step * hop
            owners = owner[at : at + window]
            covered = owners >= 0
            n_channels = 1
            if covered.any():
                n_channels = mine[owners[covered][0]]["n_channels"]
                covered &= np.array([row["n_channels"] for row in mine])[owners] == n_channels
            status = "missing" if covered.mean() < config.min_coverage else "ok" if covered.all() else "partial"
            seen.add(status)
            found = near.isel(time=step + window // hop)
            assert found["status"].item() == STATUS[status], (recorder, step)
            if status == "missing":
                assert not found["spectrogram"].any()
                continue
            edges = np.flatnonzero(np.diff(np.concatenate([[0], covered.astype(int), [0]])))
            runs = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
            codes, facts = window_codes(track[:n_channels, at : at + window], runs, RATE, config)
            assert np.array_equal(found["spectrogram"].to_numpy(), codes), (recorder, step)
            assert found["coverage"].item() == pytest.approx(covered.mean(), abs=1e-6)
            assert found["level_db"].item() == pytest.approx(facts.level_db, abs=1e-3)
            assert found["recording"].item() >= 0
    return seen


def test_every_cell_is_what_a_slow_reader_computes(study: Study) -> None:
    manifest = study.write()
    assert "done" in run(manifest)
    config = mels_of(manifest).config
    assert check_against_a_slow_reader(study, cube(manifest), config) == {"missing", "ok", "partial"}


takes = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 45 * 8),  # start in eighths of a second, whole samples at 8 kHz
    st.integers(1, 20 * 8),  # length, likewise
    st.booleans(),
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    recordings=st.lists(takes, min_size=1, max_size=6, unique=True),
    window_s=st.sampled_from([2.0, 3.0, 5.0]),
    hop_s=st.sampled_from([1.0, 2.5, 5.0]),
    shard_windows=st.sampled_from([1, 6, 50]),
    order=st.permutations(range(3)),
)
def test_any_recordings_windows_shards_and_order_give_the_cells_of_a_slow_reader(
    tmp_path_factory: pytest.TempPathFactory,
    recordings: list[tuple[str, int, int, bool]],
    window_s: float,
    hop_s: float,
    shard_windows: int,
    order: list[int],
) -> None:
    study = Study(tmp_path_factory.mktemp("study"))
    for seed, (recorder, start, length, is_flac) in enumerate(recordings):
        study.add(recorder, start / 8, sound(length / 8, seed), suffix="flac" if is_flac else "wav")
    study.add("c", 0.0, sound(window_s, 99))  # something to write in every example, however short the others are
    config = CONFIG.replace("window_s = 4.0, hop_s = 2.0", f"window_s = {window_s}, hop_s = {hop_s}")
    config = config.replace("shard_windows = 8", f"shard_windows = {shard_windows}")
    manifest = study.write(config=config)
    for i in order:
        run(manifest, part=(i, 3))
    finalise_run(read_manifest(manifest), "mels", print)
    settled = mels_of(manifest).config
    check_against_a_slow_reader(study, cube(manifest), settled)


def test_a_window_across_a_join_is_the_window_of_one_file(tmp_path: Path) -> None:
    whole, apart = Study(tmp_path / "whole"), Study(tmp_path / "apart")
    samples = sound(30, 9)
    whole.add("a", 0.0, samples)
    for first, last in [(0.0, 7.3), (7.3, 18.001), (18.001, 30.0)]:
        apart.add("a", first, samples[round(first * RATE) : round(last * RATE)])
    stores = []
    for made in (whole, apart):
        manifest = made.write()
        run(manifest)
        stores.append(cube(manifest))
    assert windows(stores[0]) == windows(stores[1])
    assert np.array_equal(stores[0]["status"].to_numpy(), stores[1]["status"].to_numpy())
    joined = stores[1].isel(time=stores[1]["status"][0].to_numpy() > 0)
    assert joined["recording"][0, 2].item() == 0, "the first of the two"
    assert joined["recording"][0, 4].item() == 1


def test_the_same_bytes_for_any_workers_shares_and_order(study: Study) -> None:
    manifest = study.write()
    run(manifest, workers=1)
    expected = files(study.folder / "lake" / "spectrograms")
    two = study.write(lake="two")
    run(two, workers=2)
    assert files(study.folder / "two" / "spectrograms") == expected
    parts = study.write(lake="parts")
    for i in (2, 0, 1):
        run(parts, part=(i, 3))
        assert not (study.folder / "parts/spectrograms/mels.zarr/zarr.json").exists()
    finalise_run(read_manifest(parts), "mels", print)
    assert files(study.folder / "parts" / "spectrograms") == expected


def test_finalise_names_all_that_is_missing_and_is_idempotent(study: Study) -> None:
    manifest = study.write()
    run(manifest, part=(0, 4))
    with pytest.raises(
        StoreError, match=r"3 of 4 partitions are not written yet:\n.*a 2021-07-15.*\n.*b 2021-07-14"
    ) as caught:
        finalise_run(read_manifest(manifest), "mels", print)
    assert caught.value.exit_code == 4
    for i in range(1, 4):
        run(manifest, part=(i, 4))
    assert "share is done, nothing to do" in run(manifest, part=(1, 4))
    said: list[str] = []
    finalise_run(read_manifest(manifest), "mels", said.append)
    finalise_run(read_manifest(manifest), "mels", said.append)
    assert said == ["mels: finalised", "mels: finalised already, nothing to do"]
    assert "nothing to do" in run(manifest)


def test_run_again_does_nothing_and_says_so(study: Study) -> None:
    manifest = study.write()
    run(manifest)
    before = {path: path.stat().st_mtime_ns for path in (study.folder / "lake").rglob("*") if path.is_file()}
    assert run(manifest) == "mels: done, nothing to do"
    assert {path: path.stat().st_mtime_ns for path in (study.folder / "lake").rglob("*") if path.is_file()} == before
    assert [state.state for state in states(read_manifest(manifest))] == ["done"]


# Growth ----------------------------------------------------------------------------------------------------


def test_growth_changes_no_ok_window_and_touches_no_other_file(study: Study) -> None:
    manifest = study.write()
    run(manifest)
    before = cube(manifest).drop_vars("spectrogram").load()
    were = windows(cube(manifest), partial=False)
    shards = study.folder / "lake/spectrograms/mels.zarr/spectrogram"
    stamps = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in shards.glob("c.*")}
    study.add("c", 86_400 * 20, sound(20, 6))  # a new recorder, a new month
    study.add("a", 41.0, sound(9, 7))  # an earlier time inside the span: the gap after the join
    study.add("b", 25.5, sound(3, 8, n_channels=2), suffix="flac")  # completes a partial cell
    said = run(study.write())
    assert "kept" in said
    after = cube(manifest).drop_vars("spectrogram").load()
    assert after.sizes["time"] > before.sizes["time"]
    are = windows(cube(manifest), partial=False)
    assert len(are) > len(were)
    assert {key: are[key] for key in were} == were
    same = after.isel(recorder=slice(0, 2), time=slice(0, before.sizes["time"]))
    ok = before["status"].to_numpy() == STATUS["ok"]
    for name in ("status", "offset_s", "recording", "level_db"):
        assert np.array_equal(same[name].to_numpy()[ok], before[name].to_numpy()[ok])
    partial = before["status"].to_numpy() == STATUS["partial"]
    assert (same["status"].to_numpy()[partial] == STATUS["ok"]).any(), "a partial cell became ok"
    for name, (stamp, data) in stamps.items():
        path = shards / name
        assert path.read_bytes() == data or path.stat().st_mtime_ns != stamp
    untouched = [name for name, (stamp, _) in stamps.items() if (shards / name).stat().st_mtime_ns == stamp]
    assert len(untouched) >= len(stamps) - 4
    assert after["recording_path"].to_numpy()[: before.sizes["recordings"]].tolist() == (
        before["recording_path"].to_numpy().tolist()
    ), "rows of the table stay where they are"


def test_rows_that_changed_or_are_gone_are_refused_with_their_list(study: Study) -> None:
    manifest = study.write()
    run(manifest)
    study.rows[2]["start_utc"] += np.timedelta64(1, "s")
    gone = study.rows.pop(4)
    study.write()
    with pytest.raises(IdentityError) as caught:
        run(manifest)
    assert "2 recordings that its store holds are gone from the table, or changed" in str(caught.value)
    assert f"{gone['path']}: gone from the table" in str(caught.value)
    assert "start_ms 1626307195000 -> 1626307196000" in str(caught.value)


def test_an_unreadable_stretch_costs_only_its_windows(study: Study) -> None:
    path = study.add("c", 0.0, sound(30, 11), suffix="flac")
    file = study.folder / "audio" / path
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    file.write_bytes(data)
    study.rows[-1]["sha256"] = hashlib.sha256(data).hexdigest()
    said = run(study.write())
    assert "unreadable" in said
    status = cube(study.folder / "study-lake.toml").sel(recorder="c")["status"].to_numpy()
    assert (status == STATUS["unreadable"]).any()
    assert (status == STATUS["ok"]).any()


def test_too_many_set_aside_is_told_after_everything_is_done(study: Study) -> None:
    study.rows[3]["problems"], study.rows[3]["reading"] = "unreadable", ""
    manifest = study.write()
    with pytest.raises(QuarantineError, match=r"1 of 6 recordings were set aside \(1 unreadable\)") as caught:
        run(manifest)
    assert caught.value.exit_code == 5
    assert cube(manifest)["status"].to_numpy().any()


def test_recordings_that_are_not_there_are_listed_before_work_begins(study: Study) -> None:
    manifest = study.write()
    (study.folder / "audio" / study.rows[1]["path"]).unlink()
    with pytest.raises(InputError, match=rf"1 recordings of the table are not below .*\n  {study.rows[1]['path']}"):
        run(manifest)


def test_deployments_of_no_recorder_are_said_by_the_dry_run_the_run_and_the_receipt(study: Study) -> None:
    manifest = study.write(extra=', deployments = "places.csv"')
    (study.folder / "places.csv").write_text("deployment,recorder,start\nd1, a ,2021-06-01\n")
    mels = mels_of(manifest)
    (note,) = [line for line in describe(mels, Options()) if "deployment" in line]
    assert note.startswith("note: 1 deployment (d1) of no recorder of the study: ' a ' (near: ")
    said: list[str] = []
    execute_runs(read_manifest(manifest), [], Options(), said.append)
    assert said[1] == f"mels: {note}"
    receipts = list((study.folder / "lake/receipts/mels").glob("*.json"))
    assert json.loads(receipts[0].read_text())["notes"] == [note.removeprefix("note: ")]


def test_a_root_where_nothing_is_is_said_by_the_dry_run(study: Study) -> None:
    mels = mels_of(study.write())
    (study.folder / "audio" / study.rows[1]["path"]).unlink()
    (note,) = [line for line in describe(mels, Options()) if line.startswith("note: ")]
    assert note.startswith(f"note: 1 recordings of the table are not below {study.folder / 'audio'}, the root")
    (study.folder / "audio").rename(study.folder / "elsewhere")
    (note,) = [line for line in describe(mels, Options()) if line.startswith("note: ")]
    assert note.startswith(f"note: nothing is at {study.folder / 'audio'}, the root in the manifest")


def test_another_configuration_under_the_same_name_is_refused(study: Study) -> None:
    run(study.write())
    with pytest.raises(IdentityError, match=r"config.n_mels: stored 12, wanted 13"):
        run(study.write(config=CONFIG.replace("n_mels = 12", "n_mels = 13")))


def test_a_disk_too_small_is_refused_before_work_begins(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "free_bytes", lambda _: 1000)
    with pytest.raises(TryAgainError, match=r"up to .* will be written, .* are free") as caught:
        run(study.write())
    assert caught.value.exit_code == 75


def test_what_is_unusual_is_told_cell_by_cell(study: Study) -> None:
    run(study.write())
    store = cube(study.folder / "study-lake.toml")
    flagged = (store["quality"].sel(recorder="a").to_numpy() & QUALITY["overlap"]) > 0
    begin = (store["time"].to_numpy()[flagged] - START.to_datetime64()) / np.timedelta64(1, "s")
    assert begin.min() == 78
    assert begin.max() == 84, "the windows that touch the seconds 80 to 85"
