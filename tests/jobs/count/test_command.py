"""The ``count`` job: from a draw over answers to tables, in a small study."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from chains import runs
from commands import Cli

from lake.batches import read_batch

RUN = """
[runs.counts]
job = "count"
inputs = { spectrograms = "mels" }
"""
HEADER = "recorder,time_utc,duration_s,sound,verdict,reviewer,decided_at,batch,draw"


@pytest.fixture
def study(manifest: Path) -> Path:
    """Return the manifest of a finished study with a table of sounds and a run of counts."""
    (manifest.parent / "sounds.csv").write_text("sound\nwren\nrobin\n")
    manifest.write_text(manifest.read_text() + RUN)
    return manifest


def draw(cli: Cli, study: Path, *words: object) -> str:
    code, out, error = cli("review", study, "--no-page", "--json", "--order", "count", *words)
    assert code == 0, error
    return str(json.loads(out)["batch"])


def answer(cli: Cli, study: Path, batch: str, *, n: int | None = None, elsewhere: bool = False) -> None:
    """Bring in answers on the first draws: the sound of even seconds is a wren; nobody hears a robin."""
    rows = [HEADER]
    for row in read_batch(runs(study)["mels"].lake, batch).table.iloc[:n].itertuples(index=False):
        start = pd.Timestamp(str(row.time_utc))
        is_wren = int(start.timestamp()) // 6 % 4 == 0
        told = ("", "") if elsewhere else (batch, str(row.draw))
        time = f"{start:%Y-%m-%dT%H:%M:%SZ}"
        for sound, verdict in (("wren", "yes" if is_wren else "no"), ("robin", "no")):
            rows.append(
                f"{row.recorder},{time},{row.duration_s:g},{sound},{verdict},Ana,2026-01-02T03:04:05Z,{','.join(told)}"
            )
    path = study.parent / "answers.csv"
    path.write_text("\n".join([*rows, ""]))
    code, _, error = cli("verdicts", "add", study, path)
    assert code == 0, error


def counts(cli: Cli, study: Path, *words: object) -> tuple[pd.DataFrame, Path]:
    code, _, error = cli("run", study, "counts", *words)
    assert code == 0, error
    folder = Path(runs(study)["counts"].output.root)
    return pd.read_csv(folder / "counts.csv", dtype={"period": str}), folder


def season_of(table: pd.DataFrame, sound: str) -> dict[str, Any]:
    some = table[(table["kind"] == "season") & (table["sound"] == sound) & (table["n_windows"] > 0)]
    return {
        str(name): some[name].sum()
        for name in ("n_windows", "n_heard", "n_sample", "n_left_out", "verified_minimum", "estimate")
    }


def test_a_study_is_drawn_heard_and_counted(cli: Cli, study: Path) -> None:
    batch = draw(cli, study, "--n", 12)
    answer(cli, study, batch)
    table, folder = counts(cli, study)
    assert set(table["sound"]) == {"wren", "robin"}
    assert set(table["unit"]) == {"window without overlap"}
    season = season_of(table, "wren")
    assert (season["n_heard"], season["n_sample"], season["n_left_out"]) == (12, 12, 0)
    drawn = read_batch(runs(study)["mels"].lake, batch).table
    weights = 1 / drawn["probability"].to_numpy()
    is_wren = drawn["time_utc"].astype("datetime64[s]").astype("int64") // 6 % 4 == 0
    assert season["estimate"] == pytest.approx(weights[is_wren.to_numpy()].sum(), rel=1e-4)
    assert season["verified_minimum"] == is_wren.sum()
    assert (table["low"] <= table["high"]).all()
    with xr.open_zarr(folder / "counts.zarr", consolidated=False) as store:
        assert set(store.dims) == {"sound", "site", "period"}
        assert store["estimate"].attrs["units"] == "windows without overlap"
        site = str(table.loc[0, "site"])
        assert store["n_windows"].sel(sound="wren", site=site, period="season season") == table.loc[0, "n_windows"]
    y = pd.read_csv(folder / "histories/wren/y.csv", index_col="site")
    heard = pd.read_csv(folder / "histories/wren/heard.csv", index_col="site")
    assert (y.isna() == (heard == 0)).all(axis=None)
    assert heard.to_numpy().sum() == 12
    assert cli("verify", study, "counts").code == 0


def test_counts_follow_answers_and_know_what_was_heard(cli: Cli, study: Path) -> None:
    answer(cli, study, draw(cli, study, "--n", 10))
    counts(cli, study)
    second = draw(cli, study, "--n", 10, "--seed", 1)
    answer(cli, study, second)
    assert "stale: 1 deliveries of verdicts came; `run` makes it again" in cli("status", study).out
    table, folder = counts(cli, study)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert "counts: done, nothing to do" in cli("run", study, "counts").out
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    season = season_of(table, "wren")
    assert (season["n_heard"], season["n_sample"]) == (20, 20)
    robin = table[(table["sound"] == "robin") & (table["kind"] == "season") & (table["n_windows"] > 0)]
    assert (robin["estimate"] == 0).all()
    assert (robin["high"] > 0).all()


def test_answers_without_probabilities_are_left_out_and_said_to_be(cli: Cli, study: Path) -> None:
    answer(cli, study, draw(cli, study, "--n", 8), elsewhere=True)
    table, _ = counts(cli, study)
    season = table[(table["kind"] == "season") & (table["n_windows"] > 0)]
    assert season["estimate"].isna().all()
    assert set(season["method"]) == {"no sample"}
    assert season["n_left_out"].sum() == 16
    assert np.array_equal(season["low"], season["verified_minimum"])


def test_no_verdicts_are_no_counts(cli: Cli, study: Path) -> None:
    code, _, error = cli("run", study, "counts")
    assert code == 3
    assert "the lake has no verdicts to count. Draw windows with `dawnchorus review MANIFEST --order count`" in error
