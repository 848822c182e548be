"""Verdicts on spans as verdicts on windows."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from lake.constants import MS_PER_DAY
from lake.grid import Grid
from lake.heard import windows_heard, windows_touching

GRID = Grid(0, MS_PER_DAY, 6000, 2000)
"""Windows of 6 s every 2 s: neighbours overlap."""


def spans(*rows: tuple[str, float, float, str, str]) -> pd.DataFrame:
    """Return spans of rows of recorder, start and length in seconds, sound and verdict."""
    recorder, start_s, length_s, sound, verdict = zip(*rows, strict=True) if rows else ((),) * 5
    times = (np.array(start_s) * 1000).astype("datetime64[ms]")
    return pd.DataFrame({
        "recorder": pd.Series(recorder, dtype="str"), "time_utc": times, "duration_s": np.array(length_s, dtype=float),
        "sound": pd.Series(sound, dtype="str"), "verdict": pd.Series(verdict, dtype="str"),
    })  # fmt: skip


def said(*rows: tuple[str, float, float, str, str]) -> dict[tuple[int, int, str], str]:
    found = windows_heard(spans(*rows), GRID, ["a", "b"])
    return {(row["i_recorder"], row["cell"], row["sound"]): row["verdict"] for row in found.to_dict("records")}


def test_a_span_that_is_a_window_is_of_that_window_alone() -> None:
    """Its neighbours share four seconds with it, and the sound may be in the two others."""
    for verdict in ("yes", "no", "unsure"):
        assert said(("b", 10, 6, "wren", verdict)) == {(1, 5, "wren"): verdict}


def test_yes_counts_for_windows_that_share_enough() -> None:
    """A call from 20 to 21 s: the windows that begin at 14.5 - 0.5 and up to 20.5 s."""
    found = said(("a", 20, 1, "wren", "yes"))
    assert sorted(cell for _, cell, _ in found) == [8, 9, 10]
    assert said(("a", 20, 0.4, "wren", "yes")) == {}


def test_no_needs_the_whole_window() -> None:
    found = said(("a", 20, 10, "wren", "no"))
    assert sorted(cell for _, cell, _ in found) == [10, 11, 12]


def test_the_windows_own_verdict_decides() -> None:
    found = said(("a", 20, 3, "wren", "yes"), ("a", 20, 6, "wren", "no"))
    assert found[0, 10, "wren"] == "no"
    assert found[0, 9, "wren"] == "yes"
    assert said(("a", 20, 7, "wren", "no"), ("a", 21, 3, "wren", "yes"))[0, 10, "wren"] == "yes"


def test_other_recorders_and_the_ends_of_the_grid() -> None:
    assert said(("c", 20, 6, "wren", "yes")) == {}
    assert said(("a", -100, 50, "wren", "yes")) == {}
    assert len(said(("a", -100, 103, "wren", "yes"))) == 2
    assert said() == {}


def test_windows_that_share_any_time() -> None:
    found = windows_touching(spans(("a", 20, 0.1, "speech", "yes"), ("a", 20, 1, "speech", "yes")), GRID, ["a"])
    assert found["cell"].tolist() == [8, 9, 10]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 150), st.sampled_from(["yes", "no", "unsure"])), max_size=6)
)
def test_it_is_what_a_loop_finds(rows: list[tuple[int, int, str]]) -> None:
    found = said(*(("a", start / 10, length / 10, "wren", verdict) for start, length, verdict in rows))
    expected = {}
    for cell in range(60):
        begin, end = cell * 2000, cell * 2000 + 6000
        ranks = []
        for start, length, verdict in rows:
            shared = min(end, (start + length) * 100) - max(begin, start * 100)
            if length == 60 and start % 20 == 0:
                ranks += [(-1, verdict)] if start * 100 == begin else []
            elif verdict == "yes" and shared >= 500:
                ranks.append((0, verdict))
            elif shared >= 6000:
                ranks.append(({"unsure": 1, "no": 2, "yes": 0}[verdict], verdict))
        if ranks and sum(rank == -1 for rank, _ in ranks) < 2:
            expected[0, cell, "wren"] = min(ranks)[1]
        elif ranks:
            expected[0, cell, "wren"] = next(verdict for rank, verdict in ranks if rank == -1)
    assert found == expected
