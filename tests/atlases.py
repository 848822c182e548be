"""A small study with all that an atlas has to bear, and pages as a test reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import stores
import zarr
from numpy.typing import NDArray

from jobs.atlas.command import execute
from jobs.atlas.config import Config
from jobs.common.run import Options, Run

ODD = "<script>alert(\"1\")</script>&'2'"
RECORDERS = ("north", ODD, "untimed:box", "idle")
N_CLUSTERS = 6
"""Clusters 0 to 4 have windows, cluster 5 has none."""
UNKNOWN = -(2**31)


@dataclass
class Page(HTMLParser):
    """The elements of a page, their attributes, and the text of each table's cells."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    tables: list[list[list[str]]] = field(default_factory=list)

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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tables and self.tables[-1] and self.tables[-1][-1] and data.strip():
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self.tables[-1][-1][-1] = self.tables[-1][-1][-1].strip()

    def attributes(self, tag: str, name: str) -> list[str]:
        """Return the values of an attribute of all elements of a kind."""
        return [found[name] for element, found in self.elements if element == tag and name in found]


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


@dataclass(frozen=True)
class Study:
    """A lake with an atlas."""

    lake: Path
    cube: Run
    clusters: Run

    def atlas(self, config: Config | None = None, name: str = "atlas") -> Path:
        """Make an atlas, and return its folder."""
        inputs = {"clusters": self.clusters, "spectrograms": self.cube}
        run = stores.make_run(
            self.lake, name, "atlas", config or Config(image_width_px=24, image_height_px=16), inputs=inputs
        )
        outcome = execute(run, Options())
        assert outcome.did
        return Path(run.output.url)


def overwrite(run: Run, values: Mapping[str, Any]) -> None:
    """Replace arrays of a finished store."""
    group = zarr.open_group(run.output.url, mode="r+")
    for name, value in values.items():
        array = group[name]
        assert isinstance(array, zarr.Array)
        array[...] = value


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
    offsets = np.where(np.arange(there.shape[1]) % 3 == 0, UNKNOWN, -18_000) * np.ones((len(RECORDERS), 1), dtype=int)
    offsets[0, 200:] = 19_800
    zones = np.asarray(["", "America/Chicago", "", ""], dtype=object)
    overwrite(cube, {"utc_offset_s": np.where(there, offsets, UNKNOWN), "zone": zones})
    vectors = np.where(there[..., None], np.float32(1), np.float32("nan")) * np.ones(4, dtype=np.float32)
    embeddings = stores.make_embeddings(lake, vectors, cube=cube)
    clusters = stores.make_clusters(
        lake, make_labels(codes), n_clusters=N_CLUSTERS, n_exemplars=4, embeddings=embeddings
    )
    overwrite(clusters, {"cluster_status": np.asarray(status[...])})
    return Study(lake, cube, clusters)
