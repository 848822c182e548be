"""What the runner refuses, and what it never takes for done."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chains import n_windows, receipts, run_chain, runs, standing, write_chain
from commands import ROOT
from soundfiles import Study, files, sound, usual_study

from jobs.cluster import command as cluster
from jobs.common.run import Options, Outcome, Run
from jobs.runner.execute import finalise_run, verify_runs
from jobs.runner.manifest import read_manifest
from lake.claims import claim
from lake.errors import IdentityError, InputError, QuarantineError, StoreError, TryAgainError

# Refusing --------------------------------------------------------------------------------------------------


def test_an_input_that_is_not_done_is_refused_with_the_command(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    with pytest.raises(StoreError) as caught:
        run_chain(manifest, "vectors")
    assert str(caught.value) == (
        f"run 'vectors' reads 'mels' (spectrograms), which is not done. Type `dawnchorus run {manifest} mels`."
    )
    assert caught.value.exit_code == 4
    assert standing(manifest) == dict.fromkeys(["mels", "vectors", "clusters", "scores"], ("missing", ""))
    run_chain(manifest, "mels", part=(0, 2))
    with pytest.raises(StoreError, match=r"reads 'mels' .* is not done"):
        run_chain(manifest, "vectors")
    state, detail = standing(manifest)["mels"]
    assert state == "partial"
    done, of, total, _ = detail.split()
    assert (0 < int(done) < int(total), of) == (True, "of")


def test_a_share_is_refused_of_what_has_none_before_anything_is_done(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    with pytest.raises(InputError) as caught:
        run_chain(manifest, part=(0, 2))
    assert str(caught.value) == (
        "run 'scores' is a 'evaluate' run, which has no partitions; name those that have: mels, vectors, clusters."
    )
    with pytest.raises(InputError, match=r"run 'scores' is .*, which has no partitions; leave out --partition\.$"):
        run_chain(manifest, "scores", part=(1, 4))
    with pytest.raises(InputError, match="'evaluate' run, which has no partitions; `dawnchorus run` finishes it"):
        finalise_run(read_manifest(manifest), "scores", print)
    with pytest.raises(StoreError, match=rf"'mels' has not begun; type `dawnchorus run {manifest} mels`\.$"):
        finalise_run(read_manifest(manifest), "mels", print)
    assert not (tmp_path / "lake").exists()


def test_shares_leave_receipts_of_shares(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    assert run_chain(manifest, "mels", part=(1, 2))[0].startswith("mels: share done in ")
    assert run_chain(manifest, "mels", part=(1, 2)) == ["mels: this share is done, nothing to do"]
    run_chain(manifest, "mels", part=(0, 2))
    total = n_windows(manifest, "mels")
    assert standing(manifest)["mels"] == ("partial", f"{total} of {total} windows, not finalised")
    finalise_run(read_manifest(manifest), "mels", print)
    assert [(r["state"], r["part"]) for r in receipts(manifest, "mels")] == [
        ("share", [1, 2]), ("share", [0, 2]), ("done", [0, 1]),
    ]  # fmt: skip
    assert standing(manifest)["mels"] == ("done", "")


def test_shares_of_a_clustering_are_finalised_like_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_chain(usual_study(tmp_path))
    run_chain(manifest, "mels", "vectors")
    with pytest.raises(StoreError, match="'clusters' has not begun"):
        finalise_run(read_manifest(manifest), "clusters", print)
    assert run_chain(manifest, "clusters", part=(1, 2))[0].startswith("clusters: share done in ")
    assert standing(manifest)["clusters"] == ("partial", "begun, not finished")
    with pytest.raises(StoreError, match="partitions have no labels of these centroids yet"):
        finalise_run(read_manifest(manifest), "clusters", print)
    run_chain(manifest, "clusters", part=(0, 2))
    assert run_chain(manifest, "clusters", part=(0, 2)) == ["clusters: this share is done, nothing to do"]
    finalise_run(read_manifest(manifest), "clusters", print)
    assert [(r["state"], r["part"]) for r in receipts(manifest, "clusters")] == [
        ("share", [1, 2]), ("share", [0, 2]), ("done", [0, 1]),
    ]  # fmt: skip
    assert standing(manifest)["clusters"] == ("done", "")
    capsys.readouterr()
    finalise_run(read_manifest(manifest), "clusters", print)
    assert capsys.readouterr().out == "clusters: finalised already, nothing to do\n"
    assert run_chain(manifest, "clusters", part=(0, 2))[0].startswith("clusters: done")
    run_chain(manifest, "scores")
    verify_runs(read_manifest(manifest), [], lambda _: None)


def test_another_configuration_of_a_run_or_of_its_input_is_refused(chain: Study, manifest: Path) -> None:
    whole = manifest.read_text()
    manifest.write_text(whole.replace("n_clusters = 3", "n_clusters = 4"))
    with pytest.raises(
        IdentityError, match=r"'clusters' exists .*\n  config\.n_clusters: stored 3, wanted 4\n"
    ) as caught:
        run_chain(manifest, "clusters")
    assert caught.value.exit_code == 3
    assert standing(manifest)["clusters"] == ("different", "config.n_clusters: stored 3, wanted 4")
    assert standing(manifest)["scores"][0] == "different", "so is whatever reads it"
    # A new run must not be made from an input that is not what the manifest says.
    manifest.write_text(whole.replace("n_clusters = 3", "n_clusters = 4").replace("runs.scores", "runs.other"))
    with pytest.raises(IdentityError, match=r"'clusters' exists with another configuration"):
        run_chain(manifest, "other")
    assert standing(manifest)["other"] == ("missing", "")
    manifest.write_text(whole.replace("n_mels = 12", "n_mels = 13"))
    with pytest.raises(IdentityError, match=r"config\.n_mels: stored 12, wanted 13"):
        finalise_run(read_manifest(manifest), "mels", print)


@pytest.mark.parametrize("name", ["mels", "clusters", "scores"])
def test_an_output_that_is_gone_is_not_taken_for_done(manifest: Path, name: str) -> None:
    made = runs(manifest)[name]
    before = files(Path(made.output.url))
    shutil.rmtree(made.output.url)
    with pytest.raises(StoreError) as caught:
        run_chain(manifest, name)
    assert str(caught.value) == (
        f"run '{name}' was finished, but its output {made.output.url} is gone. Restore it, or remove its "
        f"ledger {made.ledger.storage.url} as well to have it made again."
    )
    assert standing(manifest)[name] == ("missing", f"{made.output.url} is gone, its ledger is there")
    shutil.rmtree(made.ledger.storage.url)
    assert standing(manifest)[name] == ("missing", "")
    assert run_chain(manifest, name)[0].startswith(f"{name}: done in ")
    assert files(Path(made.output.url)) == before
    assert set(standing(manifest).values()) == {("done", "")}, "the same bytes: nothing that reads them is stale"


def test_a_run_that_was_cut_short_is_not_taken_for_done(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(run: Run, options: Options) -> Any:
        options.begin(run, Outcome(did=True, counts={}))
        raise TryAgainError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "execute", cut_short)
        with pytest.raises(TryAgainError):
            run_chain(manifest, "clusters", refresh=True)
    assert standing(manifest)["clusters"] == ("partial", "begun, not finished")
    assert standing(manifest)["scores"][1].startswith("clusters is not done; it stays")
    with pytest.raises(StoreError, match=r"'scores' reads 'clusters' \(mine\), which is not done"):
        run_chain(manifest, "scores", refresh=True)
    assert run_chain(manifest, "clusters")[0].startswith("clusters: done in "), "without --refresh"
    assert set(standing(manifest).values()) == {("done", "")}


def test_status_goes_on_where_a_run_cannot_be_looked_at(manifest: Path) -> None:
    table = manifest.parent / "study.csv"
    table.unlink()
    state, detail = standing(manifest)["mels"]
    assert state == "done"
    assert str(table) in detail
    assert standing(manifest)["scores"] == ("done", "")


def test_a_package_that_is_missing_is_named_with_the_image_that_has_it(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs(name: str) -> Callable[..., Any]:
        def execute(*_: object) -> Any:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        return execute

    monkeypatch.setattr(cluster, "execute", needs("sklearn.cluster"))
    with pytest.raises(InputError) as caught:
        run_chain(manifest, "clusters", refresh=True)
    assert str(caught.value) == (
        "run 'clusters' needs the package 'sklearn', which is not installed here. "
        f"Type `pip install {shlex.quote(f'{ROOT}[cluster]')}`, or use the image 'cluster'."
    )
    monkeypatch.setattr(cluster, "execute", needs("jobs.cluster.forgotten"))
    with pytest.raises(ModuleNotFoundError):  # ours: a bug
        run_chain(manifest, "clusters", refresh=True)


# Claims and set-aside recordings ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mels", "clusters"])
def test_what_another_process_works_on_is_left_to_it(manifest: Path, name: str) -> None:
    made = runs(manifest)[name]
    with claim(made.ledger.storage, name, (0, 1), "plan"):
        with pytest.raises(TryAgainError, match=rf"run '{name}': part 0 of 1 .* by process \d+ on ") as caught:
            run_chain(manifest, name, refresh=True)
        assert caught.value.exit_code == 75
        state, detail = standing(manifest)[name]
        assert state == "running"
        assert detail.startswith("process ")
    assert set(standing(manifest).values()) == {("done", "")}


def test_too_many_set_aside_is_told_after_all_runs(tmp_path: Path) -> None:
    study = usual_study(tmp_path)
    study.rows[3]["problems"], study.rows[3]["reading"] = "unreadable", ""
    manifest = write_chain(study)
    told = (
        "run 'mels' finished, but 1 of 6 recordings were set aside (1 unreadable); max_quarantined = 0.05 allows 5%. "
        "See `problems` in the table of recordings; fix them, or raise max_quarantined in the manifest."
    )
    with pytest.raises(QuarantineError) as caught:
        run_chain(manifest, "mels", "vectors")
    assert str(caught.value) == told
    assert caught.value.exit_code == 5
    assert [standing(manifest)[name] for name in ("mels", "vectors")] == [("done", "")] * 2
    with pytest.raises(QuarantineError):
        run_chain(manifest, "mels")  # it is as true as before
    manifest.write_text(f"max_quarantined = 0.2\n{manifest.read_text()}")
    assert run_chain(manifest, "mels") == ["mels: done, nothing to do"]


def test_of_shares_finalising_tells_what_was_set_aside(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("a", 0.0, sound(20, 1))
    study.add("a", 0.0, sound(20, 2), problems="unreadable", reading="")
    manifest = write_chain(study)
    run_chain(manifest, "mels", part=(0, 1))
    said: list[str] = []
    with pytest.raises(QuarantineError, match="1 of 2 recordings were set aside"):
        finalise_run(read_manifest(manifest), "mels", said.append)
    assert said == ["mels: finalised"]


def test_a_recording_that_is_there_twice_is_not_lost(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.add("a", 0.0, sound(20, 1))
    study.add("a", 0.0, sound(20, 1), problems="duplicate")
    manifest = write_chain(study)
    run_chain(manifest, "mels")
    assert receipts(manifest, "mels")[0]["quarantined"] == {"duplicate": 1}
