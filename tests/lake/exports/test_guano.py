"""GUANO metadata of clips, read back with the guano package and by our own catalog."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from exports import WREN, collection_of

from jobs.catalog.blocks import read_blocks
from jobs.catalog.headers import parse_header
from lake.exports.clips import clips_of
from lake.exports.guano import guano_of, with_guano
from lake.layout import Lake
from lake.sounds import Sound
from lake.verdicts import read_verdicts

NOBODY = read_verdicts(Lake("memory://nobody"))


def wav(n: int, subtype: str = "PCM_16") -> bytes:
    made = io.BytesIO()
    soundfile.write(made, np.linspace(-0.5, 0.5, n), 24_000, subtype=subtype, format="WAV")
    return made.getvalue()


@pytest.mark.parametrize(("n", "subtype"), [(2400, "PCM_16"), (2401, "PCM_U8"), (2401, "PCM_24")])
def test_the_sound_stays_and_both_readers_agree(tmp_path: Path, n: int, subtype: str) -> None:
    from guano import GuanoFile

    (clip,) = clips_of(collection_of(), NOBODY).to_dict("records")
    path = tmp_path / "clip.wav"
    data = wav(n, subtype)
    path.write_bytes(with_guano(data, guano_of({str(k): v for k, v in clip.items()}, rate_hz=24_000)))
    np.testing.assert_array_equal(soundfile.read(path)[0], soundfile.read(io.BytesIO(data))[0])
    theirs, ours = GuanoFile(str(path)), parse_header(read_blocks(path))
    assert theirs["Loc Position"] == pytest.approx((41.81637, -88.06889), abs=1e-6)
    assert (ours.latitude, ours.longitude) == (41.81637, -88.06889)
    assert (theirs["Species Manual ID"], theirs["dawnchorus|Site"]) == ("Troglodytes troglodytes", "creek")
    assert (str(theirs["Serial"]), ours.recorder) == ("a", "a")
    assert pd.Timestamp(theirs["Timestamp"]).isoformat() == "2021-06-22T00:00:00-05:00"
    assert str(ours.start) == "2021-06-22 00:00:00"


def test_what_is_not_known_is_left_out_and_line_ends_break_no_field() -> None:
    rows = [{"sound": "a\nGUANO|Version: 9", "latitude": np.nan, "longitude": np.nan, "start_local": pd.NaT,
             "verdict": "", "probability": 0.5}]  # fmt: skip
    (clip,) = clips_of(collection_of(rows, [Sound("a\nGUANO|Version: 9")]), NOBODY).to_dict("records")
    fields = guano_of({str(k): v for k, v in clip.items()}, rate_hz=24_000)
    assert "Loc Position" not in fields
    assert fields["Timestamp"] == "2021-06-22T05:00:00.000Z"
    text = with_guano(wav(2400), fields).rpartition(b"guan")[2][4:].decode()
    assert [line.split(": ")[0] for line in text.splitlines()].count("GUANO|Version") == 1
    assert "Species Auto ID: a\\nGUANO|Version: 9" in text


@pytest.mark.parametrize("name", ["=cmd", "../../x", "a/b", "..", "two\nlines", "Great Tit", "x" * 300, "ж" * 200])
def test_names_of_clips_stay_in_their_folder(name: str) -> None:
    clips = clips_of(collection_of([{"sound": name, "recorder": name}, {}], [Sound(name), WREN]), NOBODY)
    for file in clips["file"]:
        folder, _, base = file.partition("/")
        assert "/" not in base
        assert folder not in {"", ".", ".."}
        assert all(len(part.encode()) <= 255 for part in (folder, base))
    assert clips["file"].is_unique
