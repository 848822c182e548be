import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from stores import make_cube, make_run, random_codes

from jobs.common.network.backbone import load_backbone, load_card
from jobs.common.run import Options, Run
from jobs.common.training.session import cube_source
from jobs.dino.command import execute, train
from jobs.dino.config import Config
from lake.errors import IdentityError, InputError, StoreError, TryAgainError
from lake.read import open_cube, usable_windows
from lake.records import unseal

MakeConfig = Callable[..., Config]
Codes = NDArray[np.uint8]


@pytest.fixture
def codes() -> Codes:
    """Return 48 windows among 576 cells, four of them partial, one recorder without the upper bands."""
    codes = random_codes(n_mels=32, n_frames=64, n_days=2, n_per_day=12)
    codes[1, :, 28:] = 0
    return codes


@pytest.fixture
def cube(tmp_path: Path, codes: Codes) -> Run:
    return make_cube(tmp_path / "lake", codes)


def options(**changes: Any) -> dict[str, Any]:
    return {"config_id": "c0ffee", "run": "net", "device": "cpu", **changes}


def test_the_windows_are_those_that_xarray_shows(cube: Run, codes: Codes) -> None:
    url = cube.output.url
    shown = xr.open_dataset(url, engine="zarr", mask_and_scale=False)
    usable = np.isin(shown["status"], (1, 2))
    with open_cube(url) as dataset:
        source = cube_source(url, dataset, partial_too=True)
        numbers = np.random.default_rng(0).permutation(source.n_windows)
        found = source.read(numbers)
    assert (source.n_windows, source.n_mels, source.n_frames) == (48, 32, 64)
    np.testing.assert_array_equal(found, shown["spectrogram"].to_numpy()[usable][numbers])
    np.testing.assert_array_equal(found, codes[usable][numbers])
    assert found.any(axis=(1, 2)).all()


def test_partial_windows_can_be_left_out(cube: Run) -> None:
    with open_cube(cube.output.url) as dataset:
        whole = cube_source(cube.output.url, dataset, partial_too=False)
        all_of_them = cube_source(cube.output.url, dataset, partial_too=True)
    assert (whole.n_windows, all_of_them.n_windows) == (44, 48)
    assert whole.digest != all_of_them.digest
    assert (whole.read(np.arange(44))[:, :28] > 0).all()


def test_a_model_comes_out_of_a_cube(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    folder, config = str(tmp_path / "model"), make_config(steps=4)
    seen: list[tuple[int, int]] = []
    summary = train(
        cube.output.url, folder, config, **options(on_progress=lambda done, total: seen.append((done, total)))
    )
    assert seen == [(step, 4) for step in range(1, 5)]
    assert unseal((tmp_path / "model" / "summary.json").read_bytes(), "") == summary
    assert (summary["n_windows"], summary["n_steps"]) == (48, 4)
    model, card = load_backbone(folder)
    assert (card.run, card.config_id) == ("net", "c0ffee")
    assert (card.mel_first_hz, card.mel_last_hz, card.n_mels) == (100.0, 3200.0, 32)
    assert card.seconds_per_frame == pytest.approx(6.0 / 32)
    with open_cube(cube.output.url) as dataset:
        windows = usable_windows(dataset)
        codes = dataset["spectrogram"].to_numpy()[windows.recorder, windows.cell]
    levels = np.where(codes == 0, np.nan, codes * 0.5 - 124.5)
    np.testing.assert_allclose(card.mean_db, np.nanmean(levels, axis=(0, 2)))
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_windows_that_do_not_fit_into_memory_train_the_same_network(
    cube: Run, tmp_path: Path, make_config: MakeConfig
) -> None:
    for name, memory_bytes in (("held", 10**9), ("read", 0)):
        train(cube.output.url, str(tmp_path / name), make_config(steps=8), **options(memory_bytes=memory_bytes))
    held, read = ((tmp_path / name / "backbone.safetensors").read_bytes() for name in ("held", "read"))
    assert held == read


def test_a_finished_training_is_left_alone_until_refreshed(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    folder, config = tmp_path / "model", make_config(steps=2)
    first = train(cube.output.url, str(folder), config, **options())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert train("no cube is opened", str(folder), config, **options()) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    weights = (folder / "backbone.safetensors").read_bytes()
    again = train(cube.output.url, str(folder), config, **options(refresh=True))
    assert again["n_steps"] == 2
    assert (folder / "backbone.safetensors").stat().st_mtime_ns > before[folder / "backbone.safetensors"]
    assert (folder / "backbone.safetensors").read_bytes() == weights


def test_a_refresh_that_was_stopped_goes_on(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    folder, config = str(tmp_path / "model"), make_config(steps=3)
    with pytest.raises(TryAgainError, match="its time is up"):
        train(cube.output.url, folder, config, **options(deadline_s=time.monotonic()))
    seen: list[int] = []
    train(cube.output.url, folder, config, **options(refresh=True, on_progress=lambda done, _total: seen.append(done)))
    assert seen == [2, 3]


def test_a_cube_that_grew_is_trained_on_anew_only_where_asked(
    cube: Run, codes: Codes, tmp_path: Path, make_config: MakeConfig
) -> None:
    folder, config = str(tmp_path / "model"), make_config(steps=3)
    with pytest.raises(TryAgainError):
        train(cube.output.url, folder, config, **options(deadline_s=time.monotonic()))
    more = codes.copy()
    more[0, codes[0].any(axis=(1, 2)).argmin()] = 77
    grown = make_cube(tmp_path / "lake", more)
    with pytest.raises(InputError, match=r"began on 48 windows, the cube now has 49 .*--refresh"):
        train(grown.output.url, folder, config, **options())
    assert train(grown.output.url, folder, config, **options(refresh=True))["n_windows"] == 49


def test_sigterm_keeps_the_place_and_says_try_again(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    def on_progress(done: int, _total: int) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    folder, config = tmp_path / "model", make_config(steps=6)
    with pytest.raises(TryAgainError, match=r"run 'net': stopped after step 3 of 6: SIGTERM\.") as error:
        train(cube.output.url, str(folder), config, **options(on_progress=on_progress))
    assert error.value.exit_code == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000000003.pt"]
    assert not (folder / "summary.json").exists()
    train(cube.output.url, str(folder), config, **options())
    train(cube.output.url, str(tmp_path / "whole"), config, **options())
    assert (folder / "backbone.safetensors").read_bytes() == (tmp_path / "whole" / "backbone.safetensors").read_bytes()


def test_training_works_beside_the_main_thread(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    done: list[dict[str, Any]] = []
    thread = threading.Thread(
        target=lambda: done.append(train(cube.output.url, str(tmp_path / "m"), make_config(steps=1), **options()))
    )
    thread.start()
    thread.join(timeout=60)
    assert len(done) == 1


def test_what_cannot_be_trained_on_is_refused(
    cube: Run, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = str(tmp_path / "model"), make_config(steps=2)
    with pytest.raises(StoreError, match="expected a finished store"):
        train(str(tmp_path / "nothing.zarr"), folder, config, **options())
    with pytest.raises(InputError, match="found 49 for 48 usable windows"):
        train(cube.output.url, folder, make_config(batch_size=49), **options())
    empty = make_cube(tmp_path / "lake", np.zeros((2, 144, 32, 64), dtype=np.uint8), name="empty")
    with pytest.raises(InputError, match="found 8 for 0 usable windows"):
        train(empty.output.url, folder, config, **options())
    with pytest.raises(InputError, match="expected a folder on a local disk"):
        train(cube.output.url, "memory://model", config, **options())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="cuda:1 was asked for, but torch sees no CUDA device"):
        train(cube.output.url, folder, config, **options(device="cuda:1"))
    train(cube.output.url, folder, config, **options(device=None))
    with pytest.raises(IdentityError, match=r"configuration c0ffee, the manifest says 1dea\. Give the run a new name"):
        train(cube.output.url, folder, config, **options(config_id="1dea"))


def test_the_runner_gets_files_counts_and_progress(
    cube: Run, tmp_path: Path, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "lake", "net", "dino", make_config(steps=2), inputs={"spectrograms": cube})
    outcome = execute(run, Options(device="cpu"))
    assert outcome.did
    assert outcome.counts == {"windows": 48, "steps": 2}
    assert outcome.backend.startswith("cpu-")
    assert set(run.ledger.files() or {}) == {"backbone.safetensors", "initial.safetensors", "config.json"}
    assert load_card(run.output.url).config_id == run.config_id
    assert "net: training: 2 of 2 steps" in capsys.readouterr().err
    files = run.ledger.files()
    assert execute(run, Options(device="cpu")).counts == outcome.counts
    assert run.ledger.files() == files
