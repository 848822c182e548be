"""What a network does to a catalog: it costs the file that it is about, and it is told."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import fsspec
import numpy as np
import pytest
import s3fs
import soundfile
from faultyfilesystems import FaultyFileSystem
from fsspec.implementations.local import LocalFileSystem
from moto.server import ThreadedMotoServer

from jobs.catalog import remote
from jobs.catalog.command import run_catalog
from jobs.catalog.examine import FileFacts, examine
from jobs.catalog.reading import examine_apart
from jobs.catalog.sources import survey
from jobs.common.audio.decoder import this_decoder
from jobs.common.audio.probe import AudioError
from lake.errors import InputError, TryAgainError
from lake.recordings import is_usable, read_recordings

RECLOG = "Date,Time,UTC Timezone,Filename,Gain (dB)\n22/06/2021,00:00:02,-05:00,20210622_000000.wav,37dB\n"


@pytest.fixture
def faulty(tmp_path: Path) -> str:
    """Return the URL of a folder, in a file system with faults."""
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    (tmp_path / "audio").mkdir()
    return f"faulty://{tmp_path}/audio"


def sound(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, 400), 8000)


def test_what_the_network_does_costs_one_file_and_is_tried_again(
    faulty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LOOK_DEADLINE_S", 1.0)
    audio, out = tmp_path / "audio", tmp_path / "t.csv"
    for i, fault in enumerate(["", "-hang", "", "-lost", "-odd", "-exit", ""]):
        sound(audio / f"20210622T00000{i}Z_{i}{fault}.wav", i)
    facts = run_catalog([faulty], out, zones={}, workers=2)
    table = read_recordings(out)
    assert table["problems"].tolist() == ["", "timeout", "", "unreadable", "crashed", "crashed", ""]
    assert is_usable(table).tolist() == [True, False, True, False, False, False, True]
    told = json.loads(Path(facts["receipt"]).read_text())["unreadable"]
    ends = [
        "nothing came within 1 s, and reading was stopped. Check the network and the disk.",
        "cannot be read (Connection reset by peer).",
        "reading it failed (LookupError: no credentials).",
        "give the run more memory.",
    ]
    for path, end in zip(table["path"][table["problems"] != ""], ends, strict=True):
        assert told[path].startswith(f"{faulty}/{path}: ")
        assert told[path].endswith(f"{end} `--retry-quarantined` examines it again.")
    for path in table["path"]:
        (audio / path).with_suffix(".mended").touch()
    run_catalog([faulty], out, zones={})
    assert read_recordings(out)["problems"].tolist() == table["problems"].tolist(), "unchanged, so not tried again"
    run_catalog([faulty], out, zones={}, retry=True)
    assert set(read_recordings(out)["problems"]) == {""}


def test_a_large_file_has_more_time(faulty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def note(_fs: object, _url: str, deadline_s: float, *_: object) -> bool:
        asked.append(deadline_s)
        return True

    monkeypatch.setattr(remote, "apart", note)
    for n_bytes in (0, 600_000_000, None):
        remote.fetch(LocalFileSystem(), "/a", "a", str(tmp_path / "copy"), n_bytes)
    assert asked == [60.0, 1260.0, 3600.0]


def test_no_room_for_copies_stops_the_run_and_leaves_what_was_done(faulty: str, tmp_path: Path) -> None:
    sound(tmp_path / "audio/20210622T000000Z.wav")
    sound(tmp_path / "audio/20210622T000001Z_1-full.wav", 1)
    out = tmp_path / "t.csv"
    with pytest.raises(TryAgainError, match=rf"no room for a copy of {faulty}/20210622T000001Z_1-full.wav. Free 844"):
        run_catalog([faulty], out, zones={}, workers=1)
    assert not out.exists()
    (tmp_path / "audio/20210622T000001Z_1-full.mended").touch()
    seen: list[str] = []

    def note(path: str, maker: str) -> FileFacts:
        seen.append(Path(path).name)
        return examine(path, maker)

    run_catalog([faulty], out, zones={}, examine_one=note)
    assert len(read_recordings(out)) == 2
    assert "20210622T000001Z_1-full.wav" in seen


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("lost", r"/x-lost: cannot be listed \(Connection reset by peer\). Check the address and the rights"),
        ("odd", r"/x-odd: reading it failed \(LookupError: no credentials\)"),
        ("hang", r"/x-hang: nothing came within 1 s, and reading was stopped"),
    ],
)
def test_a_folder_that_cannot_be_listed_is_the_users_to_know(
    faulty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setattr("jobs.catalog.sources.LIST_DEADLINE_S", 1.0)
    sound(tmp_path / f"audio/y/x-{fault}/20210622T000000Z.wav")
    for folder in ("y", f"y/x-{fault}"):
        with pytest.raises(InputError, match=r"audio/y.*" if folder == "y" else message):
            survey([f"{faulty}/{folder}"])


def test_what_was_being_written_is_found_behind_a_url_too(faulty: str, tmp_path: Path) -> None:
    sound(tmp_path / "audio/a/20210622T000000Z.flac")
    for folder, content in (("b", b"fLaC\0\0"), ("c", b"a table of something"), ("d", b"")):
        (tmp_path / "audio" / folder).mkdir()
        (tmp_path / "audio" / folder / "data").write_bytes(content)
    there = [path.relative_to(tmp_path / "audio").as_posix() for path in survey([faulty]).files]
    here = [path.relative_to(tmp_path / "audio").as_posix() for path in survey([tmp_path / "audio"]).files]
    assert there == here == ["a/20210622T000000Z.flac", "b/data", "d/data"]


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_cards_log_that_cannot_be_read_is_told_and_stops_nothing(faulty: str, tmp_path: Path, kind: str) -> None:
    audio, out = tmp_path / "audio", tmp_path / "t.csv"
    sound(audio / "20210622T000000Z.wav")
    os.mkfifo(audio / "Reclog.csv")
    facts = run_catalog([faulty if kind == "url" else audio], out, zones={}, examine_one=examine)
    assert facts["n_usable"] == 1
    told = json.loads(Path(facts["receipt"]).read_text())["unreadable"]
    assert told["Reclog.csv"].endswith("audio/Reclog.csv: expected a file, found a other.")


def test_a_pipe_of_a_recordings_name_holds_nobody(tmp_path: Path) -> None:
    sound(tmp_path / "audio/20210622T000000Z.wav")
    os.mkfifo(tmp_path / "audio/data")
    os.mkfifo(tmp_path / "audio/x.wav")
    run_catalog([tmp_path / "audio"], tmp_path / "t.csv", zones={})
    assert read_recordings(tmp_path / "t.csv")["problems"].tolist() == ["", "not_a_file;no_time;OE001"]


def test_a_listing_tells_what_was_not_touched() -> None:
    stands = [
        remote.stand_from({"size": 5, **told})
        for told in ({"ETag": "a"}, {"ETag": "b"}, {"mtime": 1.5}, {"ETag": None}, {})
    ]
    assert [None if stand is None else stand[0] for stand in stands] == [5, 5, 5, None, None]
    assert len({stand for stand in stands if stand}) == 3
    assert remote.stand_from({"size": None, "ETag": "a"}) is None


def test_what_a_listing_does_not_tell_is_asked(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    fs = LocalFileSystem()
    assert remote.ask_stand(fs, f"{tmp_path}/none.wav") is None
    known = remote.ask_stand(fs, f"{tmp_path}/a.wav")
    assert known is not None
    assert known[0] == (tmp_path / "a.wav").stat().st_size
    with pytest.raises(AudioError, match=r"a.wav: cannot be read \(No such file or directory\)"):
        remote.content(fs, f"{tmp_path}/none.wav", "a.wav", 4)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a bucket of an S3 service, which fsspec is configured for as users do it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    before = dict(fsspec.config.conf)
    fsspec.config.set_conf_env(fsspec.config.conf)
    s3fs.S3FileSystem().mkdir("cards")
    this_decoder().stop()  # the next one sees the environment
    yield "s3://cards"
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)
    s3fs.S3FileSystem.clear_instance_cache()
    this_decoder().stop()
    server.stop()


def test_a_bucket_gives_the_table_of_a_folder_and_is_read_once(bucket: str, tmp_path: Path) -> None:
    local = tmp_path / "study"
    for i, name in enumerate(
        ["A/20210622_000000.wav", "B/20210622T000000-0500_REC.flac", "B/20210622T010000Z [1].wav"]
    ):
        sound(local / name, i)
    (local / "A/Reclog.csv").write_text(RECLOG)
    (local / "B/x.wav").touch()
    (local / "B/data").write_bytes(b"fLaC")
    fs = s3fs.S3FileSystem()
    for path in local.rglob("*.*"):
        fs.pipe_file(f"cards/study/{path.relative_to(local).as_posix()}", path.read_bytes())
    fs.pipe_file("cards/study/B/data", b"fLaC")
    url = f"{bucket}/study"
    run_catalog([local], tmp_path / "l.csv", zones={}, examine_one=examine)
    told = run_catalog([url], tmp_path / "r.csv", zones={}, workers=2, examine_one=examine_apart)
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / "l.csv").read_bytes()
    assert (told["n_files"], told["n_usable"], told["root"]) == (5, 3, url)
    asked: list[str] = []

    def note(path: str, maker: str) -> FileFacts:
        asked.append(Path(path).name)
        return examine(path, maker)

    run_catalog([url], tmp_path / "r.csv", zones={}, examine_one=note)
    assert asked == []
    fs.pipe_file("cards/study/B/x.wav", (local / "A/20210622_000000.wav").read_bytes())
    run_catalog([url], tmp_path / "r.csv", zones={}, examine_one=note)
    assert asked == ["x.wav"]
    sources = survey([url])
    assert sources.stand(PurePosixPath("/cards/study/B/x.wav")) is not None
    with pytest.raises(InputError, match="s3://nobucket: expected a folder of recordings, found nothing there"):
        survey(["s3://nobucket"])
