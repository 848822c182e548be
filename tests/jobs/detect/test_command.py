"""The `detect` job: the same numbers as plain numpy, growth, kills, and heads that change."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from detectors import FEW, detect_run, detected, heard, learnt, study, vectors_with_sounds
from judging import judge
from numpy.typing import NDArray
from stores import finish, make_cube, make_embeddings, make_model, make_run, random_codes

from jobs.common.heads import read_heads
from jobs.common.run import Options, Run
from jobs.detect import command
from jobs.detect.command import Partition, write_partition
from jobs.detect.config import Config
from jobs.learn.config import Config as LearnConfig
from lake.errors import InputError
from lake.layout import Lake
from lake.query.find import Wanted, find
from lake.query.select import open_any
from lake.query.trace import trace
from lake.read import open_detections
from lake.verify import compared, damages


def contents(run: Run) -> dict[str, bytes]:
    return {key: run.output.read(key) for key in run.output.list_keys()}


def opened(run: Run) -> xr.Dataset:
    return xr.open_dataset(run.output.url, engine="zarr")


def wrong(run: Run) -> list[str]:
    return list(damages(run.output, run.ledger, "detections", run.lake.receipts(run.name)))


def test_scores_are_those_of_plain_numpy(tmp_path: Path) -> None:
    vectors, heads, found, has = study(tmp_path)
    with np.load(Path(heads.output.url) / "heads.npz", allow_pickle=False) as file:
        raw = xr.open_dataset(vectors.output.url, engine="zarr")["embedding"].to_numpy().astype(np.float64)
        scaled = ((raw - file["mean0"]) / file["deviation0"]) @ file["components0"].astype(np.float64).T
        scaled /= np.linalg.norm(scaled, axis=-1, keepdims=True)
        score = scaled @ file["weights"].T + file["intercept"]
        probability = 1 / (1 + np.exp(-(file["slope"] * score + file["offset"])))
    dataset = opened(found)
    assert dataset["score"].dims == dataset["probability"].dims == ("recorder", "time", "sound")
    assert dataset["sound"].to_numpy().tolist() == ["frog", "rain", "wren"]
    np.testing.assert_allclose(dataset["score"].to_numpy(), score, atol=1e-4)
    np.testing.assert_allclose(dataset["probability"].to_numpy(), probability, atol=1e-4)
    np.testing.assert_array_equal(dataset["detection_status"] > 0, ~np.isnan(raw[..., 0]))
    right = has[..., 2] == (dataset["probability"].sel(sound="frog").to_numpy() > 0.5)
    assert right[~np.isnan(raw[..., 0])].mean() > 0.95
    merged = xr.merge([open_any(vectors.output.url), open_any(found.output.url)], join="exact", combine_attrs="drop")
    assert {"embedding", "score"} <= set(merged.data_vars)
    assert wrong(found) == []


def test_one_sound_is_a_chunk_and_a_day_a_shard(tmp_path: Path) -> None:
    *_, found, _ = study(tmp_path)
    encoding = opened(found)["score"].encoding
    assert (encoding["chunks"], encoding["shards"]) == ((1, 144, 1), (1, 144, 3))


def test_query_and_trace_take_the_store(tmp_path: Path) -> None:
    values, has = vectors_with_sounds(n_days=2)
    cube = make_cube(tmp_path, random_codes(n_days=2, n_per_day=144))
    vectors = make_embeddings(tmp_path, values, cube=cube)
    for run in (cube, vectors):
        finish(run)
    heard(tmp_path, values, has)
    heads = learnt(tmp_path, vectors)
    found = detected(tmp_path, vectors, heads)
    table = find(open_any(found.output.url), Wanted())
    assert list(table.columns) == ["recorder", "time", "detection_status"]
    assert len(table) == int((~np.isnan(values[..., 0])).sum())
    there = trace(found.output.url, table["recorder"][0], table["time"][0])
    assert there.runs[0]["job"] == "detect"
    assert {run["job"] for run in there.runs} == {"detect", "learn", "embed", "spectrograms"}


def test_killed_between_days_it_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, heads, found, _ = study(tmp_path / "whole")
    whole = contents(found)
    values, has = vectors_with_sounds()
    vectors = make_embeddings(tmp_path / "killed", values)
    finish(vectors)
    heard(tmp_path / "killed", values, has)
    heads = learnt(tmp_path / "killed", vectors)
    run = detect_run(tmp_path / "killed", vectors, heads)
    die_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        command.execute(run, Options())
    assert not run.output.exists("zarr.json")
    monkeypatch.undo()
    assert command.progress_of(run)[0] > 0
    assert command.execute(run, Options()).did
    assert contents(run) == whole


def die_after(monkeypatch: pytest.MonkeyPatch, n_days: int) -> None:
    """Let the job be interrupted once it has written some days."""
    left = n_days

    def dying(self: object, task: Partition) -> Counter[str]:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return write_partition(task)

    monkeypatch.setattr(command.Detect, "write", dying)


def test_growth_keeps_every_score_that_was_there(tmp_path: Path) -> None:
    values, has = vectors_with_sounds(n_days=5)
    late = values.copy()
    late[:, 4 * 144 + 70 :] = np.nan
    vectors = make_embeddings(tmp_path, late)
    finish(vectors)
    heard(tmp_path, late, has)
    heads = learnt(tmp_path, vectors)
    found = detected(tmp_path, vectors, heads)
    before, stamps = opened(found).load(), contents(found)
    vectors = make_embeddings(tmp_path, values)
    finish(vectors)
    assert command.progress_of(found)[0] < command.progress_of(found)[1]
    outcome = command.execute(found, Options())
    assert outcome.counts["windows_in_all"] == int((~np.isnan(values[..., 0])).sum())
    after = opened(found).load()
    there = ~np.isnan(before["score"].to_numpy())
    np.testing.assert_array_equal(after["score"].to_numpy()[there], before["score"].to_numpy()[there])
    same = [key for key, data in contents(found).items() if stamps.get(key) == data and key.startswith("score/c.")]
    assert len(same) == 8  # the last day of each recorder alone is another


def refit(
    lake: Path, vectors: Run, values: NDArray[np.float32], has: NDArray[np.bool_], seed: int = 7
) -> Run[LearnConfig]:
    """Let a person hear more windows, and learn the heads again."""
    heard(lake, values, has, seed=seed, n=60)
    return learnt(lake, vectors)


def test_new_heads_make_a_new_store_that_takes_the_old_ones_place_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, has = vectors_with_sounds()
    vectors, heads, found, _ = study(tmp_path)
    old, lazy = opened(found).load(), open_detections(found.output.url, times=True)
    first = read_heads(heads.output.url)
    heads = refit(tmp_path, vectors, values, has)
    assert (read_heads(heads.output.url).weights != first.weights).any()
    assert command.progress_of(found)[0] == 0
    die_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        command.execute(found, Options())
    monkeypatch.undo()
    for look in (xr.open_dataset(found.output.url, engine="zarr"), open_detections(found.output.url, times=True)):
        xr.testing.assert_identical(look.load(), old)
    assert wrong(found) == []
    assert len(compared(found.output, found.ledger, "detections")[1]) == 1  # it has grown since
    command.execute(found, Options())
    finish(found)
    new = opened(found).load()
    assert new.attrs["heads_id"] != old.attrs["heads_id"]
    fresh = detected(tmp_path, vectors, heads)
    np.testing.assert_array_equal(new["score"], opened(fresh)["score"])
    assert not np.allclose(new["score"], old["score"], equal_nan=True)
    np.testing.assert_array_equal(lazy["score"].to_numpy(), old["score"].to_numpy())  # opened before, read after
    assert wrong(found) == []
    assert not command.execute(found, Options()).did


def test_heads_that_change_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, has = vectors_with_sounds()
    vectors, heads, found, _ = study(tmp_path)
    shown = opened(found).load()
    for seed in (7, 8, 9, 10):
        heads = refit(tmp_path, vectors, values, has, seed)
        die_after(monkeypatch, 2)
        with pytest.raises(KeyboardInterrupt):
            command.execute(found, Options())
        monkeypatch.undo()
        xr.testing.assert_identical(open_detections(found.output.url, times=True).load(), shown)
        if seed != 8:  # once, other heads come before these have been used
            command.execute(found, Options())
            finish(found)
            shown = opened(found).load()
            assert wrong(found) == []
    with_new_name = detect_run(tmp_path, vectors, heads, name="fresh")
    command.execute(with_new_name, Options())
    np.testing.assert_array_equal(shown["score"], opened(with_new_name)["score"])
    n_files = len(found.output.list_keys("score"))
    assert n_files <= 1 + 2 * len(with_new_name.output.list_keys("score"))  # no more than two generations


def test_sounds_are_appended_and_a_sound_whose_head_is_gone_stays(tmp_path: Path) -> None:
    values, has = vectors_with_sounds()
    vectors = make_embeddings(tmp_path, values)
    finish(vectors)
    heard(tmp_path, values[:, :, :], has[..., 1:], sounds=("rain", "wren"))
    heads = learnt(tmp_path, vectors)
    found = detected(tmp_path, vectors, heads)
    heard(tmp_path, values, has[..., :1], sounds=("ant",), seed=4)
    there = np.argwhere(~np.isnan(values[..., 0]))
    judge(  # somebody else denies every yes of the rain, so it has none that holds
        tmp_path,
        [(("north", "south")[i], int(c) * 600_000, "rain", "no") for i, c in there],
        reviewer="Bo",
    )
    heads = learnt(tmp_path, vectors)
    assert read_heads(heads.output.url).sounds == ("ant", "wren")
    command.execute(found, Options())
    dataset = opened(found)
    assert dataset["sound"].to_numpy().tolist() == ["rain", "wren", "ant"]
    assert np.isnan(dataset["score"].sel(sound="rain")).all()
    assert np.isnan(dataset["detector_auroc"].sel(sound="rain"))
    assert np.isfinite(dataset["score"].sel(sound="ant").where(dataset["detection_status"] > 0, 0)).all()
    assert wrong(found) == []


def test_shares_make_the_same_store(tmp_path: Path) -> None:
    *_, found, _ = study(tmp_path)
    vectors, heads = found.inputs["embeddings"], found.inputs["heads"]
    run = detect_run(tmp_path, vectors, heads, name="shares")
    for i in range(3):
        command.execute(run, Options(part=(i, 3)))
    command.finalise(run, Options())
    np.testing.assert_array_equal(opened(run)["score"], opened(found)["score"])


def test_several_vector_sets_are_joined(tmp_path: Path) -> None:
    values, has = vectors_with_sounds()
    first = make_embeddings(tmp_path, values[..., :6], name="first")
    second = make_embeddings(tmp_path, values[..., 6:].astype(np.float16), name="second")
    heard(tmp_path, values, has)
    both = {"embeddings": first, "embeddings+2": second}
    from jobs.learn import command as learn

    heads = make_run(tmp_path, "heads", "learn", FEW, inputs=both)
    learn.execute(heads, Options())
    found = make_run(tmp_path, "found", "detect", Config(), inputs={**both, "heads": heads})
    command.execute(found, Options())
    score = opened(found)["score"].sel(sound="rain").to_numpy()
    there = ~np.isnan(score)
    assert score[there & has[..., 1]].mean() > score[there & ~has[..., 1]].mean() + 1


def test_heads_of_other_vectors_are_refused(tmp_path: Path) -> None:
    _, heads, *_ = study(tmp_path)
    values, _ = vectors_with_sounds(n_features=7)
    other = make_embeddings(tmp_path, values.astype(np.float16), name="other")
    with pytest.raises(InputError, match=r"'heads' were learnt of 'vectors' .* but the vectors are 'other'"):
        command.execute(detect_run(tmp_path, other, heads, name="d2"), Options())
    same_settings = make_embeddings(tmp_path, values, name="narrow")  # same settings, fewer features
    with pytest.raises(InputError, match="but the vectors are 'narrow'"):
        command.execute(detect_run(tmp_path, same_settings, heads, name="d3"), Options())


def test_another_model_is_no_heads(tmp_path: Path) -> None:
    vectors, *_ = study(tmp_path)
    model = make_model(tmp_path, make_cube(tmp_path))
    with pytest.raises(InputError, match=r"expected heads of a `learn` run, found 'dino' \(dino\)"):
        command.execute(detect_run(tmp_path, vectors, model, name="d2"), Options())


def test_the_store_is_listed(tmp_path: Path) -> None:
    study(tmp_path)
    assert ("detections", "found") in Lake(str(tmp_path)).stores()
