"""Estimate how many windows hold a sound from those that people heard: unbiased, with an interval."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lake.counting.differences import difference_limits
from lake.counting.limits import Rows
from lake.errors import InputError

LEVEL = 0.95
SLACK = 1e-6
"""By how much a sum of predictions may be less than that of a part of it, for rounding."""
MAYBE = ["yes", "unsure"]
VERDICTS: Mapping[Hashable, str] = {"yes": "yes", "no": "no", "unsure": "unsure", True: "yes", False: "no"}
METHODS = {
    "no effort": "no window: neither present nor absent",
    "all heard": "every window was heard",
    "no sample": "no window was drawn by chance: verified minimum and all windows",
    "hypergeometric": "exact, for windows drawn with equal probabilities",
    "difference": "a detector's count, corrected by the windows heard; limits of what it missed and what it invented",
    "weighted beta": "beta distributions with the mean and variance of the weighted count",
    "none heard": "no positive was heard by chance: an exact upper limit",
}
"""Names of the methods of an interval, and what each means."""


def estimate(
    sample: pd.DataFrame, n_windows: int | Mapping[Any, int], *, predicted: pd.DataFrame | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:  # fmt: skip
    """Return how many windows hold a sound, with intervals.

    Parameters
    ----------
    sample
        One row for each window of each batch, as :func:`draw` gives them, with the answers in the column ``verdict``:
        ``yes``, ``no``, ``unsure``, True or False, missing where nobody answered. ``window`` and ``probability`` are
        needed too; windows heard for other reasons have no probability, and count for the verified minimum only.
        Optional columns: ``batch``, the draw that the row belongs to (windows that were heard before a batch was drawn
        are rows of it with probability 1, as ``draw(…, heard=…)`` returns them); ``draw``, the place in the order of
        hearing, which is that of the rows if it is not there (the sample of a batch ends before the first that was not
        answered); ``stratum``, as drawn; ``cell``, what is counted by itself, a site for example; ``predicted``, see
        below.
    n_windows
        Number of windows that could have been drawn or were known: of all, or of each cell.
    predicted
        For narrower intervals: sums of a detector's probabilities over all windows, in the column ``predicted``, with
        ``batch`` and ``cell`` as far as the sample has them. The column ``predicted`` of the sample has those of its
        rows, missing where there are none. They must be made before the windows were heard: a detector that learnt
        from these answers makes the estimate biased and the interval too narrow.
    level
        Of the intervals.

    Returns
    -------
    pandas.DataFrame
        One row a cell (one row, ``all``, without cells):

        ``cell``, ``n_windows``
            As given.
        ``n_heard``, ``n_sample``, ``n_left_out``
            Different windows with an answer; those of them that are part of a sample; and those that are of none, since
            they were heard for other reasons or behind a gap.
        ``verified_minimum``
            Windows with a yes, whatever they were heard for.
        ``estimate``, ``estimate_high``
            Windows that hold the sound; ``unsure`` is no in the first and yes in the second. NaN without a sample.
        ``low``, ``high``
            Interval: the lower limit if all unsure are no, the upper one if all are yes.
        ``method``
            ``no effort``, ``all heard``, ``no sample``, ``hypergeometric``, ``difference``, ``weighted beta`` or
            ``none heard``.

    Raises
    ------
    InputError
        If a value is not what is described here, all problems at once.

    Notes
    -----
    Of each batch, the sum of 1 / probability over its windows with a yes is unbiased (Hansen and Hurwitz 1943; Horvitz
    and Thompson 1952), whatever the detector was worth and whenever it was fitted anew, since each batch has its own
    probabilities. Batches are combined in proportion to the number of windows answered in each, never by what was found
    in them. This holds if what ends a session does not depend on the answers. An estimate may therefore be below the
    verified minimum, or above the number of windows; its interval is cut to what is possible. Where every window was
    heard, the estimate is what was heard. With ``predicted`` it is the difference estimate of
    :func:`lake.counting.differences.difference_limits`, which may fall below 0 as well.

    Intervals: exact ones by the hypergeometric distribution where all probabilities of a cell are equal and there are
    no predictions; else those of :mod:`lake.counting.limits` and :mod:`lake.counting.differences`. ``docs/counts.md``
    shows their coverage, and what was tried and failed: log-normal and normal intervals, bootstrap, empirical
    likelihood, betting confidence sequences (Waudby-Smith and Ramdas 2024). Prediction-powered and active statistical
    inference (Angelopoulos et al. 2023; Zrnic and Candes 2024) rest on the same weighted sums, with normal intervals.

    Examples
    --------
    >>> import dawnchorus
    >>> probability = [0.9] * 20 + [0.3] * 20 + [0.02] * 960
    >>> sample = dawnchorus.draw(probability, 100, seed=0)
    >>> sample["verdict"] = sample["window"] < 30
    >>> table = dawnchorus.estimate(sample, 1000)
    >>> table[["cell", "n_windows", "n_heard", "method"]].to_numpy().tolist()
    [['all', 1000, 100, 'weighted beta']]
    >>> bool(table["low"][0] <= 30 <= table["high"][0])
    True
    """
    cells = dict(n_windows) if isinstance(n_windows, Mapping) else {"all": n_windows}
    rows = _checked(sample, cells, level, predicted, has_cells=isinstance(n_windows, Mapping))
    size = np.array(list(cells.values()), np.int64)
    heard = rows[rows["verdict"].notna()].drop_duplicates("window")
    n_yes, n_no = (_count(heard[heard["verdict"] == answer], len(size)) for answer in ("yes", "no"))
    used = _sample(rows)
    n_heard, n_sample = _count(heard, len(size)), _count(used.drop_duplicates("window"), len(size))
    flat = Rows(
        used["number"].to_numpy(np.int64), used["group"].to_numpy(np.int64), used["chance"].to_numpy(np.float64),
        used["share"].to_numpy(np.float64),
    )  # fmt: skip
    is_yes = (used["verdict"] == "yes").to_numpy()
    is_maybe = is_yes | (used["verdict"] == "unsure").to_numpy()
    guess, total = used["guess"].to_numpy(np.float64), _totals(predicted, used, cells)
    n = size.astype(np.float64)
    least, most = (
        difference_limits(flat, guess, kind, n_windows=n, total_predicted=total, level=level)
        for kind in (is_yes, is_maybe)
    )
    low, high, is_exact = _exact(used, size, level)
    is_empty, is_known, is_unknown = size == 0, n_heard == size, n_sample == 0
    which = [is_empty, is_known, is_unknown, is_exact & (total == 0), total > 0, most.n_random > 0]
    top = size - n_no
    kept = [
        (np.clip(one, n_yes, top), np.clip(other, n_yes, top)) for one, other in ((least.low, low), (most.high, high))
    ]
    return pd.DataFrame(
        {
            "cell": pd.Series(list(cells), dtype="object"), "n_windows": size, "n_heard": n_heard, "n_sample": n_sample,
            "n_left_out": n_heard - n_sample, "verified_minimum": n_yes,
            "estimate": np.select(which[:3], [np.nan, n_yes, np.nan], least.estimate),
            "estimate_high": np.select(which[:3], [np.nan, top, np.nan], most.estimate),
            "low": np.select(which[:4], [np.nan, n_yes, n_yes, kept[0][1]], kept[0][0]),
            "high": np.select(which[:4], [np.nan, top, top, kept[1][1]], kept[1][0]),
            "method": np.select(which, list(METHODS)[:6], list(METHODS)[6]),
        }
    )  # fmt: skip


def _count(rows: pd.DataFrame, n_cells: int) -> NDArray[np.int64]:
    return np.bincount(rows["number"].to_numpy(np.int64), minlength=n_cells)


def _totals(predicted: pd.DataFrame | None, used: pd.DataFrame, cells: Mapping[Any, int]) -> NDArray[np.float64]:
    """Return the sum of predictions of each cell: of each batch that is used, by its share."""
    total = np.zeros(len(cells))
    if predicted is not None:
        given, numbers = _labelled(predicted, cells), {cell: i for i, cell in enumerate(cells)}
        share = given["batch"].map(used.drop_duplicates("batch").set_index("batch")["share"]).fillna(0.0)
        np.add.at(total, [numbers[cell] for cell in given["cell"]], (given["predicted"] * share).to_numpy(np.float64))
    return total


def _labelled(predicted: pd.DataFrame, cells: Mapping[Any, int]) -> pd.DataFrame:
    """Return sums of predictions with the columns ``batch`` and ``cell``."""
    return predicted.assign(
        batch=predicted.get("batch", "all"),
        cell=predicted.get("cell", next(iter(cells))),
    )


def _checked(
    sample: pd.DataFrame, cells: Mapping[Any, int], level: float, predicted: pd.DataFrame | None, *, has_cells: bool
) -> pd.DataFrame:
    """Return the rows with the columns that estimates need, or refuse the sample with all problems."""
    lacking = [name for name in ("window", "probability", "verdict", "cell")[: 3 + has_cells] if name not in sample]
    problems = [*_wrong_numbers(cells, level)]
    if lacking:
        problems.append(f"sample: expected the columns {lacking}, found {list(sample.columns)}.")
    if problems:
        raise InputError("\n".join(problems))
    rows = pd.DataFrame({"window": sample["window"].to_numpy(), "verdict": _verdicts(sample["verdict"], problems)})
    rows["chance"] = pd.to_numeric(sample["probability"], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    for name in ("batch", "stratum"):
        rows[name] = sample[name].to_numpy() if name in sample else "all"
    rows["place"] = sample["draw"].astype("Float64").to_numpy() if "draw" in sample else np.arange(len(rows))
    rows["cell"] = sample["cell"].to_numpy() if has_cells else "all"
    numbers = {cell: i for i, cell in enumerate(cells)}
    rows["number"] = [numbers.get(cell, -1) for cell in rows["cell"]]
    given = sample["predicted"] if predicted is not None and "predicted" in sample else pd.Series(0.0, sample.index)
    rows["guess"] = pd.to_numeric(given, errors="coerce").fillna(0.0).to_numpy(np.float64)
    problems += [*_contradictions(rows, cells), *_wrong_predictions(rows, sample, predicted, cells)]
    if problems:
        raise InputError("\n".join(problems))
    return rows


def _wrong_numbers(cells: Mapping[Any, int], level: float) -> Iterator[str]:
    if not 0 < level < 1:
        yield f"level: expected a number between 0 and 1, found {level!r}."
    for cell, n in cells.items():
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            yield f"n_windows of {cell!r}: expected a whole number of 0 or more, found {n!r}."


def _verdicts(given: pd.Series, problems: list[str]) -> NDArray[np.object_]:
    values = np.array([None if pd.isna(v) else VERDICTS.get(v, "") for v in given.tolist()], dtype="object")
    wrong = sorted({repr(v) for v, known in zip(given.tolist(), values, strict=True) if known == ""})
    if wrong:
        problems.append(f"verdict: expected yes, no, unsure, True, False or nothing, found {', '.join(wrong)}.")
    return values


def _contradictions(rows: pd.DataFrame, cells: Mapping[Any, int]) -> Iterator[str]:
    """Yield what cannot be true of a sample."""
    if ((rows["chance"] <= 0) | (rows["chance"] > 1)).any():
        yield "probability: expected numbers above 0, at most 1, or nothing for windows of no sample."
    strange = rows.loc[rows["number"] < 0, "cell"].unique().tolist()
    if strange:
        yield f"cell: {strange} are not in n_windows, which has {list(cells)}."
    twice = rows[rows["chance"].notna()].duplicated(["batch", "window"])
    if twice.any():
        at = rows.loc[twice.index[twice], "window"].tolist()[0]
        yield (f"window: {int(twice.sum())} are twice in their batch, first {at!r}.")
    answers = rows[rows["verdict"].notna()].groupby("window")
    for name, what in (("verdict", "verdicts"), ("cell", "cells")):
        many = answers[name].nunique()
        if (many > 1).any():
            yield (
                f"{name}: {int((many > 1).sum())} windows have two {what}, first {many.index[many > 1].tolist()[0]!r}."
            )
    n_heard = answers["number"].first().value_counts()
    for i, (cell, n) in enumerate(cells.items()):
        if n_heard.get(i, 0) > n:
            yield (f"n_windows of {cell!r}: {n}, but {n_heard[i]} windows of it were heard.")


def _wrong_predictions(
    rows: pd.DataFrame, sample: pd.DataFrame, predicted: pd.DataFrame | None, cells: Mapping[Any, int]
) -> Iterator[str]:
    """Yield what cannot be true of predictions and their sums."""
    if predicted is None:
        return
    if "predicted" not in predicted or "predicted" not in sample:
        yield "predicted: expected a column of this name in the sample, and one with its sums in `predicted`."
        return
    if not rows["guess"].between(0, 1).all():
        yield "predicted: expected probabilities from 0 to 1 in the sample, or nothing where there are none."
    sums = _labelled(predicted, cells)
    values = pd.to_numeric(sums["predicted"], errors="coerce").to_numpy(np.float64)
    if not (np.isfinite(values) & (values >= 0)).all() or not sums["cell"].isin(list(cells)).all():
        yield f"predicted: expected sums of 0 or more, of the cells {list(cells)}, found {sums.to_dict('records')[:3]}."
    if sums.duplicated(["batch", "cell"]).any():
        yield "predicted: expected one sum for each batch and cell, found some twice."
    drawn = rows[rows["chance"].notna()].groupby(["batch", "cell"])["guess"].sum().reset_index()
    both = drawn.merge(sums[["batch", "cell", "predicted"]], on=["batch", "cell"], how="left")
    less = both[both["predicted"].fillna(0.0) < both["guess"] - SLACK]
    if len(less):
        where = less[["batch", "cell"]].to_numpy().tolist()
        yield f"predicted: the windows of the sample have more than the sum over all windows, at {where[:3]}."


def _sample(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are a sample, with ``share`` of their batch and ``group``, the batch and stratum.

    Drawn rows count up to the first that was not answered, with the probability to be among so many: any so many of a
    batch that is in a random order are a sample of it. A batch of which none was answered has no share.
    """
    rows = rows[rows["chance"].notna()]
    parts = []
    for _, batch in rows.groupby("batch", sort=False, dropna=False):
        drawn = batch[batch["place"].notna()].sort_values("place", kind="stable")
        is_answered = drawn["verdict"].notna().to_numpy()
        n = len(drawn) if is_answered.all() else int(is_answered.argmin())
        if n:
            first = drawn.iloc[:n].assign(chance=drawn["chance"].iloc[:n] * (n / len(drawn)))
            known = batch[batch["place"].isna() & batch["verdict"].notna()]
            parts.append(pd.concat([first, known]).assign(share=float(n)))
    if not parts:
        return rows.iloc[:0].assign(share=0.0, group=0)
    found = pd.concat(parts, ignore_index=True)
    total = found.drop_duplicates("batch")["share"].sum()
    group = found.groupby(["batch", "stratum"], sort=False, dropna=False).ngroup()
    return found.assign(share=found["share"] / total, group=group)


def _exact(
    used: pd.DataFrame, size: NDArray[np.int64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return exact limits where all windows of a cell had the same probability in one batch, and where that is so."""
    low, high, is_exact = np.zeros(len(size)), np.zeros(len(size)), np.zeros(len(size), np.bool_)
    for number in np.unique(used["number"].to_numpy(np.int64)).tolist():
        rows = used[used["number"] == number]
        drawn, known = rows[rows["chance"] < 1], rows[rows["chance"] >= 1]
        n_rest = int(size[number]) - len(known)
        if drawn.empty or rows["batch"].nunique(dropna=False) > 1:
            continue
        if not np.allclose(drawn["chance"] * n_rest, len(drawn), rtol=1e-9):
            continue
        n_yes, n_maybe = ([int(part["verdict"].isin(k).sum()) for part in (drawn, known)] for k in (["yes"], MAYBE))
        low[number] = n_yes[1] + hypergeometric_limits(n_yes[0], len(drawn), n_rest, level)[0]
        high[number] = n_maybe[1] + hypergeometric_limits(n_maybe[0], len(drawn), n_rest, level)[1]
        is_exact[number] = True
    return low, high, is_exact


def hypergeometric_limits(n_yes: int, n_drawn: int, n_windows: int, level: float) -> tuple[int, int]:
    """Return the least and the largest number of positives among windows with which so many heard are not unlikely.

    Buonaccorsi (1987); each tail has half of what the level leaves.
    """
    from scipy.stats import hypergeom  # noqa: PLC0415 (a second to load, and most estimates need it not)

    tail = (1 - level) / 2
    first, last = n_yes, n_windows - (n_drawn - n_yes)
    low = _first(first, last, lambda total: hypergeom.sf(n_yes - 1, n_windows, total, n_drawn) > tail)
    high = _first(first, last + 1, lambda total: hypergeom.cdf(n_yes, n_windows, total, n_drawn) <= tail) - 1
    return low, high


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Return the first number at which something holds that goes on holding; ``high`` if none below it does."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
