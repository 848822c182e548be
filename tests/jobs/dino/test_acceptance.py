"""What a training has to keep to, beyond its parts: golden losses, compilation, the loop's own time, large views."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stores import finish, make_cube, random_codes

from jobs.common.network.card import ModelCard
from jobs.common.run import Options
from jobs.common.training import journal
from jobs.common.training.data import from_array
from jobs.common.training.watch import Surroundings
from jobs.dino import loop
from jobs.dino.config import Config
from jobs.dino.loop import fit
from jobs.dino.train import Seen, State, advance, new_state
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from lake.storage import Storage

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]
Codes = NDArray[np.uint8]

MANIFEST = """
lake = "lake"
[runs.mels]
job = "spectrograms"
config = { window_s = 6.0, hop_s = 600.0, n_mels = 32, n_frames = 64, shard_windows = 72 }
[runs.dino]
job = "dino"
inputs = { spectrograms = "mels" }
[runs.dino.config]
arch = "vit_tiny_patch16_224"
embed_dim = 32
depth = 1
num_heads = 2
patch_size = [16, 4]
pooling = "patch_mean"
head_hidden = 64
head_bottleneck = 32
n_prototypes = 64
n_local = 2
global_size = [32, 32]
local_size = [32, 8]
local_mel_span = [0.8, 1.0]
batch_size = 8
steps = 100
precision = "fp32"
drop_path = 0.0
"""

GOLDEN = {
    "dino": [4.666399, 5.366148, 4.029215, 4.319180, 3.493786, 3.554672],
    "dino-plus": [6.735411, 8.864931, 5.632608, 7.984905, 5.917211, 5.145437],
}
LOSSES_OF_MANIFEST = [
    5.195814, 4.718123, 4.363451, 4.692096, 4.437749, 4.450701, 4.061255, 4.282099, 4.325518, 4.226111, 4.172561,
]  # fmt: skip
"""Losses of the first steps. Other processors, and other versions of torch, move them in the last digits."""


def losses(
    config: Config, card: ModelCard, codes: Codes, n: int, *, compiled: bool = False, n_steps: int = 10
) -> list[float]:
    state = new_state(card, config, torch.device("cpu"), compiled=compiled)
    found = []
    for step in range(n):
        samples = np.arange(8, dtype=np.int64) + 8 * step
        batch = torch.from_numpy(codes[samples % len(codes)])
        found.append(advance(state, batch, samples, card=card, config=config, n_steps=n_steps).loss.item())
    return found


@pytest.mark.parametrize("recipe", ["dino", "dino-plus"])
def test_losses_are_the_golden_ones(recipe: str, make_config: MakeConfig, make_card: MakeCard, codes: Codes) -> None:
    config = make_config(recipe=recipe, drop_path=0.0)
    card = make_card(config, codes).model_copy(update={"registers": config.n_registers})
    assert losses(config, card, codes, 6) == pytest.approx(GOLDEN[recipe], rel=2e-3)


@pytest.mark.slow
def test_a_hundred_losses_are_the_same_to_the_bit_when_trained_again(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes
) -> None:
    config = make_config(recipe="dino-plus", drop_path=0.0)
    card = make_card(config, codes).model_copy(update={"registers": config.n_registers})
    first = losses(config, card, codes, 100, n_steps=100)
    assert first == losses(config, card, codes, 100, n_steps=100)
    assert len(set(first)) > 90


@pytest.mark.slow
def test_a_manifest_that_is_run_twice_gives_one_identity_and_one_row_of_losses(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        folder = tmp_path / name
        finish(make_cube(folder / "lake", random_codes(n_mels=32, n_frames=64)))
        (folder / "study.toml").write_text(MANIFEST)
        manifest = read_manifest(folder / "study.toml")
        execute_runs(manifest, ["dino"], Options(device="cpu"), lambda _: None)
        lines = Path(manifest.runs["dino"].output.url, "metrics.jsonl").read_text().splitlines()
        of_steps = [json.loads(line) for line in lines]
        found.append((manifest.runs["dino"].config_id, [line["loss"] for line in of_steps if "loss" in line]))
    assert found[0] == found[1]
    identity, losses_of_steps = found[0]
    assert identity == "9b54fdfc015a"
    assert losses_of_steps == pytest.approx(LOSSES_OF_MANIFEST, rel=1e-2)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_losses_and_is_compiled_once(
    make_config: MakeConfig, make_card: MakeCard, codes: Codes, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(drop_path=0.0)
    card = make_card(config, codes)
    eager = losses(config, card, codes, 5)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    graphs: list[int] = []
    counted = torch._dynamo.utils.counters
    torch._dynamo.reset()
    counted.clear()
    state = new_state(card, config, torch.device("cpu"), compiled=True)
    assert next(iter(state.pair.student.state_dict())) == "backbone.cls_token"
    found = []
    for step in range(5):
        samples = np.arange(8, dtype=np.int64) + 8 * step
        batch = torch.from_numpy(codes[samples % len(codes)])
        found.append(advance(state, batch, samples, card=card, config=config, n_steps=10).loss.item())
        graphs.append(int(counted["stats"]["unique_graphs"]))
    torch._dynamo.reset()
    np.testing.assert_allclose(found, eager, atol=1e-3)
    assert graphs[0] == graphs[-1] == 3  # the student's two sizes of view, the teacher's one


def test_the_loop_itself_takes_little_time(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, codes: Codes, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(steps=300)
    card = make_card(config, codes)
    seen: list[Seen] = []
    spent: list[float] = []

    def nothing(state: State, batch: torch.Tensor, samples: NDArray[np.int64], **options: object) -> Seen:
        if not seen:
            seen.append(advance(state, batch, samples, card=card, config=config, n_steps=300))
        else:
            state.step += 1
        spent.append(time.process_time())
        return seen[0]

    monkeypatch.setattr(loop, "advance", nothing)
    around = Surroundings("net", "c0ffee", torch.device("cpu"), "cpu-test", on_collapse="go on")
    fit(Storage(tmp_path), from_array(codes), config, make_card=lambda: card, around=around)
    assert len(spent) == 300
    usual = np.diff(spent)  # lines of metrics, every tenth, among them; the few looks at the probe are not usual
    assert np.median(usual) < 0.005
    assert np.mean(np.sort(usual)[:-15]) < 0.005
    assert len(journal.read(Storage(tmp_path))) == 31


def test_large_views_are_trained_on(make_config: MakeConfig, make_card: MakeCard) -> None:
    large = np.random.default_rng(0).integers(1, 256, (8, 128, 128), dtype=np.uint8)
    config = make_config(patch_size=(16, 16), global_size=(128, 128), local_size=(48, 64))
    assert all(np.isfinite(losses(config, make_card(config, large), large, 2)))
