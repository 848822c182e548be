import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.common.network.backbone import load_backbone
from jobs.common.network.card import ModelCard
from jobs.common.training import checkpoint, journal, watch
from jobs.common.training.data import from_array
from jobs.common.training.watch import Surroundings
from jobs.dino import loop
from jobs.dino.config import Config
from jobs.dino.loop import fit
from jobs.dino.train import advance
from lake.errors import InputError, StoreError, TryAgainError
from lake.storage import Storage

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]

ROOT = Path(__file__).parents[3]
TIMINGS = ("windows_per_s", "data_wait", "memory_bytes", "flops_per_s", "mfu")


@pytest.fixture
def around(cpu: torch.device) -> Surroundings:
    return Surroundings(run="net", config_id="c0ffee", device=cpu, backend="cpu-test", log_every=1)


def train(folder: Path, codes: Codes, config: Config, card: ModelCard, around: Surroundings) -> dict[str, Any]:
    return fit(Storage(folder), from_array(codes), config, make_card=lambda: card, around=around)


def metrics(folder: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in entry.items() if k not in TIMINGS} for entry in journal.read(Storage(folder))]


def everything(folder: Path) -> dict[str, Any]:
    """Return the last checkpoint's content, flat, without the time it took."""
    path = max((folder / "checkpoints").glob("*.pt"))
    content = torch.load(path, weights_only=True)
    del content["elapsed_s"]

    def flat(value: object, name: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return {k: v for key, each in value.items() for k, v in flat(each, f"{name}.{key}").items()}
        if isinstance(value, list):
            return flat(dict(enumerate(value)), name)
        return {name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value}

    return flat(content, "")


def test_a_training_leaves_what_it_should(
    tmp_path: Path,
    make_config: MakeConfig,
    make_card: MakeCard,
    codes: Codes,
    around: Surroundings,
) -> None:
    config = make_config()
    seen: list[tuple[int, int]] = []
    quiet = replace(around, log_every=4, on_progress=lambda done, total: seen.append((done, total)))
    before = torch.get_rng_state()
    summary = train(tmp_path, codes, config, make_card(config, codes), quiet)
    assert torch.equal(torch.get_rng_state(), before)
    assert seen == [(step, 10) for step in range(1, 11)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "backbone.safetensors",
        "checkpoints",
        "config.json",
        "health.png",
        "initial.safetensors",
        "metrics.jsonl",
    ]
    entries = journal.read(Storage(tmp_path))
    assert [entry["step"] for entry in entries] == [1, 4, 8, 10]
    assert all(math.isfinite(value) for entry in entries for value in entry.values())
    assert set(entries[0]) >= {
        "loss", "lr", "weight_decay", "teacher_momentum", "teacher_temperature", "teacher_entropy",
        "batch_entropy", "feature_std", "gradient_norm", "windows_per_s", "data_wait",
    }  # fmt: skip
    assert summary["last"] == entries[-1]
    assert (summary["n_windows"], summary["n_steps"], summary["n_samples"]) == (24, 10, 80)
    teacher, card = load_backbone(str(tmp_path))
    initial, _ = load_backbone(str(tmp_path), "initial")
    content = torch.load(max(tmp_path.glob("checkpoints/*.pt")), weights_only=True)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, content["teacher"][f"backbone.{name}"])
    assert any(not torch.equal(value, teacher.state_dict()[k]) for k, value in initial.state_dict().items())
    assert card == make_card(config, codes)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np, torch
from jobs.common.network.card import ModelCard
from jobs.dino.config import Config
from jobs.common.training.data import from_array
from jobs.dino.loop import fit
from jobs.common.training.watch import Surroundings
from lake.storage import Storage

folder, how, n_threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(n_threads)
given = folder.parent / "given"
config = Config.model_validate_json((given / "config.json").read_text())
card = ModelCard.model_validate_json((given / "card.json").read_text())
codes = np.load(given / "codes.npy")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def on_progress(done, total):
    if how == "between checkpoints" and done == 6:
        die()

rename = Path.replace
def replace(self, target):
    if how == "while writing one" and str(target).endswith("step-000000006.pt"):
        self.write_bytes(self.read_bytes()[:5000])
        die()
    return rename(self, target)
Path.replace = replace

every_s = {"between checkpoints": 1e9, "while writing one": 0.0}[how]
if how == "between checkpoints":
    def why_stop(calls=[]):
        calls.append(1)
        return "a stop" if len(calls) == 4 and not (folder / "checkpoints").exists() else None
else:
    why_stop = lambda: None
around = Surroundings(
    "net", "c0ffee", torch.device("cpu"), "cpu-test", log_every=1, checkpoint_every_s=every_s,
    on_progress=on_progress, why_stop=why_stop,
)
for _ in range(2):
    try:
        fit(Storage(folder), from_array(codes), config, make_card=lambda: card, around=around)
    except BaseException as error:
        print(error)
"""


@pytest.mark.parametrize(("how", "resumes_after"), [("between checkpoints", 4), ("while writing one", 5)])
def test_a_killed_training_ends_as_if_undisturbed(
    how: str,
    resumes_after: int,
    tmp_path: Path,
    make_config: MakeConfig,
    make_card: MakeCard,
    codes: Codes,
    around: Surroundings,
) -> None:
    config = make_config(drop_path=0.3)
    card = make_card(config, codes)
    given = tmp_path / "given"
    given.mkdir()
    (given / "config.json").write_text(config.model_dump_json())
    (given / "card.json").write_text(card.model_dump_json())
    np.save(given / "codes.npy", codes)
    n_threads = str(torch.get_num_threads())
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed"), how, n_threads],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert [entry["step"] for entry in metrics(tmp_path / "killed")] == [1, 2, 3, 4, 5, 6]
    left = sorted(path.name for path in (tmp_path / "killed" / "checkpoints").iterdir())
    assert left[-1] == f"step-{resumes_after:09d}.pt"
    assert any(name.endswith(".aside") for name in left) == (how == "while writing one")

    done: list[int] = []
    watched = replace(around, on_progress=lambda step, _total: done.append(step))
    train(tmp_path / "killed", codes, config, card, watched)
    assert done == list(range(resumes_after + 1, 11))
    train(tmp_path / "whole", codes, config, card, around)
    assert [entry["step"] for entry in metrics(tmp_path / "whole")] == list(range(1, 11))
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert everything(tmp_path / "killed") == everything(tmp_path / "whole")
    for name in ("backbone.safetensors", "initial.safetensors", "config.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_seed_trains_another_network(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, around: Surroundings
) -> None:
    for seed in (0, 1):
        config = make_config(seed=seed, steps=2)
        train(tmp_path / str(seed), codes, config, make_card(config, codes), around)
    first, second = ((tmp_path / str(seed) / "backbone.safetensors").read_bytes() for seed in (0, 1))
    assert first != second


def test_a_training_that_is_told_to_stop_keeps_its_place(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, around: Surroundings
) -> None:
    config = make_config()
    card = make_card(config, codes)
    reasons = iter([None, None, "its time is up"])
    with pytest.raises(TryAgainError, match=r"run 'net': stopped after step 3 of 10: its time is up\. Type the same"):
        train(tmp_path, codes, config, card, replace(around, why_stop=lambda: next(reasons)))
    assert checkpoint.keys(Storage(tmp_path)) == ["checkpoints/step-000000003.pt"]
    assert train(tmp_path, codes, config, card, around)["n_steps"] == 10


def test_a_stop_at_the_last_step_is_an_end(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, around: Surroundings
) -> None:
    config = make_config(steps=1)
    summary = train(tmp_path, codes, config, make_card(config, codes), replace(around, why_stop=lambda: "SIGTERM"))
    assert summary["n_steps"] == 1


def test_no_number_ends_the_training_and_names_the_last_checkpoint(
    tmp_path: Path,
    make_config: MakeConfig,
    make_card: MakeCard,
    codes: Codes,
    around: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(precision="bf16")

    def poisoned(state: Any, *args: Any, **options: Any) -> Any:
        if state.step == 4:
            state.pair.student.head.prototypes.register_hook(lambda gradient: gradient * math.nan)
        return advance(state, *args, **options)

    monkeypatch.setattr(loop, "advance", poisoned)
    expected = (
        r"run 'net': the loss or its gradient is no finite number at step 5; the weights were left as they were\."
        r" The last checkpoint is checkpoints/step-000000004\.pt\. Set a lower lr, or precision = \"fp32\", and give"
    )
    with pytest.raises(InputError, match=expected) as error:
        train(tmp_path, codes, config, make_card(config, codes), replace(around, checkpoint_every_s=0.0))
    assert error.value.exit_code == 3
    assert [entry["step"] for entry in metrics(tmp_path)] == [1, 2, 3, 4]
    assert checkpoint.keys(Storage(tmp_path))[-1] == "checkpoints/step-000000004.pt"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 15)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("changes", "diagnosis"),
    [
        ({"teacher_temperature": 1.0, "teacher_temperature_start": 1.0}, "uniform collapse: .* Lower teacher_temp"),
        ({"center_momentum": 1.0, "teacher_momentum": 0.9}, "constant collapse: .* Lower center_momentum"),
    ],
)
def test_a_collapse_is_noticed_and_named(
    changes: dict[str, Any],
    diagnosis: str,
    tmp_path: Path,
    make_config: MakeConfig,
    make_card: MakeCard,
    codes: Codes,
    around: Surroundings,
) -> None:
    config = make_config(steps=120, n_local=0, **changes)
    with pytest.raises(InputError, match=f"run 'net': {diagnosis}.*The last checkpoint is none"):
        train(tmp_path, codes, config, make_card(config, codes), replace(around, log_every=5))
    assert metrics(tmp_path)[-1]["step"] < 120


@pytest.mark.usefixtures("impatient")
def test_a_healthy_training_is_left_alone(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, around: Surroundings
) -> None:
    config = make_config(steps=60)
    train(tmp_path, codes, config, make_card(config, codes), replace(around, log_every=5))
    assert min(entry["information"] for entry in metrics(tmp_path)[4:]) > 0.1


@pytest.mark.usefixtures("impatient")
def test_a_collapsed_training_goes_on_where_that_is_wanted(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, around: Surroundings
) -> None:
    silence = np.ones((8, 32, 64), dtype=np.uint8)
    config = make_config(steps=30, mix_share=0.0, gain_db=0.0, tilt_db=0.0, mask_share=0.0)
    card = make_card(config, silence)
    with pytest.raises(InputError, match=r"hardly separates windows|collapse"):
        train(tmp_path / "stops", silence, config, card, replace(around, log_every=5))
    train(tmp_path / "goes", silence, config, card, replace(around, log_every=5, on_collapse="go on"))


def test_another_networks_checkpoint_is_refused(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, around: Surroundings
) -> None:
    config = make_config(steps=2)
    card = make_card(config, codes)
    train(tmp_path, codes, config, card, around)
    with pytest.raises(StoreError, match=r"step-000000002\.pt: not a checkpoint of this network\. Delete the"):
        train(tmp_path, codes, make_config(steps=2, head_hidden=16), card, around)


def test_each_line_of_metrics_is_json(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, around: Surroundings
) -> None:
    config = make_config(steps=3)
    train(tmp_path, codes, config, make_card(config, codes), around)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_another_backends_checkpoint_is_continued_only_where_asked(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, around: Surroundings
) -> None:
    config = make_config(steps=3)
    card = make_card(config, codes)
    stops = iter(["a stop"])
    with pytest.raises(TryAgainError):
        train(tmp_path, codes, config, card, replace(around, why_stop=lambda: next(stops)))
    elsewhere = replace(around, backend="cuda-sm90")
    with pytest.raises(InputError, match=r"began on cpu-test, here is cuda-sm90, .* with --mix"):
        train(tmp_path, codes, config, card, elsewhere)
    assert train(tmp_path, codes, config, card, replace(elsewhere, mix=True))["backend"] == "cuda-sm90"


def test_a_full_disk_is_noticed_before_the_work(
    tmp_path: Path,
    make_config: MakeConfig,
    make_card: MakeCard,
    codes: Codes,
    around: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config()
    monkeypatch.setattr(Storage, "free_bytes", lambda _storage: 1_000_000)
    with pytest.raises(TryAgainError, match=r"checkpoints need 2 MB, 1 MB are free\. Free some space and type"):
        train(tmp_path, codes, config, make_card(config, codes), around)
