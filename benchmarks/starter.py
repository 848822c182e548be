"""Train the starter again, from the recordings that ``jobs/contrast/starter.csv`` lists (see ``docs/starter.md``).

    python -m benchmarks.starter --audio /some/folder      # the files of the list, at their places

The training goes on where it was stopped when this is typed again. At the end it writes the weights to the folder of
the study; ``--install`` puts them into the package.
"""

import argparse
import csv
import shutil
from pathlib import Path
from typing import Final

from jobs.catalog.command import run_catalog
from jobs.common.network.card import WEIGHT_FILES
from jobs.common.run import Options
from jobs.contrast.begin import STARTER
from jobs.demo.config import StudyConfig
from jobs.demo.study import make_study
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from lake.digest import sha256
from lake.errors import InputError
from lake.records import RESERVED, seal, unseal

ROOT: Final = Path(__file__).parent.parent
SOURCES: Final = ROOT / "jobs" / "contrast" / "starter.csv"
MANIFEST: Final = ROOT / "manifests" / "starter.toml"
FOLDER: Final = ROOT / "data" / "starter"
RECEIPT: Final = "starter.receipt.json"
SYNTHETIC: Final = StudyConfig(seed=1, n_days=3, scale=0.25)
"""Another seed than the demo's, so that its recordings stay unseen; about as many windows as the recordings have."""


def main() -> None:
    """Prepare the study, train, and say where the weights are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--install", action="store_true", help="copy the weights into the package")
    asked = parser.parse_args()
    if not (FOLDER / "recordings.csv").exists():
        prepare(asked.audio)
    manifest = read_manifest(MANIFEST)
    execute_runs(manifest, ["mels", "starter"], Options(workers=1), print)
    weights = Path(manifest.runs["starter"].output.url) / WEIGHT_FILES["teacher"]
    if asked.install:
        install(weights, FOLDER / "receipts" / "starter")
    print(f"{weights}: SHA-256 {sha256(weights.read_bytes())}")


def prepare(audio: Path) -> None:
    """Copy the listed recordings, make the synthetic ones, and list them all.

    Raises
    ------
    InputError
        If recordings are missing, or others than those that are listed; all of them.
    """
    with SOURCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = [
        row["file"]
        for row in rows
        if not (audio / row["file"]).is_file() or sha256((audio / row["file"]).read_bytes()) != row["sha256"]
    ]
    if wrong:
        raise InputError(
            f"{audio}: expected the {len(rows)} recordings of {SOURCES.name}, found {len(wrong)} missing or different: "
            f"{', '.join(wrong[:5])}. Fetch them again from their sources."
        )
    for row in rows:
        path = FOLDER / "audio" / "real" / row["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(audio / row["file"], path)
    study = make_study(FOLDER / "synthetic", SYNTHETIC)
    shutil.copytree(study.folder / "audio", FOLDER / "audio" / "synthetic", dirs_exist_ok=True)
    zones = {"": "Australia/Brisbane"}  # not needed to train, but times without a zone are refused
    run_catalog([FOLDER / "audio"], FOLDER / "recordings.csv", zones=zones, workers=1)


def install(weights: Path, receipts: Path) -> None:
    """Copy weights into the package, and the receipt of their training without the name of its machine."""
    newest = max(receipts.glob("*.json"))
    receipt = unseal(newest.read_bytes(), str(newest))
    content = {key: value for key, value in receipt.items() if key not in {*RESERVED, "host"}}
    data = weights.read_bytes()
    SOURCES.with_name(STARTER).write_bytes(data)
    SOURCES.with_name(RECEIPT).write_bytes(seal({**content, "weights_sha256": sha256(data)}, indent=2))


if __name__ == "__main__":
    main()
