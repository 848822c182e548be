from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import make_embeddings

from lake import vectors as module
from lake.errors import InputError, StoreError
from lake.read import Windows
from lake.vectors import Span, by_day, open_vectors, read_span, spans_of


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 80), st.sampled_from([1, 3, 4]), st.sampled_from([2, 5, 12, 99]))
def test_every_window_is_in_one_span(seed: int, n_windows: int, chunk: int, most: int) -> None:
    random = np.random.default_rng(seed)
    places = np.sort(random.choice(3 * 36, n_windows, replace=False))
    windows = Windows((places // 36).astype(np.int32), (places % 36).astype(np.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_CELLS", most)
        parts = spans_of(windows, cells_per_day=12, cells_per_chunk=chunk)
    found = [(part.recorder, int(cell)) for part in parts for cell in part.cells]
    assert found == list(zip(windows.recorder.tolist(), windows.cell.tolist(), strict=True))
    row = 0
    for part in parts:
        assert part.first_row == row
        row += len(part.cells)
        assert set((part.cells // 12).tolist()) == {part.day}
        size = max(1, most // chunk) * chunk
        assert len(set((part.cells % 12 // size).tolist())) == 1
    days = by_day(parts)
    assert [part for day in days for part in day] == parts
    assert len({(day[0].recorder, day[0].day) for day in days}) == len(days)


def test_a_span_is_read_as_float32(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 144, 3)).astype(np.float16)
    run = make_embeddings(tmp_path, vectors)
    cells = np.array([3, 4, 9], dtype=np.int64)
    found = read_span(open_vectors([run.output.url]), Span(1, 0, cells, 0))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors[1, cells].astype(np.float32))


def test_a_status_without_a_vector_is_damage(tmp_path: Path) -> None:
    vectors = np.zeros((2, 144, 3), dtype=np.float32)
    vectors[1, 7, 2] = np.nan
    sets = open_vectors([make_embeddings(tmp_path, vectors).output.url])
    with pytest.raises(StoreError, match=r"1 windows of recorder 1 have a status but no vector \(first at cell 7\)"):
        read_span(sets, Span(1, 0, np.arange(5, 9, dtype=np.int64), 0))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_infinite_number_is_refused_by_name(tmp_path: Path, value: float, dtype: str) -> None:
    vectors = np.ones((2, 144, 3), dtype=dtype)
    vectors[0, 8, 1] = value
    sets = open_vectors([make_embeddings(tmp_path, vectors).output.url])
    with pytest.raises(InputError, match=r"1 windows of recorder 0 with an infinite number \(first at cell 8\)"):
        read_span(sets, sets.spans[0])
