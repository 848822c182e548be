"""A refused run has written nothing: a setting is changed as the message says, and the run goes on under its name."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import LABELS, run_chain, runs, standing
from soundfiles import Study

from jobs.common.run import Options
from jobs.runner.dryrun import describe_runs
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from lake.errors import DawnchorusError, IdentityError, InputError, StoreError, TryAgainError
from lake.grid import Grid
from lake.storage import Storage

DINO = (
    'precision = "fp32", embed_dim = 32, depth = 1, num_heads = 2, patch_size = [8, 8], head_hidden = 32, '
    "head_bottleneck = 16, n_prototypes = 64, n_local = 2, global_size = [16, 16], local_size = [8, 8], "
    "n_statistics = 4"
)
MORE = f"""
[runs.net]
job = "dino"
inputs = {{ spectrograms = "mels" }}
config = {{ steps = 1, batch_size = 4, {DINO} }}
[runs.coarse]
job = "spectrograms"
config = {{ window_s = 4.0, hop_s = 2.0, n_mels = 8, n_frames = 16, f_max_hz = 3000.0, fft_s = 0.032 }}
[runs.features]
job = "embed"
inputs = {{ spectrograms = "mels", model = "net" }}
config = {{ readout = "class" }}
[runs.outside]
job = "import"
inputs = {{ spectrograms = "mels" }}
files = {{ table = "vectors.csv", vectors = "vectors.npy" }}
config = {{ window_s = 1.0, hop_s = 1.0 }}
[runs.weights]
job = "adopt"
inputs = {{ spectrograms = "mels" }}
files = {{ weights = "weights.safetensors" }}
config = {{ arch = "vit_tiny_patch16_224", input_size = [16, 16], n_statistics = 4 }}
[runs.again]
job = "cluster"
inputs = {{ embeddings = "vectors" }}
config = {{ n_clusters = 3 }}
[runs.judged]
job = "evaluate"
inputs = {{ mine = "clusters" }}
files = {{ labels = "others.csv" }}
[runs.page]
job = "atlas"
inputs = {{ clusters = "clusters", spectrograms = "mels" }}
config = {{ n_map_windows = 0, audio = false }}
"""


def walked(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder: the bytes of files, ``None`` for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(manifest: Path, name: str, error: type[DawnchorusError], told: str, **options: Any) -> None:
    """Expect that run and dry run are refused alike, and that neither touches a file or folder of the lake."""
    before, said = walked(manifest.parent / "lake"), []
    for execute in (describe_runs, execute_runs):
        with pytest.raises(error, match=told) as caught:
            execute(read_manifest(manifest), [name], Options(**options), lambda _: None)
        said.append((caught.value.exit_code, str(caught.value)))
        assert walked(manifest.parent / "lake") == before
    assert said[0] == said[1]


@pytest.fixture
def study(chain: Study) -> Path:
    """Return the manifest of a finished chain, with further runs that have not begun."""
    manifest = chain.folder / "study-lake.toml"
    manifest.write_text(manifest.read_text() + MORE)
    (chain.folder / "others.csv").write_text(LABELS)
    starts = [0.5 * i for i in range(20)]
    (chain.folder / "vectors.csv").write_text("recording,start_s\n" + "".join(f"a/000.wav,{s}\n" for s in starts[::2]))
    np.save(chain.folder / "vectors.npy", np.random.default_rng(0).normal(0, 1, (10, 8)).astype("f4"))
    return manifest


CHANGES = [
    ("again", "n_clusters = 3 }", "n_clusters = 3000 }", "Set n_clusters to"),
    ("again", "n_clusters = 3 }", "n_clusters = 3, n_components = 900 }", "Set n_components to"),
    ("outside", "hop_s = 1.0", "hop_s = 3.0", "Choose a shorter hop_s, or shared_cells = 'nearest'"),
    ("net", "batch_size = 4", "batch_size = 4000", "Set a smaller batch_size"),
    ("net", "embed_dim = 32", "embed_dim = 33", "expected a width that the heads divide"),
    ("net", "steps = 1", 'steps = 1, arch = "vit_smal_patch16_224"', "timm has no model"),
    ("net", "patch_size = [8, 8]", "patch_size = [7, 8]", "expected a multiple of patch_size"),
    ("coarse", "hop_s = 2.0, n_mels = 8", "hop_s = 7.0, n_mels = 8", "does not divide a day"),
    ("coarse", "f_max_hz = 3000.0", "f_min_hz = 3500.0, f_max_hz = 3000.0", "is not below f_max_hz"),
    ("judged", 'job = "evaluate"\ninputs = { mine = "clusters" }\nfiles',
     'job = "evaluate"\ninputs = { mine = "clusters" }\nconfig = { min_overlap_s = 100.0 }\nfiles', "covers 100 s"),
    ("page", '"clusters", spectrograms = "mels"', '"clusters", spectrograms = "coarse"', "reads 'coarse'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong", "told"), CHANGES)
def test_refused_and_changed_as_the_message_says_it_runs(
    study: Path, name: str, right: str, wrong: str, told: str
) -> None:
    text = study.read_text()
    assert text.count(right) == 1
    study.write_text(text.replace(right, wrong))
    try:
        read_manifest(study)
    except InputError as error:
        assert re.search(told, str(error))  # noqa: PT017 (a setting that is wrong by itself)
    else:
        refused(study, name, DawnchorusError, told)
    study.write_text(text)
    assert run_chain(study, name)[-1].startswith(f"{name}: done in ")


def test_a_model_of_other_bands_is_refused_and_replaced(study: Path) -> None:
    run_chain(study, "net", "coarse")
    text = study.read_text()
    study.write_text(
        text.replace('inputs = { spectrograms = "mels", model', 'inputs = { spectrograms = "coarse", model')
    )
    refused(study, "features", InputError, "does not fit cube 'coarse'")
    study.write_text(text)
    run_chain(study, "features")
    assert standing(study)["features"] == ("done", "")


@pytest.mark.parametrize(
    ("name", "gone", "error", "told"),
    [
        ("coarse", "audio/a/001.wav", InputError, r"1 recordings of the table are not below .*audio:\n  a/001\.wav"),
        ("coarse", "audio", InputError, "are not below .*audio, where nothing is"),
        ("coarse", "study.csv", InputError, r"study\.csv"),
        ("outside", "vectors.npy", InputError, "found no file"),
        ("outside", "vectors.csv", InputError, "found no file"),
        ("weights", "weights.safetensors", InputError, "expected weights, found no file"),
        ("judged", "others.csv", InputError, r"others\.csv"),
        ("again", "lake/embeddings/vectors.zarr", StoreError, "vectors"),
        ("again", "lake/embeddings/vectors.zarr/zarr.json", StoreError, "vectors"),
        ("net", "lake/spectrograms/mels.zarr/zarr.json", StoreError, "mels"),
        ("page", "lake/receipts/clusters", StoreError, "'clusters' .*which is not done"),
    ],
)
def test_what_is_not_there_is_refused(
    study: Path, name: str, gone: str, error: type[DawnchorusError], told: str
) -> None:
    path = study.parent / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    refused(study, name, error, told)


@pytest.mark.parametrize("name", ["net", "features"])
def test_a_device_that_is_not_there_is_refused(study: Path, name: str) -> None:
    if name == "features":
        run_chain(study, "net")
    refused(study, name, InputError, "cuda|CUDA", device="cuda")


def test_too_little_memory_and_room_are_refused(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(study, "coarse", InputError, "one partition needs up to", max_memory_bytes=10**6)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "free_bytes", lambda _: 0)
        for name in ("coarse", "net"):
            refused(study, name, TryAgainError, "free")
    run_chain(study, "coarse", "net")


def test_a_finished_run_stays_done_when_it_cannot_be_made_again(study: Path) -> None:
    (study.parent / "labels.csv").write_text("recorder,start_utc\n")
    refused(study, "scores", InputError, "labels", refresh=True)
    (study.parent / "labels.csv").write_text(LABELS)
    assert standing(study)["scores"] == ("done", "")


@pytest.mark.parametrize("leftover", [(), ("grid.json",), ("unfinished",)])
def test_a_record_under_which_nothing_was_written_takes_new_settings(study: Path, leftover: tuple[str, ...]) -> None:
    text = study.read_text()
    study.write_text(text.replace("n_clusters = 3 }", "n_clusters = 3000 }"))
    run = runs(study)["again"]
    run.ledger.open_run("again", run.record)
    if "grid.json" in leftover:
        run.ledger.settle_grid(Grid(0, 86_400_000, 4000, 2000), ["other"])
    if "unfinished" in leftover:
        run.ledger.storage.write("unfinished", b"")
    study.write_text(text)
    assert standing(study)["again"] == ("missing", "")
    run_chain(study, "again")
    assert standing(study)["again"] == ("done", "")
    record = runs(study)["again"].ledger.record()
    assert record is not None
    assert record["config"]["n_clusters"] == 3


@pytest.mark.parametrize("key", ["a/2021-07-14.jsonl", "files.json", "commit.json"])
def test_a_name_under_which_something_was_written_is_kept(study: Path, key: str) -> None:
    text = study.read_text()
    study.write_text(text.replace("n_clusters = 3 }", "n_clusters = 4 }"))
    run = runs(study)["again"]
    run.ledger.open_run("again", run.record)
    run.ledger.storage.write(key, b"")
    study.write_text(text)
    refused(study, "again", IdentityError, r"'again' exists with another configuration")
    run.ledger.storage.remove(key)
    run.output.write("x", b"output")
    refused(study, "again", IdentityError, r"'again' exists with another configuration")


def test_a_dry_run_of_runs_that_wait_for_each_other_says_so(study: Path) -> None:
    said: list[str] = []
    before = walked(study.parent / "lake")
    describe_runs(read_manifest(study), ["net", "features"], Options(), said.append)
    assert said[-2:] == ["features: embed, missing", "  after net"]
    with pytest.raises(StoreError, match=r"reads 'net' .*which is not done"):
        describe_runs(read_manifest(study), ["features"], Options(), said.append)
    assert walked(study.parent / "lake") == before
