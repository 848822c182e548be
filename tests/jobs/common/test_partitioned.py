"""The driver of extending jobs: what both jobs do alike, each decision with both where both can meet it."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from soundfiles import Study, files, mels_of, sound, usual_study
from stores import finish, make_cube, make_model, make_run, random_codes

from jobs.common import space
from jobs.common.partitioned import write_here
from jobs.common.run import Options, Outcome, Run
from jobs.embed import command as embed
from jobs.embed.config import Config as EmbedConfig
from jobs.runner import execution
from jobs.runner.execute import execute_runs, finalise_run
from jobs.runner.manifest import read_manifest
from jobs.spectrograms import command as spectrograms
from lake.errors import IdentityError, InputError, TryAgainError, UsageError
from lake.layout import Lake
from lake.read import open_store
from lake.receipts import latest_receipt, write_receipt
from lake.run_records import COMMITTING

LOGMEL = EmbedConfig(features="logmel", batch_size=5)


def embed_run(lake: Path, cube: Run, config: EmbedConfig = LOGMEL, model: Run | None = None) -> Run[EmbedConfig]:
    inputs = {"spectrograms": cube, **({"model": model} if model else {})}
    return make_run(lake, "vectors", "embed", config, inputs=inputs)


def execute(manifest: Path, **options: object) -> list[str]:
    said: list[str] = []
    execute_runs(read_manifest(manifest), [], Options(**options), said.append)  # type: ignore[arg-type] # as typed there
    return said


def written_at(folder: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and "claims" not in path.parts
    }


# The ledger once the run is claimed -------------------------------------------------------------------------


def overtaken(execute_other: Callable[[], None], run: Run, part: tuple[int, int] | None = None) -> Options:
    """Return options under which another process does its work right before the claim."""

    def begin(wanted: Run, _expected: Outcome, /) -> Run:
        execute_other()
        return wanted

    return Options(part=part, begin=begin)  # type: ignore[arg-type] # of any job


@pytest.mark.parametrize("part", [None, (1, 4)])
def test_what_another_process_wrote_before_the_claim_is_not_written_again(
    tmp_path: Path, part: tuple[int, int] | None
) -> None:
    manifest = usual_study(tmp_path).write()
    run = mels_of(manifest)
    seen: list[dict[Path, int]] = []

    def other() -> None:
        execute(manifest)
        seen.append(written_at(tmp_path / "lake"))

    outcome = spectrograms.execute(run, overtaken(other, run, part))
    assert not outcome.did
    assert written_at(tmp_path / "lake") == seen[0]


def test_vectors_that_another_process_wrote_before_the_claim_are_kept(tmp_path: Path) -> None:
    run = embed_run(tmp_path, make_cube(tmp_path))

    def other() -> None:
        embed.execute(run, Options())
        finish(run)

    assert not embed.execute(run, overtaken(other, run)).did


def test_a_finalise_looks_again_once_it_has_its_claim(tmp_path: Path) -> None:
    manifest = usual_study(tmp_path).write()
    for i in range(2):
        execute(manifest, part=(i, 2))
    run = mels_of(manifest)

    def other() -> None:
        finalise_run(read_manifest(manifest), "mels", lambda _: None)

    assert not spectrograms.finalise(run, overtaken(other, run)).did


# Recordings and windows that vanish -------------------------------------------------------------------------


def shared_study(tmp_path: Path) -> Study:
    study = Study(tmp_path)
    study.add("a", 0.0, sound(20, 1))
    study.add("b", 0.0, sound(20, 2))
    study.add("b", 7200.0, sound(20, 3))
    return study


@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize("how", ["finalise", "execute", "describe"])
def test_rows_that_vanish_after_the_shares_are_refused(tmp_path: Path, row: int, how: str) -> None:
    study = shared_study(tmp_path)
    manifest = study.write()
    for i in range(3):
        execute(manifest, part=(i, 3))
    before = written_at(tmp_path / "lake")
    kept = study.rows.pop(row)
    run = mels_of(study.write())
    with pytest.raises(
        IdentityError, match=rf"the ledger lists windows of .*\n  {kept['recorder']} 2021-07-1\d\nRestore"
    ):
        getattr(spectrograms, how)(run, Options())
    assert written_at(tmp_path / "lake") == before
    assert IdentityError.exit_code == 3
    study.rows.insert(row, kept)
    finalise_run(read_manifest(study.write()), "mels", lambda _: None)


def test_windows_that_vanish_from_the_cube_are_refused(tmp_path: Path) -> None:
    codes = random_codes()
    run = embed_run(tmp_path, make_cube(tmp_path, codes))
    embed.execute(run, Options())
    finish(run)
    other = tmp_path / "other"
    codes[1, :144] = 0
    again = embed_run(other, make_cube(other, codes))
    run = replace(run, inputs=again.inputs)
    with pytest.raises(
        IdentityError, match=r"windows of 1 partitions that the cube does not have:\n  south 2021-06-01\n"
    ):
        embed.execute(run, Options())
    with pytest.raises(IdentityError, match="Restore the cube"):
        embed.finalise(run, Options())


# The grid ---------------------------------------------------------------------------------------------------


def test_a_share_with_nothing_to_do_settles_no_grid(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("a", 0.0, sound(8, 1))
    manifest = study.write()
    execute(manifest, part=(1, 2))
    assert mels_of(manifest).ledger.grid() is None
    run = embed_run(tmp_path / "e", make_cube(tmp_path / "e", random_codes(n_recorders=1, n_days=1), recorders=["x"]))
    embed.execute(run, Options(part=(1, 2)))
    assert run.ledger.grid() is None


def test_a_longer_grid_and_a_recorder_without_windows_are_committed(tmp_path: Path) -> None:
    """Recordings too short for a window: the store gets the months and the recorders of the table."""
    study = Study(tmp_path)
    study.add("a", 0.0, sound(8, 1))
    manifest = study.write()
    execute(manifest)
    run = mels_of(manifest)
    before = open_store(run.output.url, "spectrograms").sizes["time"]
    for recorder, days in (("a", 60), ("b", 0)):
        study.add(recorder, days * 86_400.0, sound(1, 2))
        assert "nothing to do" not in execute(study.write())[0]
        assert execute(manifest) == ["mels: done, nothing to do"]
    store = open_store(run.output.url, "spectrograms")
    assert store.sizes["time"] > before
    assert store["recorder"].to_numpy().tolist() == ["a", "b"]


# A commit that did not end ----------------------------------------------------------------------------------


def test_a_commit_that_did_not_end_is_done_again_although_nothing_is_missing(tmp_path: Path) -> None:
    manifest = usual_study(tmp_path).write()
    execute(manifest)
    store = files(tmp_path / "lake/spectrograms")
    run = mels_of(manifest)
    run.ledger.begin_commit()
    assert "nothing to do" not in execute(manifest)[0]
    assert not run.ledger.storage.exists(COMMITTING)
    assert files(tmp_path / "lake/spectrograms") == store
    vectors = embed_run(tmp_path / "e", make_cube(tmp_path / "e"))
    embed.execute(vectors, Options())
    finish(vectors)
    vectors.ledger.begin_commit()
    assert embed.execute(vectors, Options()).did
    assert not vectors.ledger.is_committing()


# Backends ---------------------------------------------------------------------------------------------------


def test_another_backend_counts_where_windows_of_it_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of vectors is written again whole; a shard of spectrograms keeps its windows."""
    cube = make_cube(tmp_path)
    run = embed_run(tmp_path, cube, EmbedConfig(), make_model(tmp_path, cube))
    embed.execute(run, Options(device="cpu"))
    make_model(tmp_path, cube, seed=5)
    monkeypatch.setattr("jobs.common.network.devices.backend_of", lambda *_: "cpu-other")
    assert embed.execute(run, Options(device="cpu")).did
    study = Study(tmp_path / "s")
    study.add("a", 0.0, sound(8, 1))
    with monkeypatch.context() as patched:
        patched.setattr("jobs.common.network.devices.backend_of", lambda *_: "cpu-first")
        execute(study.write())
    study.add("a", 8.0, sound(4, 2))  # into the same shard
    with pytest.raises(
        TryAgainError, match=r"was begun on cpu-first; this machine computes as cpu-other, whose levels"
    ):
        execute(study.write())


def told_backend(lake: Lake) -> str:
    receipt = latest_receipt(lake, "mels")
    assert receipt is not None
    return str(receipt["backend"])


def test_receipts_name_all_that_computed_the_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where shares are finalised by a machine that computed none, and where a mixture was allowed."""
    study = Study(tmp_path / "s")
    study.add("a", 0.0, sound(8, 1))
    study.add("b", 0.0, sound(8, 2))
    with monkeypatch.context() as patched:
        patched.setattr("jobs.common.network.devices.backend_of", lambda *_: "cpu-first")
        for part in range(2):
            execute(study.write(), part=(part, 2))
    monkeypatch.setattr("jobs.common.network.devices.backend_of", lambda *_: "cpu-other")
    manifest = read_manifest(study.write())
    finalise_run(manifest, "mels", lambda _: None)
    assert told_backend(manifest.runs["mels"].lake) == "cpu-first"
    study.add("a", 8.0, sound(4, 3))
    execute(study.write(), mix=True)
    assert told_backend(manifest.runs["mels"].lake) == "cpu-first, cpu-other"


def test_a_worker_of_embed_is_asked_for_lake_and_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = make_cube(tmp_path)
    run = embed_run(tmp_path, cube, EmbedConfig(), make_model(tmp_path, cube))
    work = embed.EMBED._work(run, Options(device="cpu"))
    task, *_ = embed.EMBED.tasks(work, "cpu-other")
    with pytest.raises(TryAgainError, match=r"computes as cpu-[\w-]+, the others as cpu-other, whose vectors differ"):
        write_here(embed.EMBED, task, mix=False)
    run.ledger.settle_grid(work.plan.grid, work.plan.recorders)
    assert write_here(embed.EMBED, task, mix=True).total() == 12
    (entry,) = run.ledger.written().values()
    assert entry.backend != "cpu-other", "the ledger says what computed it"
    run.ledger.storage.remove("run.json")
    with pytest.raises(InputError, match=r"ledgers/vectors: expected the ledger of the run, found none on"):
        write_here(embed.EMBED, task, mix=False)


def test_a_gpu_beside_a_scheduler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = make_cube(tmp_path)
    run = embed_run(tmp_path, cube, EmbedConfig(), make_model(tmp_path, cube))
    monkeypatch.setattr(embed, "current_client", lambda: "a client")
    monkeypatch.setattr(embed, "_device", lambda *_: "cuda:0")
    with pytest.raises(UsageError, match=r"the scheduler's workers have nothing to do\. Add --device cpu, or leave"):
        embed.execute(run, Options(workers=2))


# Describing, and the disk -----------------------------------------------------------------------------------


def test_embed_describes_itself_and_counts_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = embed_run(tmp_path, make_cube(tmp_path))
    lines = embed.describe(run, Options())
    assert lines.pop(2).startswith("memory: about ")
    assert lines[:3] == [
        "to read: mels (spectrograms)",
        "48 windows of 2 recorders, 24 features each",
        "to write: 48 windows in 4 partitions (a recorder's day each), 4 shards",
    ]
    assert re.match(r"disk: up to [\d.]+ kiB in 52 files; ", lines[3])
    monkeypatch.setattr(space, "free_files", lambda _: 51)
    with pytest.raises(TryAgainError, match=r"52 files will be written, 51 more .* Remove some, or put the lake else"):
        embed.execute(run, Options())
    monkeypatch.undo()
    embed.execute(run, Options())
    n_files = len(run.output.list_keys()) + len(run.ledger.line_files())
    assert n_files <= 52
    finish(run)
    assert embed.describe(run, Options())[-1] == "nothing to write"


# The receipt of a finalise ----------------------------------------------------------------------------------


def test_a_finalise_leaves_its_receipt_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = usual_study(tmp_path).write()
    for i in range(2):
        execute(manifest, part=(i, 2))
    held: list[list[str]] = []

    def noting(*words: object) -> None:
        held.append(mels_of(manifest).ledger.storage.list_keys("claims"))
        write_receipt(*words)  # type: ignore[arg-type] # as it is called

    monkeypatch.setattr(execution, "write_receipt", noting)
    finalise_run(read_manifest(manifest), "mels", lambda _: None)
    assert held == [["claims/0of1.json"]]
    assert mels_of(manifest).ledger.storage.list_keys("claims") == []


def test_a_share_of_one_job_equals_the_whole(tmp_path: Path) -> None:
    digests = []
    for parts in ([None], [(1, 3), (0, 3), (2, 3)]):
        manifest = usual_study(tmp_path / str(len(parts))).write()
        for part in parts:
            execute(manifest, part=part)
        if len(parts) > 1:
            finalise_run(read_manifest(manifest), "mels", lambda _: None)
        store = files(manifest.parent / "lake/spectrograms")
        digests.append({key: hashlib.sha256(data).hexdigest() for key, data in store.items()})
    assert digests[0] == digests[1]
    assert np.size(list(digests[0])) > 10
