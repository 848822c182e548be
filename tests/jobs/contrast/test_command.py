"""The job on a small cube: files, stops, kills, refusals, and what it begins with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stores import make_cube, random_codes

from jobs.common.frames.stored import load_network
from jobs.common.network import devices
from jobs.common.run import Run
from jobs.common.training import journal, session, watch
from jobs.common.training.data import Source, held
from jobs.contrast.command import train
from jobs.contrast.config import Config
from lake.errors import IdentityError, InputError, StoreError, TryAgainError
from lake.read import open_cube, usable_windows
from lake.storage import Storage

MakeConfig = Callable[..., Config]
Codes = NDArray[np.uint8]
ROOT = Path(__file__).parents[3]
TIMINGS = ("windows_per_s", "data_wait", "memory_bytes", "flops_per_s", "mfu")


FINE_HZ = np.linspace(75.0, 3225.0, 64)
"""Two bands for each of 32 from 100 to 3200 Hz, about."""


def options(**changes: Any) -> dict[str, Any]:
    return {"config_id": "c0ffee", "run": "net", "device": "cpu", "log_every": 2, **changes}


def metrics(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in entry.items() if k not in TIMINGS} for entry in journal.read(Storage(folder))]


def same(one: Path, other: Path) -> None:
    for name in ("backbone.safetensors", "initial.safetensors", "config.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert metrics(one) == metrics(other)


def test_a_model_comes_out_of_a_cube(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    folder = tmp_path / "model"
    summary = train(cube.output.url, str(folder), make_config(), **options())
    assert (summary["n_windows"], summary["n_steps"], summary["precision"]) == (80, 6, "fp32")
    assert sorted(path.name for path in folder.iterdir()) == [
        "backbone.safetensors", "checkpoints", "config.json", "health.png", "initial.safetensors", "metrics.jsonl",
        "summary.json",
    ]  # fmt: skip
    entries = journal.read(Storage(folder))
    assert [entry["step"] for entry in entries] == [1, 2, 4, 6]
    assert set(entries[-1]) >= {"loss", "information", "found", "feature_std", "rank_me", "lr", "gradient_norm"}
    net, card = load_network(str(folder))
    initial, _ = load_network(str(folder), "initial")
    assert (card.n_bands, card.run, card.began_with, card.own_median) == (32, "net", "random", 0.5)
    assert card.seconds_per_frame == pytest.approx(6.0 / 64)
    assert any(not torch.equal(a, b) for a, b in zip(net.parameters(), initial.parameters(), strict=True))
    assert all(value.isfinite().all() for value in net.state_dict().values())


def test_a_training_learns_to_tell_windows_apart(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    train(cube.output.url, str(tmp_path / "m"), make_config(steps=30, lr=3e-3), **options())
    found = [entry["information"] for entry in metrics(tmp_path / "m")]
    assert found[-1] > found[0] + 0.5


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from jobs.contrast.command import train
from jobs.contrast.config import Config

cube, folder, how, config = sys.argv[1], sys.argv[2], sys.argv[3], Config.model_validate_json(sys.argv[4])
torch.set_num_threads(1)
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def on_progress(done, total):
    if how == "between checkpoints" and done == 4:
        die()
rename = Path.replace
def replace(self, target):
    if how == "while writing one" and str(target).endswith("step-000000004.pt"):
        self.write_bytes(self.read_bytes()[:5000])
        die()
    return rename(self, target)
Path.replace = replace
train(cube, folder, config, config_id="c0ffee", run="net", device="cpu", log_every=2, checkpoint_every_s=0.0,
      on_progress=on_progress)
"""


@pytest.mark.parametrize("how", ["between checkpoints", "while writing one"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_training_ends_as_if_undisturbed(
    how: str, precision: str, cube: Run, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(precision=precision)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, cube.output.url, str(tmp_path / "killed"), how, config.model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    done: list[int] = []
    url = cube.output.url
    train(url, str(tmp_path / "killed"), config, **options(on_progress=lambda step, _total: done.append(step)))
    assert done == [4, 5, 6]
    train(url, str(tmp_path / "whole"), config, **options())
    same(tmp_path / "killed", tmp_path / "whole")


def test_a_stopped_training_keeps_its_precision(
    cube: Run, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = str(tmp_path / "m"), make_config(precision="auto")
    monkeypatch.setattr(devices, "_flags_of", lambda _info: frozenset({"avx512_bf16"}))
    with pytest.raises(TryAgainError):
        train(cube.output.url, folder, config, **options(deadline_s=time.monotonic()))
    monkeypatch.setattr(devices, "_flags_of", lambda _info: frozenset())
    summary = train(cube.output.url, folder, config, **options())
    assert summary["precision"] == "bf16"
    assert "trained in bf16" in summary["notes"][0]
    other = train(cube.output.url, str(tmp_path / "other"), config, **options())
    assert other["precision"] == "fp32"


def test_windows_that_are_read_one_by_one_train_the_same_network(
    cube: Run, tmp_path: Path, make_config: MakeConfig
) -> None:
    for name, memory_bytes in (("held", 10**9), ("read", 0)):
        train(cube.output.url, str(tmp_path / name), make_config(), **options(memory_bytes=memory_bytes, n_threads=2))
    same(tmp_path / "held", tmp_path / "read")


def test_a_short_training_reads_no_more_windows_than_it_takes(
    cube: Run, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows are held in memory only where each is read more than once."""
    whole: list[int] = []

    def hold(source: Source) -> Source:
        whole.append(source.n_windows)
        return held(source)

    monkeypatch.setattr(session, "held", hold)
    config = make_config()
    with open_cube(cube.output.url) as dataset:
        n_windows = len(usable_windows(dataset))
    n_steps = -(-n_windows // config.batch_size)
    for steps in (1, n_steps - 1, n_steps):
        train(cube.output.url, str(tmp_path / f"{steps}"), make_config(steps=steps), **options())
        assert whole == ([n_windows] if steps == n_steps else [])


def test_large_windows_are_averaged_first(tmp_path: Path, codes: Codes, make_config: MakeConfig) -> None:
    """Each code twice along both axes is the same training."""
    double = codes.repeat(2, axis=2).repeat(2, axis=3)
    hz = np.linspace(100.0, 3200.0, 32)
    small = make_cube(tmp_path / "lake", codes, name="small", mel_hz=hz)
    large = make_cube(tmp_path / "lake", double, name="large", mel_hz=FINE_HZ)
    for cube in (small, large):
        config = make_config(frame_s=6.0 / 64)
        train(cube.output.url, str(tmp_path / cube.name), config, **options())
    found = [load_network(str(tmp_path / cube.name))[0].state_dict() for cube in (small, large)]
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_silence_among_the_windows_is_survived(tmp_path: Path, codes: Codes, make_config: MakeConfig) -> None:
    there = np.argwhere(codes.any(axis=(2, 3)))
    for i, j in there[::3]:
        codes[i, j] = np.where(codes[i, j], 1, 0)
    cube = make_cube(tmp_path / "lake", codes)
    summary = train(cube.output.url, str(tmp_path / "m"), make_config(), **options())
    assert np.isfinite(summary["last"]["loss"])


def test_nothing_but_silence_is_named(
    tmp_path: Path, codes: Codes, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 4)
    silence = (codes > 0).astype(np.uint8)
    cube = make_cube(tmp_path / "lake", silence)
    plain = make_config(steps=20, views=(), mel_span=(1.0, 1.0), mel_shift=0.0)
    expected = r"run 'net': (collapse: all views have nearly one vector|views tell no window from another) .*since step"
    with pytest.raises(InputError, match=expected):
        train(cube.output.url, str(tmp_path / "m"), plain, **options())
    train(cube.output.url, str(tmp_path / "goes"), plain, **options(on_collapse="go on"))


def test_too_few_windows_for_a_batch_are_refused(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    with pytest.raises(InputError, match="batch_size: expected at most the number of windows, found 96 for 80"):
        train(cube.output.url, str(tmp_path / "m"), make_config(batch_size=96), **options())
    assert not (tmp_path / "m").exists()


def test_parts_that_cut_through_groups_are_refused(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    with pytest.raises(InputError, match="batch_size: expected a multiple of 64 for 1 processes of 2 parts, found 32"):
        train(cube.output.url, str(tmp_path / "m"), make_config(), **options(n_micro=2))


def test_few_bands_are_refused_with_what_to_do(tmp_path: Path, make_config: MakeConfig) -> None:
    cube = make_cube(tmp_path / "lake", random_codes(n_mels=7, n_per_day=20))
    with pytest.raises(InputError, match="expected a cube of 8 mel bands or more, found 7"):
        train(cube.output.url, str(tmp_path / "m"), make_config(), **options())
    enough = make_cube(tmp_path / "lake", random_codes(n_mels=8, n_per_day=20), name="enough")
    train(enough.output.url, str(tmp_path / "enough"), make_config(steps=1), **options())
    assert load_network(str(tmp_path / "enough"))[1].n_bands == 16


def test_a_run_begins_with_the_weights_of_another(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    first = tmp_path / "first"
    train(cube.output.url, str(first), make_config(), **options())
    as_it_is = tmp_path / "as-it-is"
    summary = train(cube.output.url, str(as_it_is), make_config(steps=0), **options(run="b", init=str(first)))
    assert (summary["n_steps"], summary["began_with"]) == (0, "net")
    assert (as_it_is / "checkpoints").exists() is False
    for name in ("initial", "teacher"):
        net, card = load_network(str(as_it_is), name)
        expected = load_network(str(first))[0].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())
        assert card.began_with == "net"
    longer = tmp_path / "longer"
    train(cube.output.url, str(longer), make_config(steps=3), **options(run="c", init=str(first)))
    begun = load_network(str(longer), "initial")[0].state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in begun.items())
    assert (longer / "backbone.safetensors").read_bytes() != (first / "backbone.safetensors").read_bytes()


def test_weights_for_other_bands_or_frames_are_used_where_that_is_sound(
    tmp_path: Path, codes: Codes, cube: Run, make_config: MakeConfig
) -> None:
    first = tmp_path / "first"
    train(cube.output.url, str(first), make_config(), **options())
    hz = np.linspace(100.0, 3200.0, 32)
    fine = make_cube(
        tmp_path / "lake", codes.repeat(2, axis=2).repeat(3, axis=3), name="fine",
        mel_hz=FINE_HZ,
    )  # fmt: skip
    summary = train(fine.output.url, str(tmp_path / "fine"), make_config(steps=2), **options(init=str(first)))
    assert summary["n_steps"] == 2
    card = load_network(str(tmp_path / "fine"))[1]
    assert card.n_bands == 32
    assert card.seconds_per_frame == pytest.approx(6.0 / 64)
    narrow = make_cube(tmp_path / "lake", codes, name="narrow", mel_hz=np.linspace(50.0, 1600.0, 32))
    with pytest.raises(
        InputError, match=r"its bands reach from 50 to 1600 Hz, those of the network from 100 to 3200 Hz\. "
    ):
        train(narrow.output.url, str(tmp_path / "narrow"), make_config(), **options(init=str(first)))
    coarse = make_cube(tmp_path / "lake", codes[..., ::4], name="coarse", mel_hz=hz)
    with pytest.raises(
        InputError, match=r"frames last 375 ms, those of the network 93\.8 ms\. .*n_frames = 64 for window_s = 6"
    ):
        train(coarse.output.url, str(tmp_path / "coarse"), make_config(), **options(init=str(first)))
    few = make_cube(tmp_path / "lake", codes[:, :, ::4], name="few", mel_hz=hz[::4])
    with pytest.raises(
        InputError,
        match=r"its bands reach from 100 to 2900 Hz.*Make a cube with n_mels = 32, f_min_hz = 0, f_max_hz = 3300",
    ):
        train(few.output.url, str(tmp_path / "few"), make_config(), **options(init=str(first)))


def test_the_starter_is_not_taken_where_a_run_is_named(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    first = tmp_path / "first"
    train(cube.output.url, str(first), make_config(steps=0), **options())
    with pytest.raises(InputError, match="init: expected one network to begin with, found 'starter'"):
        train(cube.output.url, str(tmp_path / "m"), make_config(init="starter"), **options(init=str(first)))


def test_a_damaged_beginning_is_refused(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    first = tmp_path / "first"
    train(cube.output.url, str(first), make_config(steps=0), **options())
    weights = first / "backbone.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"backbone\.safetensors: not the weights that its card describes"):
        train(cube.output.url, str(tmp_path / "m"), make_config(), **options(init=str(first)))


def test_another_configuration_is_refused(cube: Run, tmp_path: Path, make_config: MakeConfig) -> None:
    train(cube.output.url, str(tmp_path / "m"), make_config(steps=1), **options())
    with pytest.raises(IdentityError, match="was trained with configuration c0ffee"):
        train(cube.output.url, str(tmp_path / "m"), make_config(steps=2), **options(config_id="other"))
