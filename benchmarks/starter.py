"""Train the starter again, from the recordings that ``jobs/contrast/starter.csv`` lists (see ``docs/starter.md``).

    python -m benchmarks.starter --audio /some/folder      # the files of the list, at their places
    python -m benchmarks.starter --audio /some/folder --with-synthetic      # to compare
    python -m benchmarks.starter --audio /some/folder --seed 1              # the same recipe, other chance

The training goes on where it was stopped when this is typed again. At the end it writes the weights to the folder of
the study; ``--install`` puts them into the package.
"""

import argparse
import csv
import shutil
import tomllib
from pathlib import Path
from typing import Any, Final

import tomli_w

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
    parser.add_argument("--with-synthetic", action="store_true", help="add as much synthetic soundscape")
    parser.add_argument("--steps", type=int, help="length of the training, in place of the manifest's")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and views; the sound stays the same")
    parser.add_argument("--install", action="store_true", help="copy the weights into the package")
    asked = parser.parse_args()
    synthetic = "-synthetic" if asked.with_synthetic else ""
    length = "" if asked.steps is None else f"-{asked.steps}"
    folder = FOLDER.with_name(f"{FOLDER.name}{synthetic}{length}")
    if not (folder / "recordings.csv").exists():
        prepare(asked.audio, folder, with_synthetic=asked.with_synthetic)
    run = f"starter-{asked.seed}" if asked.seed else "starter"
    path = folder / f"{run}.toml"
    path.write_text(tomli_w.dumps(placed(run, asked.seed, asked.steps)), encoding="utf-8")
    manifest = read_manifest(path)
    execute_runs(manifest, ["mels", run], Options(workers=1), print)
    weights = Path(manifest.runs[run].output.url) / WEIGHT_FILES["teacher"]
    if asked.install:
        install(weights, folder / "receipts" / run)
    print(f"{weights}: SHA-256 {sha256(weights.read_bytes())}")


def placed(run: str, seed: int, steps: int | None) -> dict[str, Any]:
    """Return the manifest for the folder that it stands in, the training named ``run``, and its length if one is given.

    Seed 0 is left out, as the manifest does: it is the default.
    """
    content = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    content["lake"] = "."
    content["recordings"] = {"table": "recordings.csv", "root": "audio"}
    training = content["runs"].pop("starter")
    training["config"] |= ({"seed": seed} if seed else {}) | ({} if steps is None else {"steps": steps})
    content["runs"][run] = training
    return content


def prepare(audio: Path, folder: Path, *, with_synthetic: bool) -> None:
    """Copy the listed recordings, make synthetic ones if they are wanted, and list them all.

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
        path = folder / "audio" / "real" / row["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(audio / row["file"], path)
    if with_synthetic:
        study = make_study(folder / "synthetic", SYNTHETIC)
        shutil.copytree(study.folder / "audio", folder / "audio" / "synthetic", dirs_exist_ok=True)
    zones = {"": "Australia/Brisbane"}  # not needed to train, but times without a zone are refused
    run_catalog([folder / "audio"], folder / "recordings.csv", zones=zones, workers=1)


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
