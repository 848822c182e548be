"""Batches that people are asked: chosen, kept, answered, and what is asked next."""

import json
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
from asking import SOUNDS, answers, ask, deliver, kept, places, refused, store_list, windows_of
from chains import run_chain, runs, store
from commands import Cli

from lake.batch_files import batch_names
from lake.batches import sample_of
from lake.query.naming import Name, write_names
from lake.verdicts import read_verdicts

# Choosing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["auto", "explore", "far", "typical", "random", "count"])
def test_the_same_question_is_the_same_batch(cli: Cli, study: Path, order: str) -> None:
    said, _ = ask(cli, study, "--order", order, "--n", 9)
    batch = kept(study, said["batch"])
    assert (said["n"], len(batch.table)) == (9, 9)
    assert places(batch.table) <= places(windows_of(study))
    assert len(places(batch.table)) == 9
    assert batch.table["draw"].tolist() == list(range(9))
    assert batch.is_random == (order in {"random", "count"})
    lake = Path(runs(study)["mels"].lake.storage.root)
    before = {path: path.read_bytes() for path in (lake / "batches").iterdir()}
    assert ask(cli, study, "--order", order, "--n", 9)[0] == said
    assert before == {path: path.read_bytes() for path in (lake / "batches").iterdir()}
    reads = batch.asked["reads"]
    assert reads["spectrograms"]["content_id"]
    if order not in {"random", "count"}:
        assert {one["run"] for one in reads.values()} >= {"clusters"}
    assert ask(cli, study, "--order", order, "--n", 9, "--seed", 5)[0]["batch"] != said["batch"]


def test_what_is_said_of_a_batch(cli: Cli, study: Path) -> None:
    code, out, _ = cli("review", study, "--no-page", "--n", 5, "--sound", "Winter Wren")
    assert code == 0
    assert "typical: nothing was heard yet; these are typical of the kinds of windows that were heard least" in out
    assert "sounds     wren\n" in out
    (name,) = batch_names(runs(study)["mels"].lake)
    assert f"batch      {name}: 5 of" in out
    assert kept(study, name).made["command"].startswith("dawnchorus review")
    assert "5 windows, 0 answered" in cli("status", study).out
    assert "batches: 1 batches, 0 of them differ" in cli("verify", study).out


def test_sounds_that_are_not_there_are_named_at_once(cli: Cli, study: Path) -> None:
    error = refused(cli, study, "--sound", "wern", "--sound", "robbin", "--sound", "speech")
    assert "sound 'wern' is not in sounds.csv; near: wren" in error
    assert "sound 'robbin' is not in sounds.csv; near: robin" in error
    assert "speech: it is not asked about" in error
    assert batch_names(runs(study)["mels"].lake) == []


def test_words_that_do_not_go_together(cli: Cli, study: Path) -> None:
    assert cli("review", study, "--order", "best").code == 2
    assert "typical, explore, far, margin" in cli("review", study, "--order", "best").error
    assert cli("review", study, "--batch", "random-0123456789abcdef", "--sound", "wren").code == 2
    assert cli("review", study, "--n", 0).code == 2


def test_more_than_there_are(cli: Cli, study: Path) -> None:
    n = len(windows_of(study))
    said, error = ask(cli, study, "--order", "random", "--n", n + 7)
    assert said["n"] == n
    assert f"{n + 7} windows were asked for, {n} are left; all of them are in the batch" in error
    assert kept(study, said["batch"]).table["probability"].iloc[-1] == 1


@pytest.mark.parametrize("order", ["margin", "top", "precision"])
def test_orders_by_score_say_what_they_need(cli: Cli, study: Path, order: str) -> None:
    error = refused(cli, study, "--order", order)
    assert "needs the scores of detectors" in error
    assert "'detect' run" in error


def test_without_clusters_and_without_vectors(cli: Cli, study: Path) -> None:
    """What is gone is not used; the order that needs nothing goes on."""
    shutil.rmtree(store(study, "clusters"))
    assert "needs clusters" in refused(cli, study, "--order", "explore")
    said, _ = ask(cli, study, "--n", 4)
    assert said["asked"]["order"] == "typical"
    shutil.rmtree(store(study, "vectors"))
    assert "needs vectors" in refused(cli, study, "--order", "far")
    assert ask(cli, study, "--n", 4)[0]["asked"]["order"] == "random"


def test_a_run_that_is_none(cli: Cli, study: Path) -> None:
    assert "near: clusters" in refused(cli, study, "--clusters", "cluster")
    assert "expected a run of embeddings that is done" in refused(cli, study, "--vectors", "clusters")
    assert ask(cli, study, "--order", "far", "--vectors", "vectors", "--n", 3)[0]["n"] == 3


def test_names_of_clusters_are_proposals(cli: Cli, study: Path) -> None:
    write_names(runs(study)["clusters"].output, [Name(cluster, f"kind {cluster}") for cluster in range(2)])
    batch = kept(study, ask(cli, study, "--order", "explore", "--n", 30)[0]["batch"])
    wanted = [
        "" if stratum == "cluster 2" else stratum.replace("cluster", "kind") for stratum in batch.table["stratum"]
    ]
    assert batch.table["proposal"].tolist() == wanted
    assert kept(study, ask(cli, study, "--order", "random")[0]["batch"]).table["proposal"].str.startswith("kind").any()
    assert read_verdicts(runs(study)["mels"].lake).empty, "a name is no verdict"


def test_names_that_cannot_be_read_stop_nothing(cli: Cli, study: Path) -> None:
    (Path(runs(study)["mels"].lake.storage.root) / "clusters" / "clusters.names.csv").write_text("cluster,name\nx,y\n")
    said, error = ask(cli, study, "--n", 3)
    assert said["n"] == 3
    assert "names of clusters are not shown" in error


# Answering -------------------------------------------------------------------------------------------------


def test_what_was_heard_is_not_asked_again(cli: Cli, study: Path) -> None:
    first = kept(study, ask(cli, study, "--order", "random", "--n", 10)[0]["batch"])
    assert deliver(cli, study, answers(first, draws=range(8))).code == 0
    assert deliver(cli, study, answers(first, draws=range(8, 9), sounds=("robin",))).code == 0
    rest = len(windows_of(study)) - 8
    said, _ = ask(cli, study, "--order", "random", "--n", 1000)
    second = kept(study, said["batch"])
    assert not places(second.table) & places(first.table.iloc[:8]), "those are certain"
    assert places(first.table.iloc[8:]) <= places(second.table), "not answered for every sound"
    assert (said["asked"]["n_heard"], said["asked"]["n_population"], said["n"]) == (8, rest, rest)
    assert (second.table["probability"] == 1).all(), "all that is left"
    few = kept(study, ask(cli, study, "--order", "random", "--n", 5)[0]["batch"])
    assert few.table["probability"].tolist() == [5 / rest] * 5
    of_robin = ask(cli, study, "--order", "explore", "--sound", "robin", "--n", 1000)[0]
    assert of_robin["asked"]["n_heard"] == 9
    assert ask(cli, study, "--order", "explore", "--n", 1000)[0]["asked"]["n_heard"] == 9, "heard for any sound"


def test_speech_leaves_every_later_batch(cli: Cli, study: Path) -> None:
    """With it go the windows that share time with it."""
    first = kept(study, ask(cli, study, "--order", "random", "--n", 1)[0]["batch"])
    assert deliver(cli, study, answers(first, verdict="yes", sounds=("speech",))).code == 0
    assert deliver(cli, study, answers(first, verdict="no", sounds=("speech",), reviewer="Bo")).code == 0
    said, _ = ask(cli, study, "--order", "random", "--n", 1000)
    (recorder, time) = first.table[["recorder", "time_utc"]].iloc[0]
    gaps = [abs(other - time) for name, other in places(kept(study, said["batch"]).table) if name == recorder]
    assert min(gaps) >= pd.Timedelta(seconds=first.table["duration_s"].iloc[0])
    assert said["asked"]["n_speech"] >= 2
    listed = study.parent / "list.csv"
    listed.write_text(f"recorder,time_utc\n{recorder},{time:%Y-%m-%dT%H:%M:%SZ}\n")
    assert "1 are of speech" in refused(cli, study, "--windows", listed), "not even when it is asked for by name"


def test_nothing_is_left_to_hear(cli: Cli, study: Path) -> None:
    every = kept(study, ask(cli, study, "--order", "random", "--n", 10_000)[0]["batch"])
    assert "all of them are a sample" in deliver(cli, study, answers(every)).error
    assert "nothing is left to hear" in refused(cli, study)
    assert ask(cli, study, "--windows", store_list(study, windows_of(study).iloc[:2]))[0]["n"] == 2, "a list is a wish"


def test_exemplars_are_heard_once(cli: Cli, study: Path) -> None:
    exemplars = kept(study, ask(cli, study, "--order", "explore", "--n", 1000)[0]["batch"])
    deliver(cli, study, answers(exemplars, sounds=("wren",)))
    assert "every exemplar of the clusters was heard" in refused(cli, study, "--order", "explore")
    assert ask(cli, study, "--order", "far", "--n", 3)[0]["n"] == 3
    assert ask(cli, study, "--order", "explore", "--n", 3, "--sound", "robin")[0]["n"] == 3, (
        "of another sound they were not"
    )


@pytest.mark.parametrize(
    ("separator", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), (";", "cp1252")]
)
def test_the_sample_of_a_batch_that_is_half_answered(cli: Cli, study: Path, separator: str, encoding: str) -> None:
    """Draws 0 to 3 and 5: a spreadsheet may have saved them, in any order."""
    batch = kept(study, ask(cli, study, "--order", "random", "--n", 8)[0]["batch"])
    rows = answers(batch, draws=range(4)) + answers(batch, draws=range(5, 6), verdict="yes")
    code, _, error = deliver(cli, study, rows[::-1], separator=separator, encoding=encoding)
    assert code == 0, error
    assert f"batch {batch.name}: 5 of 8 windows were answered; the first 4 are a sample" in error
    assert "draw 4 counts once that is answered for wren, robin" in error
    verdicts = read_verdicts(runs(study)["mels"].lake)
    assert sample_of(batch, verdicts)["draw"].unique().tolist() == [0, 1, 2, 3]
    assert "8 windows, 5 answered" in cli("status", study).out
    deliver(cli, study, answers(batch, draws=range(4, 5)))
    assert sample_of(batch, read_verdicts(runs(study)["mels"].lake))["draw"].max() == 5


def test_two_who_contradict_leave_no_gap(cli: Cli, study: Path) -> None:
    batch = kept(study, ask(cli, study, "--order", "random", "--n", 2)[0]["batch"])
    deliver(cli, study, answers(batch, draws=range(1)) + answers(batch, verdict="yes", reviewer="Bo"))
    found = sample_of(batch, read_verdicts(runs(study)["mels"].lake))
    assert found["verdict"].tolist() == ["unsure", "unsure", "yes", "yes"]


def test_a_draw_must_name_its_window(cli: Cli, study: Path) -> None:
    """A probability is looked up by batch and draw, so cells that were moved are refused, all at once."""
    batch = kept(study, ask(cli, study, "--order", "random", "--n", 6)[0]["batch"])
    good = answers(batch, sounds=("wren",))
    swapped, beyond, without, elsewhere, bare = (list(row) for row in good[:5])
    swapped[8], beyond[8], without[8], elsewhere[7], bare[7] = "1", "6", "", "random-0123456789abcdef", ""
    code, _, error = deliver(cli, study, [swapped, beyond, without, elsewhere, bare, good[5]])
    assert code == 3
    assert f"row 2: draw 1 of batch '{batch.name}' is the window of" in error
    assert f"row 3: draw 6: batch '{batch.name}' has the draws 0 to 5" in error
    assert "row 4: batch" in error
    assert "expected both, or neither" in error
    assert "row 5: batch 'random-0123456789abcdef' is not in the lake" in error
    assert "belongs there" in error
    assert "row 6: batch '' and draw 4" in error
    assert "row 7" not in error
    assert read_verdicts(runs(study)["mels"].lake).empty
    assert deliver(cli, study, good).code == 0


def test_a_sound_of_ones_own_must_be_in_the_table(cli: Cli, study: Path) -> None:
    batch = kept(study, ask(cli, study, "--order", "random", "--n", 2)[0]["batch"])
    rows = answers(batch, sounds=("wren", "robin", "jay"), verdict="yes")
    assert "sound 'jay' is not in sounds.csv" in deliver(cli, study, rows).error
    (study.parent / "sounds.csv").write_text(f"{SOUNDS}jay,\n")
    assert deliver(cli, study, rows).code == 0
    found = sample_of(batch, read_verdicts(runs(study)["mels"].lake))
    assert set(found["sound"]) == {"wren", "robin"}, "it was not asked about, so it has no probability"


def test_a_trace_names_batch_and_draw(cli: Cli, study: Path) -> None:
    batch = kept(study, ask(cli, study, "--order", "random", "--n", 1)[0]["batch"])
    deliver(cli, study, answers(batch, sounds=("wren",)))
    (row,) = answers(batch, sounds=("wren",))
    traced = json.loads(cli("trace", store(study, "mels"), "--recorder", row[0], "--time", row[1], "--json").out)
    assert [(one["batch"], one["draw"]) for one in traced["verdicts"]] == [(batch.name, 0)]


# Later -----------------------------------------------------------------------------------------------------


def test_a_batch_outlives_the_clustering_that_chose_it(cli: Cli, study: Path) -> None:
    said, _ = ask(cli, study, "--n", 6)
    batch = kept(study, said["batch"])
    again, error = ask(cli, study, "--batch", batch.name)
    assert (again["batch"], again["n"], "note" in error) == (batch.name, 6, False)
    shutil.rmtree(store(study, "clusters"))
    again, error = ask(cli, study, "--batch", batch.name)
    assert "clusters 'clusters', which chose these windows, is gone; they are as they were" in error
    assert deliver(cli, study, answers(batch)).code == 0
    text = study.read_text().replace("[runs.clusters]", "[runs.kinds]")
    study.write_text(text.replace('mine = "clusters"', 'mine = "kinds"'))
    assert "clusters 'clusters', which chose these windows, is gone" in ask(cli, study, "--batch", batch.name)[1]


def test_a_clustering_that_was_made_again(cli: Cli, study: Path) -> None:
    batch = kept(study, ask(cli, study, "--n", 6)[0]["batch"])
    lake = Path(runs(study)["mels"].lake.storage.root)
    for path in (lake / "clusters/clusters.zarr", lake / "ledgers/clusters", lake / "receipts/clusters"):
        shutil.rmtree(path)
    study.write_text(study.read_text().replace("seed = 7", "seed = 8"))
    run_chain(study, "clusters")
    assert "clusters 'clusters' changed since these windows were chosen" in ask(cli, study, "--batch", batch.name)[1]


def test_a_batch_that_is_not_there(cli: Cli, study: Path) -> None:
    name = ask(cli, study, "--n", 2)[0]["batch"]
    assert f"near: {name}" in refused(cli, study, "--batch", f"{name[:-1]}x")


def test_a_damaged_batch_is_no_batch(cli: Cli, study: Path) -> None:
    batch = kept(study, ask(cli, study, "--order", "random", "--n", 2)[0]["batch"])
    path = Path(runs(study)["mels"].lake.storage.root) / "batches" / f"{batch.name}.csv"
    path.write_bytes(path.read_bytes().replace(b"\n0,", b"\n7,"))
    for words in (["status", study], ["verify", study], ["review", study, "--no-page", "--batch", batch.name]):
        code, out, error = cli(*words)
        assert code == 4
        assert path.name in out + error
    assert "expected windows and a receipt with the digest" in deliver(cli, study, answers(batch)).error


# The page --------------------------------------------------------------------------------------------------


def test_the_page_of_a_batch_stands_beside_the_manifest(cli: Cli, study: Path) -> None:
    code, out, error = cli("review", study, "--n", 3, "--no-audio", "--order", "random")
    assert code == 0, error
    (folder,) = (study.parent / "review").iterdir()
    assert f"look       {folder / 'index.html'}" in out
    assert f"dawnchorus verdicts add {shlex.quote(str(study))} FILE" in out
    assert folder.name == batch_names(runs(study)["mels"].lake)[0]
    assert len(list((folder / "pictures").iterdir())) == 3
    assert '"every_sound": true' in (folder / "data.js").read_text().replace(
        '"every_sound":true', '"every_sound": true'
    )
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = cli("review", study, "--n", 3, "--no-audio", "--order", "random")
    assert (again.code, again.out) == (0, out)
    assert "is there already and stays as it is" in again.error
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    assert cli("review", study, "--batch", folder.name, "--no-audio").code == 0
    assert before.keys() == {path for path in folder.rglob("*") if path.is_file()}


def test_a_folder_with_something_else_in_it_is_left_alone(cli: Cli, study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "index.html").write_text("frogs")
    code, _, error = cli("review", study, "--n", 3, "--no-audio", "--out", folder)
    assert (code, "Name another" in error) == (3, True)
    assert (folder / "index.html").read_text() == "frogs"
    (name,) = batch_names(runs(study)["mels"].lake)
    assert cli("review", study, "--batch", name, "--no-audio", "--out", tmp_path / "other").code == 0


def test_a_line_to_type_next_can_be_typed_as_it_stands(cli: Cli, study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Studie W\u00e4ldchen"
    shutil.copytree(study.parent, folder)
    code, out, error = cli("review", folder / study.name, "--n", 3, "--no-audio", "--order", "random")
    assert code == 0, error
    line = next(line for line in out.splitlines() if line.startswith("then"))
    words = shlex.split(line.partition("dawnchorus ")[2].partition(" FILE")[0])
    assert words == ["verdicts", "add", str(folder / study.name)]
