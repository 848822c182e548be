"""Two seasons, each a study of its own, a study that gathers both, and one that computes both from sound."""

from pathlib import Path

import pandas as pd
import smalllake

from jobs.common.run import Options, Run
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest

SETTINGS = """window_s = 4.0, hop_s = 30.0, n_mels = 8, n_frames = 8, f_max_hz = 3500.0, fft_s = 0.032, \
shard_windows = 720"""
SEASONS = {
    "june": {"north": ("20210614_235900", "20210615_120000"), "south": ("20210615_000000",)},
    "july": {"south": ("20210710_030000",), "west": ("20210710_010000", "20210711_020000")},
}
DEPLOYMENTS = """deployment,recorder,start,end,site,zone
north-june,north,2021-06-01T00:00:00Z,2021-07-01T00:00:00Z,North,America/Chicago
south-june,south,2021-06-01T00:00:00Z,2021-07-01T00:00:00Z,South,America/Chicago
south-july,south,2021-07-01T00:00:00Z,2021-08-01T00:00:00Z,South,America/Denver
west-july,west,2021-07-01T00:00:00Z,2021-08-01T00:00:00Z,West,America/Denver
"""
CUBE = f'[runs.mels]\njob = "spectrograms"\nconfig = {{ {SETTINGS} }}\n'
VECTORS = """[runs.vectors]
job = "embed"
inputs = { spectrograms = "mels" }
config = { features = "logmel" }
"""
REST = """
[runs.clusters]
job = "cluster"
inputs = { embeddings = "vectors" }
config = { n_clusters = 3, seed = 7, n_refits = 1 }

[runs.heads]
job = "learn"
inputs = { embeddings = "vectors" }
config = { n_bootstrap = 10, n_folds = 2 }

[runs.detections]
job = "detect"
inputs = { embeddings = "vectors", heads = "heads" }

[runs.counts]
job = "count"
inputs = { spectrograms = "mels", detections = "detections" }

[runs.atlas]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
config = { image_width_px = 16, image_height_px = 16, n_map_windows = 20 }
"""


def write_season(folder: Path, name: str, *, cube: str = CUBE) -> Path:
    """Write recordings, table and manifest of a season, if they are not there; return the manifest's path."""
    season = folder / name
    smalllake.write_recordings(season, SEASONS[name])
    smalllake.write_table(season)
    (season / "deployments.csv").write_text(DEPLOYMENTS)
    table = 'table = "recordings.csv", root = "audio", deployments = "deployments.csv"'
    text = f'lake = "lake"\nrecordings = {{ {table} }}\n{cube}{VECTORS}'
    (season / "study.toml").write_text(text)
    return season / "study.toml"


def write_gathered(folder: Path, seasons: tuple[str, ...] = ("june", "july"), *, rest: str = REST) -> Path:
    """Write the manifest that gathers seasons; return its path."""
    text = 'lake = "lake"\nrecordings = { table = "recordings.csv", root = ".." }\n'
    for block, kind in ((CUBE, "spectrograms"), (VECTORS, "embeddings")):
        run = "mels" if kind == "spectrograms" else "vectors"
        places = ", ".join(f'"../{name}/lake/{kind}/{run}.zarr"' for name in seasons)
        text += with_input(block, f"{kind} = [{places}]")
    return _written(folder / "years" / "study.toml", text + rest)


def write_computed(folder: Path, seasons: tuple[str, ...] = ("june", "july"), *, rest: str = REST) -> Path:
    """Write the manifest and the table of one study of all seasons' sound; return the manifest's path."""
    tables = []
    for name in seasons:
        table = pd.read_csv(folder / name / "recordings.csv", dtype=str, keep_default_na=False)
        tables.append(table.assign(path=f"{name}/audio/" + table["path"]))
    path = _written(
        folder / "computed" / "study.toml",
        'lake = "lake"\nrecordings = { table = "recordings.csv", root = "..", deployments = "deployments.csv" }\n'
        f"{CUBE}{VECTORS}{rest}",
    )
    path.with_name("deployments.csv").write_text(DEPLOYMENTS)
    pd.concat(tables).to_csv(path.with_name("recordings.csv"), index=False)
    return path


def with_input(block: str, text: str) -> str:
    """Return the text of a run with one input more."""
    if "inputs" in block:
        return block.replace("inputs = { ", f"inputs = {{ {text}, ")
    return block.replace("config =", f"inputs = {{ {text} }}\nconfig =")


def execute(manifest: Path, *names: str, workers: int = 1) -> list[str]:
    """Execute runs; return the lines."""
    said: list[str] = []
    execute_runs(read_manifest(manifest), names, Options(device="cpu", workers=workers), said.append)
    return said


def run_of(manifest: Path, name: str) -> Run:
    """Return a run of a manifest."""
    return read_manifest(manifest).runs[name]


def grow(folder: Path, name: str, recorder: str, time: str) -> None:
    """Add a recording to a season, and make the season's runs again."""
    smalllake.write_recordings(folder / name, {recorder: (time,)})
    smalllake.write_table(folder / name)
    execute(folder / name / "study.toml")


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path
