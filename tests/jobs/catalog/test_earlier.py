"""The table that is there already keeps the names of its recorders."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jobs.catalog.command import run_catalog
from jobs.catalog.earlier import read_rows
from jobs.catalog.examine import examine
from lake.errors import InputError
from lake.recordings import read_recordings

OLD = Path(__file__).with_name("recordings-of-an-older-release.csv")


def sound(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, 800), 8000)


def recorders(audio: Path | list[Path], out: Path, notes: list[str] | None = None) -> dict[str, str]:
    given = audio if isinstance(audio, list) else [audio]
    said = notes if notes is not None else []
    run_catalog(given, out, zones={"": "UTC"}, examine_one=examine, on_note=said.append)
    table = read_recordings(out)
    return dict(zip(table["path"], table["recorder"], strict=True))


def test_a_table_of_an_older_release_keeps_its_recorders(tmp_path: Path) -> None:
    """The table was written by the release of 62f1a1e; its serials in headers are not in these files."""
    out = tmp_path / "t.csv"
    shutil.copy(OLD, out)
    old = read_recordings(OLD)
    for i, path in enumerate(old["path"]):
        sound(tmp_path / "audio" / path, i)
    before = dict(zip(old["path"], old["recorder"], strict=True))
    notes: list[str] = []
    assert recorders(tmp_path / "audio", out, notes) == before
    assert recorders(tmp_path / "audio", out, notes) == before, "and again"
    assert notes == []


def test_growth_in_any_order_renames_no_row(tmp_path: Path) -> None:
    audio, out = tmp_path / "audio", tmp_path / "t.csv"
    sound(audio / "SiteA/visit 1/20210622_050000.wav")
    assert recorders(audio / "SiteA", out) == {"visit 1/20210622_050000.wav": "visit 1"}
    sound(audio / "SiteB/visit 1/20210622_050000.wav", 1)
    both = {"SiteA/visit 1/20210622_050000.wav": "visit 1", "SiteB/visit 1/20210622_050000.wav": "SiteB_visit 1"}
    assert recorders([audio / "SiteA", audio / "SiteB"], out) == both, "the common root moves up"
    audio.rename(tmp_path / "moved")
    sound(tmp_path / "moved/SiteB/visit 1/20210623_050000.wav", 2)
    moved = both | {"SiteB/visit 1/20210623_050000.wav": "SiteB_visit 1"}
    assert recorders(tmp_path / "moved", out) == moved
    (tmp_path / "t.receipt.json").unlink()
    (tmp_path / "t.cache.jsonl").unlink()
    assert recorders(tmp_path / "moved", out) == moved, "without the receipt"


def test_a_unit_that_is_replaced_gets_a_name_of_its_own(tmp_path: Path) -> None:
    audio, out = tmp_path / "audio", tmp_path / "t.csv"
    sound(audio / "Wald/S4A01234_20210622_050000.wav")
    assert list(recorders(audio, out).values()) == ["Wald"]
    assert json.loads((tmp_path / "t.receipt.json").read_text())["serials"] == {"Wald": ["S4A01234"]}
    sound(audio / "Wald/S4A05678_20210623_050000.wav", 1)
    assert list(recorders(audio, out).values()) == ["Wald", "S4A05678"]
    (audio / "Wald/S4A01234_20210622_050000.wav").unlink()
    assert list(recorders(audio, out).values()) == ["S4A05678"]
    sound(audio / "Wald/S4A01234_20210622_050000.wav")


def test_a_table_of_another_study_names_nothing(tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    sound(tmp_path / "one/AM07/20210622_050000.wav")
    sound(tmp_path / "two/AM07/20210622_050000.wav", 1)
    assert recorders(tmp_path / "one", out) == {"AM07/20210622_050000.wav": "AM07"}
    assert recorders(tmp_path / "two", out) == {"AM07/20210622_050000.wav": "AM07"}


def test_a_file_that_is_no_table_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    sound(tmp_path / "audio/AM07/20210622_050000.wav")
    out.write_text("notes of the season\n")
    with pytest.raises(InputError):
        recorders(tmp_path / "audio", out)
    assert out.read_text() == "notes of the season\n"
    with pytest.raises(InputError, match=r"is not a table of recordings(?s:.*)not overwritten unread"):
        read_rows(out, tmp_path, str(tmp_path), [])
    said: list[str] = []
    run_catalog([tmp_path / "audio"], out, zones={}, force=True, examine_one=examine, on_note=said.append)
    assert "recorders are named anew" in said[0]


def test_two_folders_of_one_recorder_at_the_same_seconds_are_named(tmp_path: Path) -> None:
    audio, out = tmp_path / "audio", tmp_path / "t.csv"
    for i, slot in enumerate(["P1", "P2"]):
        path = audio / slot / "S4A01234_20210622_050000.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.random.default_rng(i).uniform(-0.1, 0.1, 24_000), 8000)
    notes: list[str] = []
    assert set(recorders(audio, out, notes).values()) == {"S4A01234"}
    assert len(notes) == 1
    assert "recordings of the same seconds in two folders, P1 and P2 (1 overlaps)" in notes[0]
    assert json.loads((tmp_path / "t.receipt.json").read_text())["notes"] == notes


def test_deployments_of_no_recorder_are_named(tmp_path: Path) -> None:
    sound(tmp_path / "audio/00004862/20210622_050000.wav")
    sound(tmp_path / "audio/Fore\u0302t/20210622_050000.wav", 1)
    places = tmp_path / "deployments.csv"
    places.write_text(
        "deployment,recorder,start,end\nd1,4862,2021-06-01,2021-07-01\nd2,4862,2021-07-01,\nd3,Forêt,2021-06-01,2021-07-01\n"
        "d4,Forêt,2021-08-01,2021-09-01\nd5,zzz,2021-06-01,\n"
    )
    notes: list[str] = []
    out = tmp_path / "t.csv"
    run_catalog(
        [tmp_path / "audio"], out, zones={"": "UTC"}, deployments=places, examine_one=examine, on_note=notes.append
    )
    assert read_recordings(out)["deployment"].tolist() == ["", "d3"]
    unknown, alone, silent = notes
    assert unknown.startswith("2 deployments (d1, d2) of no recorder of the study: '4862' (near: 00004862). Give")
    assert alone.startswith("1 deployment (d5) of no recorder of the study: 'zzz' (there is 00004862, Forêt). Give")
    assert silent.startswith("1 deployment (d4) without a recording: 'Forêt' has none that starts in 2021-08-01T00:00")
