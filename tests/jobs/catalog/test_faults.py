"""A generated fault for every code, and what the catalog makes of it."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jobs.catalog.core import catalog
from jobs.catalog.examine import FileFacts, examine
from jobs.catalog.faults import LOOK_BYTES
from jobs.catalog.names import maker_of, parse_name
from jobs.catalog.signal import BLOCK_SAMPLES, N_BLOCKS, has_clicks, judge, spread
from jobs.catalog.sources import survey
from jobs.catalog.zones import parsed_zones
from lake.recordings import PROBLEMS, is_usable

RATE = 8000
FL = "20210622T000000-0500_REC"
WA = "S4A01207_20210622_000000"
OA = "20210622_000000"
Write = Callable[[Path], object]


def noise(n_samples: int = 2000, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.random.default_rng(seed).integers(-9000, 9000, n_samples).astype(np.int16)


def header(data_bytes: int, riff_bytes: int | None = None) -> bytes:
    size = 36 + data_bytes if riff_bytes is None else riff_bytes
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes)


def wav(data_bytes: int, samples: bytes, riff_bytes: int | None = None) -> Write:
    return lambda path: path.write_bytes(header(data_bytes, riff_bytes) + samples)


def sound(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Write:
    return lambda path: soundfile.write(path, samples, RATE, format=path.suffix[1:].upper() or "FLAC")


def flac_stub(path: Path) -> None:
    path.write_bytes(b"fLaC\x80\0\0\x22" + bytes(145))


def stub_of_a_wav(path: Path) -> None:
    """Write what Frontier Labs' recorders leave: a WAV's header, whatever the format, and bits of another's."""
    path.write_bytes((header(109) + b"SensorFirmwareVersion=3.20" + bytes(200))[:153])


def pieces_of_a_header(path: Path) -> None:
    path.write_bytes(bytes(60) + b"SensorUid=1" + bytes(82))


def doubled_flac(path: Path) -> None:
    soundfile.write(path, noise(40_000), RATE)
    content = bytearray(path.read_bytes())
    fields = int.from_bytes(content[18:26], "big")
    content[18:26] = (fields >> 36 << 36 | 80_000).to_bytes(8, "big")
    path.write_bytes(bytes(content))


def half_flac(path: Path) -> None:
    soundfile.write(path, noise(40_000), RATE, format="FLAC")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + noise(9000).tobytes())


def with_hole() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    samples = noise(10 * BLOCK_SAMPLES)
    samples[3 * BLOCK_SAMPLES : 5 * BLOCK_SAMPLES] = 0
    return samples


def with_clicks() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    samples = (noise(40 * BLOCK_SAMPLES) / 500).astype(np.int16)
    samples[::3000] = 20_000
    return samples


FAULTS: list[tuple[str, str, Write, str, int | None]] = [
    ("FL001", f"{FL}.wav", wav(0, b""), "no_samples;FL001", None),
    ("FL001", f"{FL}.flac", flac_stub, "unreadable;FL001", None),
    ("FL001", f"{FL}.flac", stub_of_a_wav, "no_samples;FL001", None),
    ("FL001", f"{FL}.flac", pieces_of_a_header, "unreadable;FL001", None),
    ("FL002", f"{FL}.wav", sound(with_hole()), "zero_blocks;FL002", 10 * BLOCK_SAMPLES),
    ("FL003", f"{FL}.wav", wav(44, noise(50_000).tobytes() + bytes(200_000)), "no_samples;FL003", None),
    ("FL004", "20181101_050000_REC [-27.3866 152.8761].wav", sound(noise()), "FL004", 2000),
    ("FL005", f"{FL}.wav", wav(4044, noise().tobytes(), 4080), "header_size;FL005", 2000),
    ("FL006", "20210622T000000-0500_«[*þé.wav", sound(noise()), "FL006", 2000),
    ("FL007", "-0000001_20210622T000000-0500_Rec.wav", sound(noise()), "FL007", 2000),
    ("FL008", "202106 2T000000-0500_REC.wav", sound(noise()), "FL008", 2000),
    ("FL010", f"{FL}.flac", doubled_flac, "header_size;FL010", 40_000),
    ("FL011", "data", half_flac, "truncated;no_time;FL011;OE001", None),
    ("FL011", "data", wav(44, noise(50_000).tobytes() + bytes(200_000)), "no_samples;FL003;no_time;FL011;OE001", None),
    ("FL011", "data", Path.touch, "empty;OE004;no_time;FL011;OE001", None),
    ("FL012", f"{FL}.wav", wav(0, noise().tobytes(), 36), "header_size;FL012", 2000),
    ("WA001", f"{WA}.wav", Path.touch, "empty;WA001", None),
    ("WA002", f"{WA}.wav", lambda path: path.write_bytes(bytes(131_072)), "unreadable;WA002", None),
    ("WA004", f"{WA}.wav", lambda path: path.write_bytes(np.random.default_rng(1).bytes(2 * LOOK_BYTES)),
     "unreadable;WA004", None),
    ("OA001", f"{OA}.WAV", sound(with_clicks()), "OA001", 40 * BLOCK_SAMPLES),
    ("OA002", f"{OA}.WAV", Path.touch, "empty;OA002", None),
    ("OA002", f"{OA}.WAV", wav(0, b""), "no_samples;OA002", None),
    ("OA003", "5B07C752.WAV", sound(noise()), "OA003", 2000),
    ("OE001", "dawn.wav", sound(noise()), "no_time;OE001", 2000),
    ("OE002", "north_20210622_000000.wav", sound(noise()), "zone_unknown;OE002", 2000),
    ("OE003", "north_20211322_000000.wav", sound(noise()), "no_time;OE003", 2000),
    ("OE004", f"north_{FL}.wav", Path.touch, "empty;OE004", None),
    ("OE005", "20210622T000000Z.wav", lambda path: path.write_bytes(bytes(200_000)), "unreadable;OE005", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "name", "write", "problems", "n_samples"), FAULTS, ids=[f"{i}-{f[0]}-{f[1]}" for i, f in enumerate(FAULTS)]
)
def test_a_fault_gets_its_code(
    tmp_path: Path, code: str, name: str, write: Write, problems: str, n_samples: int | None
) -> None:
    folder = tmp_path / "R1"
    folder.mkdir()
    write(folder / name)
    soundfile.write(folder / "20210621T000000Z.wav", noise(seed=9), RATE)
    zones = {} if code == "OE002" else {"": "America/Chicago"}
    table = catalog(survey([tmp_path]), zones=parsed_zones(zones), root=tmp_path, examine_one=examine).set_index("path")
    row = table.loc[f"R1/{name}"]
    assert row["problems"] == problems
    assert code in PROBLEMS
    if code != "FL011":
        assert (None if row["n_samples"] is None or not row["reading"] else row["n_samples"]) == n_samples
    assert table.loc["R1/20210621T000000Z.wav", "problems"] == "", "one bad file costs itself only"


def test_what_is_no_sound_and_no_header_is_no_stub(tmp_path: Path) -> None:
    path = tmp_path / f"{FL}.flac"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert examine(str(path), "FL").problems == ("unreadable",)
    path = tmp_path / f"{FL}.wav"
    soundfile.write(path, noise(50), RATE)
    assert examine(str(path), "FL").problems == (), "short, and sound"


def test_every_code_of_a_maker_has_a_fault() -> None:
    codes = {code for code in PROBLEMS if code[:2].isupper()}
    assert codes - {"WA003"} == {fault[0] for fault in FAULTS}, "WA003 is seen in the timeline"


def test_what_was_being_written_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    half_flac(tmp_path / "data")
    table = catalog(survey([tmp_path]), zones={}, root=tmp_path, examine_one=examine)
    assert table["n_samples"].between(10_000, 40_000).all()
    assert is_usable(table).all()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data").write_text("a table of something")
    assert len(survey([tmp_path]).files) == 1


@pytest.mark.parametrize("name", ["x.wav", f"{WA}.wav", f"{OA}.WAV", f"{FL}.wav"])
def test_sound_files_have_no_faults(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, noise(20_000), RATE)
    assert examine(str(path), maker_of(path, parse_name(path))).problems == ()
    soundfile.write(path.with_suffix(".flac"), noise(20_000), RATE)
    assert examine(str(path.with_suffix(".flac")), "FL").problems == ()


def test_calls_noise_and_a_click_now_and_then_are_no_interference() -> None:
    rate, n = 24_000, 40 * BLOCK_SAMPLES
    t = np.arange(n) / rate
    faint = (np.random.default_rng(0).standard_normal(n) * 0.001).astype(np.float32)
    calls = (faint + 0.5 * np.sin(2 * np.pi * 4000 * t) * (t % 0.1 < 0.01)).astype(np.float32)
    drops = faint.copy()
    drops[[5 * BLOCK_SAMPLES + 99, 30 * BLOCK_SAMPLES + 7]] = 0.9
    clicks = faint.copy()
    clicks[::3000] = 0.5
    heard = [
        has_clicks(list(sound.reshape(1, 40, -1).transpose(1, 0, 2))) for sound in (faint, calls, drops, 0 * t, clicks)
    ]
    assert heard == [False, False, False, False, True]
    assert not has_clicks([])


def test_the_header_knows_the_maker_better_than_the_name(tmp_path: Path) -> None:
    comment = b"AudioMoth 242A2604603691DD"
    info = b"INFO" + b"IART" + struct.pack("<I", len(comment)) + comment
    path = tmp_path / "x.wav"
    path.write_bytes(header(0)[:36] + b"LIST" + struct.pack("<I", len(info)) + info + header(0)[36:])
    assert examine(str(path), "FL").problems == ("no_samples", "OA002")


def test_facts_of_a_file_that_is_gone(tmp_path: Path) -> None:
    facts = examine(str(tmp_path / "gone.wav"))
    assert facts == FileFacts(problems=("unreadable",), message=facts.message)
    assert "cannot be opened (No such file or directory)" in facts.message


def blocks(
    samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    rows = np.atleast_2d(samples).astype(np.float32)
    return [rows[:, start : start + BLOCK_SAMPLES] for start in range(0, rows.shape[1], BLOCK_SAMPLES)]


QUIET = np.random.default_rng(3).uniform(-0.1, 0.1, 3 * BLOCK_SAMPLES).astype(np.float32)
SIGNALS = {
    "": QUIET,
    "all_zero": np.zeros(5000),
    "constant": np.full(5000, 0.25),
    "near_silent": QUIET * 9e-4,
    "zero_blocks": np.r_[QUIET, np.zeros(BLOCK_SAMPLES)],
    "full_scale": np.r_[QUIET, [1.0, 1.0, 1.0]],
    "not_a_number": np.r_[QUIET, [np.nan]],
    "not_a_number;all_zero": np.r_[np.zeros(99), [np.inf]],
    "constant;full_scale": np.full(5000, -1.0),
}


@pytest.mark.parametrize("codes", SIGNALS, ids=lambda codes: codes or "sound")
def test_what_is_wrong_with_samples(codes: str) -> None:
    assert ";".join(judge(blocks(SIGNALS[codes]))) == codes
    both = np.stack([SIGNALS[codes], SIGNALS[codes]])
    assert ";".join(judge(blocks(both))) == codes


def test_one_loud_sample_or_two_are_not_clipped_and_nothing_is_nothing() -> None:
    assert judge(blocks(np.r_[QUIET, [1.0, 0.2, 1.0, 1.0, 0.0]])) == ()
    assert judge([]) == ()
    apart = np.stack([np.r_[QUIET, [1.0, 1.0, 0.0]], np.r_[QUIET, [0.0, 0.0, 1.0]]])
    assert judge(blocks(apart)) == (), "in a row means in one channel"


def test_blocks_are_spread_from_the_first_sample_to_the_last() -> None:
    assert spread(0) == []
    assert spread(BLOCK_SAMPLES + 1) == [0, BLOCK_SAMPLES]
    n = 1000 * BLOCK_SAMPLES + 17
    starts = spread(n)
    assert (len(starts), starts[0], starts[-1]) == (N_BLOCKS, 0, n - BLOCK_SAMPLES)
    assert np.ptp(np.diff(starts)) <= 1


def test_a_hole_in_the_bytes_between_two_good_ends(tmp_path: Path) -> None:
    path = tmp_path / "20210622T000000Z.flac"
    soundfile.write(path, noise(300_000), RATE)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 40_000 : middle + 40_000] = bytes(80_000)
    path.write_bytes(bytes(content))
    facts = examine(str(path))
    assert facts.audio is not None
    assert facts.audio.n_samples == 300_000
    assert facts.problems == ("partly_unreadable",)
