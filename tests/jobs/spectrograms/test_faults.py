"""Faults that are no kills: of disks, of recordings, of decoders, of a second driver. After each: the same bytes."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faults
import faultydecoders
import numpy as np
import pytest
import soundfile
import xarray as xr
from faults import Moment, watch_steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soundfiles import RATE, Study, files, sound, usual_study

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.state import states
from jobs.spectrograms import partition
from jobs.spectrograms.assemble import Reader
from jobs.spectrograms.plan import Placed
from lake.constants import STATUS
from lake.errors import InputError, QuarantineError, StoreError, TryAgainError
from lake.layout import Lake
from lake.read import open_cube
from lake.receipts import latest_receipt
from lake.storage import Storage


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    study = usual_study(tmp_path_factory.mktemp("undisturbed"))
    run(study.write())
    return cube_files(study.folder / "lake")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return usual_study(tmp_path)


def run(manifest: Path) -> str:
    said: list[str] = []
    execute_runs(read_manifest(manifest), [], Options(), said.append)
    return "\n".join(said)


def cube_files(lake: Path) -> dict[str, bytes]:
    return files(lake / "spectrograms")


def status_of(study: Study, recorder: str) -> Any:
    with open_cube(str(study.folder / "lake/spectrograms/mels.zarr"), times=True) as store:
        return store["status"].sel(recorder=recorder).load()


@pytest.fixture
def during() -> Iterator[Callable[[Moment, Callable[[], object]], None]]:
    """Return a function that has something done at a moment of this process."""
    ends: list[Callable[[], None]] = []

    def arrange(moment: Moment, then: Callable[[], object]) -> None:
        def meet(_: Moment) -> None:
            then()

        ends.append(watch_steps([moment], meet))

    yield arrange
    for end in ends:
        end()


# Disks -----------------------------------------------------------------------------------------------------


FULL, READ_ONLY = r"the disk \(or your quota\) is full", "cannot be written"


@pytest.mark.parametrize(
    ("step", "number", "told"),
    [
        ("shard", errno.ENOSPC, FULL),
        ("ledger", errno.EDQUOT, FULL),
        ("index", errno.EROFS, READ_ONLY),
        ("commit", errno.EACCES, READ_ONLY),
    ],
)
def test_a_disk_that_fails_in_the_middle_of_a_file(
    study: Study,
    undisturbed: dict[str, bytes],
    during: Callable[[Moment, Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: int,
    told: str,
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    during(
        Moment("driver", step, 1 if step == "commit" else 2, "before"), lambda: monkeypatch.setattr(os, "fsync", fail)
    )
    with pytest.raises(
        TryAgainError, match=rf"{told}.* What was written before is whole\..*type the same command"
    ) as caught:
        run(study.write())
    assert caught.value.exit_code == 75
    assert not (study.folder / "lake/spectrograms/mels.zarr/zarr.json").exists()
    monkeypatch.undo()
    run(study.write())
    assert cube_files(study.folder / "lake") == undisturbed, "and nothing is left beside it"


def mount(folder: Path, options: str, kind: str = "tmpfs") -> None:
    """Mount a small disk, or change how it is mounted; skip where that is not allowed."""
    done = subprocess.run(["mount", "-t", kind, "-o", options, kind, str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of its own, which holds 100 kB."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=100k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(
    study: Study, undisturbed: dict[str, bytes], disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = study.write(lake="disk")
    (disk / "other").write_bytes(bytes(50_000))
    monkeypatch.setattr(Storage, "free_bytes", lambda _: None)  # it is enough when the run begins
    with pytest.raises(TryAgainError, match=r"the disk \(or your quota\) is full"):
        run(manifest)
    assert list(disk.rglob("*.aside")) == []
    assert [state.state for state in states(read_manifest(manifest))] == ["partial"]
    mount(disk, "remount,size=4m")
    run(manifest)
    assert cube_files(disk) == undisturbed


def test_a_disk_that_turns_read_only(
    study: Study,
    undisturbed: dict[str, bytes],
    disk: Path,
    during: Callable[[Moment, Callable[[], object]], None],
) -> None:
    manifest = study.write(lake="disk")
    mount(disk, "remount,size=16m")
    during(Moment("driver", "shard", 3, "before"), lambda: mount(disk, "remount,ro"))
    with pytest.raises(TryAgainError, match=r"spectrogram/c\..*: cannot be written \(Read-only file system\)"):
        run(manifest)
    assert list(disk.rglob("claims/*.json")), "nor could the claim be removed: it is a dead process's soon"
    mount(disk, "remount,rw,size=16m")
    for claim in disk.rglob("claims/*.json"):
        claim.write_bytes(claim.read_bytes().replace(str(os.getpid()).encode(), b"4000000"))
    run(manifest)
    assert cube_files(disk) == undisturbed


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_turns_read_only(
    study: Study,
    undisturbed: dict[str, bytes],
    during: Callable[[Moment, Callable[[], object]], None],
) -> None:
    folder = study.folder / "lake/spectrograms/mels.zarr/spectrogram"
    during(Moment("driver", "shard", 3, "before"), lambda: folder.chmod(0o555))
    with pytest.raises(TryAgainError, match=r"spectrogram/c\..*: cannot be written \(Permission denied\)"):
        run(study.write())
    folder.chmod(0o755)
    run(study.write())
    assert cube_files(study.folder / "lake") == undisturbed


# Recordings ------------------------------------------------------------------------------------------------


def touch(file: Path) -> None:
    """Write the same number of other bytes into a sound file, in place."""
    data = file.read_bytes()
    file.write_bytes(data[:-4] + bytes(4 * [data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("b/005.wav", Path.unlink, r"b/005.wav: expected a recording, found none \(No such file or directory\)"),
        (
            "b/005.wav",
            touch,
            r"b/005.wav: is another file than the table lists: expected SHA-256 \w{12}…, found \w{12}…",
        ),
        ("a/002.wav", touch, r"a/002.wav: is another file than the table lists"),
    ],
    ids=["gone before it is opened", "changed before it is opened", "changed while it is open"],
)
def test_a_recording_that_is_not_what_it_was_when_the_run_began(
    study: Study,
    undisturbed: dict[str, bytes],
    during: Callable[[Moment, Callable[[], object]], None],
    name: str,
    change: Callable[[Path], None],
    told: str,
) -> None:
    file = study.folder / "audio" / name
    data, times = file.read_bytes(), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    during(Moment("driver", "shard", 1 if name == "b/005.wav" else 5, "before"), lambda: change(file))
    with pytest.raises(InputError, match=told) as caught:
        run(study.write())
    assert caught.value.exit_code == 3
    assert "of 4 partitions failed twice; the others are written" in str(caught.value)
    file.write_bytes(data)
    os.utime(file, ns=times)
    assert "done" in run(study.write())
    assert cube_files(study.folder / "lake") == undisturbed


def test_what_was_read_of_a_file_that_changed_meanwhile_is_not_kept(study: Study) -> None:
    recording = placed(study, "a/002.wav")
    reader = Reader(study.folder / "audio")
    assert reader.read(recording, 0, 100).shape == (1, 100)
    reader.require_unchanged({"a/002.wav"})
    touch(study.folder / "audio/a/002.wav")
    reader.require_unchanged({"a/003.wav"})
    with pytest.raises(InputError, match=r"a/002.wav: changed while it was read. What was made of it .* is not kept"):
        reader.require_unchanged({"a/002.wav"})
    (study.folder / "audio/a/002.wav").unlink()
    with pytest.raises(InputError, match=r"a/002.wav: expected a recording, found none"):
        reader.require_unchanged({"a/002.wav"})
    reader.close()


def placed(study: Study, path: str) -> Placed:
    row = next(row for row in study.rows if row["path"] == path)
    n, rate = row["n_samples"], row["sample_rate_hz"]
    return Placed(path, row["sha256"], "a", "", "libsndfile", 0, n / rate * 1000, n, rate, row["n_channels"], None)


def test_a_recording_that_is_shorter_than_the_table_says_costs_what_is_not_there(study: Study) -> None:
    study.add("c", 0.0, sound(20, 11))
    study.write()
    run(study.write(lake="true"))
    study.rows[-1]["n_samples"] *= 2
    study.rows[-1]["duration_s"] *= 2
    assert "unreadable" in run(study.write())
    with open_cube(str(study.folder / "true/spectrograms/mels.zarr"), times=True) as store:
        true = store["status"].sel(recorder="c").load()
    found = status_of(study, "c")
    assert (found.to_numpy()[true.to_numpy() == STATUS["ok"]] == STATUS["ok"]).all()
    assert int((found == STATUS["unreadable"]).sum()) > 8
    receipt = latest_receipt(Lake(str(study.folder / "lake")), "mels") or {}
    assert receipt["problems"] == {study.rows[-1]["path"]: "unreadable"}


@pytest.mark.parametrize(("fault", "problem"), [("hang", "timeout"), ("exit", "crashed"), ("crash", "crashed")])
def test_a_decoder_that_hangs_or_dies_costs_its_recording_alone(
    study: Study, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, fault: str, problem: str
) -> None:
    deadlines = []
    monkeypatch.setattr(partition, "Reader", partial(Reader, deadline_s=3.0, opener=faultydecoders.open_faulty))
    name = study.add("c", 0.0, sound(60, 11))
    faulty = f"c/{fault}-at-12.wav"
    (study.folder / "audio" / name).rename(study.folder / "audio" / faulty)
    study.rows[-1]["path"] = faulty
    study.add("c", 70.0, sound(20, 12))
    count = faults_of_reader(monkeypatch)
    with pytest.raises(QuarantineError, match=rf"1 of 8 recordings were set aside \(1 {problem}\)") as caught:
        run(study.write())
    deadlines += count
    assert caught.value.exit_code == 5
    once_ahead = 1
    assert len(deadlines) == once_ahead + (2 if problem == "crashed" else 1), "it is not asked again for each window"
    receipt = latest_receipt(Lake(str(study.folder / "lake")), "mels") or {}
    assert receipt["set_aside"] == {faulty: problem}
    assert receipt["counts"]["unreadable"] > 10
    status = status_of(study, "c")
    starts = (status["time"].to_numpy() - np.datetime64("2021-07-14T23:59:00")) / np.timedelta64(1, "s")
    inside = (starts >= 0) & (starts + 4 <= 12)
    lost, after = (starts + 4 > 12) & (starts + 4 <= 60), (starts >= 70) & (starts + 4 <= 90)
    for where, expected in ((inside, "ok"), (lost, "unreadable"), (after, "ok")):
        assert where.any()
        assert set(status.to_numpy()[where].tolist()) == {STATUS[expected]}
    with open_cube(str(study.folder / "lake/spectrograms/mels.zarr"), times=True) as store:
        others = store["spectrogram"].sel(recorder=["a", "b"])
        assert_same_codes(study, undisturbed, others)
    assert "nothing to do" in told_at_the_end(study), "a later start does not ask it again"


def faults_of_reader(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by every call which a decoder did not survive."""
    from jobs.common.audio.decoder import Decoder

    ended: list[str] = []
    call = Decoder.call

    def noting(self: Decoder, *args: Any, **more: Any) -> Any:
        running = self.running()
        try:
            return call(self, *args, **more)
        finally:
            if running is not None and self.running() is None:
                ended.append("ended")

    monkeypatch.setattr(Decoder, "call", noting)
    return ended


def assert_same_codes(study: Study, undisturbed: dict[str, bytes], codes: xr.DataArray) -> None:
    """Check the shards of the two recorders that were there before."""
    found = cube_files(study.folder / "lake")
    shards = [key for key in undisturbed if "spectrogram/c." in key]
    assert len(shards) > 4
    assert codes.sizes["recorder"] == 2
    assert {key: found[key] for key in shards} == {key: undisturbed[key] for key in shards}


def told_at_the_end(study: Study) -> str:
    said: list[str] = []
    with pytest.raises(QuarantineError):
        execute_runs(read_manifest(study.folder / "study-lake.toml"), [], Options(), said.append)
    return "\n".join(said)


# Drivers, ledgers ------------------------------------------------------------------------------------------


def test_a_second_driver_is_told_of_the_first(study: Study, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    manifest = study.write()
    with faults.paused_child(str(manifest), Moment("driver", "shard", 3, "before"), tmp_path / "pause") as first:
        with pytest.raises(
            TryAgainError, match=rf"'mels': part 0 of 1 is being worked on by process {first.pid} on"
        ) as e:
            run(manifest)
        assert e.value.exit_code == 75
    assert first.exitcode == 0
    assert "nothing to do" in run(manifest)
    assert cube_files(study.folder / "lake") == undisturbed


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0.01, 0.99), which=st.integers(0, 3))
def test_a_ledger_that_was_cut_anywhere(
    tmp_path: Path, undisturbed: dict[str, bytes], where: float, which: int
) -> None:
    if not (tmp_path / "audio").exists():
        run(usual_study(tmp_path).write())
    ledger = sorted((tmp_path / "lake/ledgers/mels").glob("*/*.jsonl"))[which]
    before = sorted(ledger.read_bytes().splitlines())
    ledger.write_bytes(ledger.read_bytes()[: int(where * ledger.stat().st_size)])
    assert "done in" in run(tmp_path / "study-lake.toml")
    assert sorted(ledger.read_bytes().splitlines()) == before
    assert cube_files(tmp_path / "lake") == undisturbed


def test_a_ledger_line_that_is_damaged_is_named_with_what_to_do(study: Study) -> None:
    run(study.write())
    ledger = next(iter((study.folder / "lake/ledgers/mels").glob("*/*.jsonl")))
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([b"{" + lines[0], *lines[1:]]))
    with pytest.raises(StoreError, match=rf"{ledger.name}, line 1: the record is damaged: .* remove the line and type"):
        run(study.write())
    ledger.write_bytes(b"".join(lines[1:]))
    assert "done in" in run(study.write())


def test_a_file_that_is_copied_in_while_it_is_read_is_waited_for(study: Study) -> None:
    """A table made while a card was still being copied lists another digest."""
    name = study.add("c", 0.0, sound(20, 11))
    soundfile.write(study.folder / "audio" / name, sound(30, 12), RATE)
    with pytest.raises(InputError, match="catalogue it again"):
        run(study.write())
