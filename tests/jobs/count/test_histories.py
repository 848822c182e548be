"""Detection histories on disk, beside a recount in plain xarray."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from detectors import HOP_MS
from judging import judge
from stores import RECORDERS, finish, make_cube, make_run, random_codes

from jobs.common.run import Options
from jobs.count import command
from jobs.count.config import Config
from lake.constants import STATUS


def test_histories_are_a_recount_in_plain_xarray(tmp_path: Path) -> None:
    run = make_cube(tmp_path, random_codes(n_days=6, n_per_day=100))
    finish(run)
    counts = make_run(tmp_path, "counts", "count", Config(), inputs={"spectrograms": run})
    cube = xr.open_zarr(run.output.url, consolidated=False)
    there = np.argwhere(cube["status"].isin([STATUS["ok"], STATUS["partial"]]).to_numpy())
    chosen = there[np.random.default_rng(0).choice(len(there), 14, replace=False)].tolist()
    answers = ("yes", "no", "no", "unsure")
    judge(tmp_path, [(RECORDERS[i], cell * HOP_MS, "wren", answers[n % 4]) for n, (i, cell) in enumerate(chosen)])
    command.execute(counts, Options())
    said = pd.concat(pd.read_csv(path) for path in sorted((tmp_path / "verdicts").rglob("*.csv")))
    said = said[said["verdict"] != "unsure"]
    local = cube["time"] + np.timedelta64(-18_000, "s") - np.timedelta64(12, "h")
    night = ("time", local.dt.strftime("%Y-%m-%d").to_numpy())
    values = np.full((2, cube.sizes["time"]), np.nan)
    starts = pd.to_datetime(said["time_utc"]).dt.tz_localize(None).to_numpy()
    at = np.searchsorted(cube["time"].to_numpy(), starts)
    recorder = said["recorder"].map({"north": 0, "south": 1}).to_numpy()
    values[recorder, at] = said["verdict"] == "yes"
    heard_there = xr.DataArray(values, dims=("recorder", "time"), coords={"night": night}).groupby("night")
    folder = Path(counts.output.url) / "histories" / "wren"
    read = {name: pd.read_csv(folder / f"{name}.csv", index_col="site") for name in ("y", "heard", "recorded_h")}
    assert read["y"].index.tolist() == ["site of north", "site of south"]
    recorded = (cube["status"].isin([STATUS["ok"], STATUS["partial"]]) * 6.0 / 3600).assign_coords(night=night)
    of_nights = {"y": heard_there.max(), "heard": heard_there.count(), "recorded_h": recorded.groupby("night").sum()}
    for name, expected in of_nights.items():
        table = expected.to_pandas()[read[name].columns]
        np.testing.assert_allclose(read[name].to_numpy(np.float64), table.to_numpy(), rtol=1e-4, err_msg=name)
    assert set(np.unique(read["y"].fillna(-1))) == {-1, 0, 1}
    long = pd.read_csv(folder / "history.csv")
    assert long.columns.tolist() == ["sound", "site", "occasion", "unit", "y", "heard", "recorded_h"]
    assert set(long["unit"]) == {"window without overlap"}
    assert long["heard"].sum() == read["heard"].to_numpy().sum()
