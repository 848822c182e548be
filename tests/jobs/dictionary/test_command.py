"""The job around the core: stores in, files out, the same bytes again, and what it refuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stores import make_cube, make_run, random_codes

from jobs.common.dictionary import encode_windows, load_dictionary
from jobs.common.run import Options, Run
from jobs.dictionary import command
from jobs.dictionary.config import Config
from jobs.embed import command as embed_command
from jobs.embed.config import Config as EmbedConfig
from lake.errors import InputError, StoreError, StoreFormatError
from lake.read import open_cube, open_embeddings

SMALL = Config(patch_sizes=((4, 4), (8, 8)), n_atoms=5, n_patches=300, n_rounds=3)


def dictionary_run(lake: Path, cube: Run, config: Config = SMALL, name: str = "atoms") -> Run[Config]:
    return make_run(lake, name, "dictionary", config, inputs={"spectrograms": cube})


def files_of(run: Run) -> dict[str, bytes]:
    return {key: run.output.read(key) for key in run.output.list_keys()}


def test_a_dictionary_is_learnt_and_embed_uses_it(tmp_path: Path) -> None:
    codes = random_codes()
    cube = make_cube(tmp_path, codes)
    run = dictionary_run(tmp_path, cube)
    outcome = command.execute(run, Options())
    assert outcome.counts == {"windows": np.count_nonzero(codes.any(axis=(2, 3))), "atoms": 10}
    assert sorted(files_of(run)) == ["atoms.png", "config.json", "dictionary.safetensors"]
    embed = make_run(tmp_path, "vectors", "embed", EmbedConfig(), inputs={"spectrograms": cube, "model": run})
    embed_command.execute(embed, Options())
    dictionary, card = load_dictionary(run.output.url)
    with open_embeddings(embed.output.url) as store, open_cube(cube.output.url) as windows:
        there = store["embedding_status"].to_numpy() > 0
        expected = encode_windows(windows["spectrogram"].to_numpy()[there], dictionary)
        np.testing.assert_array_equal(store["embedding"].to_numpy()[there], expected)
    assert json.loads(run.output.read("config.json"))["num_features"] == expected.shape[1]
    assert card.view == (8, 16)


def test_again_gives_the_same_bytes(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes())
    run, again = dictionary_run(tmp_path, cube), dictionary_run(tmp_path / "other", cube)
    command.execute(run, Options())
    command.execute(again, Options(workers=3))
    assert files_of(run) == files_of(again)


def test_a_few_windows_are_drawn_of_many(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes())
    run = dictionary_run(tmp_path, cube, SMALL.model_copy(update={"n_windows": 7}))
    assert command.execute(run, Options()).counts["windows"] == 7


def test_windows_of_which_no_patch_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.common.cubes.WINDOWS_AT_ONCE", 1)
    cube = make_cube(tmp_path, random_codes(n_per_day=70))
    run = dictionary_run(tmp_path, cube, SMALL.model_copy(update={"n_patches": 100}))
    assert command.execute(run, Options()).counts["windows"] > 200


@pytest.mark.parametrize(("size", "found"), [((9, 4), "8 × 16"), ((4, 17), "8 × 16")])
def test_patches_larger_than_windows(tmp_path: Path, size: tuple[int, int], found: str) -> None:
    cube = make_cube(tmp_path, random_codes())
    run = dictionary_run(tmp_path, cube, SMALL.model_copy(update={"patch_sizes": (size,)}))
    with pytest.raises(InputError, match=f"patches of {size[0]} × {size[1]} bands × frames.*have {found}"):
        command.execute(run, Options())


@pytest.mark.parametrize(("n_mels", "n_frames"), [(1, 16), (8, 1), (1, 1), (7, 256), (128, 7)])
def test_a_cube_smaller_than_the_default_patches_names_those_that_do_not_fit(
    tmp_path: Path, n_mels: int, n_frames: int
) -> None:
    codes = np.full((1, 144, n_mels, n_frames), 9, dtype=np.uint8)
    cube = make_cube(tmp_path, codes, recorders=["one"])
    small = [f"{a} × {b}" for a, b in Config().patch_sizes if a > n_mels or b > n_frames]
    with pytest.raises(InputError, match=f"{' and '.join(small)} bands × frames.*have {n_mels} × {n_frames}"):
        command.execute(dictionary_run(tmp_path, cube, Config()), Options())
    for features, numbers in (("statistics", 5), ("logmel", 3)):
        config = EmbedConfig.model_validate({"features": features})
        run = make_run(tmp_path, features, "embed", config, inputs={"spectrograms": cube})
        embed_command.execute(run, Options())
        with open_embeddings(run.output.url) as store:
            assert store.sizes["feature"] == numbers * n_mels
            assert np.isfinite(store["embedding"].to_numpy()).all()


@pytest.mark.parametrize("code", [1, 9, 255])
def test_a_cube_of_one_level_has_nothing_to_learn(tmp_path: Path, code: int) -> None:
    cube = make_cube(tmp_path, np.full((1, 144, 8, 16), code, dtype=np.uint8), recorders=["one"])
    with pytest.raises(InputError, match=r"run 'atoms': .* of 'mels' do not vary, .* Look at the recordings"):
        command.execute(dictionary_run(tmp_path, cube), Options())


def test_a_cube_without_windows(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, np.zeros((1, 144, 8, 16), dtype=np.uint8), recorders=["one"])
    with pytest.raises(InputError, match="no usable window"):
        command.execute(dictionary_run(tmp_path, cube), Options())


def test_a_cube_of_other_bands_is_refused_by_embed(tmp_path: Path) -> None:
    cube, other = make_cube(tmp_path, random_codes()), make_cube(tmp_path, random_codes(n_mels=9), name="other")
    run = dictionary_run(tmp_path, cube)
    command.execute(run, Options())
    embed = make_run(tmp_path, "vectors", "embed", EmbedConfig(), inputs={"spectrograms": other, "model": run})
    with pytest.raises(InputError, match=r"'atoms' does not fit cube 'other'.*learnt on 8 mel bands"):
        embed_command.execute(embed, Options())


def test_a_dictionary_has_no_weights_from_before(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes())
    run = dictionary_run(tmp_path, cube)
    command.execute(run, Options())
    inputs = {"spectrograms": cube, "model": run}
    embed = make_run(tmp_path, "vectors", "embed", EmbedConfig(weights="initial"), inputs=inputs)
    with pytest.raises(InputError, match="is a dictionary, which has none from before"):
        embed_command.execute(embed, Options())


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("config.json", b"{}", StoreFormatError),
        ("config.json", b"\xff", StoreFormatError),
        ("dictionary.safetensors", b"", StoreError),
        ("dictionary.safetensors", b"\x00" * 64, StoreError),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, data: bytes, error: type[Exception]) -> None:
    run = dictionary_run(tmp_path, make_cube(tmp_path, random_codes()))
    command.execute(run, Options())
    (tmp_path / "models" / "atoms" / name).write_bytes(data)
    with pytest.raises(StoreError, match=f"{name}: expected the file that the ledger lists"):
        load_dictionary(run.output.url)
    copied = tmp_path / "copy"  # without a ledger nothing says which bytes are right
    shutil.copytree(tmp_path / "models" / "atoms", copied)
    with pytest.raises(error, match=name):
        load_dictionary(str(copied))


def test_no_torch_is_needed() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import jobs.dictionary.command, jobs.embed.command; "
        "from jobs.embed.core import dictionary_encoder; assert 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
