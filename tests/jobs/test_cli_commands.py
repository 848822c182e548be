"""The command line: what each command prints, and where."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from chains import n_windows, receipts, runs, store, write_chain
from commands import Cli
from soundfiles import RATE, sound, usual_study

from jobs.cli.begin import parse_zones
from jobs.cli.main import parse_partition
from lake.constants import STATUS
from lake.errors import UsageError

STAYS = "labels.csv changed; it stays as it is (run it with --refresh, or under a new name)"


def test_catalog(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "audio" / "north"
    folder.mkdir(parents=True)
    soundfile.write(folder / "20210714_050000.wav", sound(36, 1), RATE)
    soundfile.write(folder / "dawn.wav", sound(36, 2), RATE)
    (folder / "20210714_060000.wav").touch()
    out = tmp_path / "recordings.csv"
    words = ["catalog", tmp_path / "audio", "--out", out, "--zone", "America/Chicago"]
    code, text, error = cli(*words)
    assert code == 0
    *summary, last = text.splitlines()
    assert last == f"{out}: 3 files, 1.2 minutes, 1 with a time in UTC"
    assert summary[0] == "north  3 files, 1.2 minutes, 2021-07-14T10:00:00Z to 2021-07-14T11:00:00Z"
    assert summary[1] == "       local time -05:00 (2), told by name+zone"
    assert [line.split()[:2] for line in summary[-4:]] == [
        ["OE001", "1"], ["OE004", "1"], ["empty", "1"], ["no_time", "1"],
    ]  # fmt: skip
    assert error.startswith("catalog: 3 of 3 files, "), "a long step shows how far it is"
    table = pd.read_csv(out)
    assert table.loc[0, "start_utc"] == "2021-07-14T10:00:00Z"
    code, text, _ = cli(*words, "--json")
    assert code == 0
    facts = json.loads(text)
    assert facts["n_files"] == 3
    assert facts["table"] == str(out)
    code, text, error = cli("catalog", tmp_path / "nowhere", "--out", out)
    assert (code, text) == (3, "")
    assert str(tmp_path / "nowhere") in error
    code, text, error = cli(*words[:-1], "America/Chicargo")
    assert (code, text) == (3, "")
    assert "America/Chicargo" in error


def test_run_and_status(cli: Cli, manifest: Path) -> None:
    lines = [f"{name}: done, nothing to do" for name in runs(manifest)]
    assert cli("run", manifest) == (0, "\n".join(lines) + "\n", "")
    code, out, error = cli("run", manifest, "scores", "--refresh", "--workers", "1")
    assert code == 0
    assert out.startswith("scores: done in ")
    assert error.startswith("scores: labels for clusters: 2 of 2 recorders, ")
    assert len(receipts(manifest, "scores")) == 2
    (manifest.parent / "labels.csv").write_text("recorder,start_utc,end_utc,label\n")
    code, out, error = cli("status", manifest)
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        "mels      spectrograms  done",
        "vectors   embed         done",
        "clusters  cluster       done",
        f"scores    evaluate      stale: {STAYS}",
    ]
    found = json.loads(cli("status", manifest, "--json").out)
    assert found[0] == {"name": "mels", "job": "spectrograms", "state": "done", "detail": ""}
    assert found[3]["state"] == "stale"
    code, out, error = cli("run", manifest, "score")
    assert (code, out) == (3, "")
    assert error == f"dawnchorus: {manifest} has no run 'score'; did you mean 'scores'?\n"
    code, out, error = cli("run", manifest, "scores", "--partition", "0/2", "--workers", "1")
    assert (code, out) == (3, "")
    assert error.startswith("dawnchorus: run 'scores' is a 'evaluate' run, which has no partitions")


def test_shares_and_finalise(cli: Cli, tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    assert cli("run", manifest, "mels", "--partition", "0/2", "--workers", "1").out.startswith("mels: share done in ")
    code, out, error = cli("finalise", manifest, "mels")
    assert (code, out) == (4, "")
    assert "2 of 4 partitions are not written yet" in error
    assert cli("query", store(manifest, "mels")).code == 4
    assert cli("run", manifest, "mels", "--partition", "1/2", "--workers", "1").code == 0
    assert cli("finalise", manifest, "mels") == (0, "mels: finalised\n", "")
    assert cli("finalise", manifest, "mels") == (0, "mels: finalised already, nothing to do\n", "")
    assert cli("query", store(manifest, "mels")).code == 0
    assert cli("finalise", manifest, "clusters").code == 4, "it has partitions, and has not begun"


@pytest.mark.parametrize("name", ["mels", "vectors", "clusters"])
def test_query_by_recorder_and_date(cli: Cli, whole: Path, name: str) -> None:
    url = store(whole, name)

    def asked(*words: object) -> pd.DataFrame:
        code, out, error = cli("query", url, *words)
        found = pd.read_csv(io.StringIO(out), parse_dates=["time"])
        assert code == 0
        assert bool(error) == (len(found) == 0), "nothing found is said"
        return found

    everything = asked()
    assert len(everything) == n_windows(whole, name)
    of_a = everything[everything["recorder"] == "a"].reset_index(drop=True)
    day = of_a["time"].dt.day
    assert set(day) == {14, 15}
    for words, expected in [
        (["--recorder", "a"], of_a),
        (["--recorder", "a", "--date", "2021-07-15"], of_a[day == 15]),
        (["--recorder", "a", "--date", "2021-07"], of_a),
        (["--recorder", "a", "--date", "2021-06/2021-07-14"], of_a[day == 14]),
        (["--recorder", "b", "--recorder", "a"], pd.concat([everything[everything["recorder"] == "b"], of_a])),
        (["--date", "2021-08"], everything[:0]),
    ]:
        pd.testing.assert_frame_equal(asked(*words), expected.reset_index(drop=True), check_dtype=len(expected) > 0)


def test_query_into_files(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url = store(whole, "clusters")
    csv, parquet = tmp_path / "a.csv", tmp_path / "a.parquet"
    assert cli("query", url, "--recorder", "a", "--out", csv).out.startswith(f"{csv}: ")
    code, out, _ = cli("query", url, "--recorder", "a", "--out", parquet, "--json")
    table = pd.read_parquet(parquet)
    assert code == 0
    assert json.loads(out) == {"out": str(parquet), "n_windows": len(table)}
    assert csv.read_text() == cli("query", url, "--recorder", "a").out
    from_csv = pd.read_csv(csv, parse_dates=["time"])
    pd.testing.assert_frame_equal(from_csv, table, check_dtype=False, check_exact=False)
    assert list(table.columns) == ["recorder", "time", "cluster", "cluster_status", "distance"]
    assert str(table["time"].dtype).startswith("datetime64")


def test_query_as_json(cli: Cli, whole: Path) -> None:
    code, out, _ = cli("query", store(whole, "vectors"), "--date", "2021-07-15", "--features", "--json")
    assert code == 0
    rows = json.loads(out)
    assert rows[0]["recorder"] == "a"
    assert rows[0]["time"] == "2021-07-15T00:00:00.000"
    assert rows[0]["embedding_status"] == STATUS["ok"]
    assert isinstance(rows[0]["f35"], float), "mean, deviation and maximum of 12 bands"
    assert json.loads(cli("query", store(whole, "vectors"), "--date", "2030-01", "--json").out) == []


def test_queries_that_cannot_be_answered(cli: Cli, whole: Path, tmp_path: Path) -> None:
    url = store(whole, "vectors")
    told = "dawnchorus: recorder 'c' is not in the store; it has a, b.\n"
    assert cli("query", url, "--recorder", "c") == (3, "", told)
    code, out, error = cli("query", tmp_path / "x.zarr")
    assert (code, out) == (4, "")
    assert error.startswith(f"dawnchorus: {tmp_path}/x.zarr: expected a finished store, found none (nothing is there)")
    assert cli("query", store(whole, "mels"), "--features").code == 3
    (tmp_path / "file").touch()
    assert cli("query", url, "--date", "2021-07-14/2021-07-13").code == 2


def test_partitions_and_zones() -> None:
    assert parse_partition(None) is None
    assert parse_partition("0/1") == (0, 1)
    assert parse_partition("12/100") == (12, 100)
    for wrong in ("", "1", "1/1", "0/0", "-1/2", "1/2/3", "a/b", "1 / 2", "0.5/2"):
        with pytest.raises(UsageError, match="expected i/n with 0 <= i < n"):
            parse_partition(wrong)
    assert parse_zones(None) == {}
    assert parse_zones(["America/Chicago", "a/b=UTC", "x=y=UTC"]) == {"": "America/Chicago", "a/b": "UTC", "x=y": "UTC"}


def test_verify_names_what_differs_from_the_ledger(cli: Cli, tmp_path: Path) -> None:
    study = usual_study(tmp_path)
    manifest = study.write()
    assert cli("run", manifest, "--workers", 1).code == 0
    whole = cli("verify", manifest)
    assert whole.code == 0
    assert whole.out.startswith("mels: ")
    assert "0 of them differ" in whole.out
    shard = min((tmp_path / "lake/spectrograms/mels.zarr/spectrogram").glob("c.*"))
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    damaged = cli("verify", manifest, "mels")
    assert damaged.code == 4
    assert "1 of them differ" in damaged.out
    assert f"{shard.name}: differs from the ledger; a: 2021-07-1" in damaged.error
    assert "Restore them from a copy" in damaged.error
