"""The line on the demo's season table."""

import pandas as pd

from jobs.workflows.season import compared


def test_intervals_are_compared_with_the_truth_where_there_are_windows_enough() -> None:
    counts = pd.DataFrame(
        {
            "sound": ["caw", "caw", "hoot", "caw"], "site": ["a", "b", "a", "a"],
            "kind": ["season", "season", "season", "night"], "n_heard": [30, 20, 30, 9],
            "low": [10, 0, 25, 0], "high": [40, 9, 65, 1],
        }
    )  # fmt: skip
    true = pd.Series([20, 5, 80], index=pd.MultiIndex.from_tuples([("caw", "a"), ("caw", "b"), ("hoot", "a")]))
    assert compared(counts, true) == (
        "counted    3 cells of sound and site from 50 windows heard; 1 of 2 intervals hold the truth, "
        "median half-width 0.50 of it"
    )
    assert compared(counts, true // 10) == "counted    3 cells of sound and site from 50 windows heard"
