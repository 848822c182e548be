"""Files of verdicts come into the lake whole or not at all, and each thing that is wrong is named."""

import json
from pathlib import Path

import pytest
from chains import runs, store
from commands import Cli

from lake.deliveries import deliveries
from lake.query.find import Wanted, find
from lake.query.select import open_any
from lake.verdicts import read_verdicts, settled

SOUNDS = "sound,scientific_name,key,aliases\nwren,Troglodytes troglodytes,,winter wren\nrobin,,,\n"
HEADER = "recorder,time_utc,duration_s,sound,verdict,reviewer,decided_at"


@pytest.fixture
def study(manifest: Path) -> Path:
    """Return the manifest of a finished study that has a table of sounds."""
    (manifest.parent / "sounds.csv").write_text(SOUNDS)
    return manifest


def times(manifest: Path, recorder: str = "a") -> list[str]:
    """Return the times of a recorder's windows."""
    with open_any(store(manifest, "mels")) as cube:
        table = find(cube, Wanted())
    return [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in table.loc[table["recorder"] == recorder, "time"]]


def written(folder: Path, name: str, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*lines, ""]).encode(encoding))
    return path


def rows(manifest: Path, n: int = 3, verdict: str = "yes") -> list[str]:
    seconds = window_s(manifest)
    return [f"a,{time},{seconds:g},wren,{verdict},Ana,2026-01-02T03:04:05Z" for time in times(manifest)[:n]]


def window_s(manifest: Path) -> float:
    return float(runs(manifest)["mels"].record["config"]["window_s"])


def test_a_table_comes_in_once(cli: Cli, study: Path, tmp_path: Path) -> None:
    path = written(tmp_path, "ana.csv", HEADER, *rows(study))
    code, out, _ = cli("verdicts", "add", study, path, "--json")
    assert code == 0
    assert json.loads(out)["n_added"] == 3
    assert "nothing to add" in cli("verdicts", "add", study, path).out
    lake = runs(study)["mels"].lake
    assert len(deliveries(lake)) == 1
    found = read_verdicts(lake)
    assert (found["digest"].str.len() > 0).all()
    assert (found["recording"].str.len() > 0).all()


@pytest.mark.parametrize(
    ("separator", "encoding", "time"),
    [(";", "utf-8-sig", "{} {}"), ("\t", "utf-16", "{}T{}Z"), (",", "cp1252", "{} {}+00:00")],
)
def test_a_spreadsheet_saved_it(
    cli: Cli, study: Path, tmp_path: Path, separator: str, encoding: str, time: str
) -> None:
    """The same verdicts in another form are the same verdicts."""
    plain = written(tmp_path, "plain.csv", HEADER, *rows(study))
    assert cli("verdicts", "add", study, plain).code == 0
    lines = []
    for line in rows(study):
        cells = line.split(",")
        day, clock = cells[1].rstrip("Z").split("T")
        cells[1], cells[2] = time.format(day, clock), cells[2].replace(".", "," if separator != "," else ".")
        cells[4] = cells[4].upper()
        lines.append(separator.join(cells))
    path = written(tmp_path, "saved.csv", HEADER.replace(",", separator), *lines, encoding=encoding)
    code, out, error = cli("verdicts", "add", study, path)
    assert (code, "the lake has them all" in out) == (0, True), error


def test_all_that_is_wrong_is_named_at_once(cli: Cli, study: Path, tmp_path: Path) -> None:
    good, seconds = times(study)[0], window_s(study)
    after = ",Ana,2026-01-02T03:04:05Z"
    path = written(
        tmp_path, "bad.csv", HEADER,
        f"a,{good},{seconds:g},wern,yes{after}",
        f"c,{good},{seconds:g},wren,yes{after}",
        f"a,2021-07-14T23:59:01Z,{seconds:g},wren,yes{after}",
        f"a,{good},{seconds + 1:g},wren,yes{after}",
        f"a,{good},{seconds:g},wren,maybe{after}",
        f"a,14.07.2021 23:59,{seconds:g},wren,yes{after}",
        f"a,{good[:-4]},{seconds:g},wren,yes{after}",
        f"a,{good},{seconds:g},wren,yes,,2026-01-02T03:04:05Z",
        f"a,{good},,wren,yes{after}",
    )  # fmt: skip
    code, _, error = cli("verdicts", "add", study, path)
    assert code == 3
    for told in (
        "row 2: sound 'wern' is not in sounds.csv; near: wren",
        "row 3: recorder 'c' is not in the cube; there is a, b",
        "row 4: recorder 'a' has no window at 2021-07-14T23:59:01Z; the nearest is at 2021-07-14T23:59:00Z",
        "row 5: a window of",
        "row 6: expected yes, no or unsure, found 'maybe'",
        "row 7: expected a time such as 2021-06-22T05:00:06Z, found '14.07.2021 23:59'",
        "row 8: expected a time such as",
        "row 9: reviewer is empty",
    ):
        assert told in error
    assert "row 10" not in error
    assert deliveries(runs(study)["mels"].lake) == []


def test_one_bad_file_keeps_all_out(cli: Cli, study: Path, tmp_path: Path) -> None:
    good = written(tmp_path, "good.csv", HEADER, *rows(study))
    bad = written(tmp_path, "bad.csv", "sound,verdict", "wren,yes")
    code, _, error = cli("verdicts", "add", study, good, bad)
    assert code == 3
    assert "recorder, time_utc is missing" in error
    assert deliveries(runs(study)["mels"].lake) == []


def test_a_window_of_other_sound(cli: Cli, study: Path, tmp_path: Path) -> None:
    """A table carries the digest of what was heard."""
    path = written(tmp_path, "other.csv", f"{HEADER},digest", *(f"{row},0123456789abcdef" for row in rows(study, 1)))
    code, _, error = cli("verdicts", "add", study, path)
    assert code == 3
    assert "was heard with the digest 0123456789abcdef" in error
    assert "other settings" in error


def test_labels_are_verdicts(cli: Cli, study: Path, tmp_path: Path) -> None:
    at = "a,2021-07-14T23:59:01Z,2021-07-14T23:59"
    lines = ("recorder,start_utc,end_utc,label", f"{at}:11Z,Winter Wren", f"{at}:01.2Z,robin")
    table = written(tmp_path, "labels.csv", *lines)
    assert "say it with --reviewer" in cli("verdicts", "add", study, table).error
    code, out, error = cli("verdicts", "add", study, table, "--reviewer", "Bo")
    assert code == 0
    assert "2 of 2 verdicts added" in out
    assert "1 of 2 spans share less than 0.5 s with every window" in error
    found = settled(read_verdicts(runs(study)["mels"].lake))
    assert found[["sound", "verdict"]].to_numpy().tolist() == [["robin", "yes"], ["wren", "yes"]]
    assert "nothing to add" in cli("verdicts", "add", study, table, "--reviewer", "Bo").out, "later, the same file"


def test_only_with_exhaustive_is_silence_an_absence(cli: Cli, study: Path, tmp_path: Path) -> None:
    end = "2021-07-14T23:59:11Z"
    table = written(tmp_path, "labels.csv", "recorder,start_utc,end_utc,label", f"a,2021-07-14T23:59:01Z,{end},wren")
    cli("verdicts", "add", study, table, "--reviewer", "Bo")
    assert len(read_verdicts(runs(study)["mels"].lake)) == 1
    cli("verdicts", "add", study, table, "--reviewer", "Bo", "--exhaustive")
    found = read_verdicts(runs(study)["mels"].lake)
    absent = found[found["verdict"] == "no"]
    assert len(absent) > 0
    assert (absent["recording"] == found.loc[found["verdict"] == "yes", "recording"].iloc[0]).all()
    assert (absent["time_utc"] >= end.rstrip("Z")).all(), "what the label touches is not absent"


def test_other_sounds_are_refused_or_passed_over(cli: Cli, study: Path, tmp_path: Path) -> None:
    span = "a,2021-07-14T23:59:01Z,2021-07-14T23:59:11Z"
    table = written(
        tmp_path, "labels.csv", "recorder,start_utc,end_utc,label", f"{span},wren", f"{span},jay", f"{span},robin"
    )
    code, _, error = cli("verdicts", "add", study, table, "--reviewer", "Bo")
    assert code == 3
    assert "sound 'jay' is not in sounds.csv" in error
    code, out, error = cli("verdicts", "add", study, table, "--reviewer", "Bo", "--sound", "Wren")
    assert code == 0
    assert "1 of 1 verdicts added" in out
    assert "2 labels are of other sounds" in error
    assert (
        "--sound: sound 'wrenn'" in cli("verdicts", "add", study, table, "--reviewer", "Bo", "--sound", "wrenn").error
    )


def test_a_span_beyond_its_recording(cli: Cli, study: Path, tmp_path: Path) -> None:
    table = written(
        tmp_path, "labels.csv", "recorder,start_utc,end_utc,label", "a,2021-07-15T00:00:30Z,2021-07-15T00:09:00Z,wren",
        "a,2022-07-15T00:00:30Z,2022-07-15T00:00:40Z,wren",
    )  # fmt: skip
    code, _, error = cli("verdicts", "add", study, table, "--reviewer", "Bo")
    assert code == 3
    assert "s outside of" in error
    assert "has no recording from 2022-07-15T00:00:30Z" in error


def test_counts_status_verify_and_trace_know_them(cli: Cli, study: Path, tmp_path: Path) -> None:
    assert "no verdicts yet" in cli("verdicts", "list", study).out
    assert "verdicts" not in cli("status", study).out
    cli("verdicts", "add", study, written(tmp_path, "ana.csv", HEADER, *rows(study)))
    cli(
        "verdicts",
        "add",
        study,
        written(tmp_path, "bo.csv", HEADER, *(row.replace("Ana", "Bo") for row in rows(study, 2, "no"))),
    )
    found = json.loads(cli("verdicts", "list", study, "--json").out)
    by_reviewer = {row["reviewer"]: row for row in found["counts"]}
    assert (by_reviewer["Ana"]["yes"], by_reviewer["Bo"]["no"]) == (3, 2)
    assert by_reviewer["settled"] == {
        "sound": "wren", "reviewer": "settled", "yes": 1, "no": 0, "unsure": 2, "disputed": 2,
    }  # fmt: skip
    assert found["agreement"][0]["n_both"] == 2
    assert "5 of 1 sounds, in 2 deliveries" in cli("status", study).out
    assert "verdicts: 2 deliveries, 0 of them differ" in cli("verify", study).out
    traced = json.loads(cli("trace", store(study, "mels"), "--recorder", "a", "--time", times(study)[0], "--json").out)
    assert {one["reviewer"] for one in traced["verdicts"]} == {"Ana", "Bo"}
    lake = runs(study)["mels"].lake
    path = Path(lake.storage.root) / "verdicts" / deliveries(lake)[0]
    path.write_bytes(path.read_bytes().replace(b"yes", b"no "))
    for words in (["status", study], ["verify", study], ["verdicts", "list", study]):
        code, out, error = cli(*words)
        assert code == 4
        assert path.name in out + error


def test_without_a_table_of_sounds(cli: Cli, manifest: Path, tmp_path: Path) -> None:
    code, _, error = cli("verdicts", "add", manifest, written(tmp_path, "ana.csv", HEADER, *rows(manifest)))
    assert code == 3
    assert "sounds.csv: expected the table of the sounds that are asked about" in error
