"""What dry runs say: what a long time grid costs, and what seasons would."""

import pytest

from jobs.common.needs import grid_notes, seasons_of


def test_seasons_are_cut_where_nothing_is_recorded_for_long() -> None:
    assert seasons_of([]) == []
    assert seasons_of([5, 3, 3, 4]) == [(3, 5)]
    assert seasons_of([10, 70, 131, 132, 500]) == [(10, 70), (131, 132), (500, 500)], "60 days are one season, 61 two"


@pytest.mark.parametrize(("n_cells", "seasons", "n_notes"), [(9_999_999, 3, 0), (10_000_000, 0, 1), (10_000_000, 1, 1)])
def test_a_long_grid_costs_something_and_one_season_saves_nothing(n_cells: int, seasons: int, n_notes: int) -> None:
    notes = grid_notes(n_cells, 5.0, [(400 * i, 400 * i + 90) for i in range(seasons)])
    assert len(notes) == n_notes
    assert not any("seasons" in note for note in notes)


def test_seasons_are_offered_with_what_they_cost() -> None:
    (note,) = grid_notes(38_400_000, 5.0, [(0, 9), (1000, 1019)])
    assert "2 seasons: a cube of each takes 10.88 MiB at most" in note, "20 days of 17,280 cells, 33 bytes each"
    assert "docs/growing.md, Several seasons" in note
