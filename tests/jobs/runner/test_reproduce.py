"""A run again from its receipt: the same, or what differs and where."""

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from chains import run_chain, runs, standing
from soundfiles import Study

from jobs.common.run import Options
from jobs.runner.registry import JOBS
from jobs.runner.reproduce import _folders, read_receipt, recorded_run, reproduce
from lake.errors import InputError, StoreError
from lake.layout import Lake
from lake.records import seal, unseal

ATLAS = """
[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
"""
ALL = ("mels", "vectors", "clusters", "scores")
IMAGE = {"name": "dino.sif", "sha256": "a" * 64, "version": "0.1.0", "revision": None, "lock": None}


def receipt_of(manifest: Path, name: str) -> Path:
    (path,) = (manifest.parent / "lake" / "receipts" / name).glob("*.json")
    return path


def again(manifest: Path, name: str, **more: Any) -> list[str]:
    said: list[str] = []
    reproduce(receipt_of(manifest, name), manifest.parent / "again", Options(workers=1), said.append, **more)
    return said


def change(path: Path, **facts: Any) -> None:
    path.write_bytes(seal({**unseal(path.read_bytes(), ""), **facts}))


@pytest.mark.parametrize("name", ALL)
def test_every_job_gives_the_same_bytes_again(whole: Path, tmp_path: Path, name: str) -> None:
    said: list[str] = []
    reproduce(receipt_of(whole, name), tmp_path / "again", Options(workers=1), said.append)
    content = json.loads(receipt_of(whole, name).read_text())["content_id"]
    assert said[-1] == f"{name}: the same bytes, content_id {content}"
    assert [path.name for path in (tmp_path / "again" / "receipts").iterdir()] == [name]


def test_what_differs_is_told_window_by_window(manifest: Path) -> None:
    """The ledger of the first is changed, as if another machine had computed one window otherwise."""
    run = runs(manifest)["vectors"]
    (ledger,) = Path(run.ledger.storage.url).glob("a/2021-07-14.jsonl")
    entry = unseal(ledger.read_bytes(), "")
    entry["digests"][1] = "0" * 16
    entry["index"]["embedding_status"][0] = 9
    ledger.write_bytes(seal(entry))
    change(receipt_of(manifest, "vectors"), content_id="000000000000", backend="cpu-Z80")
    with pytest.raises(StoreError) as caught:
        again(manifest, "vectors")
    told = str(caught.value).splitlines()
    assert told[0].startswith("run 'vectors' gave something else: 2 differences between ")
    assert told[1] == "  a: 2021-07-14T23:59:02Z: other values"
    assert told[2] == "  a: 2021-07-14T23:59:00Z: another embedding_status"
    assert told[3].startswith("It was made on cpu-Z80, here on numpy: bytes are promised")
    assert told[4].endswith("/embeddings/vectors.zarr has changed since this receipt; it is compared as it is now.")


def test_files_that_differ_are_told(manifest: Path) -> None:
    run = runs(manifest)["scores"]
    files = run.ledger.files() or {}
    run.ledger.settle_files({**files, min(files): "0" * 64, "zzz.txt": "1" * 64})
    change(receipt_of(manifest, "scores"), content_id="000000000000")
    with pytest.raises(StoreError) as caught:
        again(manifest, "scores")
    assert str(caught.value).splitlines()[1:3] == [f"  {min(files)} differs", "  zzz.txt is missing"]


def test_other_bytes_of_the_same_values_are_no_difference(manifest: Path) -> None:
    run = runs(manifest)["mels"]
    (ledger,) = Path(run.ledger.storage.url).glob("a/2021-07-14.jsonl")
    lines = [unseal(line, "") for line in ledger.read_bytes().splitlines()]
    for entry in lines:
        entry["files"] = dict.fromkeys(entry["files"], "0" * 64)
    ledger.write_bytes(b"".join(seal(entry) for entry in lines))
    change(receipt_of(manifest, "mels"), content_id=run.ledger.summary()["content_id"])
    assert again(manifest, "mels")[-1] == (
        "mels: the same values in every window; files differ in their bytes (another zarr or compressor)"
    )


def test_inputs_that_changed_since_are_refused(chain: Study, manifest: Path) -> None:
    change(receipt_of(manifest, "vectors"), inputs={
        "spectrograms": {"run": "mels", "config_id": runs(manifest)["mels"].config_id, "content_id": "before"}
    })  # fmt: skip
    now = runs(manifest)["mels"].ledger.summary()["content_id"]
    with pytest.raises(StoreError, match=rf"mels \(spectrograms\): content_id before then, {now} now"):
        again(manifest, "vectors")
    tables = json.loads(receipt_of(manifest, "mels").read_text())["recordings"]
    table = chain.folder / "study.csv"
    change(receipt_of(manifest, "mels"), recordings={**tables, "table": str(table)})
    table.write_text(table.read_text() + "\n")
    with pytest.raises(StoreError, match=r"study\.csv: sha256 \w{64} then, \w{64} now"):
        again(manifest, "mels")
    table.unlink()
    with pytest.raises(StoreError, match=r"study\.csv: sha256 \w{64} then, not there now"):
        again(manifest, "mels")


def test_what_is_no_receipt_is_refused(manifest: Path, tmp_path: Path) -> None:
    def refused(path: Path, told: str) -> None:
        with pytest.raises(InputError, match=told):
            reproduce(path, tmp_path / "again", Options(), print)

    refused(tmp_path / "none.json", r"none\.json: no such receipt; they are in <lake>/receipts/<run>")
    (tmp_path / "x.json").write_text("{")
    refused(tmp_path / "x.json", r"x\.json: not a receipt: Expecting")
    (tmp_path / "x.json").write_text('{"run": "mels"}')
    refused(tmp_path / "x.json", r"not a receipt that a run left: it lacks job, algorithm, config")
    (tmp_path / "x.json").write_text(receipt_of(manifest, "mels").read_text())
    refused(tmp_path / "x.json", r"it is not in <lake>/receipts/<run>")
    path, sound = receipt_of(manifest, "mels"), receipt_of(manifest, "mels").read_bytes()
    for damaged in (b"", b"{", sound[:-100], sound.replace(b"mels", b"mel5", 1)):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"{re.escape(str(path))}: the record is damaged"):
            reproduce(path, tmp_path / "again", Options(), print)
    path.write_bytes(sound)
    change(receipt_of(manifest, "mels"), state="share")
    refused(receipt_of(manifest, "mels"), r"the receipt of 'share', not of a whole run")
    change(receipt_of(manifest, "mels"), state="done", job="sonograms")
    refused(receipt_of(manifest, "mels"), r"of the job 'sonograms', which this version has not")


def test_a_folder_that_is_not_empty_is_refused(manifest: Path) -> None:
    (manifest.parent / "again").mkdir()
    (manifest.parent / "again" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"again: expected an empty folder, found files\. Name another with --into"):
        again(manifest, "mels")


def test_another_algorithm_is_refused(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JOBS, "embed", replace(JOBS["embed"], algorithm=99))
    with pytest.raises(InputError, match=r"this version has algorithm 99\. Use the image of the receipt: no image"):
        again(manifest, "vectors")


def test_outside_of_the_recorded_image_it_is_refused_or_told(manifest: Path) -> None:
    change(receipt_of(manifest, "scores"), image=IMAGE)
    told = r"made in dino\.sif \(sha256 a+\), but this is no image\. Give --images FOLDER with that image"
    with pytest.raises(InputError, match=told):
        again(manifest, "scores")
    said = again(manifest, "scores", anywhere=True)
    assert said[0] == f"scores: made in dino.sif (sha256 {'a' * 64}), here in no image"
    assert said[-1].startswith("scores: the same bytes")


def test_the_recorded_image_is_started(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for apptainer keeps its words; the real one is in the proof of the images."""
    images, tools = tmp_path / "images", tmp_path / "tools"
    for folder in (images, tools):
        folder.mkdir()
    (images / "other.sif").write_bytes(b"other")
    (images / "renamed.sif").write_bytes(b"an image")
    script = tools / "apptainer"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words\nexit $CODE\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("CODE", "0")
    digest = hashlib.sha256(b"an image").hexdigest()
    path = receipt_of(manifest, "mels")
    change(path, image={**IMAGE, "sha256": digest})
    assert again(manifest, "mels", images=images) == [f"mels: in {images / 'renamed.sif'}"]
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:3] == ["exec", "--cleanenv", "--containall"]
    assert any(word.endswith(f"DAWNCHORUS_IMAGE_SHA256={digest}") for word in words)
    binds = [word for flag, word in pairwise(words) if flag == "--bind"]
    tables = json.loads(path.read_text())["recordings"]
    assert f"{tables['root']}:{tables['root']}:ro" in binds
    lake, into = manifest.parent / "lake", manifest.parent / "again"
    assert f"{lake}:{lake}:ro" in binds
    end = [str(images / "renamed.sif"), "dawnchorus", "reproduce", str(path), "--into", str(into)]
    assert words[-len(end) :] == end
    monkeypatch.setenv("CODE", "4")
    with pytest.raises(SystemExit) as caught:
        again(manifest, "mels", images=images)
    assert caught.value.code == 4


def test_at_the_command_line(whole: Path, tmp_path: Path, cli: Any) -> None:
    ended = cli("reproduce", receipt_of(whole, "scores"), "--into", tmp_path / "again")
    assert ended.code == 0
    assert "scores: the same bytes, content_id" in ended.out
    assert run_chain(whole, "scores") == ["scores: done, nothing to do"], "the original is left as it was"


def test_recordings_are_found_through_the_inputs(manifest: Path) -> None:
    """An atlas cuts sounds out of what its cube was made of, which its own receipt does not name."""
    path = receipt_of(manifest, "scores")
    facts, lake = read_receipt(path), Lake(str(path.parents[2]))
    assert "recordings" not in facts
    wanted = read_receipt(receipt_of(manifest, "mels"))["recordings"]
    found = recorded_run(lake, facts).recordings
    assert found is not None
    assert (str(found.root), str(found.table)) == (wanted["root"], wanted["table"])
    assert wanted["root"] in _folders(facts, lake)


def test_an_atlas_is_the_same_again_until_its_clusters_are_named(manifest: Path) -> None:
    manifest.write_text(f"{manifest.read_text()}{ATLAS}")
    run_chain(manifest)
    again(manifest, "atlas")  # raises if a byte differs
    (manifest.parent / "lake/clusters/clusters.names.csv").write_text("cluster,name,notes\n0,wren,\n")
    state, detail = standing(manifest)["atlas"]
    assert (state, detail.split(";")[0]) == ("stale", "the names of the clusters changed")
    shutil.rmtree(manifest.parent / "again")
    with pytest.raises(StoreError, match=r"the names of clusters: none then, \w{64} now"):
        again(manifest, "atlas")
    run_chain(manifest, "atlas", refresh=True)
    assert standing(manifest)["atlas"] == ("done", "")
