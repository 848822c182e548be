from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stores import make_cube, make_model, make_run
from torch import Tensor

from jobs.common.network.backbone import load_backbone
from jobs.common.network.inputs import prepare, resize
from jobs.common.run import Options
from jobs.embed import command
from jobs.embed.attention import class_attention
from jobs.embed.config import Config
from lake.errors import InputError
from lake.read import open_cube, open_embeddings, read_codes, usable_windows
from lake.verify import damages

ASKED = Config(batch_size=8, attention=True)


def test_attention_by_a_slow_twin(tmp_path: Path) -> None:
    """The last block's softmax, head by head, of the tokens as a plain loop makes them."""
    cube = make_cube(tmp_path)
    model, card = load_backbone(make_model(tmp_path, cube, depth=2, patch_size=(4, 4)).output.url)
    store = open_cube(cube.output.url)
    windows = usable_windows(store)
    codes = read_codes(store, windows.recorder[:5], windows.cell[:5])
    with torch.inference_mode():
        x = resize(prepare(torch.from_numpy(codes), card), card.input_size)
        with class_attention(model) as found:
            out = model.forward_features(x)
        plain: Any = model
        tokens = plain.norm_pre(plain.patch_drop(plain._pos_embed(plain.patch_embed(x))))
        tokens = plain.blocks[0](tokens)
        block = plain.blocks[1]
        normed = block.norm1(tokens)
        width, heads = card.embed_dim or 0, card.num_heads or 0
        query, key, _ = torch.split(block.attn.qkv(normed), width, dim=2)
        by_head: list[Tensor] = []
        for head in range(heads):
            part = slice(head * width // heads, (head + 1) * width // heads)
            scores = query[:, 0, None, part] @ key[:, :, part].transpose(1, 2) / (width // heads) ** 0.5
            by_head.append(scores.softmax(dim=2)[:, 0, 1:])
        expected = torch.stack(by_head).mean(dim=0).reshape(5, 2, 4)
        np.testing.assert_allclose(found[0], expected, atol=1e-6)
        assert (found[0].sum(dim=(1, 2)) < 1).all()
        np.testing.assert_array_equal(out, model.forward_features(x), err_msg="looking changes nothing")


def test_attention_is_a_variable_of_its_own_and_changes_no_vector(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    model = make_model(tmp_path, cube)
    inputs = {"spectrograms": cube, "model": model}
    plain = make_run(tmp_path, "plain", "embed", Config(batch_size=8), inputs=inputs)
    asked = make_run(tmp_path, "asked", "embed", ASKED, inputs=inputs)
    for run in (plain, asked):
        command.execute(run, Options(device="cpu"))
    without, with_maps = (open_embeddings(run.output.url).load() for run in (plain, asked))
    np.testing.assert_array_equal(without["embedding"], with_maps["embedding"])
    assert "attention" not in without
    maps = with_maps["attention"]
    assert maps.dims == ("recorder", "time", "token_mel", "token_frame")
    assert maps.shape[2:] == (1, 4)
    there = with_maps["embedding_status"].to_numpy() > 0
    sums = maps.to_numpy().astype(float).sum(axis=(2, 3))
    assert ((sums[there] > 0) & (sums[there] < 1)).all()
    assert np.isnan(maps.to_numpy()[~there]).all()


def test_damage_is_told_window_by_window(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    inputs = {"spectrograms": cube, "model": make_model(tmp_path, cube)}
    run = make_run(tmp_path, "asked", "embed", ASKED, inputs=inputs)
    command.execute(run, Options(device="cpu"))
    assert list(damages(run.output, run.ledger, "embeddings")) == []
    key = next(key for key in run.output.list_keys("attention") if "/c." in key)
    run.output.write(key, run.output.read(key.replace("c.0.0", "c.1.1")) if "c.0.0" in key else b"")
    (told,) = damages(run.output, run.ledger, "embeddings")
    assert "differs from the ledger; north: 2021-06-01T" in told


def test_a_network_without_a_class_token(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    model, _ = load_backbone(make_model(tmp_path, cube).output.url)
    model.has_class_token = False
    with pytest.raises(InputError, match=r"attention: this network has no class token\. Set attention = false"):
        class_attention(model).__enter__()


def test_backgrounds_are_each_recorders_own(tmp_path: Path) -> None:
    cube = make_cube(tmp_path)
    levels = {"north": (-70.0,) * 8, "south": (-40.0,) * 8}
    vectors = {}
    for name, background in {
        "both": levels,
        "swapped": dict(zip(levels, [*levels.values()][::-1], strict=True)),
    }.items():
        model = make_model(tmp_path / name, cube, background_db=background)
        run = make_run(
            tmp_path / name, "v", "embed", Config(batch_size=8), inputs={"spectrograms": cube, "model": model}
        )
        command.execute(run, Options(device="cpu"))
        vectors[name] = open_embeddings(run.output.url)["embedding"].to_numpy()
    assert np.nanmax(np.abs(vectors["both"] - vectors["swapped"])) > 0.01
    model = make_model(tmp_path / "one", cube, background_db={"north": (-70.0,) * 8})
    run = make_run(tmp_path / "one", "v", "embed", Config(), inputs={"spectrograms": cube, "model": model})
    with pytest.raises(
        InputError, match=r"takes each recorder's background off, and knows none of south\. Train again"
    ):
        command.execute(run, Options(device="cpu"))


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 5, 7])
def test_every_window_once_whatever_the_number_of_ranks(tmp_path: Path, n_ranks: int) -> None:
    """Days are shared out unevenly and batches are ragged; the store is the same to the byte."""
    cube = make_cube(tmp_path)
    config = Config(features="logmel", batch_size=5)
    alone = make_run(tmp_path / "alone", "v", "embed", config, inputs={"spectrograms": cube})
    command.execute(alone, Options())
    shared = make_run(tmp_path / "shared", "v", "embed", config, inputs={"spectrograms": cube})
    counts = [command.execute(shared, Options(part=(i, n_ranks))).counts for i in reversed(range(n_ranks))]
    assert sum(count.get("windows_ok", 0) + count.get("windows_partial", 0) for count in counts) == 48
    command.finalise(shared, Options())
    contents = [{key: run.output.read(key) for key in run.output.list_keys()} for run in (alone, shared)]
    assert contents[0] == contents[1]
