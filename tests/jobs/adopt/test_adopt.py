from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from stores import make_cube, make_run, random_codes

from jobs.adopt import command
from jobs.adopt.config import Config
from jobs.common.frames.stored import load_network
from jobs.common.network.backbone import load_backbone
from jobs.common.run import Options, Run
from jobs.contrast import command as contrast
from jobs.contrast.begin import beginning
from jobs.contrast.config import Config as ContrastConfig
from jobs.embed import command as embed
from jobs.embed.config import Config as EmbedConfig
from lake.errors import InputError
from lake.read import open_embeddings, usable_windows

CONFIG = Config(arch="vit_tiny_patch16_224", input_size=(32, 64))


def outside(**changes: Any) -> dict[str, torch.Tensor]:
    """Return the weights of a network as timm makes it: three channels, 224 pixels, a head for ten classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        arguments = {"pretrained": False, "num_classes": 10, **changes}
        return dict(timm.create_model("vit_tiny_patch16_224", **arguments).state_dict())


def adopt_run(
    tmp_path: Path, weights: Any, config: Config = CONFIG, name: str = "weights.pth", codes: Any = None
) -> Run[Config]:
    path = tmp_path / name
    if isinstance(weights, bytes):
        path.write_bytes(weights)
    elif path.suffix == ".safetensors":
        path.write_bytes(safetensors.torch.save(weights))
    else:
        torch.save(weights, path)
    run = make_run(tmp_path, "outside", "adopt", config, inputs={"spectrograms": make_cube(tmp_path, codes)})
    return Run(**{**vars(run), "files": {"weights": path}})


@pytest.mark.parametrize("form", ["plain", "teacher", "safetensors"])
def test_a_network_from_outside_embeds(tmp_path: Path, form: str) -> None:
    weights = outside()
    stored: Any = weights if form != "teacher" else {"teacher": {f"module.backbone.{k}": v for k, v in weights.items()}}
    run = adopt_run(tmp_path, stored, name="w.safetensors" if form == "safetensors" else "w.pth")
    command.execute(run, Options())
    model, card = load_backbone(run.output.url)
    np.testing.assert_array_equal(
        model.state_dict()["patch_embed.proj.weight"], weights["patch_embed.proj.weight"].sum(dim=1, keepdim=True)
    )
    np.testing.assert_array_equal(model.state_dict()["blocks.3.attn.qkv.weight"], weights["blocks.3.attn.qkv.weight"])
    assert model.state_dict()["pos_embed"].shape == (1, 1 + 2 * 4, 192)
    assert card.seconds_per_frame == 6 / 64
    vectors = make_run(
        tmp_path, "vectors", "embed", EmbedConfig(readout="class"),
        inputs={"spectrograms": run.inputs["spectrograms"], "model": run},
    )  # fmt: skip
    assert embed.execute(vectors, Options(device="cpu")).did
    with open_embeddings(vectors.output.url) as store:
        assert len(usable_windows(store, status="embedding_status")) == 48
        assert store.sizes["feature"] == 192


def test_a_network_of_frames_begins_a_training(tmp_path: Path) -> None:
    tiny = ContrastConfig(steps=0, batch_size=16, bands=32, frame_s=0.001)
    cube = make_cube(tmp_path / "other", random_codes(n_mels=32, n_frames=64, seed=1))
    trained = tmp_path / "trained"
    contrast.train(cube.output.url, str(trained), tiny, run="net", config_id="c", device="cpu")
    weights = (trained / "backbone.safetensors").read_bytes()
    codes = random_codes(n_mels=32, n_frames=64, seed=5)
    run = adopt_run(tmp_path, weights, Config(arch="frames"), "w.safetensors", codes)
    assert any("frames" in line for line in command.describe(run, Options()))
    command.execute(run, Options())
    (net, card), (theirs, other) = load_network(run.output.url), load_network(str(trained))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in net.state_dict().items())
    assert (card.mel_hz, card.began_with) == (other.mel_hz, "net")
    assert card.mean_db != other.mean_db
    summary = contrast.train(
        run.inputs["spectrograms"].output.url, str(tmp_path / "m"), tiny, run="next", config_id="d", device="cpu",
        init=run.output.url,
    )  # fmt: skip
    assert summary["began_with"] == "outside"


def test_other_weights_are_no_network_of_frames(tmp_path: Path) -> None:
    run = adopt_run(tmp_path, outside(), Config(arch="frames"), "w.safetensors")
    with pytest.raises(InputError, match=r"w\.safetensors: expected a network of frames .*Name the backbone"):
        command.execute(run, Options())
    (tmp_path / "b").mkdir()
    backbone = adopt_run(tmp_path / "b", outside())
    command.execute(backbone, Options())
    with pytest.raises(InputError, match=r"not a network of frames.*arch = 'frames'"):
        beginning(ContrastConfig(), backbone.output.url)


def test_three_alike_channels_are_one(tmp_path: Path) -> None:
    """What the outside network says of a grey picture, the adopted one says of its one channel."""
    config = Config(arch="vit_tiny_patch16_224")
    run = adopt_run(tmp_path, outside(), config)
    command.execute(run, Options())
    model, _ = load_backbone(run.output.url)
    theirs: Any = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=10)
    theirs.load_state_dict(outside())
    x = torch.randn(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        np.testing.assert_allclose(
            model.forward_features(x), theirs.eval().forward_features(x.expand(-1, 3, -1, -1)), atol=1e-4
        )


@pytest.mark.parametrize(
    ("weights", "config", "told"),
    [
        (
            b"no weights",
            CONFIG,
            r"w\.pth: expected weights \(\.safetensors, or a \.pth of tensors alone\), found other",
        ),
        ({"a": torch.zeros(1)}, CONFIG, r"the weights are not those of this network:\n  cls_token is missing"),
        (
            outside(),
            Config(arch="vit_small_patch16_224"),
            r"cls_token has the shape \(1, 1, 192\), expected \(1, 1, 384\)",
        ),
        (outside(), Config(arch="vit_tinny"), r"arch: timm has no model 'vit_tinny'"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, weights: Any, config: Config, told: str) -> None:
    with pytest.raises(InputError, match=told):
        command.execute(adopt_run(tmp_path, weights, config, "w.pth"), Options())


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    run = adopt_run(tmp_path, outside())
    run.files["weights"].unlink()
    with pytest.raises(InputError, match=r"expected weights, found no file\. Nothing is downloaded"):
        command.execute(run, Options())
