"""`dawnchorus export` of named sounds: every form is read back by the other side's reader, with the same rows."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from browsers import faults_of
from commands import Cli
from exports import camtrap_problems
from judging import judge
from playwright.sync_api import Browser

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


def test_clips_without_any_sound_are_added_on_request(
    cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path
) -> None:
    of_day = plain[plain["start_utc"].str.startswith("2021-06-22")]
    sound = str(of_day["sound"].iloc[0])
    words = ("--verified", "--negatives", "--to", "clips", "--date", "2021-06-22", "--sound", sound)
    n, _ = exported(cli, study, tmp_path / "clips", *words)
    table = pd.read_csv(tmp_path / "clips/clips.csv", dtype={"recorder": str}, keep_default_na=False)
    said = pd.concat([pd.read_csv(path, dtype={"recorder": str}) for path in (study.parent / "verdicts").glob("*.csv")])
    said = said[said["time_utc"].str.startswith("2021-06-22")]
    none = table[table["label"] == ""]
    assert len(none) == ((said["sound"] == sound) & (said["verdict"] == "no")).sum() > 0
    assert n == len(table) == len(none) + (of_day["sound"] == sound).sum()
    assert set(none["file"].str.split("/").str[0]) == {"background"}
    for present, absent, label in zip(table["present"], table["absent"], table["label"], strict=True):
        here, gone = (set(filter(None, text.split("; "))) for text in (present, absent))
        assert here | gone == set(said["sound"]), "the truth answers for every sound"
        assert sound in (here if label else gone)
    assert len(soundfile.read(tmp_path / "clips" / none["file"].iloc[0])[0]) > 0


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
        (("--out", "x.csv", "--verified", "--negatives"), 2, "only `--to clips` takes spans without a sound, not csv"),
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


def test_the_page_has_a_line_for_each_form() -> None:
    page = (ROOT / "docs/exports.md").read_text(encoding="utf-8")
    assert "\n".join(as_markdown()) in page
    assert {*names_for("clusters"), *names_for("sounds")} == set(FORMATS)


def test_a_report_tells_what_the_bundle_holds(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    words = ("--to", "report", "--creator", "Ana <b>Ray</b>", "--licence", "CC0-1.0", "--sound", "hoot")
    exported(cli, study, tmp_path / "report.html", *words)
    text = (tmp_path / "report.html").read_text()
    assert text.count("<script") == text.count("http://") == 0
    assert "Ana &lt;b&gt;Ray&lt;/b&gt;" in text
    for heading in ("Effort", "Faults", "Sounds", "Methods", "Citation"):
        assert f">{heading}</h2>" in text
    named = {name for name in plain["sound"] if f'<th scope="row">{name}</th>' in text}
    assert named == {"hoot"}, "only the sounds that were asked for"
    assert "CC0-1.0" in text
    assert "log-mel spectrograms" in text
    assert text.count("data:image/png;base64,") >= 1


@pytest.mark.slow
def test_everybody_can_use_a_report(cli: Cli, study: Path, tmp_path: Path, chromium: Browser) -> None:
    exported(cli, study, tmp_path / "report.html", "--to", "report", "--sound", "hoot")
    with chromium.new_context(offline=True) as context:
        page = context.new_page()
        page.goto((tmp_path / "report.html").as_uri())
        assert faults_of(page) == []


def test_a_pdf_without_a_browser_says_what_to_do(
    cli: Cli, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = cli("export", str(study), "--to", "report", "--out", str(tmp_path / "report.pdf"), "--sound", "hoot")
    assert ended.code == 2
    assert "ends in .html" in ended.error
    assert not (tmp_path / "report.pdf").exists()


def test_generic_seq_is_read_by_crowsetta(cli: Cli, study: Path, plain: pd.DataFrame, tmp_path: Path) -> None:
    n, _ = exported(cli, study, tmp_path / "x.csv", "--verified", "--to", "generic-seq")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reader's own dependencies
        from crowsetta.formats.seq import GenericSeq

        annotations = GenericSeq.from_file(tmp_path / "x.csv").to_annot()
    assert {str(one.notated_path) for one in annotations} == {
        str((study.parent / "study/audio" / path).absolute()) for path in plain["recording"]
    }
    found = [
        (round(float(one.onset_s), 3), round(float(one.offset_s), 3), one.label)
        for annotation in annotations
        for one in annotation.seq.segments
    ]
    expected = zip(plain["start_s"].round(3), plain["end_s"].round(3), plain["sound"], strict=True)
    assert n == len(found)
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("words", [("--verified",), ("--threshold", "0.5")], ids=["annotations", "predictions"])
def test_aoef_is_read_by_soundevent(cli: Cli, study: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    n, _ = exported(cli, study, tmp_path / "x.json", *words, "--to", "aoef", "--title", "A; b")
    exported(cli, study, tmp_path / "x.csv", *words)
    expected = pd.read_csv(tmp_path / "x.csv", dtype={"recorder": str})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reader's own dependencies
        from soundevent import data, io

        found: Any = io.load(tmp_path / "x.json", audio_dir=study.parent / "study/audio")
    is_verified = words == ("--verified",)
    assert isinstance(found, data.AnnotationSet if is_verified else data.PredictionSet)
    assert found.name == "A; b"
    rows = []
    for clip in found.clip_annotations if isinstance(found, data.AnnotationSet) else found.clip_predictions:
        assert clip.clip.recording.path.is_file()
        for one in clip.sound_events:
            tags = [tag if isinstance(tag, data.Tag) else tag.tag for tag in one.tags]
            assert {tag.term.name for tag in tags} <= {"label", "dwc:scientificName", "soundevent:label"}
            place: Any = one.sound_event.geometry
            start_s, end_s = place.coordinates
            assert (clip.clip.start_time, clip.clip.end_time) == (start_s, end_s)
            score = np.nan if isinstance(one, data.SoundEventAnnotation) else round(one.score, 4)
            rows.append((str(clip.clip.recording.path), round(start_s, 3), tags[0].value, score))
    probability = expected["probability"].round(4)
    paths = [str(study.parent / "study/audio" / path) for path in expected["recording"]]
    there = list(zip(paths, expected["start_s"].round(3), expected["sound"], probability, strict=True))
    assert n == len(rows) == len(there)
    for mine, theirs in zip(sorted(rows), sorted(there), strict=True):
        assert mine[:3] == theirs[:3]
        assert mine[3] == pytest.approx(theirs[3], nan_ok=True)
    events = json.loads((tmp_path / "x.json").read_bytes())["data"]["sound_events"]
    exported(cli, study, tmp_path / "x.json", *words, "--to", "aoef", "--title", "A; b")
    assert json.loads((tmp_path / "x.json").read_bytes())["data"]["sound_events"] == events, "the same identifiers"
