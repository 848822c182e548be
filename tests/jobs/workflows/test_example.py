"""`dawnchorus similar --audio`: a clip is embedded as the runs of the stores did it, and what cannot be is refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from chains import store
from commands import Cli
from numpy.typing import NDArray
from soundfiles import RATE, sound

from jobs.workflows.example import clip_vector
from lake.query.select import place_of
from lake.query.trace import trace
from lake.vectors import open_vectors


def table(out: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(out), parse_dates=["time", "time_local"])


def recording(manifest: Path, url: str, recorder: str, time: str) -> tuple[Path, float, NDArray[Any]]:
    """Return the recording of a window, the second of it that the window begins at, and the window's vector."""
    piece = trace(url, recorder, time).pieces[0]
    sets = open_vectors([url])
    place = place_of(list(sets.recorders), sets.grid, recorder, time)
    vector = np.asarray(sets.arrays[0][place.recorder, place.cell])
    return manifest.parent / "audio" / piece.path, piece.first_sample / piece.sample_rate_hz, vector


@pytest.mark.parametrize(("recorder", "time"), [("a", "2021-07-15T00:00:00"), ("b", "2021-07-14T23:59:06")])
def test_a_clip_of_a_recording_has_the_vector_of_its_window(whole: Path, recorder: str, time: str) -> None:
    url = store(whole, "vectors")
    path, start_s, expected = recording(whole, url, recorder, time)
    np.testing.assert_allclose(clip_vector([url], path, start_s), expected, rtol=1e-5, atol=1e-5)
    assert clip_vector([url, url], path, start_s).shape == (2 * len(expected),)


def test_the_nearest_window_to_a_clip_of_a_recording_is_its_own(cli: Cli, whole: Path) -> None:
    url = store(whole, "vectors")
    path, start_s, _ = recording(whole, url, "a", "2021-07-15T00:00:00")
    ended = cli("similar", url, "--audio", path, "--start", start_s, "--n", 4)
    assert ended.code == 0, ended.error
    found = table(ended.out)
    assert len(found) == 4
    assert (found["recorder"][0], found["time"][0]) == ("a", pd.Timestamp("2021-07-15T00:00:00"))
    assert abs(found["distance"][0]) < 1e-5


def test_a_clip_of_another_rate_is_compared_as_a_recording_of_that_rate_is(
    cli: Cli, whole: Path, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, sound(5, 2, rate=2 * RATE), 2 * RATE)
    assert cli("similar", store(whole, "vectors"), "--audio", clip).code == 0


@pytest.mark.parametrize(
    ("samples", "rate", "start", "said"),
    [
        (sound(3, 1), RATE, None, "expected 4 s, the length of a window, from second 0 on; found a clip of 3 s"),
        (sound(6, 1), RATE, "3", "from second 3 on; found a clip of 6 s"),
        (sound(6, 1), RATE, "60", "from second 60 on; found a clip of 6 s"),
        (sound(6, 1), RATE, "-1", "expected seconds from the clip's beginning, 0 or more"),
        (sound(6, 1), RATE, "nan", "expected seconds from the clip's beginning, 0 or more"),
        (np.zeros((6 * RATE, 1)), RATE, None, "found samples that are silent"),
        (np.full((6 * RATE, 1), 0.25), RATE, None, "found samples that are constant"),
        (None, RATE, None, "clip.wav"),
    ],
)
def test_clips_that_cannot_be_compared(
    cli: Cli, whole: Path, tmp_path: Path, samples: NDArray[Any] | None, rate: int, start: str | None, said: str
) -> None:
    clip = tmp_path / "clip.wav"
    if samples is None:
        clip.write_text("no sound")
    else:
        soundfile.write(clip, samples, rate)
    words = () if start is None else (f"--start={start}",)
    ended = cli("similar", store(whole, "vectors"), "--audio", clip, *words)
    assert ended.code == 3
    assert said in ended.error
    assert not ended.out


def test_a_clip_that_is_not_there(cli: Cli, whole: Path, tmp_path: Path) -> None:
    ended = cli("similar", store(whole, "vectors"), "--audio", tmp_path / "none.wav")
    assert ended.code == 3
    assert "none.wav" in ended.error


def test_vectors_outside_of_a_lake_take_no_clip(cli: Cli, whole: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.zarr"
    moved.symlink_to(store(whole, "vectors"))
    path, _, _ = recording(whole, store(whole, "vectors"), "a", "2021-07-15T00:00:00")
    ended = cli("similar", moved, "--audio", path)
    assert ended.code == 3
    assert "Name the store inside its lake" in ended.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--audio", "x.wav", "--time", "2021-07-15"), "leave out --time and --apart"),
        (("--audio", "x.wav", "--apart", "5"), "leave out --time and --apart"),
        (("--recorder", "a", "--time", "2021-07-15", "--start", "5"), "name the clip with --audio"),
        ((), "or a clip with --audio"),
    ],
)
def test_two_examples_or_none(cli: Cli, whole: Path, words: tuple[str, ...], said: str) -> None:
    ended = cli("similar", store(whole, "vectors"), *words)
    assert ended.code == 2
    assert said in ended.error
