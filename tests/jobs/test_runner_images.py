"""Runs that are pinned to an image, receipts that name it, and GPUs that are not there."""

from pathlib import Path

import pytest
from chains import receipts, run_chain

from lake.errors import InputError
from lake.image import DIGEST_VARIABLE

SHA = "ab" * 32


@pytest.fixture
def pinned(manifest: Path) -> Path:
    """Return the manifest of a finished chain whose clusters are to be made again, in a pinned image, with a GPU."""
    text = (
        manifest.read_text().replace("[runs.clusters]\n", "[runs.clusters2]\n").replace('= "clusters"', '= "clusters2"')
    )
    text = text.replace("[runs.scores]", "[runs.scores2]")
    more = f'image = {{ name = "cluster", sha256 = "{SHA}" }}\nresources = {{ gpus = 1 }}\n'
    manifest.write_text(text.replace('job = "cluster"\n', f'job = "cluster"\n{more}'))
    return manifest


def test_a_pinned_run_is_refused_elsewhere_before_anything_is_written(
    pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=rf"run 'clusters2' is pinned to the image 'cluster' with sha256 {SHA}, but"):
        run_chain(pinned, "clusters2")
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/other.sif")
    monkeypatch.setenv(DIGEST_VARIABLE, "cd" * 32)
    with pytest.raises(InputError, match=rf"but this is 'other\.sif' with sha256 {'cd' * 32}\."):
        run_chain(pinned, "clusters2")
    assert not (pinned.parent / "lake/ledgers/clusters2").exists()


def test_in_the_pinned_image_it_runs_and_its_receipt_names_it(pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/cluster.sif")
    monkeypatch.setenv(DIGEST_VARIABLE, SHA)
    run_chain(pinned, "clusters2")
    (receipt,) = receipts(pinned, "clusters2")
    assert (receipt["image"]["name"], receipt["image"]["sha256"]) == ("cluster.sif", SHA)
    monkeypatch.delenv("APPTAINER_CONTAINER")
    assert run_chain(pinned, "clusters2") == ["clusters2: done, nothing to do"], "what is done is asked nothing"


def test_a_gpu_that_is_not_there_is_told_unless_the_cpu_was_chosen(
    pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/cluster.sif")
    monkeypatch.setenv(DIGEST_VARIABLE, SHA)
    monkeypatch.setattr("jobs.runner.execute.missing_gpus", lambda n: iter([f"asks for {n} GPU, none is seen here"]))
    assert run_chain(pinned, "clusters2")[0] == "clusters2: asks for 1 GPU, none is seen here"
    assert not any("GPU" in line for line in run_chain(pinned, "clusters2", refresh=True, device="cpu"))
