from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from jobs.common.network.backbone import features, load_backbone
from jobs.common.network.card import ModelCard, Weights
from jobs.common.network.inputs import prepare
from jobs.common.training import journal
from jobs.common.training.data import from_array
from jobs.common.training.watch import Surroundings
from jobs.dino.config import Config
from jobs.dino.loop import fit
from lake.storage import Storage

MakeConfig = Callable[..., Config]
MakeCard = Callable[[Config, NDArray[np.uint8]], ModelCard]


def four_kinds(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return windows with a tone, rising chirps, falling chirps or pulses, and which it is.

    Pitch, place, gain and the slope of the noise's spectrum are each window's own, so that windows of
    one kind are no neighbours before something has been learnt.
    """
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 4, n)
    gain, slope = random.normal(0, 12, (n, 1, 1)), random.normal(0, 10, (n, 1, 1))
    codes = random.normal(60, 8, (n, 32, 64)) + gain + slope * np.linspace(-1, 1, 32)[:, None]
    frame, band = np.arange(64)[None, :], np.arange(32)[:, None]
    for i, kind in enumerate(kinds.tolist()):
        pitch, since = random.integers(4, 20), frame - random.integers(0, 64)
        if kind == 3:
            sounds = (since % 8 < 1) & (np.abs(band - pitch - 4) < 8)
        else:
            line = pitch + (4, 0.5 * (since % 16), 8 - 0.5 * (since % 16))[kind]
            sounds = np.abs(band - line) < 1.0
        codes[i] += np.where(sounds, 40 + random.normal(0, 4), 0.0)
    return codes.round().clip(1, 255).astype(np.uint8), kinds


def accuracy(folder: Path, weights: Weights, codes: NDArray[np.uint8], kinds: NDArray[np.int64]) -> float:
    model, card = load_backbone(str(folder), weights)
    with torch.no_grad():
        vectors = features(model, prepare(torch.from_numpy(codes), card), "patch_mean_std").numpy()
    vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    neighbours = KNeighborsClassifier(5).fit(vectors[:500], kinds[:500])
    return float(neighbours.score(vectors[500:], kinds[500:]))


@pytest.mark.slow
def test_kinds_of_sound_come_apart(
    tmp_path: Path, make_config: MakeConfig, make_card: MakeCard, cpu: torch.device
) -> None:
    codes, _ = four_kinds(1024, seed=0)
    config = make_config(
        patch_size=(32, 4), embed_dim=64, num_heads=4, head_hidden=128, n_prototypes=256, n_local=4,
        local_size=(32, 12), local_time_span=(0.25, 0.4), drop_path=0.0, mix_share=0.0, mask_share=0.0,
        gain_db=12.0, tilt_db=10.0, batch_size=32, steps=600, lr=0.008, lr_warmup=0.08, teacher_momentum=0.97,
    )  # fmt: skip
    around = Surroundings(run="net", config_id="c0ffee", device=cpu, backend="cpu-test")
    fit(Storage(tmp_path), from_array(codes), config, make_card=lambda: make_card(config, codes), around=around)
    test, kinds = four_kinds(2000, seed=1)
    before = accuracy(tmp_path, "initial", test, kinds)
    after = accuracy(tmp_path, "teacher", test, kinds)
    assert after >= 0.95
    assert after >= before + 0.2
    last = journal.read(Storage(tmp_path))[-1]
    assert 0.2 < last["teacher_entropy"] / np.log(256) < 0.9
    assert last["information"] > 0.4
