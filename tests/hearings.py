"""A study whose windows can all be heard, for tests of the pages that play them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import stores
from atlases import Study, overwrite
from playwright.sync_api import Page, expect

from jobs.atlas.config import Config
from jobs.common.run import Recordings
from lake.constants import OFFSET_UNKNOWN_S
from lake.recordings import make_recordings, write_recordings

RECORDERS = ("bat", "north", "old", "untimed:x")
HOP_S, N_CELLS, N_CLUSTERS = 10, 60, 3
RATES_HZ = {"bat": 384_000, "north": 8_000, "old": 8_000, "untimed:x": 8_000}
FILES = {
    "bat": "bat/b.flac", "north": "north #1?/50% \u00fc'&\"<b>.WAV", "old": "old/a.aiff",
    "untimed:x": "untimed:x/a.wav",
}  # fmt: skip
BASE = "../../field work/audio"
ULTRASOUND_HZ = 30_000


def tone_hz(cell: int) -> int:
    """Return the pitch of each window's ten seconds."""
    return 400 + 40 * cell


@dataclass(frozen=True)
class Hearing:
    """A study in which each window has a pitch of its own, and its atlas."""

    study: Study
    recordings: Recordings
    atlas: Path


def build_hearing(lake: Path) -> Hearing:
    """Return a study of four recorders in a folder, and its atlas."""
    per_day = 86_400 // HOP_S
    codes = np.zeros((len(RECORDERS), per_day, 8, 6), dtype=np.uint8)
    lengths = {"bat": 3}
    for i, recorder in enumerate(RECORDERS):
        n = lengths.get(recorder, N_CELLS)
        codes[i, :n] = np.random.default_rng(i).integers(60, 200, (n, 8, 6))
    cube = stores.make_cube(lake, codes, recorders=RECORDERS, hop_s=float(HOP_S), shard_windows=per_day)
    rows = []
    for recorder in RECORDERS:
        n, rate = lengths.get(recorder, N_CELLS), RATES_HZ[recorder]
        seconds = np.arange(HOP_S * rate) / rate
        tones = [ULTRASOUND_HZ] * n if recorder == "bat" else [tone_hz(cell) for cell in range(n)]
        sound = np.concatenate([0.2 * np.sin(2 * np.pi * tone * seconds) for tone in tones])
        path = lake / "field work/audio" / FILES[recorder]
        path.parent.mkdir(parents=True)
        soundfile.write(path, sound, rate, subtype="PCM_16")
        form = {"bat": "FLAC/PCM_16", "old": "AIFF/PCM_16"}.get(recorder, "WAV/PCM_16")
        rows.append({
            "path": FILES[recorder], "recorder": recorder, "reading": "libsndfile", "problems": "", "format": form,
            "sample_rate_hz": rate, "n_samples": len(sound), "duration_s": len(sound) / rate, "n_channels": 1,
            "sha256": "0" * 64,
        })  # fmt: skip
    write_recordings(make_recordings(rows), lake / "recordings.csv")
    overwrite(cube, {
        "recording_path": np.array([FILES[recorder] for recorder in RECORDERS], dtype=object),
        "recording_sample_rate_hz": np.array([RATES_HZ[recorder] for recorder in RECORDERS], dtype=np.int32),
        "recording_n_samples": np.array([row["n_samples"] for row in rows]),
        "utc_offset_s": np.where(codes.any(axis=(2, 3)), 3600, OFFSET_UNKNOWN_S),
    })  # fmt: skip
    there = np.asarray(codes.any(axis=(2, 3)))
    vectors = np.where(there[..., None], np.random.default_rng(9).normal(size=(*there.shape, 4)), np.nan)
    embeddings = stores.make_embeddings(lake, vectors.astype(np.float32), cube=cube)
    labels = np.where(there, np.arange(per_day) % N_CLUSTERS, -1).astype(np.int16)
    clusters = stores.make_clusters(lake, labels, n_clusters=N_CLUSTERS, n_exemplars=2, embeddings=embeddings)
    study = Study(lake, cube, clusters)
    recordings = Recordings(lake / "recordings.csv", lake / "field work/audio")
    config = Config(n_exemplars=2, n_borders=0, n_outliers=1, image_width_px=16, image_height_px=16)
    return Hearing(study, recordings, study.atlas(config, recordings=recordings))


def to_cluster(page: Page, cluster: int) -> None:
    page.evaluate(f"location.hash = '#cluster-{cluster}'")
    expect(page.locator("#members-said")).to_contain_text("window")


def choose(page: Page, **values: str) -> None:
    for name, value in values.items():
        field = page.locator(f"#members-form [name={name}]")
        if name in {"since", "until"}:
            field.fill(value)
        else:
            field.select_option(value)


def files(page: Page) -> list[str]:
    return page.locator("#members-list tbody .file").all_inner_texts()
