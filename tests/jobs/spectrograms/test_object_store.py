"""The lake on an S3 endpoint: written, killed, resumed, finalised, grown, opened with plain xarray, verified."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import fsspec.config
import numpy as np
import pytest
import s3fs
import xarray as xr
from chains import run_chain, runs, standing, write_chain
from commands import Cli
from faults import Moment
from moto.server import ThreadedMotoServer
from soundfiles import Study, sound, usual_study

from jobs.common.run import Options
from jobs.runner.execute import execute_runs, verify_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.state import states
from lake.errors import StoreError, TryAgainError
from lake.layout import Lake
from lake.ledger import Ledger
from lake.storage import Storage

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Return the URL of an S3 service with a bucket ``bucket``, which fsspec is configured for as users do it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        url = f"http://{host}:{port}"
        for name, value in {**KEYS, "FSSPEC_S3_ENDPOINT_URL": url}.items():
            patch.setenv(name, value)
        before = dict(fsspec.config.conf)
        fsspec.config.set_conf_env(fsspec.config.conf)
        s3fs.S3FileSystem().mkdir("bucket")
        yield url
        fsspec.config.conf.clear()
        fsspec.config.conf.update(before)
    server.stop()


def run(manifest: Path) -> None:
    execute_runs(read_manifest(manifest), [], Options(), lambda _: None)


def summary(lake: str) -> dict[str, Any]:
    return Ledger(Lake(lake).ledger("mels")).summary()


def digests(lake: str) -> dict[tuple[str, int], str]:
    """Return the digest of the decoded codes of every window by recorder and cell."""
    entries = Ledger(Lake(lake).ledger("mels")).entries()
    return {
        (recorder, cell): digest
        for recorder, _, day in entries
        for entry in day.values()
        for cell, digest in zip(entry.cells, entry.digests, strict=True)
    }


@pytest.mark.slow
def test_killed_and_resumed_on_an_object_store_it_is_the_cube_of_the_local_disk(tmp_path: Path, endpoint: str) -> None:
    study, url = usual_study(tmp_path), "s3://bucket/lake"
    local = study.write()
    run(local)
    manifest, marks = study.write(lake=url), tmp_path / "marks"
    marks.mkdir()
    kills = [("shard", 2, "after"), ("ledger", 2, "before"), ("index", 3, "after"), ("commit", 1, "before")]
    for step, number, when in kills:
        moment = Moment("driver", step, number, when)
        assert faults.in_child(faults.run_until_killed, str(manifest), [moment], 1, str(marks)) == -signal.SIGKILL
        assert not Storage(f"{url}/spectrograms/mels.zarr").exists("zarr.json")
    run(manifest)
    assert len(list(marks.iterdir())) == len(kills)
    assert summary(url) == summary(str(tmp_path / "lake"))
    assert digests(url) == digests(str(tmp_path / "lake"))
    assert [state.state for state in states(read_manifest(manifest))] == ["done"]
    same_in_xarray(tmp_path, endpoint)
    said: list[str] = []
    verify_runs(read_manifest(manifest), [], said.append)
    assert said[0].endswith("0 of them differ")
    grow_and_damage(study, url)


def same_in_xarray(folder: Path, endpoint: str) -> None:
    """Check that plain xarray opens the store, by fsspec's configuration and by options, and finds the same."""
    options = {"key": "key", "secret": "secret", "endpoint_url": endpoint}
    stores: list[dict[str, Any]] = [{}, {"storage_options": options}]
    with xr.open_dataset(folder / "lake/spectrograms/mels.zarr", engine="zarr") as expected:
        for more in stores:
            with xr.open_dataset("s3://bucket/lake/spectrograms/mels.zarr", engine="zarr", **more) as found:
                assert found.attrs == expected.attrs
                for name in ("status", "level_db", "recording_path", "recorder"):
                    xr.testing.assert_identical(found[name].load(), expected[name].load())
                ok = np.argwhere(expected["status"].to_numpy() == 1)[::9]
                for i, cell in ok:
                    one = found["spectrogram"][i, cell].load()
                    xr.testing.assert_identical(one, expected["spectrogram"][i, cell].load())


def grow_and_damage(study: Study, url: str) -> None:
    """Add a day there and here, and find what verify says of an object that changed."""
    study.add("b", 86_400 * 2, sound(12, 9))
    run(study.write())
    manifest = study.write(lake=url)
    run(manifest)
    assert summary(url) == summary(str(study.folder / "lake"))
    store = Storage(f"{url}/spectrograms/mels.zarr")
    key = store.list_keys("spectrogram")[0]
    data = bytearray(store.read(key))
    data[5] ^= 1
    store.write(key, bytes(data))
    with pytest.raises(StoreError, match=rf"{key}: differs from the ledger; a: 2021-07-1"):
        verify_runs(read_manifest(manifest), [], lambda _: None)


@pytest.mark.slow
def test_what_follows_reads_and_writes_there_too(tmp_path: Path, endpoint: str) -> None:
    manifest = write_chain(usual_study(tmp_path))
    run_chain(manifest)
    there = tmp_path / "there.toml"
    there.write_text(manifest.read_text().replace('lake = "lake"', 'lake = "s3://bucket/chain"'))
    run_chain(there)
    assert set(standing(there).values()) == {("done", "")}
    for name in ("mels", "vectors", "clusters", "scores"):
        assert runs(there)[name].ledger.summary() == runs(manifest)[name].ledger.summary(), name
    said: list[str] = []
    verify_runs(read_manifest(there), [], said.append)
    assert [line.endswith(", 0 of them differ") for line in said] == [True] * 4
    with xr.open_dataset("s3://bucket/chain/clusters/clusters.zarr", engine="zarr") as found:
        assert (found["cluster"].to_numpy() >= 0).sum() == runs(there)["clusters"].ledger.summary()["n_windows"]


def test_an_object_store_has_one_owner_of_a_run(endpoint: str, tmp_path: Path) -> None:
    study, url = usual_study(tmp_path), "s3://bucket/owned"
    manifest = study.write(lake=url)
    pause = tmp_path / "pause"
    with faults.paused_child(str(manifest), Moment("driver", "shard", 2, "before"), pause) as child:
        with pytest.raises(TryAgainError, match=rf"worked on by process {child.pid} on"):
            run(manifest)
        assert [state.state for state in states(read_manifest(manifest))] == ["running"]
    assert child.exitcode == 0
    run(manifest)
    assert summary(url)["n_windows"] > 0
    assert os.environ["FSSPEC_S3_ENDPOINT_URL"] == endpoint


@pytest.mark.parametrize("words", [["run"], ["run", "--dry-run"], ["status"], ["verify"], ["submit", "--dry-run"]])
@pytest.mark.usefixtures("endpoint")
def test_a_bucket_that_is_missing(cli: Cli, tmp_path: Path, words: list[str]) -> None:
    """Each command names it; none takes it for an empty lake."""
    manifest = usual_study(tmp_path).write()
    manifest.write_text(manifest.read_text().replace('lake = "lake"', 'lake = "s3://bukcet/lake"'))
    code, _, error = cli(words[0], manifest, *words[1:])
    assert code == 3
    assert "s3://bukcet/lake: expected a bucket that exists, found no s3://bukcet." in error
