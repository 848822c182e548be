"""Whatever a user's file or table holds: an answer, or an error that names what is wrong; never a traceback.

The ordinary suite draws a few examples of each kind, the slow one many.
"""

import json
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.catalog import command
from jobs.catalog.command import run_catalog
from jobs.catalog.examine import FileFacts, examine
from jobs.catalog.names import parse_name
from jobs.common.audio.probe import AudioInfo
from jobs.common.effort import daily_effort
from jobs.common.labels.intervals import read_labels
from jobs.runner.manifest import read_manifest
from jobs.spectrograms.config import Config
from jobs.spectrograms.plan import make_plan
from lake.deployments import assign_deployments, read_deployments
from lake.errors import DawnchorusError
from lake.layout import MOST_BYTES, safe_name
from lake.recordings import COLUMNS, read_recordings

RATE = 8000
FEW = 5
NASTY = (
    "", "nan", "inf", "-inf", "1e300", "-1", "0", "1e9", "9" * 400, "0001-01-01T00:00:00+14:00", "2021-06-22T05:00:00Z",
    "9999-12-31T23:59:59-14:00", "\0", "\x1b[31m", "$x_{", "=1+1", "Б" * 60, "x" * 300, "²", "½", "1_0", "٣", "\r",
    "\n", "\ufeff", "�", '"', "a,b", "10000000000000000000", "2021-02-30T00:00:00Z", "+15:00", "../x",
    "/x", "Europe/London",
)  # fmt: skip
cells = st.sampled_from(NASTY) | st.text(st.characters(codec="utf-8"), max_size=20)
words = cells.map(lambda text: text.replace("\n", " ").replace("\r", " "))


def often(n_many: int, *drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator by which a test runs with a few examples now, and with many in the slow suite."""

    def twice(test: Callable[..., None]) -> Any:
        many = pytest.param(n_many, marks=pytest.mark.slow)

        @pytest.mark.parametrize("n_examples", [FEW, many], ids=["few", "many"])
        def run(n_examples: int) -> None:
            checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
            settings(max_examples=n_examples, suppress_health_check=checks)(given(*drawn)(test))()

        run.__doc__ = test.__doc__
        return run

    return twice


@pytest.fixture(autouse=True)
def _without_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what receipts say of the environment: asking git for it takes longer than all else."""
    monkeypatch.setattr(command, "environment", dict)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


@st.composite
def sound_files(draw: st.DrawFn) -> bytes:
    """Draw a WAV with comments of any text, sizes that may lie, and some bytes changed."""
    samples = np.random.default_rng(1).integers(-9000, 9000, 2000).astype("<i2").tobytes()
    rate = draw(st.sampled_from([RATE, 0, 1, 2**31 - 1, 2**32 - 1]) | st.integers(1, 10**7))
    channels = draw(st.sampled_from([1, 1, 2, 0, 1024, 65_535]))
    fmt = struct.pack("<HHIIHH", 1, channels, rate, 2 * rate & 0xFFFFFFFF, 2, 16)
    keys = st.sampled_from(["Timestamp", "TE", "Samplerate", "Serial", "Loc Position", "Make", "Firmware Version"])
    guano = "GUANO|Version: 1.0\n" + "\n".join(f"{draw(keys)}: {draw(words)}" for _ in range(draw(st.integers(0, 5))))
    comment = draw(
        words | st.just("Recorded at 19:17:30 13/12/0001 (UTC+14) by AudioMoth 0FE081F80FE081F0 at gain setting 2")
    )
    wamd = b"".join(
        struct.pack("<HI", draw(st.sampled_from([1, 2, 3, 5, 6, 15, 0xFFFF])), len(text)) + text
        for text in draw(st.lists(words.map(str.encode), max_size=3))
    )
    about = [
        chunk(b"guan", guano.encode()),
        chunk(b"LIST", b"INFO" + chunk(b"ICMT", comment.encode())),
        chunk(b"wamd", wamd),
    ]
    before, after = draw(st.permutations(about)), draw(st.permutations(about))
    size = draw(st.sampled_from([4000, 0, 44, 4044, 2**32 - 1, 1999]))
    body = b"WAVE" + chunk(b"fmt ", fmt) + b"".join(before[: draw(st.integers(0, 2))])
    body += b"data" + struct.pack("<I", size) + samples + b"".join(after[: draw(st.integers(0, 2))])
    content = bytearray(b"RIFF" + struct.pack("<I", draw(st.sampled_from([len(body), 0, 36]))) + body)
    for place in draw(st.lists(st.integers(0, 200), max_size=4)):
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))]) if draw(st.booleans()) else bytes(content)


@st.composite
def flac_files(draw: st.DrawFn) -> bytes:
    """Draw a FLAC with Frontier Labs' comments of any text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.flac")
        soundfile.write(path, np.random.default_rng(1).integers(-9000, 9000, 5000).astype(np.int16), RATE)
        content = path.read_bytes()
    keys = st.sampled_from(["SensorUid", "RecordingStart", "ChannelGain1", "SensorLocation", "SensorFirmwareVersion"])
    texts = [f"{draw(keys)}={draw(words)}".encode() for _ in range(draw(st.integers(0, 5)))]
    comments = struct.pack("<I", 0) + struct.pack("<I", len(texts))
    comments += b"".join(struct.pack("<I", len(text)) + text for text in texts)
    block = bytes([0x04]) + len(comments).to_bytes(3, "big") + comments
    changed = bytearray(content[:42] + block + content[42:])
    for place in draw(st.lists(st.integers(4, 60), max_size=2)):
        changed[place] = draw(st.integers(0, 255))
    return bytes(changed)


@often(60, st.lists(sound_files() | flac_files(), min_size=1, max_size=3))
def test_headers(contents: list[bytes]) -> None:
    """Bad files are rows like others, the good one's row is the same, and the table can be planned."""
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder, "audio")
        (audio / "good").mkdir(parents=True)
        (audio / "bad").mkdir()
        soundfile.write(audio / "good" / "20210622_050000.wav", np.random.default_rng(2).normal(0, 0.1, 48_000), RATE)
        for i, content in enumerate(contents):
            suffix = "flac" if content[:4] == b"fLaC" else "wav"
            (audio / "bad" / f"2021062{i}_050000.{suffix}").write_bytes(content)
        out = Path(folder, "recordings.csv")
        run_catalog([audio], out, zones={"": "UTC"}, examine_one=examine)
        table = read_recordings(out, in_bounds=True).set_index("path")
        good = table.loc["good/20210622_050000.wav"]
        assert (good["problems"], good["n_samples"], good["sample_rate_hz"]) == ("", 48_000, RATE)
        assert len(table) == 1 + len(contents)
        daily_effort(table.reset_index())
        plan = make_plan(table.reset_index(), Config(f_max_hz=4000.0))
        assert "good/20210622_050000.wav" in {recording.path for recording in plan.recordings}


file_names = (
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=80)
    | st.from_regex(r"[0-9]{4,8}[_T -]?[0-9]{2,6}[A-Za-z0-9+ \[\]-]{0,20}", fullmatch=True)
).filter(lambda name: name not in {".", ".."} and len(name.encode()) <= 240)


def stand_in(path: str, maker: str) -> FileFacts:
    """Return facts of a file without reading it."""
    return FileFacts(
        sha256=Path(path).name.encode().hex().ljust(64, "0")[:64], audio=AudioInfo(RATE, 1, RATE, "WAV", "libsndfile")
    )


@often(
    100,
    st.lists(st.tuples(file_names, file_names), min_size=1, max_size=4, unique=True),
    st.sampled_from(["UTC", "+14:00"]),
)
def test_names(names: list[tuple[str, str]], zone: str) -> None:
    """Folders and files of any name are listed, each once, and the table is read back."""
    with tempfile.TemporaryDirectory() as folder:
        audio, n_files = Path(folder, "audio"), 0
        for home, name in names:
            parse_name(f"{name}.wav", ["day-first", "two-digit-year"])
            path = audio / home / f"{name}.wav"
            with suppress(FileExistsError, NotADirectoryError):
                path.parent.mkdir(parents=True, exist_ok=True)
                n_files += not (path.exists() or home.startswith(".") or name.startswith("."))
                path.touch()
        out = Path(folder, "recordings.csv")
        try:
            run_catalog([audio], out, zones={"": zone}, examine_one=stand_in)
        except DawnchorusError:
            assert n_files == 0 or not out.exists()
            return
        table = read_recordings(out, in_bounds=True)
        assert len(table) == n_files
        for recorder in table["recorder"]:
            assert len(safe_name(recorder).encode()) <= MOST_BYTES


@often(200, st.lists(st.lists(cells, min_size=1, max_size=21), max_size=3), st.booleans())
def test_tables(rows: list[list[str]], is_deployments: bool) -> None:
    """Tables of recordings and deployments with any cells are read, or refused."""
    header = (
        ["deployment", "recorder", "start", "end", "gain_db", "latitude", "zone"] if is_deployments else list(COLUMNS)
    )
    good = ["x.wav", "r", "", "2021-06-22T05:00:00Z", "", "", "", "", "1", "8000", "1", "8000", "WAV", "0" * 64]
    good = ["d", "r", "2021-06-22", "", "", "", ""] if is_deployments else [*good, "libsndfile", "", "", "", ""]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        lines = [[*row, *good[len(row) :]][: len(header)] for row in rows]
        pd.DataFrame([*lines, good], columns=header).to_csv(path, index=False)
        with suppress(DawnchorusError):
            if is_deployments:
                assign_deployments(read_recordings_of_one(), read_deployments(path))
            else:
                make_plan(read_recordings(path, in_bounds=True), Config())


def read_recordings_of_one() -> pd.DataFrame:
    """Return a small table of recordings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recordings.csv")
        row = [
            "x.wav",
            "r",
            "",
            "2021-06-22T05:00:00Z",
            *[""] * 4,
            "1",
            "8000",
            "1",
            "8000",
            "WAV",
            "0" * 64,
            "libsndfile",
        ]
        pd.DataFrame([[*row, *[""] * 4]], columns=list(COLUMNS)).to_csv(path, index=False)
        return read_recordings(path)


@often(
    300,
    st.sampled_from(["recording,start_s,end_s,label\n", "Begin Time (s)\tEnd Time (s)\tAnnotation\n", "", "\ufeff"]),
    st.lists(st.lists(cells, min_size=1, max_size=6), max_size=4),
    st.sampled_from([",", "\t"]),
)
def test_labels(header: str, rows: list[list[str]], separator: str) -> None:
    """Tables of labels with any cells are read, or refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.csv")
        path.write_text(header + "\n".join(separator.join(row) for row in rows), encoding="utf-8", errors="replace")
        with suppress(DawnchorusError):
            read_labels(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@often(
    150,
    st.dictionaries(st.sampled_from(["lake", "labels", "max_quarantined", "recordings", "runs", "x"]), values),
    values,
)
def test_manifests(top: dict[str, Any], config: Any) -> None:
    """Manifests of any values are read, or refused."""
    entry = {"lake": "lake", "runs": {"mels": {"job": "spectrograms", "config": config}}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.toml")
        for found in (entry, {**entry, **top}):
            text = "\n".join(f"{key} = {toml(value)}" for key, value in found.items() if value is not None)
            path.write_text(text, encoding="utf-8", errors="replace")
            with suppress(DawnchorusError):
                read_manifest(path)


def toml(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items() if one is not None) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value if one is not None) + "]"
    if isinstance(value, float):
        return (
            repr(value)
            if "e" not in repr(value)
            else repr(value).replace("e", ".0e")
            if "." not in repr(value)
            else repr(value)
        )
    return json.dumps(value)
