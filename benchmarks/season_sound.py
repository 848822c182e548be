"""Hours of the demo's labelled soundscape for nine recorders, two firmwares and two zones, and the truth's answers.

    python -m benchmarks.season_sound make FOLDER N_WINDOWS
    python -m benchmarks.season_sound answer MANIFEST BATCH

One file of ten minutes is in memory at a time. A file that is there is not made again.
"""

import csv
import sys
import wave
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import soundfile

from jobs.common.labels.intervals import read_labels
from jobs.demo.config import StudyConfig
from jobs.demo.plan import FIRST_DAY, RECORDERS, SESSIONS, PlannedFile, Take
from jobs.demo.reviewer import answers_to
from jobs.demo.scene import LABELS, render
from jobs.demo.tables import TRUTH_COLUMNS, truth_row
from jobs.review.windows import open_windows
from jobs.runner.manifest import read_manifest
from lake.batch_files import batch_names
from lake.batches import read_batch

WINDOW_S: Final = 3
FILE_S: Final = 600
PER_FILE: Final = FILE_S // WINDOW_S
CONFIG: Final = StudyConfig(seed=26)
TEMPLATES: Final = tuple(i for i, recorder in enumerate(RECORDERS) if recorder.n_channels == 1)
"""Recorders of the demo whose converter and site the nine have, in turn; their random streams differ."""


@dataclass(frozen=True)
class Firmware:
    """How a make of recorder names its files (`strftime`), and the zone of those names."""

    path: str
    zone: str
    utc_offset_h: int


FIRMWARES: Final = (
    Firmware("%Y%m%d_%H%M%S.WAV", "America/Chicago", -5),
    Firmware("Data/{name}_%Y%m%d_%H%M%S.flac", "Europe/Berlin", 2),
)
NAMES: Final = tuple(f"AM{i:02d}" if i % 2 == 0 else f"S4A{i:05d}" for i in range(9))


def planned(n_windows: int) -> list[tuple[str, Take]]:
    """Return takes of ten minutes, one file each, with the names of their recorders: by day, session and recorder."""
    found: list[tuple[str, Take]] = []
    for number in range(-(-n_windows // PER_FILE)):
        (day, session), i = divmod(number // len(NAMES), len(SESSIONS)), number % len(NAMES)
        firmware, name = FIRMWARES[i % 2], NAMES[i]
        start = FIRST_DAY + timedelta(days=day, hours=SESSIONS[session].hour, minutes=SESSIONS[session].minute)
        zone = timezone(timedelta(hours=firmware.utc_offset_h))
        begin = datetime(start.year, start.month, start.day, start.hour, start.minute, tzinfo=zone)
        path = f"{name}/{begin.strftime(firmware.path.format(name=name))}"
        file = PlannedFile(path, begin, 0, FILE_S * 1000, "")
        # Weather follows from the day modulo 3, random streams from the whole number.
        take = Take(
            TEMPLATES[i % len(TEMPLATES)], 0, day + 300 * (i // len(TEMPLATES)), session, FILE_S * 1000, (file,)
        )
        found.append((name, take))
    return found


def make(folder: Path, n_windows: int) -> None:
    """Write the recordings that are not there yet, and the table of what is to be heard in all."""
    rows = []
    for name, take in planned(n_windows):
        audio = folder / "audio" / take.files[0].path
        truth = folder / "truth" / f"{take.files[0].path}.csv"
        if not audio.exists():
            samples, events = render(CONFIG, take)
            _write_whole(truth, _csv([(name, *truth_row(take, event)[1:]) for event in events]))
            audio.parent.mkdir(parents=True, exist_ok=True)
            part, rate = audio.with_name(f".{audio.name}.part"), RECORDERS[take.recorder].sample_rate_hz
            if audio.suffix == ".flac":
                soundfile.write(part, samples, rate, format="FLAC", subtype="PCM_16")
            else:
                with wave.open(str(part), "wb") as file:
                    file.setparams((samples.shape[1], 2, rate, len(samples), "NONE", ""))
                    file.writeframes(samples.astype("<i2").tobytes())
            part.replace(audio)
        with truth.open(encoding="utf-8", newline="") as file_of_truth:
            rows += [tuple(row) for row in csv.reader(file_of_truth)]
    _write_whole(folder / "truth.csv", _csv([TRUTH_COLUMNS, *sorted(rows)]))
    _write_whole(folder / "sounds.csv", "\n".join(["sound", *LABELS, ""]))


def _csv(rows: list[tuple[str, ...]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def answer(manifest: Path, order: str) -> None:
    """Write what the truth says of the newest batch of an order to ``ORDER.csv`` next to the manifest."""
    windows = open_windows(read_manifest(manifest))
    names = [name for name in batch_names(windows.run.lake) if name.startswith(f"{order}-")]
    batch = read_batch(windows.run.lake, names[-1])
    truth = read_labels(manifest.parent / "truth.csv")
    (manifest.parent / f"{order}.csv").write_bytes(answers_to(batch, truth, windows.recorders, windows.grid))


if __name__ == "__main__":
    what, where, number = sys.argv[1:]
    if what == "make":
        make(Path(where), int(number))
    else:
        answer(Path(where), number)
