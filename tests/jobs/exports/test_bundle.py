"""`dawnchorus export --bundle`: its tables, methods by the receipts, and that it is whole or not there."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from commands import Cli

from jobs.exports.bundle import CHECKSUMS
from lake.digest import sha256_of
from lake.layout import Lake
from lake.receipts import latest_receipt


@pytest.fixture(scope="module")
def study(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "demo"
    shutil.copytree(demo_folder / "data/demo", folder)
    return folder / "manifest.toml"


@pytest.fixture(scope="module")
def bundle(study: Path) -> Path:
    from commands import command

    out = study.parent.parent / "out"
    words = (
        "--bundle",
        out,
        "--creator",
        "Ana Ray",
        "--licence",
        "CC-BY-4.0",
        "--round-coordinates",
        1,
        "--title",
        "A: b",
    )
    ended = command("export", study, *words)
    assert ended.code == 0, ended.error
    return out


def test_it_is_complete_and_its_checksums_hold(bundle: Path) -> None:
    lines = [line.split("  ", 1) for line in (bundle / CHECKSUMS).read_text().splitlines()]
    listed = {key: digest for digest, key in lines}
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} - {CHECKSUMS}
    assert set(listed) == there
    assert all(sha256_of(bundle / key) == digest for key, digest in listed.items())
    assert {"README.md", "METHODS.md", "CITATION.cff", "metadata.json", "runs.json"} <= there
    names = {path.name for path in (bundle / "tables").iterdir()}
    assert {"verified.csv", "events.csv", "verdicts.csv", "detectors.csv", "recordings.csv", "deployments.csv"} <= names


def test_the_methods_say_what_the_receipts_say(study: Path, bundle: Path) -> None:
    text = (bundle / "METHODS.md").read_text()
    for name in ("mels", "vectors", "heads", "detections"):
        receipt = latest_receipt(Lake(str(study.parent)), name)
        assert receipt is not None
        part = text.partition(f"### {name}\n")[2].partition("\n### ")[0]
        for value in (
            receipt["config_id"],
            receipt["content_id"],
            receipt["versions"]["numpy"],
            receipt["written"][:19],
        ):
            assert value in part
        for key, value in receipt["config"].items():
            assert f"{key} = {json.dumps(value)}" in part
    verdicts = pd.read_csv(bundle / "tables/verdicts.csv")
    n_yes, n_no = (int((verdicts["verdict"] == kind).sum()) for kind in ("yes", "no"))
    assert f"unsure where people differ): {n_yes} yes, {n_no} no" in text
    assert "### clusters" not in text, "no table comes from it"
    assert "rounded to 1 decimals" in text


def test_nothing_tells_of_the_machine(study: Path, bundle: Path) -> None:
    receipt = latest_receipt(Lake(str(study.parent)), "mels")
    assert receipt is not None
    whole = "".join(path.read_text() for path in bundle.rglob("*") if path.is_file())
    assert str(study.parent) not in whole
    assert json.dumps(receipt["host"]["system"]) not in whole
    recordings = pd.read_csv(bundle / "tables/recordings.csv")
    assert (recordings["latitude"].dropna() == recordings["latitude"].dropna().round(1)).all()


def test_citation_and_metadata_carry_what_the_user_says(bundle: Path) -> None:
    citation = (bundle / "CITATION.cff").read_text()
    assert 'title: "A: b"\nauthors:\n  - name: "Ana Ray"\n' in citation
    assert "license: CC-BY-4.0\n" in citation
    said = json.loads((bundle / "metadata.json").read_text())
    assert (said["title"], said["creators"], said["coordinates_rounded_to_decimals"]) == ("A: b", ["Ana Ray"], 1)


def test_a_folder_with_files_is_refused_and_a_bundle_replaced_on_request(cli: Cli, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert cli("export", str(study), "--bundle", str(out)).code == 0, "an empty folder is free"
    again = cli("export", str(study), "--bundle", str(out))
    assert (again.code, "--force replaces it" in again.error) == (2, True)
    assert cli("export", str(study), "--bundle", str(out), "--force").code == 0
    (out / "tables/verified.csv").write_text("mine")
    (out / "notes.txt").write_text("mine")
    ended = cli("export", str(study), "--bundle", str(out), "--force")
    assert ended.code == 2
    assert "it is no bundle, or was changed (notes.txt, tables/verified.csv)" in ended.error
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_fails_leaves_nothing(cli: Cli, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object, __: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert cli("export", str(study), "--bundle", str(tmp_path / "out")).code == 75
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--licence", "CC BY 4.0"), 2, "expected an SPDX name such as CC-BY-4.0"),
        (("--out", "x.csv"), 2, "name a folder or file with --out, or a new folder with --bundle"),
        (("--cluster", "1"), 2, "clusters are of a store"),
    ],
)
def test_what_is_refused(cli: Cli, study: Path, tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    ended = cli("export", str(study), "--bundle", str(tmp_path / "out"), *words)
    assert ended.code == code
    assert told in ended.error
    assert not list(tmp_path.iterdir())


def test_the_bundle_is_a_workflow_run_crate(study: Path, bundle: Path) -> None:
    """Read by the library of RO-Crate: each run is an action, made from the outputs of those before it."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reader's own dependencies
        from rocrate.rocrate import ROCrate

        crate = ROCrate(bundle)
    root = crate.root_dataset
    assert root["name"] == "A: b"
    assert [person["name"] for person in crate.get_by_type("Person")] == ["Ana Ray"]
    assert root["license"].id == "https://spdx.org/licenses/CC-BY-4.0"
    profiles = {one.id for one in root["conformsTo"]}
    assert {"https://w3id.org/ro/wfrun/process/0.5", "https://w3id.org/ro/wfrun/workflow/0.5"} <= profiles
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {one.id for one in root["hasPart"]} == files - {CHECKSUMS, "ro-crate-metadata.json"}
    actions = {one.id.removeprefix("#run-"): one for one in crate.get_by_type("CreateAction")}
    whole = actions.pop("#workflow-run")
    assert whole["instrument"].id == crate.mainEntity.id == "runs.json"
    assert set(actions) == {"mels", "vectors", "heads", "detections"}
    for name, action in actions.items():
        receipt = latest_receipt(Lake(str(study.parent)), name)
        assert receipt is not None
        assert action["instrument"]["name"] == f"dawnchorus {receipt['job']}"
        assert action["instrument"]["softwareVersion"] == receipt["versions"]["dawnchorus"]
        length = pd.Timestamp(action["endTime"]) - pd.Timestamp(action["startTime"])
        assert action["endTime"] == receipt["written"]
        assert length.total_seconds() == pytest.approx(receipt["seconds"], abs=1e-3)
        settings = {one["name"]: json.loads(one["value"]) for one in action["object"] if one.type == "PropertyValue"}
        assert settings == receipt["config"]
        made_from = {one.id for one in action["object"] if one.type != "PropertyValue"}
        sources = {f"#output-{one['run']}" for one in receipt["inputs"].values()}
        assert made_from == (sources or {"tables/recordings.csv"})
        (output,) = action["result"]
        assert receipt["content_id"] in output["identifier"]
        assert whole["startTime"] <= action["startTime"]
    text = (bundle / "ro-crate-metadata.json").read_text()
    assert str(study.parent) not in text, "no path of a machine"


def test_what_killed_exports_left_is_removed_once_nobody_writes_to_it(cli: Cli, study: Path, tmp_path: Path) -> None:
    old, new, other, before = (
        tmp_path / name for name in (".own.abcd1234", ".own.efgh5678", ".else.abcd1234", ".own.abcd1234.before")
    )
    for folder in (old, new, other, before):
        (folder / "tables").mkdir(parents=True)
        (folder / "tables" / "half.csv").write_text("half")
    for path in (*old.rglob("*"), old, *before.rglob("*"), before):
        os.utime(path, (0, 0))
    ended = cli("export", study, "--bundle", tmp_path / "own")
    assert ended.code == 0, ended.error
    assert not old.exists()
    assert all(one.exists() for one in (new, other, before)), "another one at work, another name, the bundle before"
