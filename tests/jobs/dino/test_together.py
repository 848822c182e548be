"""Two processes on this machine that train together, against one that trains alone."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stores import finish, make_cube, random_codes

from jobs.common.network.card import ModelCard
from jobs.common.training import journal
from jobs.common.training.data import from_array
from jobs.dino.config import Config
from jobs.dino.probe import embedded
from jobs.dino.train import new_state
from lake.storage import Storage

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]
Given = Callable[..., Path]

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "together.py"
TIMINGS = ("windows_per_s", "data_wait", "memory_bytes", "flops_per_s", "mfu")

pytestmark = pytest.mark.slow


def start(folder: Path, n_ranks: int) -> list[subprocess.CompletedProcess[str]]:
    """Start processes as a launcher does, and wait for them."""
    meeting = Path(tempfile.mkdtemp(dir=folder))
    common = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DAWNCHORUS_RANKS": str(n_ranks),
        "DAWNCHORUS_NODES": "1", "DAWNCHORUS_MEETING": str(meeting / "store"),
    }  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder)], text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**common, "DAWNCHORUS_RANK": str(rank), "DAWNCHORUS_LOCAL_RANK": str(rank)},
        )
        for rank in range(n_ranks)
    ]  # fmt: skip
    done = []
    for process in running:
        _, said = process.communicate(timeout=240)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, "", said))
    return done


@pytest.fixture
def given(tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes) -> Given:
    """Return a function that lays out a folder with windows and what to do with them."""

    def lay_out(*tasks: dict[str, Any], name: str = "given") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        np.save(folder / "codes.npy", np.concatenate([codes] * 12))
        (folder / "card.json").write_text(make_card(make_config(), codes).model_dump_json())
        told = [{**task, "config": task["config"].model_dump(mode="json")} for task in tasks]
        (folder / "tasks.json").write_text(json.dumps(told))
        return folder

    return lay_out


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in journal.read(Storage(folder))]


def last(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(max((folder / "checkpoints").glob("*.pt")), weights_only=True)
    return content


def close(a: Path, b: Path) -> None:
    """Compare two trainings: losses, centres and weights within 1e-5."""
    np.testing.assert_allclose(losses(a), losses(b), atol=1e-5, rtol=0)
    one, other = last(a), last(b)
    for part in ("student", "teacher"):
        for name, value in one[part].items():
            torch.testing.assert_close(other[part][name], value, atol=1e-5, rtol=0, msg=name)
    for name in ("center", "patch_center"):
        torch.testing.assert_close(other[name], one[name], atol=1e-6, rtol=0)


def test_one_and_two_processes_and_parts_of_a_share_agree(
    given: Given, make_config: MakeConfig, make_card: MakeCard, codes: Codes
) -> None:
    # A small rate: Adam turns the last digits of tiny gradients into whole steps.
    plain = make_config(batch_size=32, steps=5, lr=1e-4, freeze_last_layer=0.2, drop_path=0.0)
    wide = {"batch_size": 256, "steps": 3, "n_local": 1}  # each part holds whole groups of the nearest windows
    plus = plain.model_copy(update={"recipe": "dino-plus", "registers": 0, **wide})
    tasks = [{"out": "plain", "config": plain}, {"out": "plus", "config": plus}]
    tasks += [{**task, "out": f"{task['out']}-parts", "n_micro": 2} for task in tasks]
    one, two = given(*tasks, name="one"), given(*tasks, {"embed": True, "config": plain}, name="two")
    for folder, n_ranks in ((one, 1), (two, 2)):
        for process in start(folder, n_ranks):
            assert process.returncode == 0, process.stderr
    for name in ("plain", "plus"):
        close(one / name, one / f"{name}-parts")
        close(one / name, two / name)
        close(one / name, two / f"{name}-parts")
    assert losses(one / "plain") != losses(one / "plus")
    assert last(one / "plus")["patch_center"].any()
    card = make_card(make_config(), codes)
    alone = new_state(card, plain, torch.device("cpu")).pair.teacher
    expected = embedded(alone, from_array(codes), np.arange(7), card, plain)
    np.testing.assert_allclose(np.load(two / "features.npy"), expected, atol=1e-6)


def test_a_training_goes_on_with_another_number_of_processes(given: Given, make_config: MakeConfig) -> None:
    config = make_config(batch_size=16, steps=6, lr=1e-4, drop_path=0.0)
    whole = given({"out": "whole", "config": config}, {"out": "a", "config": config, "stop_after": 3})
    assert [process.returncode for process in start(whole, 1)] == [75]
    more = given({"out": "a", "config": config}, {"out": "b", "config": config, "stop_after": 3})
    ended = start(more, 2)
    assert [process.returncode for process in ended] == [75, 75]
    assert "stopped after step 3 of 6: a stop" in ended[0].stderr
    assert "stopped after step 3 of 6: another process was asked to" in ended[1].stderr
    assert [process.returncode for process in start(given({"out": "b", "config": config}), 1)] == [0]
    close(whole / "whole", whole / "a")
    close(whole / "whole", whole / "b")


def test_two_processes_killed_in_mid_write_end_as_if_undisturbed(given: Given, make_config: MakeConfig) -> None:
    config = make_config(batch_size=16, steps=7, drop_path=0.3)
    task = {"out": "killed", "config": config}
    folder = given({**task, "killed_at": 4})
    ended = start(folder, 2)
    assert ended[0].returncode == -signal.SIGKILL
    assert ended[1].returncode == 75
    assert "process 1 of 2 (dawnchorus) lost another one that trained with it" in ended[1].stderr
    assert "it goes on from the newest checkpoint" in ended[1].stderr
    assert last(folder / "killed")["step"] == 3
    again = given(task, {"out": "whole", "config": config})
    assert [process.returncode for process in start(again, 2)] == [0, 0]
    for name in ("killed", "whole"):
        assert [entry["step"] for entry in journal.read(Storage(folder / name))] == list(range(1, 8))
    lines = [
        [{k: v for k, v in entry.items() if k not in TIMINGS} for entry in journal.read(Storage(folder / name))]
        for name in ("killed", "whole")
    ]
    assert lines[0] == lines[1]
    killed, undisturbed = last(folder / "killed"), last(folder / "whole")
    for part in ("student", "teacher"):
        assert all(torch.equal(value, undisturbed[part][name]) for name, value in killed[part].items())
    for name in ("center", "random"):
        assert torch.equal(killed[name], undisturbed[name])
    assert torch.equal(killed["random_of_others"][0][0], undisturbed["random_of_others"][0][0])
    assert not torch.equal(killed["random"], killed["random_of_others"][0][0])


MANIFEST = """
lake = "lake"
[runs.mels]
job = "spectrograms"
config = {{ window_s = 6.0, hop_s = 600.0, n_mels = 32, n_frames = 64, shard_windows = 72 }}
[runs.net]
job = "dino"
inputs = {{ spectrograms = "mels" }}
config = {config}
[runs.vectors]
job = "embed"
inputs = {{ spectrograms = "mels" }}
config = {{ features = "logmel" }}
[runs.clusters]
job = "cluster"
inputs = {{ embeddings = "vectors" }}
"""


CONFIG = (
    '{ arch = "vit_tiny_patch16_224", embed_dim = 32, depth = 2, num_heads = 2, patch_size = [16, 4], n_local = 1,'
    " global_size = [32, 32], local_size = [32, 8], head_hidden = 32, head_bottleneck = 16, n_prototypes = 64,"
    ' batch_size = 16, steps = 3, precision = "fp32" }'
)
RANKS = ("-m", "jobs", "run", "--ranks", "2", "--device", "cpu")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *RANKS[:3], *RANKS[5:])
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """Return a function that types a command beside the manifest of a small training."""
    finish(make_cube(tmp_path / "lake", random_codes(n_mels=32, n_frames=64)))
    (tmp_path / "study.toml").write_text(MANIFEST.format(config=CONFIG))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def typed(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment | more, text=True, capture_output=True, check=False,
            timeout=240,
        )  # fmt: skip

    return typed


@pytest.mark.parametrize("launcher", [RANKS, TORCHRUN])
def test_a_launcher_trains_one_run_and_leaves_one_receipt(
    launcher: tuple[str, ...], typed: Typed, tmp_path: Path
) -> None:
    done = typed(*launcher, "study.toml", "net", GLOO_SOCKET_IFNAME="lo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("net: done in") == 1
    assert done.stdout.count("warning: torchrun listens on all interfaces without a key") == (launcher is TORCHRUN)
    assert len(list((tmp_path / "lake/receipts/net").iterdir())) == 1
    summary = json.loads((tmp_path / "lake/models/net/summary.json").read_text())
    assert (summary["n_processes"], summary["n_steps"]) == (2, 3)
    again = typed(*launcher, "study.toml", "net", GLOO_SOCKET_IFNAME="lo")
    assert again.stdout.count("net: done, nothing to do") == 1
    plain = [word for word in launcher if word not in {"--device", "cpu"}]  # neither of the two follows --device
    refused = typed(*plain, "study.toml", "mels" if launcher is TORCHRUN else "clusters")
    assert refused.returncode != 0
    told = "run 'mels' is a 'spectrograms' run" if launcher is TORCHRUN else "run 'clusters' is a 'cluster' run"
    assert f"started this as one of 2 processes. {told}" in refused.stderr


def test_processes_of_mpiexec_meet_in_the_runs_ledger(typed: Typed, tmp_path: Path) -> None:
    """Process 1 is killed while it waits for process 0; the next launch begins and ends as if nobody had."""

    def started(rank: int) -> subprocess.Popen[bytes]:
        more = {"PMI_RANK": str(rank), "PMI_SIZE": "2", "MPI_LOCALRANKID": str(rank), "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "jobs", "run", "study.toml", "net", "--device", "cpu"]
        return subprocess.Popen(words, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1", **more})

    lone, meeting = started(1), tmp_path / "lake/ledgers/net/.meeting"
    until_s = time.monotonic() + 60
    while not (meeting / "rank-1.json").exists() and time.monotonic() < until_s:
        time.sleep(0.1)
    lone.kill()
    lone.wait()
    left = (meeting / "rank-1.json").read_bytes()
    both = [started(0), started(1)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert left
    assert not meeting.exists()
    summary = json.loads((tmp_path / "lake/models/net/summary.json").read_text())
    assert summary["n_processes"] == 2


def test_processes_of_two_nodes_meet_in_a_folder_that_both_see(typed: Typed, tmp_path: Path) -> None:
    meeting = tmp_path / "meet #1: 50%j?"
    meeting.mkdir(mode=0o700)
    words = [sys.executable, "-m", "jobs", "run", "--ranks", "1", "--meet", str(meeting), "--device", "cpu", "--node"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    nodes = [
        subprocess.Popen([*words, f"{i}/2", "--", "study.toml", "net"], cwd=tmp_path, env=environment) for i in (1, 0)
    ]
    assert [node.wait(200) for node in nodes] == [0, 0]
    assert json.loads((tmp_path / "lake/models/net/summary.json").read_text())["n_processes"] == 2
    assert typed("-m", "jobs", "run", "study.toml", "net", "--node", "0/2").returncode == 3, "there is no folder"
