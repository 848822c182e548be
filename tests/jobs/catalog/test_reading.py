"""The cache: what is examined again, and what a stopped run leaves."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from faultyfiles import examine_faulty

from jobs.catalog.cache import append_cache, read_cache, write_cache
from jobs.catalog.command import run_catalog
from jobs.catalog.examine import FileFacts, examine
from jobs.catalog.headers import HeaderFacts
from jobs.catalog.reading import Found, _given_up, examine_apart, examine_files
from jobs.catalog.sources import survey
from jobs.common.audio.probe import AudioError, AudioInfo
from lake.recordings import is_usable, read_recordings

FACTS = FileFacts(
    "0" * 64, AudioInfo(8000, 1, 800, "WAV/PCM_16", "libsndfile", ("truncated",)), ("truncated", "FL010"),
    HeaderFacts(datetime(2021, 6, 22, 1, 2, 3, 4000), timedelta(hours=-5), "A1", 1.5, -2.5, 40.0, "FL", "3.30"), "why",
)  # fmt: skip


class Counter:
    """Examines files, and keeps their names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, path: str, maker: str) -> FileFacts:
        """Examine."""
        self.names.append(Path(path).name)
        return examine(path, maker)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five recordings and an empty file."""
    for i in range(5):
        path = tmp_path / "audio" / f"{i}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.random.default_rng(i).uniform(-0.1, 0.1, 100), 8000)
    (tmp_path / "audio" / "e.wav").touch()
    return tmp_path / "audio"


def run(folder: Path, cache: Path | None, *, retry: bool = False) -> tuple[list[FileFacts], list[str]]:
    count = Counter()
    sources = survey([folder])
    makers = [""] * len(sources.files)
    facts = list(examine_files(sources, makers, cache=cache, retry=retry, examine_one=count))
    return facts, count.names


def test_facts_survive_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "a.cache.jsonl"
    known = {"b": ((1, 2, 3), FACTS), "a": ((0, 0, 0), FileFacts(problems=("empty",))), "ü\n": ((1, 1, 1), FileFacts())}
    write_cache(cache, known)
    assert read_cache(cache) == known
    append_cache(cache, [("b", (9, 9, 9), replace(FACTS, message=""))])
    assert read_cache(cache)["b"] == ((9, 9, 9), replace(FACTS, message="")), "the last line counts"


def test_a_cache_in_pieces_or_of_others_is_no_error(tmp_path: Path) -> None:
    cache = tmp_path / "a.cache.jsonl"
    assert read_cache(cache) == {}
    write_cache(cache, {"a": ((1, 2, 3), FACTS), "b": ((1, 2, 3), FACTS)})
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-20])
    assert list(read_cache(cache)) == ["a"]
    cache.write_bytes(whole[:-1])
    assert list(read_cache(cache)) == ["a"], "a line counts when it was ended"
    cache.write_bytes(whole + b'["c",[1,2],{}]\n["d",[1,2,3],{"unknown":1}]\nnot json\n\xff\n')
    assert list(read_cache(cache)) == ["a", "b"]
    first, rest = whole.split(b"\n", 1)
    older = json.loads(first) | {"algorithm": 0}
    cache.write_bytes(json.dumps(older).encode() + b"\n" + rest)
    assert read_cache(cache) == {}


def test_what_has_not_changed_is_not_opened_again(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "t.cache.jsonl"
    first, names = run(folder, cache)
    assert len(names) == 6
    assert first == run(folder, None)[0]
    before = cache.stat().st_mtime_ns
    again, names = run(folder, cache)
    assert (again, names) == (first, [])
    assert cache.stat().st_mtime_ns == before, "nothing new, nothing written"


def test_size_time_and_inode_tell_a_change(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "t.cache.jsonl"
    run(folder, cache)
    os.utime(folder / "0.wav", ns=(0, time.time_ns()))
    stat = (folder / "1.wav").stat()
    soundfile.write(folder / "new.tmp", np.full(100, 0.5), 8000, format="WAV")
    os.utime(folder / "new.tmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (folder / "new.tmp").replace(folder / "1.wav")
    soundfile.write(folder / "9.wav", np.full(100, 0.7), 8000)
    (folder / "4.wav").unlink()
    facts, names = run(folder, cache)
    assert sorted(names) == ["0.wav", "1.wav", "9.wav"]
    assert facts == run(folder, None)[0]
    assert sorted(Path(key).name for key in read_cache(cache)) == ["0.wav", "1.wav", "2.wav", "3.wav", "9.wav", "e.wav"]
    lines = cache.read_text().splitlines()
    assert len(lines) == 7, "what was superseded is gone"


def test_only_what_could_not_be_used_is_tried_again(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "t.cache.jsonl"
    first, _ = run(folder, cache)
    assert run(folder, cache, retry=True) == (first, ["e.wav"])
    assert run(folder, cache) == (first, [])


def test_a_stopped_run_continues(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.catalog.reading.BATCH_FILES", 2)
    cache = tmp_path / "t.cache.jsonl"
    count = Counter()
    sources = survey([folder])
    going: Iterator[FileFacts] = examine_files(sources, [""] * 6, cache=cache, examine_one=count)
    begun = [next(going) for _ in range(3)]
    going.close()  # type: ignore[attr-defined] # it is a generator
    done = {Path(key).name for key in read_cache(cache)}
    assert {"0.wav", "1.wav", "2.wav"} <= done
    facts, names = run(folder, cache)
    assert facts[:3] == begun
    assert not done & set(names)
    assert len(done) + len(names) == 6


def test_what_was_found_is_written_before_long(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "t.cache.jsonl"
    sources = survey([folder])
    monkeypatch.setattr("jobs.catalog.reading.WRITE_EVERY_S", 0.0)
    going = examine_files(sources, [""] * 6, cache=cache, examine_one=examine)
    for n in range(1, 4):
        next(going)
        assert len(read_cache(cache)) == n, "although a batch is larger"


def test_of_what_was_begun_what_is_done_is_kept() -> None:
    futures: list[Future[Found]] = [Future() for _ in range(5)]
    found = [Found(str(i), (i, 0, 0), FACTS, is_new=i != 1) for i in range(5)]
    for i in (0, 1, 2, 3):
        futures[i].set_running_or_notify_cancel()
    for i in (0, 1):
        futures[i].set_result(found[i])
    futures[2].set_exception(OSError("no room"))
    assert _given_up([*futures, found[4]]) == [found[0]], "one is known, one failed, one runs, one waits, one is known"
    assert [future.cancelled() for future in futures] == [False] * 4 + [True]


def test_a_file_that_kills_or_holds_its_decoder_costs_itself_only(folder: Path, tmp_path: Path) -> None:
    def examine_one(path: str, maker: str) -> FileFacts:
        if path.endswith("1.wav"):
            raise AudioError(f"{path}: its decoder died of it (SIGSEGV).", problem="crashed")
        if path.endswith("2.wav"):
            raise AudioError(f"{path}: nothing came within 300 s.", problem="timeout")
        return examine(path, maker)

    sources = survey([folder])
    cache = tmp_path / "c.jsonl"
    facts = list(examine_files(sources, [""] * 6, workers=2, cache=cache, examine_one=examine_one))
    assert [one.problems for one in facts] == [(), ("crashed",), ("timeout",), (), (), ("empty", "OE004")]
    assert facts[1].message.endswith("(SIGSEGV). `--retry-quarantined` examines it again.")
    tried: list[FileFacts] = list(examine_files(sources, [""] * 6, cache=cache, retry=True, examine_one=examine))
    assert [one.problems for one in tried] == [()] * 5 + [("empty", "OE004")]


def test_examined_apart_is_examined_alike(folder: Path) -> None:
    path = str(folder / "3.wav")
    assert examine_apart(path, "FL") == examine(path, "FL")


def test_files_that_hang_or_kill_their_decoder_stop_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.catalog.reading.DEADLINE_S", 1.0)
    monkeypatch.setattr("jobs.catalog.reading.examine", examine_faulty)
    folder, out = tmp_path / "audio", tmp_path / "t.csv"
    folder.mkdir()
    for i, fault in enumerate(["", "-hang", "", "-crash", "", "-exit", ""]):
        path = folder / f"20210622T00000{i}Z_{i}{fault}.wav"
        soundfile.write(path, np.random.default_rng(i).uniform(-0.1, 0.1, 100), 8000)
    facts = run_catalog([folder], out, zones={}, workers=2)
    table = read_recordings(out)
    assert table["problems"].tolist() == ["", "timeout", "", "crashed", "", "crashed", ""]
    assert is_usable(table).tolist() == [True, False] * 3 + [True]
    told = json.loads(Path(facts["receipt"]).read_text())["unreadable"]
    assert "nothing came within 1 s, and its decoder was stopped" in told["20210622T000001Z_1-hang.wav"]
    assert "its decoder died of it (SIGSEGV)" in told["20210622T000003Z_3-crash.wav"]
    assert "its decoder died of it (exit code 7)" in told["20210622T000005Z_5-exit.wav"]
    monkeypatch.setattr("jobs.catalog.reading.examine", examine)
    run_catalog([folder], out, zones={})
    assert read_recordings(out)["problems"].tolist() == table["problems"].tolist(), "unchanged, so not tried again"
    run_catalog([folder], out, zones={}, retry=True)
    assert set(read_recordings(out)["problems"]) == {""}
