"""`dawnchorus export` of named sounds: every form is read back by the other side's reader, with the same rows."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from commands import Cli
from exports import camtrap_problems
from stores import judge

from jobs.catalog.blocks import read_blocks
from jobs.catalog.headers import parse_header
from lake.deployments import read_deployments
from lake.exports.formats import FORMATS, as_markdown, names_for
from lake.exports.spans import COLUMNS
from lake.sounds import SPEECH

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def study(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a copy of the demo, in which every sound but rain has a scientific name."""
    folder = tmp_path_factory.mktemp("export") / "demo"
    shutil.copytree(demo_folder / "data/demo", folder)
    sounds = pd.read_csv(folder / "sounds.csv")["sound"]
    names = [f"Genus {sound.replace('_', '')}" if sound != "rain" else "" for sound in sounds]
    pd.DataFrame({"sound": sounds, "scientific_name": names}).to_csv(folder / "sounds.csv", index=False)
    return folder / "manifest.toml"


def exported(cli: Cli, study: Path, out: Path, *words: object) -> tuple[int, str]:
    """Export, and return the number of rows and the notes."""
    ended = cli("export", str(study), "--out", str(out), *map(str, words), "--json")
    assert ended.code == 0, ended.error
    return json.loads(ended.out)["n_rows"], ended.error


@pytest.fixture(scope="module")
def plain(study: Path) -> pd.DataFrame:
    """Return the verified spans of the study as its CSV has them."""
    from commands import command

    out = study.parent / "verified.csv"
    assert command("export", study, "--verified", "--out", out).code == 0
    return pd.read_csv(out, dtype={"recorder": str})


def test_verified_spans_are_those_of_the_verdicts(study: Path, plain: pd.DataFrame) -> None:
    said = pd.concat([pd.read_csv(path) for path in (study.parent / "verdicts").glob("*.csv")])
    assert len(plain) == int((said["verdict"] == "yes").sum()) > 10
    assert tuple(plain.columns) == COLUMNS
    assert (plain["recording"] != "").all()
    assert set(plain["reviewers"]) == {"truth"}


@pytest.mark.parametrize("to", ["raven", "raven-combined", "audacity", "audacity-spectral"])
def test_labels_are_read_by_crowsetta(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path, to: str) -> None:
    out = tmp_path / ("out" + FORMATS[to].suffix)
    n, _ = exported(cli, study, out, "--verified", "--to", to)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reader's own dependencies
        from crowsetta.formats import bbox, seq

        labels: list[tuple[float, str]] = []
        for path in [out] if out.is_file() else sorted(out.rglob("*.txt")):
            if to == "audacity":
                found = seq.AudSeq.from_file(path)
                labels += zip(np.round(found.start_times, 3), found.labels, strict=True)
                continue
            reader = bbox.AudBBox if to == "audacity-spectral" else bbox.Raven
            table = reader.from_file(path, **({} if to == "audacity-spectral" else {"annot_col": "Annotation"})).df
            begin = "File Offset (s)" if to == "raven-combined" else "begin_time_s"
            column = "label" if to == "audacity-spectral" else "annotation"
            labels += zip(table[begin].round(3), table[column], strict=True)
            assert (table["high_freq_hz"] > 1000).all()
    assert n == len(labels) == len(plain)
    assert sorted(labels) == sorted(zip(plain["start_s"].round(3), plain["sound"], strict=True))


def test_parquet_has_the_rows_of_the_csv(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    n, _ = exported(cli, study, tmp_path / "x.parquet", "--verified", "--to", "parquet")
    found = pd.read_parquet(tmp_path / "x.parquet")
    assert n == len(found) == len(plain)
    assert found["sound"].tolist() == plain["sound"].tolist()
    assert found["start_utc"].dtype.kind == "M"


def test_camtrap_dp_has_no_errors(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    words = ("--verified", "--to", "camtrap-dp", "--creator", "Ana", "--licence", "CC0-1.0")
    n, notes = exported(cli, study, tmp_path / "dp", *words)
    assert camtrap_problems(tmp_path / "dp") == []
    found = pd.read_csv(tmp_path / "dp/observations.csv", keep_default_na=False)
    assert n == len(found) == len(plain)
    named = plain["sound"] != "rain"
    assert (found["observationType"] == np.where(named, "animal", "unclassified")).all()
    assert found["eventStart"].tolist() == [f"{time.replace(' ', 'T')[:19]}Z" for time in plain["start_utc"]]
    assert "samplingDesign 'opportunistic'" in notes
    assert read_deployments(tmp_path / "dp/deployments.csv")["zone"].unique().tolist() == ["America/Chicago"]


def test_darwin_core_has_the_named_sounds(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    n, notes = exported(cli, study, tmp_path / "dwc.zip", "--verified", "--to", "darwin-core")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reader's own dependencies
        from dwca.read import DwCAReader

        with DwCAReader(str(tmp_path / "dwc.zip")) as archive:
            names = [row.data["http://rs.tdwg.org/dwc/terms/vernacularName"] for row in archive]
    assert n == len(names)
    assert names == plain.loc[plain["sound"] != "rain", "sound"].tolist()
    assert ("'rain'" in notes) == ("rain" in set(plain["sound"]))


def test_clips_hold_the_sound_and_guano(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    n, _ = exported(cli, study, tmp_path / "clips", "--verified", "--to", "clips")
    table = pd.read_csv(tmp_path / "clips/clips.csv", dtype={"recorder": str})
    assert n == len(table) == len(plain) == len(list((tmp_path / "clips").rglob("*.wav")))
    assert sorted(table["label"]) == sorted(plain["sound"])
    row = table.iloc[0]
    audio = study.parent / "study/audio" / row["recording"]
    path = tmp_path / "clips" / row["file"]
    cut, rate = soundfile.read(path)
    whole, _ = soundfile.read(audio, always_2d=True)
    begin = round(row["offset_s"] * rate)
    np.testing.assert_allclose(cut, whole[begin : begin + len(cut)].mean(axis=1), atol=2**-14)
    said = parse_header(read_blocks(path))
    from guano import GuanoFile

    theirs = GuanoFile(str(path))
    assert pd.Timestamp(theirs["Timestamp"]).tz_convert("UTC").tz_localize(None) == pd.Timestamp(row["start_utc"])
    assert said.start is not None
    assert said.offset is not None
    assert pd.Timestamp(said.start - said.offset) == pd.Timestamp(row["start_utc"])
    place = plain[(plain["recording"] == row["recording"]) & (plain["start_s"] == row["offset_s"])].iloc[0]
    assert (said.latitude, said.longitude) == pytest.approx((place["latitude"], place["longitude"]), abs=1e-5)
    assert theirs["Loc Position"] == pytest.approx((place["latitude"], place["longitude"]), abs=1e-5)
    assert said.recorder == row["recorder"]


def test_deployments_are_written_without_choosing_spans(cli: Cli, study: Path, tmp_path: Path) -> None:
    n, _ = exported(cli, study, tmp_path / "deployments.csv", "--to", "deployments")
    found, given = (
        read_deployments(path) for path in (tmp_path / "deployments.csv", study.parent / "study/deployments.csv")
    )
    assert n == len(found)
    columns = ["deployment", "recorder", "site", "latitude", "longitude", "start", "end", "gain_db", "habitat", "zone"]
    known = given[given["deployment"].isin(found["deployment"])]
    pd.testing.assert_frame_equal(
        found[columns].sort_values("deployment", ignore_index=True),
        known[columns].sort_values("deployment", ignore_index=True),
    )


def test_phenology_has_a_picture_a_sound(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    n, _ = exported(cli, study, tmp_path / "ph", "--verified", "--to", "phenology")
    table = pd.read_csv(tmp_path / "ph/phenology.csv")
    assert n == len(table)
    assert table.groupby("sound")["windows_with_sound"].sum().to_dict() == plain["sound"].value_counts().to_dict()
    assert sorted(path.stem for path in (tmp_path / "ph").glob("*.png")) == sorted(set(plain["sound"]))


def test_events_are_those_of_the_events_command(cli: Cli, study: Path, tmp_path: Path) -> None:
    n, notes = exported(cli, study, tmp_path / "x.csv", "--threshold", "best-f1")
    assert cli("events", str(study), "detections", "--threshold", "best-f1", "--out", str(tmp_path / "e.csv")).code == 0
    found, events = (pd.read_csv(tmp_path / name, dtype={"recorder": str}) for name in ("x.csv", "e.csv"))
    n_no = int(notes.split(" events are left out")[0].rsplit(" ", 1)[-1]) if "answered no" in notes else 0
    assert n == len(found) == len(events) - n_no > 0
    both = found.merge(events, on=["sound", "recorder", "start_utc", "end_utc"])
    assert len(both) == n
    assert (both["probability"] == both["highest_probability"]).all()
    m, _ = exported(cli, study, tmp_path / "v.csv", "--threshold", "best-f1", "--verified")
    assert m == int((found["verdict"] == "yes").sum()) > 0


def test_speech_is_in_no_export(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(study.parent, folder)
    first = plain.iloc[0]
    at = pd.Timestamp(first["start_utc"]) - pd.Timestamp("2021-06-01")
    judge(folder, [(first["recorder"], int(at.total_seconds() * 1000), SPEECH, "yes")], duration_s=5.0)
    n, notes = exported(cli, folder / "manifest.toml", tmp_path / "x.csv", "--verified")
    same = (plain["recorder"] == first["recorder"]) & (plain["start_utc"] == first["start_utc"])
    assert n == len(plain) - int(same.sum())
    assert f"{int(same.sum())} spans are left out, as somebody marked their sound as speech" in notes


def test_rows_can_be_chosen(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    sound, site = plain["sound"].value_counts().index[0], plain["site"].iloc[0]
    n, _ = exported(cli, study, tmp_path / "a.csv", "--verified", "--sound", sound)
    assert n == int((plain["sound"] == sound).sum())
    n, _ = exported(cli, study, tmp_path / "b.csv", "--verified", "--site", site, "--round-coordinates", 1)
    assert n == int((plain["site"] == site).sum())
    found = pd.read_csv(tmp_path / "b.csv")
    assert (found["latitude"] == found["latitude"].round(1)).all()
    n, _ = exported(cli, study, tmp_path / "c.csv", "--verified", "--hour", "4-6", "--local")
    assert n == int(pd.to_datetime(plain["start_local"]).dt.hour.isin([4, 5]).sum())


def test_recordings_that_are_gone_cost_their_own_clips(
    cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path
) -> None:
    audio = tmp_path / "audio"
    shutil.copytree(study.parent / "study/audio", audio)
    gone, changed = plain["recording"].value_counts().index[:2]
    (audio / gone).unlink()
    (audio / changed).write_bytes(b"RIFF")
    n, notes = exported(cli, study, tmp_path / "clips", "--verified", "--to", "clips", "--root", audio)
    assert n == int((~plain["recording"].isin([gone, changed])).sum())
    assert f"left out are clips of {audio / gone}: no such file" in notes
    assert f"left out are clips of {audio / changed}: another file than the spectrograms were made from" in notes
    ended = cli(
        "export", str(study), "--verified", "--to", "clips", "--root", str(tmp_path), "--out", str(tmp_path / "no")
    )
    assert ended.code == 3
    assert "no recording of these spans can be read" in ended.error


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--out", "x.csv"), 2, "say which spans: --verified, --threshold"),
        (("--out", "x.txt", "--verified"), 2, "expected a name that ends in .csv"),
        (("--verified",), 2, "name a folder or file with --out, or a new folder with --bundle"),
        (("--out", "x.csv", "--verified", "--cluster", "1"), 2, "clusters are of a store"),
        (("--out", "x.parquet", "--to", "embedding-atlas"), 2, "name …/clusters/RUN.zarr in place of"),
        (("--out", "x.csv", "--threshold", "most"), 2, "expected best-f1, precision, or a probability"),
        (("--out", "x.csv", "--verified", "--sound", "wrem"), 3, "sound 'wrem' is not of this study"),
        (("--out", "x.csv", "--verified", "--site", "nowhere"), 3, "site 'nowhere' is not in the cube"),
        (
            ("--out", "x.csv", "--verified", "--date", "2030-01"),
            3,
            "nothing to export: no span is all of what was asked for",
        ),
        (("--out", "x.csv", "--threshold", "0.5", "--detections", "mels"), 3, "expected a run of `detect`"),
    ],
)
def test_what_is_refused(cli: Cli, study: Path, tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    placed = [str(tmp_path / word) if word.startswith("x.") else word for word in words]
    ended = cli("export", str(study), *placed)
    assert ended.code == code
    assert told in ended.error
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_replaced(cli: Cli, study: Path, tmp_path: Path) -> None:
    (tmp_path / "dp").mkdir()
    (tmp_path / "dp/media.csv").write_text("mine")
    words = ("export", str(study), "--verified", "--to", "camtrap-dp", "--out", str(tmp_path / "dp"))
    ended = cli(*words)
    assert ended.code == 2
    assert "dp/media.csv" in ended.error
    assert [path.name for path in (tmp_path / "dp").iterdir()] == ["media.csv"]
    assert cli(*words, "--force").code == 0


def test_windows_of_a_clustering_open_in_embedding_atlas(cli: Cli, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "windows.parquet"
    store = study.parent / "clusters/clusters.zarr"
    ended = cli("export", str(store), "--to", "embedding-atlas", "--out", str(out), "--json")
    assert ended.code == 0, ended.error
    found = pd.read_parquet(out)
    assert json.loads(ended.out)["n_rows"] == len(found) == len(found.drop_duplicates(["recorder", "time"]))
    vectors = np.stack(found["vector"].tolist())
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert found["label"].str.startswith("cluster ").all()


def test_the_page_has_a_line_for_each_form() -> None:
    page = (ROOT / "docs/exports.md").read_text(encoding="utf-8")
    assert "\n".join(as_markdown()) in page
    assert {*names_for("clusters"), *names_for("sounds")} == set(FORMATS)
