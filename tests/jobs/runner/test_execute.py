"""The runner: what is skipped, extended, kept and refused, and the receipts it leaves."""

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from chains import LABELS, n_windows, receipts, run_chain, runs, standing, write_chain
from soundfiles import Study, files, sound

from jobs.common.run import Options, Run
from jobs.evaluate import command as evaluate
from jobs.evaluate.config import Config
from lake.errors import InputError, QuarantineError
from lake.receipts import latest_receipt


def grow(chain: Study) -> int:
    """Add a recording and return how many windows are new.

    The gap from 40.5 to 55 s becomes one of half a second: the windows of 4 s that start at 38 and 40 s become
    partial, those at 42, 44 … 54 s ok.
    """
    chain.add("a", 41.0, sound(14, 7))
    write_chain(chain)
    return 9


# Skipping --------------------------------------------------------------------------------------------------


def test_runs_go_in_order_and_say_what_they_did(finished: tuple[Study, list[str]]) -> None:
    study, said = finished
    manifest = study.folder / "study-lake.toml"
    assert [line.split(": done in ")[0] for line in said] == ["mels", "vectors", "clusters", "scores"]
    assert all(line.endswith(")") for line in said), "each with its counts"
    assert standing(manifest) == dict.fromkeys(["mels", "vectors", "clusters", "scores"], ("done", ""))


def test_again_nothing_is_done_and_nothing_is_touched(manifest: Path) -> None:
    lake = manifest.parent / "lake"
    stamps = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}
    assert run_chain(manifest) == [f"{name}: done, nothing to do" for name in ("mels", "vectors", "clusters", "scores")]
    assert stamps == {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}
    assert [len(receipts(manifest, name)) for name in runs(manifest)] == [1, 1, 1, 1], "no receipt of nothing"


def test_runs_that_are_named(manifest: Path) -> None:
    assert run_chain(manifest, "clusters", "mels") == ["mels: done, nothing to do", "clusters: done, nothing to do"]
    with pytest.raises(InputError, match=r"study-lake\.toml has no run 'cluster'; did you mean 'clusters'\?$"):
        run_chain(manifest, "mels", "cluster")
    with pytest.raises(InputError, match=r"has no run 'qqq'; there are clusters, mels, scores, vectors$"):
        run_chain(manifest, "qqq")


# Receipts --------------------------------------------------------------------------------------------------


def test_what_a_receipt_records(manifest: Path) -> None:
    made = runs(manifest)
    of = {name: receipts(manifest, name)[0] for name in made}
    for name, receipt in of.items():
        summary = made[name].ledger.summary()
        assert receipt["run"] == name
        assert receipt["part"] == [0, 1]
        assert receipt["state"] == "done"
        assert receipt["job"] == made[name].job
        assert receipt["config"] == made[name].config.model_dump(mode="json")
        assert receipt["algorithm"] == made[name].algorithm
        assert receipt["config_id"] == made[name].config_id
        assert receipt["content_id"] == summary["content_id"]
        assert receipt["n_windows"] == summary["n_windows"]
        assert receipt["seed"] == {"clusters": 7, "scores": 0}.get(name)
        assert receipt["seconds"] > 0
        assert receipt["backend"]
        assert receipt["host"]["name"]
        assert receipt["versions"]["zarr"] == metadata.version("zarr")
        assert set(receipt) >= {"python", "git_commit", "written"}
        assert receipt["inputs"] == {
            role: {
                "run": source.name, "config_id": source.config_id, "content_id": of[source.name]["content_id"],
                "n_windows": of[source.name]["n_windows"],
            }
            for role, source in made[name].inputs.items()
        }  # fmt: skip
    assert len({receipt["content_id"] for receipt in of.values()}) == 4
    assert (
        of["mels"]["counts"]["ok"] + of["mels"]["counts"]["partial"]
        == of["mels"]["n_windows"]
        == n_windows(manifest, "vectors")
    )
    assert of["scores"]["labels_sha256"] == hashlib.sha256(LABELS.encode()).hexdigest()
    assert "labels_sha256" not in of["clusters"], "who reads no labels says nothing of them"


def test_what_was_set_aside_is_in_the_receipt_with_its_reason(chain: Study) -> None:
    chain.add("c", 0.0, sound(9, 1), problems="truncated;no_time", start_utc=None)
    chain.add("c", 0.0, sound(9, 2), problems="unreadable", reading="")
    manifest = write_chain(chain)
    with pytest.raises(QuarantineError):
        run_chain(manifest, "mels")
    assert len(receipts(manifest, "mels")) == 1, "nothing was written"
    chain.add("c", 0.0, sound(9, 3))
    write_chain(chain)
    with pytest.raises(QuarantineError):
        run_chain(manifest, "mels")
    _, receipt = receipts(manifest, "mels")
    assert receipt["n_recordings"] == 9
    assert receipt["set_aside"] == {"c/006.wav": "no_time", "c/007.wav": "unreadable"}
    assert receipt["quarantined"] == {"no_time": 1, "unreadable": 1}


# Growth ----------------------------------------------------------------------------------------------------


def test_growth_goes_through_what_follows_and_leaves_what_is_pinned(chain: Study, manifest: Path) -> None:
    before = files(chain.folder / "lake/scores")
    total = n_windows(manifest, "mels")
    n_new = grow(chain)
    state, detail = standing(manifest)["mels"]
    assert (state, detail.split(" of ")[1]) == ("stale", f"{total + n_new} windows, its recordings grew")
    assert 0 < int(detail.split()[0]) < total, "a shard that gains windows is written again as a whole"
    run_chain(manifest, "mels")
    assert n_windows(manifest, "mels") == total + n_new
    state, detail = standing(manifest)["vectors"]
    assert state == "stale"
    assert detail.endswith(f" of {total + n_new} windows, mels grew by {n_new} windows")
    assert standing(manifest)["clusters"] == ("done", ""), "what it read is as it was"
    said = run_chain(manifest)
    stays = f"clusters grew by {n_new} windows; it stays as it is (run it with --refresh, or under a new name)"
    assert said[0] == "mels: done, nothing to do"
    assert said[1].startswith("vectors: done in ")
    assert said[2].startswith("clusters: done in ")
    assert f"{total + n_new} windows, {total} windows at fit, {n_new} new windows" in said[2]
    assert said[3:] == [f"scores: stale: {stays}"]
    assert standing(manifest)["scores"] == ("stale", stays)
    assert files(chain.folder / "lake/scores") == before
    assert len(receipts(manifest, "scores")) == 1


ATOMS = """[runs.atoms]
job = "dictionary"
inputs = { spectrograms = "mels" }
config = { patch_sizes = [[4, 4]], n_patches = 100, n_atoms = 2, n_rounds = 1 }
"""


def test_a_model_is_done_however_many_windows_came_since(chain: Study, manifest: Path) -> None:
    manifest.write_text(manifest.read_text() + ATOMS)
    run_chain(manifest, "atoms")
    assert standing(manifest)["atoms"] == ("done", "")
    n_new = grow(chain)
    manifest.write_text(manifest.read_text() + ATOMS)
    run_chain(manifest, "mels")
    state, detail = standing(manifest)["atoms"]
    assert state == "done"
    assert detail.startswith(f"made before mels grew by {n_new} windows; it stays, so that vectors")
    assert run_chain(manifest, "atoms") == [f"atoms: done: {detail}"]
    run_chain(manifest, "atoms", refresh=True)
    assert standing(manifest)["atoms"] == ("done", "")


def test_a_run_that_never_refreshes_stays_whatever_changed(chain: Study, manifest: Path) -> None:
    n_new = grow(chain)
    manifest.write_text(manifest.read_text().replace('job = "cluster"', 'job = "cluster"\nrefresh = "never"'))
    run_chain(manifest)
    stays = f'vectors grew by {n_new} windows; it stays as it is (refresh = "never")'
    assert standing(manifest)["clusters"] == ("stale", stays)
    assert run_chain(manifest, "clusters") == [f"clusters: stale: {stays}"]
    manifest.write_text(manifest.read_text().replace('refresh = "never"\n', ""))
    assert standing(manifest)["clusters"] == ("stale", f"vectors grew by {n_new} windows; `run` extends it")
    run_chain(manifest, "clusters")
    assert standing(manifest)["clusters"] == ("done", "")
    manifest.write_text(manifest.read_text().replace('job = "cluster"', 'job = "cluster"\nrefresh = "always"'))
    with pytest.raises(InputError, match=r"runs\.clusters\.refresh: .*'never'"):
        run_chain(manifest)


def test_refresh_makes_what_is_pinned_again(chain: Study, manifest: Path) -> None:
    before = files(chain.folder / "lake/receipts")
    n_new = grow(chain)
    total = n_windows(manifest, "mels") + n_new
    run_chain(manifest)
    assert [line.split(" in ")[0] for line in run_chain(manifest, "clusters", refresh=True)] == ["clusters: done"]
    assert n_windows(manifest, "clusters") == total
    assert standing(manifest)["clusters"] == ("done", "")
    state, detail = standing(manifest)["scores"]
    assert (state, detail.split(";")[0]) == ("stale", f"clusters grew by {n_new} windows")
    run_chain(manifest, "scores", refresh=True)
    assert set(standing(manifest).values()) == {("done", "")}
    after = files(chain.folder / "lake/receipts")
    assert {key: after[key] for key in before} == before, "receipts are only ever added"
    added = sorted(key.split("/")[0] for key in after if key not in before)
    assert added == ["clusters", "clusters", "clusters.1", "mels", "scores", "vectors"]


def test_what_a_killed_run_left_half_written_is_removed_by_the_next(manifest: Path) -> None:
    lake = manifest.parent / "lake"
    left = [lake / "scores/scores/.x.1234abcd.aside", lake / "clusters/clusters.zarr/cluster/.c.0.0.1234abcd.aside"]
    for path in left:
        assert path.parent.is_dir()
        path.write_bytes(b"half")
    run_chain(manifest, "clusters", refresh=True)
    run_chain(manifest, "scores", refresh=True)
    assert not [path for path in left if path.exists()]


def test_an_input_that_was_made_again_otherwise(manifest: Path) -> None:
    run_ = runs(manifest)["clusters"]
    run_.ledger.settle_files({"more": "digest"})  # other content, as many windows
    run_chain(manifest, "scores")
    receipt = latest_receipt(run_.lake, "clusters") or {}
    run_.lake.receipts("clusters").write(
        "99991231T000000000000Z-0of1.json", json.dumps({**receipt, **run_.ledger.summary()}).encode()
    )
    state, detail = standing(manifest)["scores"]
    assert (state, detail.split(";")[0]) == ("stale", "clusters was made again")


def test_one_window_is_one_window(manifest: Path) -> None:
    clusters = runs(manifest)["clusters"]
    receipt = latest_receipt(clusters.lake, "clusters") or {}
    more = {**receipt, "content_id": "other", "n_windows": receipt["n_windows"] + 1}
    clusters.lake.receipts("clusters").write("99991231T000000000000Z-0of1.json", json.dumps(more).encode())
    assert standing(manifest)["scores"][1].startswith("clusters grew by 1 window; it stays")


def test_labels_that_changed_make_their_readers_stale(manifest: Path) -> None:
    labels = manifest.parent / "labels.csv"
    labels.write_text(LABELS.replace("robin", "blackbird"))
    stays = "labels.csv changed; it stays as it is (run it with --refresh, or under a new name)"
    assert standing(manifest) == {**dict.fromkeys(runs(manifest), ("done", "")), "scores": ("stale", stays)}
    assert run_chain(manifest)[-1] == f"scores: stale: {stays}"
    run_chain(manifest, "scores", refresh=True)
    assert standing(manifest)["scores"] == ("done", "")
    assert "blackbird" in (manifest.parent / "lake/scores/scores/confusion-mine.csv").read_text()
    labels.write_text(LABELS)  # and back again: what counts is what the last receipt says
    assert standing(manifest)["scores"] == ("stale", stays)
    labels.unlink()
    assert standing(manifest)["scores"] == ("stale", stays)
    text = manifest.read_text()
    manifest.write_text(text.replace('labels = "labels.csv"\n', ""))
    assert standing(manifest)["scores"] == ("stale", stays.replace("labels.csv", "the table of labels"))
    manifest.write_text(text)
    labels.write_text(LABELS.replace("robin", "blackbird"))
    assert set(standing(manifest).values()) == {("done", "")}


def test_labels_that_change_while_they_are_read_show_as_stale(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = evaluate.execute

    def meanwhile(run: Run[Config], options: Options) -> Any:
        outcome = execute(run, options)
        (manifest.parent / "labels.csv").write_text(LABELS + "\n")
        return outcome

    monkeypatch.setattr(evaluate, "execute", meanwhile)
    run_chain(manifest, "scores", refresh=True)
    assert standing(manifest)["scores"][1].startswith("labels.csv changed")
