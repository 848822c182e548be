"""Clips of every kind: by networks and dictionaries, against two cubes, of one channel, and damaged ones."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from chains import runs, store
from commands import Cli
from numpy.typing import NDArray
from soundfiles import CONFIG, RATE, Study, sound

import dawnchorus
from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.workflows.example import clip_vector
from lake.errors import InputError
from lake.query.select import place_of
from lake.query.trace import trace
from lake.vectors import open_vectors

RUNS = """
[runs.fine]
job = "spectrograms"
config = { window_s = 4.0, hop_s = 2.0, n_mels = 24, n_frames = 16, f_max_hz = 3500.0, fft_s = 0.032, \
shard_windows = 8, channel = 1 }
[runs.stats]
job = "embed"
inputs = { spectrograms = "mels" }
config = { features = "logmel" }
[runs.finer]
job = "embed"
inputs = { spectrograms = "fine" }
config = { features = "logmel" }
[runs.net]
job = "dino"
inputs = { spectrograms = "mels" }
config = { arch = "vit_tiny_patch16_224", embed_dim = 8, depth = 1, num_heads = 2, patch_size = [4, 4], \
head_hidden = 8, head_bottleneck = 4, n_prototypes = 8, n_local = 1, global_size = [8, 8], local_size = [8, 4], \
batch_size = 4, steps = 2, precision = "fp32" }
[runs.words]
job = "dictionary"
inputs = { spectrograms = "mels" }
config = { patch_sizes = [[4, 4]], n_atoms = 8, n_rows = 2, view_size = [8, 8] }
[runs.of_net]
job = "embed"
inputs = { spectrograms = "mels", model = "net" }
config = { batch_size = 4 }
[runs.of_words]
job = "embed"
inputs = { spectrograms = "mels", model = "words" }
"""
STORES = ("stats", "finer", "of_net", "of_words")
WHEN = "2021-07-14T23:59:10"


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a finished study of stereo recordings, with two cubes and four sets of vectors."""
    study = Study(tmp_path_factory.mktemp("stereo"))
    for i, recorder in enumerate(("a", "b")):
        study.add(recorder, 0.0, sound(60, i, n_channels=2))
    manifest = study.write(config=f"{CONFIG}, channel = 1")
    manifest.write_text(manifest.read_text() + RUNS)
    execute_runs(read_manifest(manifest), [], Options(), lambda _: None)
    return manifest


def clip_of(manifest: Path, url: str) -> tuple[Path, float, NDArray[Any]]:
    """Return the recording of a window, the second of it that the window begins at, and the window's vector."""
    piece = trace(url, "a", WHEN).pieces[0]
    sets = open_vectors([url])
    place = place_of(list(sets.recorders), sets.grid, "a", WHEN)
    vector = np.asarray(sets.arrays[0][place.recorder, place.cell])
    return manifest.parent / "audio" / piece.path, piece.first_sample / piece.sample_rate_hz, vector


@pytest.mark.parametrize("name", STORES)
def test_every_model_gives_a_clip_the_vector_of_its_window(stereo: Path, name: str) -> None:
    url = store(stereo, name)
    path, start_s, expected = clip_of(stereo, url)
    np.testing.assert_allclose(clip_vector([url], path, start_s), expected, rtol=1e-3, atol=1e-3)


def test_vectors_of_two_cubes_and_three_models_are_joined(cli: Cli, stereo: Path) -> None:
    urls = [store(stereo, name) for name in STORES]
    path, start_s, _ = clip_of(stereo, urls[0])
    joined = clip_vector(urls, path, start_s)
    np.testing.assert_array_equal(joined, np.concatenate([clip_vector([url], path, start_s) for url in urls]))
    ended = cli("similar", *urls, "--audio", path, "--start", start_s, "--n", 3)
    assert ended.code == 0, ended.error
    found = pd.read_csv(io.StringIO(ended.out))
    assert found["time"][0] == WHEN.replace("T", " ")
    assert abs(found["distance"][0]) < 1e-3
    near = dawnchorus.open_search(urls).near_clip(path, start_s, n=3)
    np.testing.assert_allclose(near["distance"], found["distance"], atol=1e-6)


def test_sets_of_other_windows_are_not_joined(cli: Cli, stereo: Path, tmp_path: Path) -> None:
    short = runs(stereo)["stats"].lake.storage.url
    elsewhere = Study(tmp_path)
    elsewhere.add("a", 0.0, sound(30, 1, n_channels=2))
    manifest = elsewhere.write(config=CONFIG.replace("hop_s = 2.0", "hop_s = 4.0"))
    manifest.write_text(
        manifest.read_text() + '[runs.stats]\njob = "embed"\ninputs = { spectrograms = "mels" }\n'
        'config = { features = "logmel" }\n'
    )
    execute_runs(read_manifest(manifest), [], Options(), lambda _: None)
    path = stereo.parent / "audio" / "a/000.wav"
    ended = cli("similar", f"{short}/embeddings/stats.zarr", store(manifest, "stats"), "--audio", path)
    assert ended.code == 3
    assert "Join sets made of the same cube" in ended.error


def test_a_clip_of_one_channel_lacks_the_second(cli: Cli, stereo: Path, tmp_path: Path) -> None:
    clip = tmp_path / "mono.wav"
    soundfile.write(clip, sound(6, 1), RATE)
    for url in (store(stereo, "stats"), store(stereo, "of_net")):
        ended = cli("similar", url, "--audio", clip)
        assert ended.code == 3
        assert "expected channel 1, which the spectrograms are made of; found 1 channels" in ended.error
        assert not ended.out


def test_the_channel_of_the_spectrograms_is_heard(stereo: Path, tmp_path: Path) -> None:
    """A clip whose first channel is loud has the vector of its second."""
    url = store(stereo, "stats")
    clip, both = tmp_path / "both.wav", sound(6, 1, n_channels=2)
    soundfile.write(clip, both, RATE)
    expected = clip_vector([url], clip, 1.0)
    both[:, 0] = 0.9 * np.sin(np.arange(len(both)))
    soundfile.write(clip, both, RATE)
    np.testing.assert_array_equal(clip_vector([url], clip, 1.0), expected)


@pytest.mark.parametrize("rate", [4000, 11_025, 96_000])
def test_a_clip_of_another_rate_is_taken(stereo: Path, tmp_path: Path, rate: int) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, sound(5, 2, rate=rate, n_channels=2), rate)
    for name in STORES:
        assert np.isfinite(clip_vector([store(stereo, name)], clip, 1.0)).all()


@pytest.mark.parametrize(
    ("seconds", "start_s", "is_taken"), [(4, 0, True), (5, 1, True), (3.999, 0, False), (5, 1.001, False)]
)
def test_a_clip_of_just_a_window(stereo: Path, tmp_path: Path, seconds: float, start_s: float, is_taken: bool) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, sound(seconds, 2, n_channels=2), RATE)
    if is_taken:
        assert len(clip_vector([store(stereo, "stats")], clip, start_s))
        return
    with pytest.raises(InputError, match=r"expected 4 s, the length of a window, from second .* on; found a clip of"):
        clip_vector([store(stereo, "stats")], clip, start_s)


def broken(kind: str, path: Path) -> Path:
    """Write a clip that cannot be compared."""
    samples = sound(6, 1, n_channels=2)
    if kind == "a folder":
        path.mkdir()
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "a text":
        path.write_text("wren\n" * 2000)
    elif kind == "a header alone":
        soundfile.write(path, samples[:0], RATE)
    elif kind == "no numbers":
        soundfile.write(path, np.full((6 * RATE, 2), np.nan), RATE, subtype="FLOAT")
    elif kind == "silence":
        soundfile.write(path, 0 * samples, RATE)
    elif kind == "half silent":
        samples[: 5 * RATE] = 0
        soundfile.write(path, samples, RATE)
    else:
        soundfile.write(path, samples, RATE)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if kind == "cut" else b"RIFF" + data[:3000:-1])
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a folder", "no regular file"),
        ("nothing", "clip.wav"),
        ("a text", "no sound file"),
        ("a header alone", "clip.wav"),
        ("no numbers", "found samples that are"),
        ("silence", "found samples that are silent"),
        ("half silent", "found samples that are silent"),
        ("cut", "s, cut short: its header promises more. Take a longer clip"),
        ("reversed", "no sound file"),
        ("none", "clip.wav"),
    ],
)
def test_a_broken_clip_is_named(cli: Cli, stereo: Path, tmp_path: Path, kind: str, said: str) -> None:
    clip = tmp_path / "clip.wav" if kind == "none" else broken(kind, tmp_path / "clip.wav")
    ended = cli("similar", store(stereo, "of_words"), "--audio", clip, "--out", tmp_path / "near.csv")
    assert ended.code == 3, ended
    assert said in ended.error
    assert "clip.wav" in ended.error
    assert "Traceback" not in ended.error
    assert not (tmp_path / "near.csv").exists()


def test_a_clip_that_is_cut_is_compared_as_far_as_it_goes(stereo: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.wav", tmp_path / "cut.wav"
    soundfile.write(whole, sound(12, 1, n_channels=2), RATE)
    cut.write_bytes(whole.read_bytes()[: len(whole.read_bytes()) // 2])
    url = store(stereo, "stats")
    np.testing.assert_array_equal(clip_vector([url], cut, 1.0), clip_vector([url], whole, 1.0))
