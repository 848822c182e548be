"""The commands that read finished stores, on the small study."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from chains import n_windows, store
from commands import Cli

from lake.query.naming import Name, read_names, write_names
from lake.storage import Storage

COLUMNS = [
    "recorder", "time", "time_local", "site", "latitude", "longitude", "recording", "start_s", "end_s", "cluster",
    "name", "distance",
]  # fmt: skip


def table(out: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(out), parse_dates=["time"])


def test_query_by_local_time_and_cluster_finds_the_other_stores(cli: Cli, whole: Path) -> None:
    url = store(whole, "vectors")
    local = table(cli("query", url, "--date", "2021-07-14", "--local", "--hour", "19").out)
    assert set(local["time"].dt.date.astype(str)) == {"2021-07-15"}, "19:00 at five hours behind is midnight in UTC"
    assert (pd.to_datetime(local["time_local"]).dt.hour == 19).all()
    assert "site" in local
    one = table(cli("query", url, "--cluster", 1).out)
    assert set(one["cluster"]) == {1}
    everything = table(cli("query", store(whole, "clusters")).out)
    assert len(one) == (everything["cluster"] == 1).sum()
    assert cli("query", url, "--hour", "25").code == 2


def test_trace_goes_back_to_samples_across_a_join(cli: Cli, whole: Path, tmp_path: Path) -> None:
    """The first two recordings of `a` are one sound cut in two, which starts at 23:59:00.5."""
    url, root, out = store(whole, "clusters"), whole.parent / "audio", tmp_path / "cut.wav"
    words = ("trace", url, "--recorder", "a", "--time", "2021-07-14T23:59:16", "--root", root, "--audio", out, "--json")
    code, text, error = cli(*words)
    assert (code, error) == (0, "")
    facts = json.loads(text)
    assert [run["job"] for run in facts["runs"]] == ["cluster", "embed", "spectrograms"]
    assert all(run["content_id"] and run["config"] and run["written"] for run in facts["runs"])
    assert all(run.keys() >= {"image", "versions", "backend", "git_commit"} for run in facts["runs"])
    assert [piece["path"] for piece in facts["pieces"]] == ["a/000.wav", "a/001.wav"]
    assert [(piece["first_sample"], piece["last_sample"]) for piece in facts["pieces"]] == [
        (124_000, 136_000),
        (0, 20_000),
    ]
    whole_sound = np.concatenate([soundfile.read(root / f"a/00{i}.wav")[0] for i in (0, 1)])
    cut, rate = soundfile.read(out)
    assert rate == 8000
    np.testing.assert_allclose(cut, whole_sound[124_000:156_000], atol=2**-22)


@pytest.mark.parametrize(("name", "n_runs"), [("mels", 1), ("vectors", 2), ("clusters", 3)])
def test_a_window_an_embedding_and_a_cluster_lead_to_the_same_samples(
    cli: Cli, whole: Path, name: str, n_runs: int
) -> None:
    words = ("trace", store(whole, name), "--recorder", "a", "--time", "2021-07-14T23:59:16", "--json")
    facts = json.loads(cli(*words).out)
    assert len(facts["runs"]) == n_runs
    assert [(piece["first_sample"], piece["last_sample"]) for piece in facts["pieces"]] == [
        (124_000, 136_000),
        (0, 20_000),
    ]
    assert all(len(piece["sha256"]) == 64 for piece in facts["pieces"])
    assert facts["channel"] == "mix"
    assert facts["recorder"] == "a"


def test_trace_of_an_exemplar_as_people_read_it(cli: Cli, whole: Path) -> None:
    code, out, _ = cli("trace", store(whole, "clusters"), "--cluster", 0)
    assert code == 0
    assert "window     " in out
    assert "sha256 " in out
    assert "run        mels (spectrograms), config " in out


def test_a_recording_that_was_exchanged_is_not_cut(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    root = manifest.parent / "audio"
    words = ("trace", store(manifest, "mels"), "--recorder", "a", "--time", "2021-07-14T23:59:16", "--root", root)
    (root / "a/000.wav").write_bytes((root / "a/001.wav").read_bytes())
    code, _, error = cli(*words, "--audio", tmp_path / "cut.flac")
    assert code == 3
    assert "a/000.wav: is another file than the store was made from: expected SHA-256" in error
    (root / "a/000.wav").unlink()
    assert (
        "expected the recording, found no file; name the folder" in cli(*words, "--audio", tmp_path / "cut.flac").error
    )


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "name a window with --recorder and --time, or an exemplar with --cluster"),
        (("--cluster", 0, "--audio", "x.flac"), 2, "expected a name that ends in .flac or .wav, and --root"),
        (("--cluster", 99), 3, "has 3 clusters of 12 exemplars, numbered from 0"),
        (("--recorder", "a", "--time", "2021-07-14T23:59:54"), 3, "no window at 2021-07-14T23:59:54Z; the nearest is"),
        (("--recorder", "a", "--time", "2021-07-20"), 3, "recorder 'a' has no window on 2021-07-20"),
    ],
)
def test_traces_that_lead_nowhere(cli: Cli, whole: Path, words: tuple[object, ...], code: int, told: str) -> None:
    ended = cli("trace", store(whole, "clusters"), *words)
    assert ended.code == code
    assert told in ended.error


def test_a_cluster_by_its_name(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    """Composed or decomposed letters are the same name; two clusters may have one; a number stays a number."""
    url = store(manifest, "clusters")
    write_names(Storage(url), [Name(0, "Gr\u00fcnfink"), Name(1, "pewee"), Name(2, "pewee")])
    for asked, numbers in [("pewee", {1, 2}), ("Gru\u0308nfink", {0}), ("1", {1})]:
        assert set(table(cli("query", url, "--cluster", asked).out)["cluster"]) == numbers
        assert set(table(cli("query", store(manifest, "vectors"), "--cluster", asked).out)["cluster"]) == numbers
        assert cli("export", url, "--cluster", asked, "--out", tmp_path / "x.csv").code == 0
        assert set(pd.read_csv(tmp_path / "x.csv")["cluster"]) == numbers
    assert set(table(cli("query", url, "--cluster", "0", "--cluster", "pewee").out)["cluster"]) == {0, 1, 2}
    wrong = cli("query", url, "--cluster", "pewe")
    assert wrong.code == 3
    assert "expected a number from 0 to 2, or a name in" in wrong.error
    assert "near: pewee" in wrong.error
    assert cli("trace", url, "--cluster", "Gr\u00fcnfink").out == cli("trace", url, "--cluster", 0).out
    assert "clusters 1, 2 have this name" in cli("trace", url, "--cluster", "pewee").error


def test_export_as_a_table(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    url, out = store(manifest, "clusters"), tmp_path / "all.csv"
    write_names(Storage(url), [Name(1, "pewee")])
    assert cli("export", url, "--out", out).code == 0
    rows = pd.read_csv(out)
    assert list(rows.columns) == COLUMNS
    assert (rows["name"].fillna("") == np.where(rows["cluster"] == 1, "pewee", "")).all()
    windows = rows.groupby(["recorder", "time"])
    assert len(windows) == n_windows(manifest, "clusters")
    # Every window of 4 s is there in full, or what was recorded of it; nothing twice.
    assert (windows["end_s"].sum() - windows["start_s"].sum() <= 4 + 1e-6).all()
    assert (windows["end_s"].sum() - windows["start_s"].sum() >= 3.2 - 1e-6).all()
    assert (windows.size() == 2).any(), "a join"
    parquet = tmp_path / "all.parquet"
    assert json.loads(cli("export", url, "--out", parquet, "--to", "parquet", "--json").out)["n_rows"] == len(rows)
    assert len(pd.read_parquet(parquet)) == len(rows)


def test_export_for_raven_and_audacity(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url = store(whole, "clusters")
    assert cli("export", url, "--to", "raven", "--out", tmp_path / "r", "--recorder", "a").code == 0
    raven = pd.read_csv(tmp_path / "r/a/000.dawnchorus.selections.txt", sep="\t")
    assert raven["Selection"].tolist() == list(range(1, len(raven) + 1))
    assert set(raven["Begin File"]) == {"000.wav"}
    assert raven["Begin Time (s)"].iloc[0] == 0, "the window from 23:59:00 is half a second older than the recording"
    assert raven["Annotation"].str.startswith("cluster ").all()
    assert raven["End Time (s)"].max() == 17
    assert cli("export", url, "--to", "audacity", "--out", tmp_path / "u", "--recorder", "a").code == 0
    lines = (tmp_path / "u/a/000.labels.txt").read_text().splitlines()
    assert len(lines) == len(raven)
    assert len(lines[0].split("\t")) == 3


def test_positions_are_rounded(cli: Cli, tmp_path: Path) -> None:
    from soundfiles import Study, sound

    study = Study(tmp_path)
    study.add("a", 0.0, sound(12, 1), deployment="a-1")
    (tmp_path / "deployments.csv").write_text(
        "deployment,recorder,site,latitude,longitude,start,zone\na-1,a,wood,41.812345,-88.076543,2021-01-01,UTC\n"
    )
    manifest = study.write(extra=', deployments = "deployments.csv"')
    with manifest.open("a") as file:
        file.write('[runs.v]\njob = "embed"\ninputs = { spectrograms = "mels" }\nconfig = { features = "logmel" }\n')
        file.write('[runs.k]\njob = "cluster"\ninputs = { embeddings = "v" }\nconfig = { n_clusters = 2 }\n')
    assert cli("run", manifest, "--workers", 1).code == 0
    url = store(manifest, "k")
    for words, expected in (((), (41.812345, -88.076543)), (("--round-coordinates", 2), (41.81, -88.08))):
        assert cli("export", url, "--out", tmp_path / "x.csv", *words).code == 0
        rows = pd.read_csv(tmp_path / "x.csv")
        assert {*zip(rows["latitude"], rows["longitude"], strict=True)} == {expected}
        assert set(rows["site"]) == {"wood"}
    assert len(table(cli("query", url, "--site", "wood").out)) == len(rows)
    assert "site 'field' is not in the cube; it has wood" in cli("query", url, "--site", "field").error


@pytest.mark.parametrize(
    ("name", "words", "code", "told"),
    [
        ("clusters", ("--out", "x", "--to", "kaleidoscope"), 2, "expected one of csv, parquet, raven"),
        ("clusters", ("--out", "x.txt"), 2, "--out x.txt: expected a name that ends in .csv"),
        ("vectors", ("--out", "x.csv"), 3, "expected a store of clusters; name one below `clusters`"),
        ("clusters", ("--out", "x", "--to", "raven", "--date", "2030"), 2, "--date"),
        ("clusters", ("--out", "x", "--to", "raven", "--date", "2030-01"), 3, "no window is left to export"),
    ],
)
def test_exports_that_are_refused(
    cli: Cli, whole: Path, name: str, words: tuple[str, ...], code: int, told: str
) -> None:
    ended = cli("export", store(whole, name), *words)
    assert ended.code == code
    assert told in ended.error


def test_names_are_shown_and_carried(cli: Cli, manifest: Path) -> None:
    old = store(manifest, "clusters")
    with manifest.open("a") as file:
        file.write('[runs.again]\njob = "cluster"\ninputs = { embeddings = "vectors" }\n')
        file.write("config = { n_clusters = 3, seed = 8 }\n")
    assert cli("run", manifest, "again", "--workers", 1).code == 0
    new = store(manifest, "again")
    assert "expected names (columns cluster, name, notes), found none" in cli("names", old, new).error
    write_names(Storage(old), [Name(i, f"kind {i}") for i in range(3)])
    shown = cli("names", old, new, "--min-overlap", 0)
    assert shown.code == 0
    assert "not written; add --write" in shown.out
    assert read_names(Storage(new)).rows == ()
    rows = json.loads(cli("names", old, new, "--min-overlap", 0, "--write", "--json").out)
    assert len(rows) == 3
    carried = {row["cluster"]: row["name"] for row in rows if row["is_carried"]}
    assert carried
    assert {name.cluster: name.name for name in read_names(Storage(new)).rows} == carried
    assert "has a name already" in cli("names", old, new, "--min-overlap", 0, "--write").out


def test_import_asks_for_a_run_that_imports(cli: Cli, whole: Path) -> None:
    ended = cli("import", whole, "vectors")
    assert ended.code == 3
    assert "run 'vectors' is a 'embed' run; `dawnchorus run" in ended.error
