"""The `learn` job: what it writes, what it refuses, and that figures are of what was held out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from detectors import FEW, HOP_MS, detected, heard, learnt, vectors_with_sounds
from judging import judge
from stores import finish, make_cube, make_embeddings, make_run, random_codes
from threadpoolctl import threadpool_limits

from jobs.common.heads import heads_bytes, read_heads
from jobs.common.run import Options, Run
from jobs.learn import command
from jobs.learn.config import Config
from jobs.runner.manifest import read_manifest
from jobs.runner.state import pinned_state, states
from lake.errors import InputError, StoreError

Row = tuple[str, int, str, str]


def table_of(run: Run) -> pd.DataFrame:
    return pd.read_csv(Path(run.output.url) / "heads.csv", keep_default_na=False).set_index("sound")


def windows(n: int, recorder: str = "north", first: int = 0, every: int = 1) -> list[tuple[str, int]]:
    return [(recorder, (first + i * every) * HOP_MS) for i in range(n)]


def all_recorded(lake: Path, n_days: int = 4, **more: Any) -> Run:
    """Return vectors of windows that are all recorded, without any structure."""
    values = np.random.default_rng(3).normal(size=(2, n_days * 144, 6)).astype(np.float32)
    return make_embeddings(lake, values, **more)


def good(lake: Path, sound: str = "wren") -> None:
    """Add verdicts that a head can be learnt from."""
    spans = [*windows(20, every=20), *windows(20, "south", every=20)]
    judge(lake, [(r, ms, sound, "yes" if i % 2 else "no") for i, (r, ms) in enumerate(spans)])


def refusal(lake: Path, sound: str, config: Config = FEW) -> str:
    """Return why a sound has no head, where another one has."""
    good(lake)
    run = make_run(lake, "heads", "learn", config, inputs={"embeddings": all_recorded(lake)})
    outcome = command.execute(run, Options())
    assert read_heads(run.output.url).sounds == ("wren",)
    assert any(sound in note for note in outcome.notes)
    return str(table_of(run)["refused"][sound])


def test_heads_find_sounds_that_nobody_heard(tmp_path: Path) -> None:
    values, has = vectors_with_sounds()
    vectors = make_embeddings(tmp_path, values)
    finish(vectors)
    heard(tmp_path, values, has)
    run = learnt(tmp_path, vectors)
    table = table_of(run)
    assert table.index.tolist() == ["frog", "rain", "wren"]
    assert (table["n_yes"] + table["n_no"] == 120).all()
    assert (table["held_out_by"] == "day").all()
    assert (table["auroc"] > 0.9).all()
    assert (table["auroc_low"] <= table["auroc"]).all()
    assert (table["auroc"] <= table["auroc_high"]).all()
    assert sorted(path.name for path in Path(run.output.url).iterdir()) == ["heads.csv", "heads.npz"]


def test_the_same_verdicts_are_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    values, has = vectors_with_sounds(n_days=3)
    vectors = make_embeddings(tmp_path, values)
    heard(tmp_path, values, has)
    found = []
    for threads in (1, 3):
        run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": vectors})
        with threadpool_limits(threads):
            command.execute(run, Options(workers=threads))
        found.append([run.output.read(key) for key in run.output.list_keys()])
    assert found[0] == found[1]
    assert heads_bytes(read_heads(run.output.url)) == run.output.read("heads.npz")


def test_figures_are_of_what_was_held_out(tmp_path: Path) -> None:
    good(tmp_path)  # the vectors have no structure, so nothing can be found in windows of other days
    table = table_of(learnt(tmp_path, all_recorded(tmp_path)))
    assert 0.15 < table["auroc"]["wren"] < 0.85
    assert "no_better_than_chance" in table["flags"]["wren"]


def test_probabilities_hold_on_other_days_than_those_heard(tmp_path: Path) -> None:
    values, has = vectors_with_sounds(n_days=10, strength=3.0, n_sounds=3)
    vectors = make_embeddings(tmp_path, values)
    finish(vectors)
    early = values.copy()
    early[:, 5 * 144 :] = np.nan
    heard(tmp_path, early, has, n=200)
    heads = learnt(tmp_path, vectors)
    with_store = detected(tmp_path, vectors, heads)
    import xarray as xr

    probability = xr.open_dataset(with_store.output.url, engine="zarr")["probability"].to_numpy()[:, 5 * 144 :]
    truth = has[:, 5 * 144 :]
    for column, sound in enumerate(("frog", "rain", "wren")):
        p, y = probability[..., column], truth[..., ("wren", "rain", "frog").index(sound)]
        there = np.isfinite(p) & (p >= 0.1)
        assert expected_calibration_error(p[there], y[there]) < 0.1


def expected_calibration_error(p: np.ndarray, y: np.ndarray, n_bins: int = 10) -> float:
    """Return the mean over bins of |mean probability - share of yes|, each by its windows."""
    bins = np.minimum((p * n_bins).astype(int), n_bins - 1)
    return float(sum(abs(p[bins == b].mean() - y[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)))


def test_no_verdicts_at_all(tmp_path: Path) -> None:
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": all_recorded(tmp_path)})
    with pytest.raises(InputError, match=r"expected verdicts in the lake, found none\. Bring some in"):
        command.execute(run, Options())
    assert not run.output.exists("")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(r, ms, "owl", "yes") for r, ms in windows(9, every=40)], "9 verdicts are yes, none is no"),
        ([(r, ms, "owl", "no") for r, ms in windows(9, every=40)], "9 verdicts are no, none is yes"),
        ([(r, ms, "owl", "unsure") for r, ms in windows(9, every=40)], r"no yes and no no .* 9 are unsure"),
        ([("north", HOP_MS, "owl", "yes")], "1 verdicts are yes"),
    ],
)
def test_a_sound_that_cannot_be_learnt_does_not_stop_the_others(tmp_path: Path, rows: list[Row], reason: str) -> None:
    judge(tmp_path, rows)
    import re

    assert re.search(reason, refusal(tmp_path, "owl"))


def test_all_of_one_recording(tmp_path: Path) -> None:
    judge(tmp_path, [(r, ms, "owl", "no" if i % 2 else "yes") for i, (r, ms) in enumerate(windows(12))])
    assert "all of its yes are from one recording or day" in refusal(tmp_path, "owl")


def test_yes_of_one_recording_and_no_of_many(tmp_path: Path) -> None:
    judge(tmp_path, [(r, ms, "owl", "yes") for r, ms in windows(12)])
    judge(tmp_path, [(r, ms, "owl", "no") for r, ms in windows(12, "south", every=40)])
    assert "all of its yes are from one" in refusal(tmp_path, "owl")


def test_no_of_one_recording(tmp_path: Path) -> None:
    judge(tmp_path, [(r, ms, "owl", "no") for r, ms in windows(12)])
    judge(tmp_path, [(r, ms, "owl", "yes") for r, ms in windows(12, "south", every=40)])
    assert "all of its no are from one" in refusal(tmp_path, "owl")


def test_reviewers_that_contradict_each_other(tmp_path: Path) -> None:
    rows = [(r, ms, "owl", "no" if i % 2 else "yes") for i, (r, ms) in enumerate(windows(12, every=40))]
    judge(tmp_path, rows)
    judge(tmp_path, [(r, ms, s, "yes" if v == "no" else "no") for r, ms, s, v in rows], reviewer="Bo")
    assert "12 are disputed" in refusal(tmp_path, "owl")


def test_a_dispute_costs_its_windows_alone(tmp_path: Path) -> None:
    good(tmp_path)
    judge(tmp_path, [("north", 0, "wren", "yes"), ("north", 20 * HOP_MS, "wren", "no")], reviewer="Bo")
    table = table_of(learnt(tmp_path, all_recorded(tmp_path)))
    assert [table[name]["wren"] for name in ["n_yes", "n_no", "n_disputed"]] == [19, 19, 2]


def test_verdicts_on_windows_without_a_vector(tmp_path: Path) -> None:
    outside = [
        ("west", 0, "owl", "yes"),
        ("north", 99 * 144 * HOP_MS, "owl", "no"),
        ("north", HOP_MS // 2, "owl", "no"),
    ]
    judge(tmp_path, outside)
    judge(tmp_path, [("north", HOP_MS, "owl", "no")], duration_s=3.0)
    assert "4 have no vector" in refusal(tmp_path, "owl")


def test_no_sound_can_be_learnt(tmp_path: Path) -> None:
    judge(tmp_path, [(r, ms, sound, "yes") for r, ms in windows(5, every=50) for sound in ("owl", "wren")])
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": all_recorded(tmp_path)})
    with pytest.raises(InputError, match=r"no sound can be learnt:\n.*'owl': 5 verdicts.*\n.*'wren': 5 verdicts"):
        command.execute(run, Options())


def test_verdicts_count_for_the_windows_that_their_spans_cover(tmp_path: Path) -> None:
    """Spans of 6 s that windows of 3 s begin with: yes counts where they share enough, no where they are within."""
    good(tmp_path)
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": all_recorded(tmp_path, window_s=3.0)})
    command.execute(run, Options())
    table = table_of(run)
    assert [table[name]["wren"] for name in ["n_yes", "n_no", "n_without_vector"]] == [20, 20, 0]


def test_longer_windows_take_yes_alone(tmp_path: Path) -> None:
    good(tmp_path)
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": all_recorded(tmp_path, window_s=12.0)})
    with pytest.raises(InputError, match=r"'wren': 20 verdicts are yes, none is no; .*of 40 windows .*20 have no vec"):
        command.execute(run, Options())


def test_windows_that_begin_elsewhere_in_their_cells(tmp_path: Path) -> None:
    """Imported vectors of 6 s, 20 s after their cells' start: a verdict on these seconds is of that window."""
    later = [(recorder, ms + 20_000) for recorder, ms in [*windows(20, every=20), *windows(20, "south", every=20)]]
    judge(tmp_path, [(r, ms, "wren", "yes" if i % 2 else "no") for i, (r, ms) in enumerate(later)])
    vectors = all_recorded(tmp_path, imported=True, offset_s=20.0)
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": vectors})
    command.execute(run, Options())
    assert [table_of(run)[name]["wren"] for name in ["n_yes", "n_no", "n_without_vector"]] == [20, 20, 0]


@pytest.mark.parametrize("verdict", ["no", "unsure"])
def test_no_is_of_no_window_that_reaches_out_of_its_span(tmp_path: Path, verdict: str) -> None:
    good(tmp_path)
    judge(tmp_path, [("north", HOP_MS, "owl", verdict)], duration_s=3.0)
    judge(tmp_path, [("north", 3 * HOP_MS, "owl", "yes")], duration_s=3.0)
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": all_recorded(tmp_path)})
    command.execute(run, Options())
    table = table_of(run)
    assert [table[name]["owl"] for name in ["n_yes", "n_no", "n_without_vector"]] == [1, 0, 1]
    assert "1 have no vector" in table["refused"]["owl"]


def test_verdicts_that_cover_no_window(tmp_path: Path) -> None:
    judge(tmp_path, [("north", i * HOP_MS, "wren", "no") for i in range(20)], duration_s=3.0)
    judge(tmp_path, [("north", i * HOP_MS, "wren", "yes") for i in range(20)], duration_s=0.4)
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": all_recorded(tmp_path)})
    with pytest.raises(InputError, match=r"none of 40 verdicts \(on spans of 0.4 s, 3 s\) is of a window of the vecto"):
        command.execute(run, Options())


def test_too_few_verdicts_are_flagged(tmp_path: Path) -> None:
    spans = windows(6, every=100)
    judge(tmp_path, [(r, ms, "wren", "yes" if i % 2 else "no") for i, (r, ms) in enumerate(spans)])
    run = make_run(tmp_path, "heads", "learn", Config(n_bootstrap=20), inputs={"embeddings": all_recorded(tmp_path, 5)})
    outcome = command.execute(run, Options())
    assert "few_verdicts" in table_of(run)["flags"]["wren"]
    assert any(note.startswith("1 heads are guesses (wren: few_verdicts") for note in outcome.notes)


def test_one_recording_over_several_days_is_flagged(tmp_path: Path) -> None:
    cube = make_cube(tmp_path, random_codes(n_days=4, n_per_day=144))  # one recording a recorder
    vectors = all_recorded(tmp_path, cube=cube)
    judge(tmp_path, [(r, ms, "wren", "no" if i % 2 else "yes") for i, (r, ms) in enumerate(windows(40, every=13))])
    assert "one_recording" in table_of(learnt(tmp_path, vectors))["flags"]["wren"]


def test_recordings_are_held_out_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 144, 6)).astype(np.float32)
    vectors = make_embeddings(tmp_path, values)
    rows = [
        (r, ms, "wren", "no" if i % 3 else "yes")
        for r in ("north", "south")
        for i, (r, ms) in enumerate(windows(60, r))
    ]
    judge(tmp_path, rows)
    table = table_of(learnt(tmp_path, vectors))
    assert [table[name]["wren"] for name in ["held_out_by", "n_groups"]] == ["recording", 2]


def test_settings_say_what_is_held_out(tmp_path: Path) -> None:
    good(tmp_path)
    config = FEW.model_copy(update={"group": "recording"})
    table = table_of(learnt(tmp_path, all_recorded(tmp_path), config))
    assert [table[name]["wren"] for name in ["held_out_by", "n_groups"]] == ["recording", 6]


def test_without_unlabelled_windows(tmp_path: Path) -> None:
    good(tmp_path)
    config = FEW.model_copy(update={"n_unlabelled": 0})
    assert read_heads(learnt(tmp_path, all_recorded(tmp_path), config).output.url).sounds == ("wren",)


@pytest.mark.parametrize("normalise", ["none", "zscore", "zscore_l2", "l2", "whiten"])
def test_every_scaling(tmp_path: Path, normalise: str) -> None:
    values, has = vectors_with_sounds(n_days=4)
    vectors = make_embeddings(tmp_path, values, imported=True)
    finish(vectors)
    heard(tmp_path, values, has)
    heads = learnt(tmp_path, vectors, Config.model_validate({**FEW.model_dump(), "normalise": normalise}))
    assert (table_of(heads)["auroc"] > 0.85).all()
    assert detected(tmp_path, vectors, heads).output.exists("zarr.json")


def test_a_damaged_file_of_heads_is_named(tmp_path: Path) -> None:
    good(tmp_path)
    run = learnt(tmp_path, all_recorded(tmp_path))
    path = Path(run.output.url) / "heads.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StoreError, match=r"heads\.npz"):
        read_heads(run.output.url)


def states_of(manifest: Path) -> Sequence[str]:
    return [f"{one.state}: {one.detail}" for one in states(read_manifest(manifest))]


def test_a_new_delivery_makes_heads_out_of_date(tmp_path: Path) -> None:
    values, has = vectors_with_sounds(n_days=3)
    vectors = make_embeddings(tmp_path, values)
    finish(vectors)
    heard(tmp_path, values, has)
    run = make_run(tmp_path, "heads", "learn", FEW, inputs={"embeddings": vectors})
    from jobs.runner.execution import execute_claimed

    execute_claimed(run, Options())
    state = pinned_state(run)
    assert state is not None
    assert state.state == "done"
    heard(tmp_path, values, has, seed=9, n=5)
    state = pinned_state(run)
    assert state is not None
    assert state.detail.startswith("1 deliveries of verdicts came; it stays as it is (run it with --refresh")
    execute_claimed(run, Options(refresh=True))
    state = pinned_state(run)
    assert state is not None
    assert state.state == "done"
