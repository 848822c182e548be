"""A lake that commit 62f1a1e made goes on with this version: read, verified, extended; what it wrote stays as it is."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import xarray as xr
from chains import receipts, run_chain, runs, standing
from pydantic import Field
from smalllake import ADDED, MANIFEST, unpack, write_recordings, write_table

from jobs.cluster.config import Config
from jobs.common.training import checkpoint
from jobs.evaluate.config import Config as EvaluateConfig
from jobs.runner.execute import verify_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.registry import JOBS
from jobs.runner.reproduce import recorded_run
from lake.constants import FORMAT_VERSION, STATUS
from lake.errors import IdentityError, StoreError
from lake.read import open_array, read_rows
from lake.shards import ZSTD_LEVEL
from lake.storage import Storage

OLD = Path(__file__).parents[1] / "lakes/format-1.tar.xz"
EXTENDING = ("mels", "vectors", "learned")
GROWN = re.compile(
    r"/c\.0\.14(\.0)*$|/spectrogram/c\.0\.84\.0\.0$|\.zarr/(recorder|recording_\w+|time_is_real)/c\.0$"
    r"|ledgers/\w+/(commit|grid)\.json$|ledgers/\w+/north/2021-07-15\.jsonl$"
)
"""What may change when recordings come: files of the day that has more of them, and tables with more rows."""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return the manifest of the old study."""
    return unpack(OLD, tmp_path)


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file by its path."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def stored(manifest: Path, name: str) -> xr.Dataset:
    """Return a store as plain xarray reads it, in memory."""
    with xr.open_dataset(runs(manifest)[name].output.url, engine="zarr", mask_and_scale=False) as found:
        return found.load()


def verified(manifest: Path) -> list[str]:
    said: list[str] = []
    verify_runs(read_manifest(manifest), [], said.append)
    return said


def test_an_old_lake_is_done_whole_and_left_alone(manifest: Path) -> None:
    lake = manifest.parent / "lake"
    before = digests(lake)
    assert {state for state, _ in standing(manifest).values()} == {"done"}
    verified(manifest)
    for line in run_chain(manifest):
        assert line.endswith("nothing to do")
    assert digests(lake) == before


def test_old_clusters_and_scores_stay_as_they_were_scaled(manifest: Path) -> None:
    """Whitening is the default of new runs alone."""
    found = runs(manifest)
    scaled = {
        name: run.config.model_dump()["normalise"] for name, run in found.items() if run.job in {"cluster", "evaluate"}
    }
    assert scaled
    assert set(scaled.values()) == {"zscore_l2"}
    assert Config().normalise == EvaluateConfig().normalise == "auto"


def test_an_old_lake_grows_and_its_chunks_stay(manifest: Path) -> None:
    lake = manifest.parent / "lake"
    before, values = digests(lake), {name: stored(manifest, name) for name in EXTENDING}
    write_recordings(manifest.parent, ADDED)
    write_table(manifest.parent)
    run_chain(manifest, *EXTENDING, mix=True)
    verified(manifest)
    after = digests(lake)
    assert set(before) <= set(after)
    changed = [key for key in before if after[key] != before[key] and not key.endswith("zarr.json")]
    assert [key for key in changed if not GROWN.search(key)] == []
    assert any(key.endswith("spectrogram/c.0.84.0.0") for key in changed)
    for name, old in values.items():
        new = stored(manifest, name)
        assert new.attrs["dawnchorus_format"] == FORMAT_VERSION
        assert new["recorder"].to_numpy().tolist() == ["north", "south", "west"]
        n_recorders, n_cells = old.sizes["recorder"], old.sizes["time"]
        status = next(str(key) for key in old.data_vars if str(key).endswith("status"))
        ok = old[status].to_numpy() == STATUS["ok"]
        assert ok.sum() == 12
        for variable in (str(key) for key in old.data_vars if old[key].dims[:2] == ("recorder", "time")):
            kept = new[variable].to_numpy()[:n_recorders, :n_cells][ok]
            last_digits = 2e-6 if name == "learned" else 0  # those of a network are the processor's
            np.testing.assert_allclose(
                kept, old[variable].to_numpy()[ok], rtol=0, atol=last_digits, err_msg=f"{name}.{variable}"
            )
    for name, (state, detail) in standing(manifest).items():
        is_done = name in EXTENDING or JOBS[runs(manifest)[name].job].is_model
        assert state == ("done" if is_done else "stale"), (name, detail)
    assert all(line.endswith("nothing to do") for line in run_chain(manifest, *EXTENDING, mix=True))
    assert digests(lake) == after


def test_an_old_store_is_committed_again_without_a_change_of_its_chunks(manifest: Path) -> None:
    """A receipt that is gone makes a run commit again: metadata of this format, every chunk as it was."""
    lake = manifest.parent / "lake"
    for path in (lake / "receipts/mels").iterdir():
        path.unlink()
    before = digests(lake / "spectrograms")
    run_chain(manifest, "mels", mix=True)
    after = digests(lake / "spectrograms")
    assert {key for key in before if after[key] != before[key]} == {key for key in before if key.endswith("zarr.json")}
    root = json.loads((lake / "spectrograms/mels.zarr/zarr.json").read_text())
    codecs = root["consolidated_metadata"]["metadata"]["status"]["codecs"]
    assert codecs[-1] == {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": True}}
    verified(manifest)


def test_an_old_checkpoint_is_read(manifest: Path) -> None:
    folder = manifest.parent / "lake/models/net"
    content = torch.load(folder / "checkpoints/step-000000002.pt", weights_only=True)
    same = {key: content[key] for key in ("config_id", "digest", "n_windows")}
    found = checkpoint.latest(Storage(folder), **same)
    assert found is not None
    assert found["step"] == 2


def test_a_damaged_chunk_without_a_checksum_is_found(manifest: Path) -> None:
    """Chunks of format 1 carry no checksum: the digest in the ledger finds what decodes to something else."""
    path = manifest.parent / "lake/spectrograms/mels.zarr/spectrogram/c.1.84.0.0"
    whole, n_silent, cells = path.read_bytes(), 0, np.arange(60480, 60486)
    array = open_array(str(path.parents[1]), "spectrogram")
    right = read_rows(array, np.ones(6), cells)
    assert right.any(axis=(1, 2)).all()
    for byte in range(0, 600, 2):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << byte % 8]) + whole[byte + 1 :])
        try:
            message, found = "", read_rows(array, np.ones(6), cells)
        except StoreError as error:
            message, found = str(error), right
        assert path.name in message or not message
        np.testing.assert_array_equal(found, right)
        n_silent += "digest" in message
    assert n_silent > 100


class Newer(Config):
    """The settings of ``cluster`` as a later version may have them: another default, and a new setting."""

    n_exemplars: int = Field(2, ge=1)
    later: int = Field(8, json_schema_extra={"introduced_as": 7})


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the job ``cluster`` have the settings of a later version."""
    monkeypatch.setitem(JOBS, "cluster", replace(JOBS["cluster"], config=Newer))


@pytest.mark.usefixtures("newer")
def test_a_new_default_is_for_new_runs(manifest: Path) -> None:
    again = MANIFEST.replace("[runs.clusters]", "[runs.again]").split("[runs.again]")[1].split("[runs.scores]")[0]
    manifest.write_text(f"{MANIFEST}\n[runs.again]{again}")
    found = runs(manifest)
    old, new = (cast("Newer", found[name].config) for name in ("clusters", "again"))
    assert (old.n_exemplars, old.later) == (12, 7)
    assert (new.n_exemplars, new.later) == (2, 8)
    stored = found["clusters"].ledger.record()
    assert stored is not None
    assert found["clusters"].config_id == stored["config_id"]
    assert {name: state for name, (state, _) in standing(manifest).items()} == {
        **dict.fromkeys(found, "done"), "again": "missing",
    }  # fmt: skip
    run_chain(manifest, "again")
    assert runs(manifest)["again"].config == new
    receipt = receipts(manifest, "clusters")[-1]
    assert recorded_run(found["clusters"].lake, receipt).config == old


@pytest.mark.usefixtures("newer")
def test_a_value_that_is_written_and_differs_is_refused_alone(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("n_clusters = 2,", "n_clusters = 2, n_exemplars = 5, later = 8,"))
    state, detail = standing(manifest)["clusters"]
    assert state == "different"
    assert detail == "config.later: stored 7, wanted 8; config.n_exemplars: stored 12, wanted 5"
    with pytest.raises(IdentityError, match=r"config\.n_exemplars: stored 12, wanted 5"):
        run_chain(manifest, "clusters")


def test_a_setting_of_a_run_whose_record_is_damaged_is_the_default(manifest: Path) -> None:
    path = manifest.parent / "lake/ledgers/clusters/run.json"
    path.write_text("{")
    assert runs(manifest)["vectors"].config_id
    with pytest.raises(StoreError, match=r"clusters/run\.json: the record is damaged"):
        run_chain(manifest, "clusters")
