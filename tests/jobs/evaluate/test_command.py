import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from stores import ORIGIN_MS, make_clusters, make_run

from jobs.common.run import Options, Run
from jobs.evaluate import command
from jobs.evaluate.config import Config
from lake.errors import InputError
from lake.grid import iso

HOP_MS = 600_000


def truth(tmp_path: Path, kinds: NDArray[np.int64], *, recorders: tuple[str, ...] = ("north", "south")) -> Path:
    """Write a table that labels the second to fourth second of each window; kind -1 has no label."""
    rows = ["recorder,start_utc,end_utc,label,level_db"]
    for name, row in zip(recorders, kinds, strict=True):
        for cell in np.flatnonzero(row >= 0):
            start = ORIGIN_MS + int(cell) * HOP_MS
            rows.append(f"{name},{iso(start + 1000)},{iso(start + 4000)},call {row[cell]},-30")
    path = tmp_path / "truth.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def some(seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return kinds and labels of a clustering that often agree, on (2, 144); -1 is missing."""
    random = np.random.default_rng(seed)
    kinds = random.integers(-1, 4, (2, 144))
    clusters = np.where(random.random((2, 144)) < 0.7, np.maximum(kinds, 0), random.integers(0, 6, (2, 144)))
    return kinds, np.where(random.random((2, 144)) < 0.5, clusters, -1)


def evaluation(tmp_path: Path, inputs: Mapping[str, Run], labels: Path | None, **config: object) -> Run[Config]:
    return make_run(tmp_path, "scores", "evaluate", Config.model_validate(config), inputs=inputs, labels=labels)


def table(run: Run, key: str) -> pd.DataFrame:
    return pd.read_csv(run.output.path(key))


def test_scores_of_several_clusterings(tmp_path: Path) -> None:
    kinds, good = some()
    random = np.where(good >= 0, np.random.default_rng(5).integers(0, 3, good.shape), -1)
    inputs = {
        "clusters": make_clusters(tmp_path, good, n_clusters=8),
        "chance": make_clusters(tmp_path, random, name="by chance"),
    }
    run = evaluation(tmp_path, inputs, truth(tmp_path, kinds))
    outcome = command.execute(run, Options())
    scores = table(run, "scores.csv")
    assert list(scores.columns) == ["role", "run", "n_windows", "n_labels", "n_clusters", "ami", "nmi"]
    both = (kinds >= 0) & (good >= 0)
    assert scores["role"].tolist() == ["clusters", "chance"]
    assert scores["run"].tolist() == ["clusters", "by chance"]
    assert scores["n_windows"].tolist() == [both.sum()] * 2
    assert scores["n_labels"].tolist() == [4, 4]
    assert scores["n_clusters"].tolist() == [8, 3]
    for clustering, row in zip((good, random), scores.itertuples(), strict=True):
        assert row.ami == pytest.approx(adjusted_mutual_info_score(kinds[both], clustering[both]), abs=1e-6)
        assert row.nmi == pytest.approx(normalized_mutual_info_score(kinds[both], clustering[both]), abs=1e-6)
    counts = table(run, "confusion-clusters.csv").set_index("cluster")
    assert list(counts.columns) == ["call 0", "call 1", "call 2", "call 3"]
    assert counts.shape == (8, 4)
    assert counts.loc[2, "call 1"] == ((kinds == 1) & (good == 2)).sum()
    summary = json.loads(run.output.read("summary.json"))
    assert summary["scores"][0]["ami"] == scores["ami"][0] == outcome.counts["ami_of_clusters"]
    assert summary["config"] == Config().model_dump()
    assert set(run.ledger.files() or {}) == set(run.output.list_keys())


def test_windows_without_a_label_can_take_part(tmp_path: Path) -> None:
    kinds, clusters = some()
    run = evaluation(tmp_path, {"a": make_clusters(tmp_path, clusters)}, truth(tmp_path, kinds), keep_unlabelled=True)
    command.execute(run, Options())
    row = table(run, "scores.csv").iloc[0]
    there = clusters >= 0
    assert row["n_windows"] == there.sum()
    assert row["ami"] == pytest.approx(adjusted_mutual_info_score(kinds[there], clusters[there]), abs=1e-6)
    assert table(run, "confusion-a.csv")["none"].sum() == (there & (kinds < 0)).sum()


def test_the_least_overlap_counts(tmp_path: Path) -> None:
    kinds, clusters = some()
    inputs = {"a": make_clusters(tmp_path, clusters)}
    run = evaluation(tmp_path, inputs, truth(tmp_path, kinds), min_overlap_s=3.0)
    assert command.execute(run, Options()).counts["clusterings"] == 1
    with pytest.raises(InputError, match=r"none of the \d+ intervals of .*truth.csv covers 3\.001 s of a window"):
        command.execute(evaluation(tmp_path / "b", inputs, run.labels, min_overlap_s=3.001), Options())


def test_recorders_that_no_store_has_are_counted(tmp_path: Path) -> None:
    kinds, clusters = some()
    labels = truth(tmp_path, kinds, recorders=("north", "moon"))
    run = evaluation(tmp_path, {"a": make_clusters(tmp_path, clusters)}, labels)
    n_strange = int((kinds[1] >= 0).sum())
    assert command.execute(run, Options()).counts["intervals_of_unknown_recorders"] == n_strange
    summary = json.loads(run.output.read("summary.json"))
    assert summary["labels"]["n_intervals_of_unknown_recorders"] == {"moon": n_strange}
    labels = truth(tmp_path, kinds, recorders=("sun", "moon"))
    with pytest.raises(InputError) as caught:
        command.execute(evaluation(tmp_path / "b", run.inputs, labels), Options())
    assert "labels: recorders moon, sun; 2021-06-01T" in str(caught.value)
    assert "windows: recorders north, south; 2021-06-01T00:00:00Z to 2021-06-02T00:00:00Z, 6 s each" in str(
        caught.value
    )


def test_what_an_evaluation_needs(tmp_path: Path) -> None:
    kinds, clusters = some()
    with pytest.raises(InputError, match="needs `labels`, a table of labelled intervals"):
        command.execute(evaluation(tmp_path, {"a": make_clusters(tmp_path, clusters)}, None), Options())
    with pytest.raises(InputError, match="needs at least one clustering among its inputs"):
        command.execute(evaluation(tmp_path / "b", {}, truth(tmp_path, kinds)), Options())


def test_again_changes_nothing(tmp_path: Path) -> None:
    kinds, clusters = some()
    run = evaluation(tmp_path, {"a": make_clusters(tmp_path, clusters)}, truth(tmp_path, kinds))
    command.execute(run, Options())
    before = run.ledger.files()
    command.execute(run, Options(refresh=True))
    assert run.ledger.files() == before
