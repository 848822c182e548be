"""A study begun from a folder of recordings: what is proposed, and that nothing is overwritten."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import Cli
from soundfiles import sound

from jobs.runner.manifest import read_manifest
from jobs.runner.registry import JOBS
from jobs.runner.settings import settings_of
from jobs.workflows.begin import _quarantine_share
from jobs.workflows.proposals import KINDS, WINDOWS_TO_TRAIN, Sounds, kind_for, notes_on, propose
from lake.errors import InputError
from lake.read import open_clusters, open_cube

WEEK = Sounds(
    n_files=100, n_usable=100, n_untimed=0, hours=10.0, hours_by_rate={24_000: 10.0}, n_recorders=2, median_s=360.0,
    first="2021-06-01", last="2021-06-07",
)  # fmt: skip


def cards(folder: Path) -> dict[str, Path]:
    """Write recordings as three recorders name them, with blanks and umlauts in their paths."""
    made = {
        "sm4": (["S4A03895_20210622_040000.wav", "S4A03895_20210622_041500.wav"], 24_000, 12.0),
        "audiomoth": (["20210622_040000.WAV", "20210622_041000.WAV"], 250_000, 3.0),
        "insects": (["Gryllus campestris 1.wav", "Tettigonia 2.wav", "Größe 3.wav"], 96_000, 4.0),
    }
    for card, (names, rate, seconds) in made.items():
        for number, name in enumerate(names):
            path = folder / f"Karte für {card}/Müller, {card}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound(seconds, number, rate), rate)
    return {card: folder / f"Karte für {card}" for card in made}


def config_of(manifest: Path, run: str = "mels") -> dict[str, Any]:
    config: dict[str, Any] = tomllib.loads(manifest.read_text())["runs"][run]["config"]
    return config


def test_three_recorders_get_three_manifests(tmp_path: Path, cli: Cli) -> None:
    made = {}
    for card, audio in cards(tmp_path / "Aufnahmen im Mai").items():
        folder = tmp_path / f"Studien/Wiese {card}"
        ended = cli("init", folder, "--audio", audio, "--zone", "Europe/Berlin")
        assert ended.code == 0, ended.error
        made[card] = folder / "manifest.toml"
        assert f"dawnchorus run '{made[card]}'" in ended.out
        runs = read_manifest(made[card]).runs
        assert list(runs) == ["mels", "atoms", "dictionary", "statistics", "clusters", "atlas"]
        recordings = runs["mels"].recordings
        assert recordings is not None
        assert (recordings.root, recordings.table) == (audio, folder / "recordings.csv")
    mels = {card: config_of(manifest) for card, manifest in made.items()}
    assert {card: config["f_max_hz"] for card, config in mels.items()} == {
        "sm4": 11_000.0, "audiomoth": 110_000.0, "insects": 44_000.0,
    }  # fmt: skip
    assert {card: config["f_min_hz"] for card, config in mels.items()} == {
        "sm4": 50.0, "audiomoth": 10_000.0, "insects": 1_000.0,
    }  # fmt: skip
    assert {card: config["window_s"] for card, config in mels.items()} == {"sm4": 5.0, "audiomoth": 1.0, "insects": 2.0}
    assert {card: config["untimed"] for card, config in mels.items()} == {
        "sm4": "skip", "audiomoth": "skip", "insects": "sequence",
    }  # fmt: skip
    assert len({manifest.read_text() for manifest in made.values()}) == 3


def test_every_setting_is_shown_with_unit_range_and_reason(tmp_path: Path, cli: Cli) -> None:
    assert cli("init", tmp_path / "s", "--audio", cards(tmp_path)["sm4"], "--zone", "UTC").code == 0
    text = (tmp_path / "s/manifest.toml").read_text()
    for name, run in tomllib.loads(text)["runs"].items():
        of_run = text.partition(f"[runs.{name}.config]")[2].partition("[runs.")[0]
        for setting in settings_of(JOBS[run["job"]].config):
            assert f"\n{setting.name} = " in of_run or f"\n# {setting.name} = " in of_run
            assert f"#   {setting.expected}" in of_run
            assert setting.name in run["config"] or setting.default is None
    assert "# why: just below half of the sample rates 24 kHz" in text
    assert "# why: 2 of about" in text, "the number of clusters"


def test_what_is_begun_runs_to_the_end(tmp_path: Path, cli: Cli) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(2):
        soundfile.write(audio / f"AM1_20210622_04000{number * 5}.wav", sound(20, number, 8000), 8000)
    folder = tmp_path / "study"
    assert cli("init", folder, "--audio", audio).code == 0
    manifest = folder / "manifest.toml"
    text = manifest.read_bytes()
    quick = [
        ("n_patches = 60000", "n_patches = 500"),
        ("n_atoms = 64", "n_atoms = 4"),
        ("n_rounds = 15", "n_rounds = 2"),
    ]
    changed = text.decode()
    for old, new in quick:
        assert old in changed
        changed = changed.replace(old, new)
    manifest.write_text(changed)
    ended = cli("run", manifest, "mels", "atoms", "dictionary", "statistics", "clusters", "--workers", 1)
    assert ended.code == 0, ended.error
    assert manifest.read_text() == changed, "no command rewrites it"
    with open_cube(str(folder / "spectrograms/mels.zarr")) as cube:
        assert not cube["time_is_real"].to_numpy().any(), "no zone: one after the other"
    with open_clusters(str(folder / "clusters/clusters.zarr")) as clusters:
        assert int(clusters["n_windows"].sum()) >= 4
    ended = cli("init", folder, "--audio", audio)
    assert ended.code == 2
    assert "found manifest.toml, spectrograms" in ended.error
    assert f"dawnchorus run {manifest}" in ended.error
    assert manifest.read_text() == changed


def test_an_interrupted_init_is_typed_again(tmp_path: Path, cli: Cli) -> None:
    audio, folder = cards(tmp_path)["sm4"], tmp_path / "study"
    assert cli("init", folder, "--audio", audio, "--zone", "UTC").code == 0
    text = (folder / "manifest.toml").read_bytes()
    (folder / "manifest.toml").unlink()
    assert cli("init", folder, "--audio", audio, "--zone", "UTC").code == 0
    assert (folder / "manifest.toml").read_bytes() == text


def test_deployments_zones_and_the_line_for_the_next_delivery(tmp_path: Path, cli: Cli) -> None:
    audio, folder = cards(tmp_path)["sm4"], tmp_path / "meine Studie"
    places = tmp_path / "Orte.csv"
    places.write_text('deployment,recorder,start\nWald,"Müller, sm4",2021-06-01T00:00:00Z\n')
    ended = cli("init", folder, "--audio", audio, "--zone", "Müller, sm4=America/Chicago", "--deployments", places)
    assert ended.code == 0, ended.error
    recordings = read_manifest(folder / "manifest.toml").runs["mels"].recordings
    assert recordings is not None
    assert recordings.deployments == places
    again = next(line for line in ended.out.splitlines() if line.startswith("When there are more"))
    assert "--zone 'Müller, sm4=America/Chicago'" in again
    assert f"--deployments {places}" in again
    table = (folder / "recordings.csv").read_text()
    assert "2021-06-22T09:00:00Z" in table
    assert "Wald" in table


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("in/study", "--audio", "in"), 2, "expected a folder outside of the recordings"),
        (("in", "--audio", "in"), 2, "expected a folder outside of the recordings"),
        (("s", "--audio", "nope"), 3, "--audio nope: expected a folder of recordings, found none"),
        (("s", "--audio", "in", "--like", "brids"), 2, "did you mean 'birds'?"),
        (("s", "--audio", "in", "--like", "none.toml"), 3, "no such manifest"),
        (("s", "--audio", "in", "--like", "bats"), 3, "expected recordings that reach at least 20,000 Hz"),
        (("s", "--audio", "in", "--zone", "Berlin"), 3, "Europe/Berlin"),
        (("s", "--audio", "photos"), 3, "photos"),
        (("s", "--audio", "empty"), 3, "found 1 files and none of them"),
        (("s", "--audio", "short"), 3, "expected at least 4 windows"),
        (("file", "--audio", "in"), 2, "found a file"),
    ],
)  # fmt: skip
def test_mistakes(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.move(cards(tmp_path)["sm4"], tmp_path / "in")
    for folder in ("photos", "empty", "short"):
        Path(folder).mkdir()
    Path("photos/a.jpg").write_bytes(b"x")
    Path("empty/S4A03895_20210622_040000.wav").touch()
    soundfile.write("short/S4A03895_20210622_040000.wav", sound(1, 0, 24_000), 24_000)
    Path("file").write_text("mine")
    ended = cli("init", *words)
    assert ended.code == code
    assert message in ended.error
    assert not Path(words[0], "manifest.toml").exists()
    assert Path("file").read_text() == "mine"


def test_settings_of_another_manifest(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "theirs").mkdir()
    other = tmp_path / "theirs/other study.toml"
    other.write_text(
        'lake = "."\nlabels = "labels.csv"\n'
        '[runs."cube 1"]\njob = "spectrograms"\nconfig = { window_s = 3.0, hop_s = 3.0, n_mels = 40, f_max_hz = 2e4 }\n'
        '[runs.a]\njob = "embed"\ninputs = { spectrograms = "cube 1" }\nconfig = { features = "logmel" }\n'
        '[runs.b]\njob = "embed"\ninputs = { spectrograms = "cube 1" }\nconfig = { features = "statistics" }\n'
        '[runs.k]\njob = "cluster"\ninputs = { embeddings = ["a", "b"] }\nconfig = { n_clusters = 3 }\n'
        '[runs.scores]\njob = "evaluate"\ninputs = { a = "a" }\n'
        '[runs.theirs]\njob = "import"\ninputs = { spectrograms = "cube 1" }\n'
        'files = { table = "t.csv", vectors = "v.npy" }\n'
        '[runs.of-theirs]\njob = "cluster"\ninputs = { embeddings = "theirs" }\n'
        '[runs.page]\njob = "atlas"\ninputs = { clusters = "k", spectrograms = "cube 1" }\nconfig = { title = "T" }\n'
    )
    ended = cli("init", tmp_path / "s", "--audio", cards(tmp_path)["sm4"], "--zone", "UTC", "--like", other)
    assert ended.code == 0, ended.error
    theirs, mine = read_manifest(other).runs, read_manifest(tmp_path / "s/manifest.toml").runs
    assert list(mine) == ["cube 1", "a", "b", "k", "page"]
    assert all(mine[name].config_id == theirs[name].config_id for name in ("cube 1", "a", "b", "k"))
    assert config_of(tmp_path / "s/manifest.toml", "page")["title"] == "Sound clusters: Karte für sm4"
    assert (
        "bands above half of the sample rate stay empty: 24.0 seconds at 24,000 Hz, f_max_hz = 20,000 Hz" in ended.out
    )


def test_the_band_follows_the_rates_that_hold_the_hours() -> None:
    def f_max(rates: dict[int, float], kind: str = "soundscape") -> float:
        sounds = replace(WEEK, hours_by_rate=rates, hours=sum(rates.values()))
        value: float = propose(sounds, kind, "t")[0].choices["f_max_hz"].value
        return value

    assert f_max({22_050: 10.0}) == 10_000
    assert f_max({24_000: 5.0, 48_000: 5.0}) == 11_000
    assert f_max({24_000: 0.5, 48_000: 9.5}) == 20_000, "the few hours at 24 kHz lack the upper bands"
    assert f_max({48_000: 10.0}, "birds") == 12_000
    assert f_max({384_000: 10.0}, "bats") == 170_000
    assert [kind_for(replace(WEEK, hours_by_rate={rate: 10.0})) for rate in (16_000, 48_000, 96_000, 192_000)] == [
        "soundscape", "soundscape", "insects", "bats",
    ]  # fmt: skip
    mixed = replace(WEEK, hours_by_rate={24_000: 0.5, 48_000: 9.5})
    assert "30.0 minutes at 24,000 Hz" in " ".join(notes_on(mixed, 20_000))
    assert not list(notes_on(WEEK, 11_000))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [48_000, 96_000, 250_000])
def test_each_kind_makes_settings_that_its_jobs_take(kind: str, rate: int) -> None:
    for hours in (0.1, 500.0):
        for run in propose(replace(WEEK, hours=hours, hours_by_rate={rate: hours}), kind, "t"):
            JOBS[run.job].config.model_validate({name: choice.value for name, choice in run.choices.items()})


def test_training_only_where_there_is_enough_to_learn_from() -> None:
    def names(hours: float) -> list[str]:
        return [run.name for run in propose(replace(WEEK, hours=hours, hours_by_rate={24_000: hours}), "birds", "t")]

    enough = WINDOWS_TO_TRAIN * 5 / 3600
    assert "dino" not in names(0.99 * enough)
    assert "dino" in names(1.01 * enough)
    assert "trained" in names(1.01 * enough)


@pytest.mark.parametrize(
    ("median", "window"), [(60.0, 5.0), (10.0, 5.0), (9.0, 3.0), (5.0, 2.0), (1.0, 0.5), (0.2, 0.5)]
)
def test_a_window_fits_twice_into_most_recordings(median: float, window: float) -> None:
    assert propose(replace(WEEK, median_s=median), "birds", "t")[0].choices["window_s"].value == window


@pytest.mark.parametrize(("usable", "share"), [(100, 0.05), (97, 0.1), (50, 0.55), (1, 1.0)])
def test_recordings_that_are_bad_already_do_not_end_the_run(usable: int, share: float) -> None:
    assert np.isclose(_quarantine_share(replace(WEEK, n_usable=usable)), share)


def test_too_little_sound_is_said() -> None:
    with pytest.raises(InputError, match="Add recordings"):
        propose(replace(WEEK, hours=0.001, hours_by_rate={24_000: 0.001}), "birds", "t")


@pytest.mark.slow
def test_a_study_that_begins_with_four_windows_grows(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer windows than clusters, atoms or features at first: only lines that the commands print are typed."""
    monkeypatch.chdir(tmp_path)
    audio = tmp_path / "audio"
    audio.mkdir()

    def record(first: int, last: int) -> None:
        for number in range(first, last):
            soundfile.write(audio / f"AM1_20210622_04{number:02d}00.wav", sound(12, number, 8000), 8000)

    record(0, 2)
    begun = cli("init", "study", "--audio", "audio", "--zone", "UTC")
    assert begun.code == 0, begun.error
    catalog = next(line for line in begun.out.splitlines() if "dawnchorus catalog" in line).split("dawnchorus ")[1]
    for n_windows in (4, 20):
        ended = cli("run", "study/manifest.toml", "--workers", 1)
        assert ended.code == 0, ended.error
        with open_clusters("study/clusters/clusters.zarr") as clusters:
            assert int(clusters["n_windows"].sum()) == n_windows
        record(2, 10)
        ended = cli(*catalog.split())
        assert ended.code == 0, ended.error
    cli("run", "study/manifest.toml", "mels", "--workers", 1)
    assert (
        "A new clustering is worth it: `dawnchorus run MANIFEST clusters --refresh`"
        in cli("status", "study/manifest.toml").out
    )
