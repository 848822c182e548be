"""Counts of a study: what was drawn, what was answered, how many windows of each site and period hold a sound."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lake.batches import VECTORS_ROLE, Batch, sample_of
from lake.constants import STATUS, UNTIMED
from lake.counting.estimates import LEVEL, estimate
from lake.counting.periods import NO_SITE, PERIODS, SEASON, UNKNOWN, cells_per_window, period_of
from lake.counting.predictions import of_draws, of_sites, windows_then
from lake.counting.shares import shared_out
from lake.grid import Grid
from lake.heard import windows_heard, windows_touching
from lake.query.find import Wanted, find
from lake.read import grid_of, recorder_names
from lake.sounds import SPEECH
from lake.verdicts import last_decisions, settled

UNIT: Final = "window without overlap"
MODEL_ASSISTED: Final = "model-assisted"
NOTES: Final = {MODEL_ASSISTED: "by the detector: right as far as it errs alike in all periods of a site"}
"""The name of a method in a table."""
USABLE: Final = (STATUS["ok"], STATUS["partial"])


@dataclass(frozen=True)
class Windows:
    """The windows that are counted: those with sound that share none with each other.

    Attributes
    ----------
    table
        One row each: ``i_recorder``, ``cell``, ``recorder``, ``time`` (UTC), ``time_local``, ``site``.
    grid, recorders
        Of the cube.
    sites
        All sites of the study, those without any window too.
    n_usable
        Windows with sound, those that overlap too.
    """

    table: pd.DataFrame
    grid: Grid
    recorders: list[str]
    sites: list[str]
    n_usable: int

    @property
    def window_h(self) -> float:
        """Hours of a window."""
        return self.grid.window_ms / 3_600_000


@dataclass(frozen=True)
class Answers:
    """The answers that people gave on the windows of a study.

    Attributes
    ----------
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them.
    heard
        As :func:`lake.heard.windows_heard` gives them: ``i_recorder``, ``cell``, ``sound``, ``verdict``.
    batches
        Those that can be a sample.
    notes
        Batches that cannot, and why.
    predicting
        Names of the batches that keep what a detector said of their windows.
    """

    verdicts: pd.DataFrame
    heard: pd.DataFrame
    batches: Sequence[Batch]
    notes: Sequence[str] = field(default=())
    predicting: frozenset[str] = field(default=frozenset())


def windows_of(cube: xr.Dataset) -> Windows:
    """Return the windows of a cube that are counted; every k-th where windows overlap."""
    grid, recorders = grid_of(cube), recorder_names(cube)
    table = find(cube, Wanted(), cube=cube)
    numbers = {name: i for i, name in enumerate(recorders)}
    time_ms = table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    table = table.assign(
        i_recorder=table["recorder"].map(numbers).astype("int64"), cell=(time_ms - grid.origin_ms) // grid.hop_ms
    )
    usable = np.zeros(len(table), np.bool_)
    for i in range(len(recorders)):
        mine = (table["i_recorder"] == i).to_numpy()
        status = cube["status"][i].to_numpy()
        usable[mine] = np.isin(status[table["cell"].to_numpy()[mine]], USABLE)
    table = table[usable]
    kept = table[(table["cell"] % cells_per_window(grid) == 0).to_numpy()].reset_index(drop=True)
    kept["site"] = kept["site"].astype("object").where(kept["site"] != "", NO_SITE)
    is_timed = ~kept["recorder"].str.startswith(UNTIMED)
    kept["time_local"] = kept["time_local"].where(is_timed)
    named = {str(site) for site in cube.variables["site"].to_numpy()} - {""}
    sites = sorted({*named, *kept["site"]})
    columns = ["i_recorder", "cell", "recorder", "time", "time_local", "site"]
    return Windows(kept[columns], grid, recorders, sites, len(table))


def answers_on(windows: Windows, verdicts: pd.DataFrame, batches: Sequence[Batch]) -> Answers:
    """Return what was answered of the windows, and which batches can be a sample of them.

    A batch cannot where its order is not random, where it was drawn from a list, or where the cube has other windows
    now than those that it was drawn from: those that came had no chance.
    """
    kept, notes = [], []
    for batch in batches:
        asked = batch.asked
        n_then = sum(int(asked.get(name, 0)) for name in ("n_population", "n_speech", "n_heard"))
        if not batch.is_random:
            continue
        if VECTORS_ROLE in asked.get("reads", {}):
            vectors = asked["reads"][VECTORS_ROLE]["run"]
            notes.append(f"batch {batch.name}: asks about windows of the vectors {vectors!r}, not of the cube")
        elif asked.get("windows_sha256"):
            notes.append(f"batch {batch.name}: drawn from a list of windows; it stands for these alone, not the study")
        elif n_then != windows.n_usable:
            notes.append(
                f"batch {batch.name}: drawn from {n_then} windows, the cube has {windows.n_usable} now; draw another"
            )
        else:
            kept.append(batch)
    notes += [line for batch in kept for line in _gap(batch, verdicts)]
    answers = Answers(verdicts, windows_heard(settled(verdicts), windows.grid, windows.recorders), kept)
    number, predicting = _Numbers(windows), []
    for batch in kept:
        then = windows_then(batch)
        if then is None:
            continue
        certain = _certain(batch.sounds[0], batch, windows, answers, number)["window"].tolist()
        if windows.table.drop(index=certain)["site"].value_counts().to_dict() == then:
            predicting.append(batch.name)
        else:
            notes.append(
                f"batch {batch.name}: sites have other windows now than when it was drawn; it counts without "
                "what a detector said then, with wider intervals"
            )
    return replace(answers, notes=notes, predicting=frozenset(predicting))


def _gap(batch: Batch, verdicts: pd.DataFrame) -> Iterator[str]:
    """Yield a line if draws were answered behind one that was not."""
    in_sample = set(sample_of(batch, verdicts)["draw"].tolist())
    answered = verdicts.loc[(verdicts["batch"] == batch.name) & verdicts["draw"].notna(), "draw"]
    behind = set(answered.tolist()) - in_sample
    if behind and len(in_sample) < len(batch.table):
        yield (
            f"batch {batch.name}: draw {len(in_sample)} is not answered for every sound; {len(behind)} draws behind it "
            "count for verified minima alone until it is"
        )


def sample_for(sound: str, windows: Windows, answers: Answers) -> pd.DataFrame:
    """Return all that was heard of a sound as :func:`lake.counting.estimates.estimate` takes it.

    ``window`` is the row of ``windows.table``. What was heard outside of the samples has no probability, and
    ``predicted`` is 0 where the batch keeps no predictions or the window was certain.
    """
    number = _Numbers(windows)
    parts = [_of_batch(sound, batch, windows, answers, number) for batch in answers.batches if sound in batch.sounds]
    mine = answers.heard[answers.heard["sound"] == sound]
    other = pd.DataFrame({"window": number(mine["i_recorder"], mine["cell"]), "verdict": mine["verdict"].to_numpy()})
    other = other.assign(probability=np.nan, batch="", draw=np.nan, stratum="", predicted=0.0)
    found = pd.concat([*parts, other[other["window"] >= 0]], ignore_index=True)
    found["draw"] = found["draw"].astype("Int64")
    in_sample = found.loc[found["probability"].notna(), "window"]
    return found[found["probability"].notna() | ~found["window"].isin(in_sample)].reset_index(drop=True)


class _Numbers:
    """The row of ``windows.table`` of a recorder's number and cell; -1 where it is not counted."""

    def __init__(self, windows: Windows) -> None:
        self.n_cells = windows.grid.n_cells
        self.known = (windows.table["i_recorder"] * self.n_cells + windows.table["cell"]).to_numpy(np.int64)

    def __call__(self, i_recorder: pd.Series, cell: pd.Series) -> NDArray[np.int64]:
        wanted = i_recorder.to_numpy(np.int64) * self.n_cells + cell.to_numpy(np.int64)
        at = np.searchsorted(self.known, wanted)
        return np.where(np.append(self.known, -1)[at] == wanted, at, -1)


def _of_batch(sound: str, batch: Batch, windows: Windows, answers: Answers, number: _Numbers) -> pd.DataFrame:
    """Return the sample of a batch: draws answered without a gap, and windows that were certain when it was drawn.

    The first m of n draws, in an order that is random, are a sample with m / n of the probabilities.
    """
    drawn = sample_of(batch, answers.verdicts)
    drawn = drawn[drawn["sound"] == sound]
    n, n_asked = len(drawn), len(batch.table)
    recorders = {name: i for i, name in enumerate(windows.recorders)}
    time_ms = drawn["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    cell = pd.Series((time_ms - windows.grid.origin_ms) // windows.grid.hop_ms, dtype="int64")
    recorder = drawn["recorder"].map(recorders).fillna(-1).astype("int64")
    chance = drawn["probability"].to_numpy(np.float64)
    if batch.asked["order"] == "random":
        chance = np.full(n, n_asked / int(batch.asked["n_population"]))
    rows = pd.DataFrame(
        {
            "window": number(recorder, cell), "verdict": drawn["verdict"].to_numpy(),
            "probability": chance * (n / n_asked), "batch": batch.name, "draw": drawn["draw"].to_numpy(),
            "stratum": drawn["stratum"].fillna("").to_numpy(),
            "predicted": of_draws(batch, sound)[:n] if batch.name in answers.predicting else 0.0,
        }
    )  # fmt: skip
    certain = _certain(sound, batch, windows, answers, number)
    found = pd.concat([rows[rows["window"] >= 0], certain], ignore_index=True)
    return found if n else found.iloc[:0]


def _certain(sound: str, batch: Batch, windows: Windows, answers: Answers, number: _Numbers) -> pd.DataFrame:
    """Return the windows that a batch was not drawn from: heard for all of its sounds before, or marked as speech."""
    then = answers.verdicts[answers.verdicts["delivery"].isin(batch.asked.get("deliveries", []))]
    before = windows_heard(settled(then), windows.grid, windows.recorders)
    before = before[before["sound"].isin(batch.sounds)]
    n_sounds = before.groupby(["i_recorder", "cell"]).size()
    heard = n_sounds[n_sounds == len(batch.sounds)].reset_index()
    last = last_decisions(then)
    speech = last[(last["sound"] == SPEECH) & (last["verdict"] == "yes")]
    out = pd.concat([heard[["i_recorder", "cell"]], windows_touching(speech, windows.grid, windows.recorders)])
    rows = pd.DataFrame({"window": number(out["i_recorder"], out["cell"])}).drop_duplicates()
    rows = rows[rows["window"] >= 0]
    now = answers.heard[answers.heard["sound"] == sound]
    verdict = dict(zip(number(now["i_recorder"], now["cell"]).tolist(), now["verdict"], strict=True))
    return rows.assign(
        verdict=[verdict.get(window, "unsure") for window in rows["window"].tolist()], probability=1.0,
        batch=batch.name, draw=np.nan, stratum="", predicted=0.0,
    )  # fmt: skip


def count_sound(
    sound: str, windows: Windows, answers: Answers, *, probability: NDArray[np.float64] | None = None,
    kinds: Sequence[str] = tuple(PERIODS), level: float = LEVEL,
) -> pd.DataFrame:  # fmt: skip
    """Return the counts of a sound by site and period.

    Parameters
    ----------
    sound, windows, answers
        What is counted, where, and by which answers.
    probability
        A detector's, of each row of ``windows.table``; NaN where there is none.
    kinds
        Kinds of periods, of :data:`lake.counting.periods.PERIODS`.
    level
        Of the intervals.

    Returns
    -------
    DataFrame
        ``sound``, ``site``, ``kind``, ``period``, ``unit``, ``effort_h`` (hours recorded), the columns of
        :func:`lake.counting.estimates.estimate`, and ``note``, what is to be known of the method. A site without any
        window has a row of its season, without numbers.

    Notes
    -----
    A season is counted by the draws, and by what a detector said when they were drawn, if the batch keeps it: no answer
    can have changed that, so the estimate is unbiased. In shorter periods few windows are heard. With a detector they
    share the count of their site's season by its probabilities (:func:`lake.counting.shares.shared_out`), cut to what
    was heard there; their method is :data:`MODEL_ASSISTED`, and they are right as far as the detector errs alike in all
    periods. Without one they are counted by the draws within them.
    """
    sample = sample_for(sound, windows, answers)
    season = _by_draws(SEASON, sample, windows, level, _predictions(sound, answers))
    parts = [season]
    for kind in kinds:
        if kind != SEASON:
            table = _by_draws(kind, sample, windows, level)
            if probability is not None and np.isfinite(probability).any():
                table = _assisted(table, season, kind, windows, probability, level=level)
            parts.append(table)
    found = pd.concat(parts, ignore_index=True)
    found.insert(0, "sound", sound)
    found.insert(4, "unit", UNIT)
    found.insert(5, "effort_h", found["n_windows"] * windows.window_h)
    return found.assign(note=found["method"].map(NOTES).fillna(""))


def _periods(kind: str, windows: Windows) -> pd.Series:
    return period_of(windows.table["time_local"], kind).fillna(UNKNOWN)


def _predictions(sound: str, answers: Answers) -> pd.DataFrame | None:
    """Return the sums of predictions of each batch and season, if any batch keeps some."""
    parts = [
        of_sites(batch, sound)
        for batch in answers.batches if sound in batch.sounds and batch.name in answers.predicting
    ]  # fmt: skip
    if not parts:
        return None
    found = pd.concat(parts, ignore_index=True)
    return found.assign(cell=pd.Series([(site, SEASON) for site in found["site"]], dtype="object"))


def _by_draws(
    kind: str, sample: pd.DataFrame, windows: Windows, level: float, predicted: pd.DataFrame | None = None
) -> pd.DataFrame:
    cells = list(zip(windows.table["site"], _periods(kind, windows), strict=True))
    sizes: dict[tuple[str, str], int] = {}
    for cell in cells:
        sizes[cell] = sizes.get(cell, 0) + 1
    if kind == SEASON:
        sizes |= {(site, SEASON): 0 for site in windows.sites if (site, SEASON) not in sizes}
    sizes = dict(sorted(sizes.items()))
    of_rows = pd.Series([cells[window] for window in sample["window"].tolist()], dtype="object")
    table = estimate(sample.assign(cell=of_rows.to_numpy()), sizes, predicted=predicted, level=level)
    table.insert(0, "site", [site for site, _ in sizes])
    table.insert(1, "kind", kind)
    table.insert(2, "period", [period for _, period in sizes])
    return table.drop(columns="cell")


def _assisted(
    table: pd.DataFrame,
    season: pd.DataFrame,
    kind: str,
    windows: Windows,
    probability: NDArray[np.float64],
    *,
    level: float,
) -> pd.DataFrame:
    """Return counts of short periods as shares of the season's; see :func:`lake.counting.shares.shared_out`."""
    places = windows.table[["site"]].assign(period=_periods(kind, windows), p=np.nan_to_num(probability))
    of_site, out = season.set_index("site"), table.copy()
    for site in sorted(set(table["site"])):
        rows = table.index[table["site"] == site]
        mine, now = places[places["site"] == site], of_site.loc[site]
        names = table.loc[rows, "period"].tolist()
        at = mine["period"].map({name: i for i, name in enumerate(names)}).to_numpy(np.int64)
        is_open = (~table.loc[rows, "method"].isin(["all heard", "no effort"])).to_numpy()
        if np.isnan(now["estimate"]) or not mine["p"].any() or not is_open.any():
            continue
        known = [(now[name], now["low"], now["high"]) for name in ("estimate", "estimate_high")]
        least = shared_out(known[0], mine["p"].to_numpy(), at, len(names), level)
        most = least if known[0] == known[1] else shared_out(known[1], mine["p"].to_numpy(), at, len(names), level)
        floor, top = (table.loc[rows, name].to_numpy(np.float64) for name in ("verified_minimum", "n_windows"))
        for name, values in (("estimate", least[0]), ("estimate_high", most[0]), ("low", least[1]), ("high", most[2])):
            out.loc[rows, name] = np.where(is_open, np.clip(values, floor, top), table.loc[rows, name])
        out.loc[rows, "method"] = np.where(is_open, MODEL_ASSISTED, table.loc[rows, "method"])
    return out


def detection_history(
    sound: str, windows: Windows, answers: Answers, kind: str = "night"
) -> Mapping[str, pd.DataFrame]:
    """Return what was heard of a sound at each site and occasion, as occupancy models read it.

    Parameters
    ----------
    sound, windows, answers
        As for :func:`count_sound`.
    kind
        What an occasion is, of :data:`lake.counting.periods.PERIODS`.

    Returns
    -------
    dict
        Tables with a row for each site and a column for each occasion: ``y``: 1 where a window with the sound was
        heard, 0 where some were heard and answered no and none yes, missing where none was (not recorded, not heard, or
        unsure alone); ``heard``: windows answered yes or no, 0 where none; ``recorded_h``: hours recorded, else 0.
    """
    number = _Numbers(windows)
    mine = answers.heard[(answers.heard["sound"] == sound) & answers.heard["verdict"].isin(["yes", "no"])]
    rows = number(mine["i_recorder"], mine["cell"])
    is_yes = (mine["verdict"] == "yes").to_numpy()[rows >= 0]
    places = windows.table.assign(period=_periods(kind, windows))
    heard = places.iloc[rows[rows >= 0]].assign(y=is_yes.astype(np.float64))
    occasions = sorted(set(places["period"]) - {UNKNOWN})

    def wide(table: pd.Series, fill: float) -> pd.DataFrame:
        found = table.unstack("period") if len(table) else pd.DataFrame()
        return found.reindex(index=windows.sites, columns=occasions).astype(np.float64).fillna(fill)

    keys = ["site", "period"]
    return {
        "y": wide(heard.groupby(keys)["y"].max(), np.nan),
        "heard": wide(heard.groupby(keys)["y"].size(), 0.0),
        "recorded_h": wide(places.groupby(keys).size() * windows.window_h, 0.0),
    }
