"""A small study with all that an atlas has to bear, and pages as a test reads them."""

import json
import warnings
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import stores
import zarr
from numpy.typing import NDArray

from jobs.atlas.command import execute
from jobs.atlas.config import Config
from jobs.common.run import Options, Recordings, Run
from lake.constants import OFFSET_UNKNOWN_S
from lake.recordings import make_recordings, write_recordings

ODD = "<script>alert(\"1\")</script>&'2'"
RECORDERS = ("north", ODD, "untimed:box", "idle")
N_CLUSTERS = 6
"""Clusters 0 to 4 have windows, cluster 5 has none."""


@dataclass
class Page(HTMLParser):
    """The elements of a page, their attributes, and the text of each table's cells."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    tables: list[list[list[str]]] = field(default_factory=list)
    is_in_cell: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
            self.is_in_cell = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.is_in_cell and data.strip():
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self.tables[-1][-1][-1] = self.tables[-1][-1][-1].strip()
            self.is_in_cell = False

    def attributes(self, tag: str, name: str) -> list[str]:
        """Return the values of an attribute of all elements of a kind."""
        return [found[name] for element, found in self.elements if element == tag and name in found]


def read_page(path: Path) -> Page:
    return parsed(path.read_text(encoding="utf-8"))


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    return page


def scripted(path: Path) -> Any:
    """Return what a script hands to the page."""
    text = path.read_text(encoding="utf-8")
    assert "<" not in text
    return json.loads(text[text.index("(") + 1 : text.rindex(");")])


def read_members(folder: Path, page: int | str) -> dict[str, NDArray[np.float64]]:
    """Return the columns of the windows of a cluster or a sound, shape (n_windows,) each."""
    found = scripted(folder / f"members/{page}.js")

    def column(packed: Mapping[str, Any]) -> NDArray[np.float64]:
        raw = np.frombuffer(b64decode(packed["data"]), dtype=f"<{packed['type'] or 'u1'}").astype(np.float64)
        values = raw if packed["type"] else np.zeros(found["n"])
        return np.asarray(values + packed["least"], dtype=np.float64)

    return {name: column(packed) for name, packed in found["columns"].items()}


def read_cluster(folder: Path, cluster: int) -> Page:
    """Return a cluster's part of the page."""
    return parsed(scripted(folder / f"clusters/{cluster}.js")["html"])


def read_parts(folder: Path) -> list[Page]:
    """Return the overview and all clusters' parts of the page."""
    numbers = sorted(int(path.stem) for path in (folder / "clusters").glob("*.js"))
    return [read_page(folder / "index.html"), *(read_cluster(folder, number) for number in numbers)]


@dataclass(frozen=True)
class Study:
    """A lake with an atlas."""

    lake: Path
    cube: Run
    clusters: Run

    def atlas(
        self,
        config: Config | None = None,
        name: str = "atlas",
        *,
        recordings: Recordings | None = None,
        labels: Path | None = None,
        workers: int = 1,
    ) -> Path:
        """Make an atlas, and return its folder."""
        inputs = {"clusters": self.clusters, "spectrograms": self.cube}
        run = stores.make_run(
            self.lake, name, "atlas", config or Config(image_width_px=24, image_height_px=16), inputs=inputs
        )
        outcome = execute(replace(run, recordings=recordings, labels=labels), Options(workers=workers))
        assert outcome.did
        return Path(run.output.url)


def overwrite(run: Run, values: Mapping[str, Any]) -> None:
    """Replace arrays of a finished store."""
    group = zarr.open_group(run.output.url, mode="r+")
    for name, value in values.items():
        array = group[name]
        assert isinstance(array, zarr.Array)
        array[...] = value
    stores.settle_again(run)


def make_labels(codes: NDArray[np.uint8], seed: int = 3) -> NDArray[np.int16]:
    labels = np.random.default_rng(seed).integers(0, N_CLUSTERS - 1, codes.shape[:2])
    return np.where(codes.any(axis=(2, 3)), labels, -1).astype(np.int16)


def build_study(lake: Path) -> Study:
    """Write a cube, embeddings and clusters: 4 recorders, of which one never recorded, on 2 days."""
    codes = stores.random_codes(n_recorders=len(RECORDERS), n_per_day=30, n_mels=16, n_frames=24, seed=5)
    codes[3] = 0
    codes[:, :, -3:] = 0  # bands above the Nyquist frequency
    mel_hz = 700 * (10 ** (np.linspace(50, 3000, 16) / 2595) - 1)
    cube = stores.make_cube(lake, codes, recorders=RECORDERS, mel_hz=mel_hz)
    status = zarr.open_group(cube.output.url)["status"]
    assert isinstance(status, zarr.Array)
    there = np.asarray(status[...]) > 0
    offsets = np.where(np.arange(there.shape[1]) % 3 == 0, OFFSET_UNKNOWN_S, -18_000) * np.ones(
        (len(RECORDERS), 1), dtype=int
    )
    offsets[0, 200:] = 19_800
    zones = np.asarray(["", "America/Chicago", "", ""], dtype=object)
    overwrite(cube, {"utc_offset_s": np.where(there, offsets, OFFSET_UNKNOWN_S), "zone": zones})
    random = np.random.default_rng(7).normal(size=(*there.shape, 4)).astype(np.float32)
    vectors = np.where(there[..., None], random, np.float32("nan"))
    embeddings = stores.make_embeddings(lake, vectors, cube=cube)
    clusters = stores.make_clusters(
        lake, make_labels(codes), n_clusters=N_CLUSTERS, n_exemplars=4, embeddings=embeddings
    )
    overwrite(clusters, {"cluster_status": np.asarray(status[...])})
    return Study(lake, cube, clusters)


RATE_HZ = 8_000
HOUR_S = 3_600


def write_sound(study: Study) -> Recordings:
    """Write an hour of sound of the first two recorders, from the origin on: their windows then have clips.

    In each window (the first 6 s of every 10 minutes) a tone of 1,000 Hz starts after 3 s.
    """
    root, n = study.lake / "audio", HOUR_S * RATE_HZ
    tone = np.zeros(n, dtype=np.float32)
    second = np.arange(3 * RATE_HZ) / RATE_HZ
    for begin in range(0, HOUR_S, 600):
        at = (begin + 3) * RATE_HZ
        tone[at : at + len(second)] = 0.01 * np.sin(2 * np.pi * 1000 * second)
    facts = {
        "sample_rate_hz": RATE_HZ, "n_samples": n, "duration_s": float(HOUR_S), "n_channels": 1,
        "sha256": "0" * 64, "format": "FLAC",
    }  # fmt: skip
    rows = []
    for recorder in RECORDERS[:2]:
        path = root / recorder / "all.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, tone, RATE_HZ, format="FLAC")
        rows.append(
            {"path": f"{recorder}/all.wav", "recorder": recorder, "reading": "libsndfile", "problems": "", **facts}
        )
    table = study.lake / "recordings.csv"
    write_recordings(make_recordings(rows), table)
    overwrite(study.cube, {"recording_sample_rate_hz": RATE_HZ, "recording_n_samples": n})
    return Recordings(table, root)


def write_labels(study: Study) -> Path:
    """Write a table of labels: an odd one on all of cluster 1's windows of the first recorder, and one by chance."""
    group = zarr.open_group(study.clusters.output.url)
    cluster = group["cluster"]
    assert isinstance(cluster, zarr.Array)
    cells = np.asarray(cluster[0])
    rows = ["recorder,start_utc,end_utc,label"]
    for cell in np.flatnonzero(cells >= 0).tolist():
        start = np.datetime64(stores.ORIGIN_MS + cell * 600_000, "ms")
        end = start + np.timedelta64(2, "s")
        labels = ["<b>wren</b>"] if cells[cell] == 1 else []
        rows += [f"{RECORDERS[0]},{start}Z,{end}Z,{label}" for label in [*labels, *(["rain"] if cell % 2 else [])]]
    path = study.lake / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def write_attention(study: Study) -> NDArray[np.float16]:
    """Add maps of attention of 2 × 3 tokens to the study's vectors; the lowest band's last token has most."""
    group = zarr.open_group(study.clusters.inputs["embeddings"].output.url, mode="r+")
    there = group["embedding"]
    assert isinstance(there, zarr.Array)
    maps = np.full((*there.shape[:2], 2, 3), 0.1, dtype=np.float16)
    maps[..., 0, 2] = 0.4
    dims = ("recorder", "time", "token_mel", "token_frame")
    group.create_array("attention", data=maps, chunks=(1, 144, 2, 3), dimension_names=dims)
    with warnings.catch_warnings():
        # Consolidated metadata are no part of Zarr's format 3 yet; the stores have them all the same.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(group.store)
    stores.settle_again(study.clusters.inputs["embeddings"])
    return maps
