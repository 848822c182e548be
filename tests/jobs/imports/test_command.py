from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from stores import ORIGIN_MS, make_cube, make_run

from jobs.cluster import command as cluster
from jobs.cluster.config import Config as ClusterConfig
from jobs.common.run import Options, Run
from jobs.imports import command
from jobs.imports.config import Config
from lake.errors import InputError
from lake.query.trace import trace
from lake.read import open_embeddings, usable_windows

HEADER = "recording,start_s"


def vectors_of(n: int, n_features: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, n_features)).astype(np.float32)


def imported(
    tmp_path: Path, rows: Sequence[tuple[str, object]], vectors: NDArray[np.floating], config: Config | None = None,
    header: str = HEADER, name: str = "birdnet",
) -> Run[Config]:  # fmt: skip
    table, array = tmp_path / "vectors.csv", tmp_path / "vectors.npy"
    table.write_text("\n".join([header, *(f"{path},{start}" for path, start in rows)]) + "\n")
    np.save(array, vectors)
    run = make_run(tmp_path, name, "import", config or Config(), inputs={"spectrograms": make_cube(tmp_path)})
    return Run(**{**vars(run), "files": {"table": table, "vectors": array}})


ROWS = [(f"{recorder}/all.wav", 4.5 + 3 * i) for recorder in ("south", "north") for i in range(20)]


def test_vectors_stand_at_their_recordings_times(tmp_path: Path) -> None:
    vectors = vectors_of(41)
    run = imported(tmp_path, [*ROWS, ("elsewhere.wav", 0)], vectors)
    outcome = command.execute(run, Options())
    assert dict(outcome.counts) == {"vectors": 40, "left_out": 0, "vectors_of_unknown_recordings": 1}
    with open_embeddings(run.output.url, times=True) as store:
        assert store.attrs["grid"] == {"origin_ms": ORIGIN_MS, "window_ms": 3000, "hop_ms": 3000}
        assert store["recorder"].to_numpy().tolist() == ["north", "south"]
        found = usable_windows(store, status="embedding_status")
        start = store["time"].to_numpy()[found.cell] + (
            store["embedding_offset_s"].to_numpy()[found.recorder, found.cell] * 1000
        ).astype("timedelta64[ms]")
        first = np.datetime64(ORIGIN_MS, "ms")
        np.testing.assert_array_equal(start[:20], first + 4500 + 3000 * np.arange(20))
        values = store["embedding"].to_numpy()[found.recorder, found.cell]
        np.testing.assert_array_equal(values, np.concatenate([vectors[20:40], vectors[:20]]))
    assert xr.open_dataset(run.output.url, engine="zarr").sizes["feature"] == 6


def test_what_was_imported_is_clustered_like_any_other(tmp_path: Path) -> None:
    run = imported(tmp_path, ROWS, vectors_of(40).astype(np.float16), Config(dtype="float16"))
    command.execute(run, Options())
    clusters = make_run(tmp_path, "clusters", "cluster", ClusterConfig(n_clusters=3), inputs={"embeddings": run})
    assert cluster.execute(clusters, Options()).counts["windows"] == 40


def test_a_trace_leads_to_the_vectors_own_seconds(tmp_path: Path) -> None:
    """The first vector of each recorder is of the seconds 4.5 to 7.5 and stands in the cell of the seconds 3 to 6."""
    run = imported(tmp_path, ROWS, vectors_of(40))
    command.execute(run, Options())
    with open_embeddings(run.output.url, times=True) as store:
        cell = int(usable_windows(store, status="embedding_status").cell[0])
        listed = str(store["time"].to_numpy()[cell])
    found = trace(run.output.url, "north", listed)
    (piece,) = found.pieces
    assert (found.cell, found.status, found.digest) == (cell, "ok", "")
    assert found.deployment["deployment"] == "north-1"
    begin_ms = int(np.datetime64(found.start_utc.removesuffix("Z"), "ms").astype(np.int64))
    assert begin_ms == ORIGIN_MS + 4500
    assert piece.path == "north/all.wav"
    rate = piece.sample_rate_hz
    assert (piece.first_sample, piece.last_sample) == (round(4.5 * rate), round(7.5 * rate))
    with pytest.raises(InputError, match=r"recorder 'north' has no vector at .*T12:00:00"):
        trace(run.output.url, "north", listed[:11] + "12:00:00")


def test_again_changes_nothing_and_days_do_not_vanish(tmp_path: Path) -> None:
    run = imported(tmp_path, ROWS, vectors_of(40))
    command.execute(run, Options())
    before = {key: run.output.read(key) for key in run.output.list_keys()}
    command.execute(run, Options(refresh=True))
    assert {key: run.output.read(key) for key in run.output.list_keys()} == before
    fewer = imported(tmp_path, ROWS[:20], vectors_of(20))
    with pytest.raises(
        InputError, match=r"1 days that are in the store have no vector any more \(first north, 2021-06"
    ):
        command.execute(fewer, Options())


@pytest.mark.parametrize(
    ("rows", "vectors", "header", "told"),
    [
        (ROWS, vectors_of(39), HEADER, r"one vector for each of the table's 40 rows.*found float32 of shape \(39, 6\)"),
        (ROWS, vectors_of(40), "file,start_s", r"expected the columns recording, start_s, found file, start_s\. Name"),
        ([("north/all.wav", "soon")], vectors_of(1), HEADER, r"row 2: start_s should be a number of seconds, found"),
        ([("x.wav", 0)], vectors_of(1), HEADER, r"none of the 1 vectors.*they are of x\.wav; the cube has north/all"),
        (ROWS, vectors_of(40) * np.nan, HEADER, r"40 vectors are not finite as float32 \(first in row 2 of"),
        ([("north/all.wav", 0), ("north/all.wav", 1)], vectors_of(2), HEADER, r"1 vectors .* want a cell .*\(row 3\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported(
    tmp_path: Path, rows: Sequence[tuple[str, object]], vectors: NDArray[np.float32], header: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        command.execute(imported(tmp_path, rows, vectors, header=header), Options())


def test_files_that_are_missing_or_something_else(tmp_path: Path) -> None:
    run = imported(tmp_path, ROWS, vectors_of(40))
    run.files["vectors"].write_text("no array")
    with pytest.raises(InputError, match=r"vectors\.npy: expected vectors in NumPy's format"):
        command.execute(run, Options())
    run.files["vectors"].unlink()
    with pytest.raises(InputError, match=r"vectors\.npy: expected vectors .*found no file"):
        command.execute(run, Options())
    run.files["table"].unlink()
    with pytest.raises(InputError, match=r"vectors\.csv: expected a table of vectors, found no file"):
        command.execute(run, Options())


def test_vectors_that_share_a_cell_can_be_left_out(tmp_path: Path) -> None:
    rows = [("north/all.wav", start_s) for start_s in (0.4, 1, 3)]
    run = imported(tmp_path, rows, vectors_of(3), Config(shared_cells="nearest"))
    assert command.execute(run, Options()).counts["left_out"] == 1
    with open_embeddings(run.output.url, times=True) as store:
        np.testing.assert_array_equal(store["embedding"].to_numpy()[0, :2], vectors_of(3)[[0, 2]])


def test_config_bounds() -> None:
    with pytest.raises(ValueError, match=r"hop_s = 7 does not divide a day"):
        Config(hop_s=7.0)
    with pytest.raises(ValueError, match=r"window_s = 0\.0005 is not a whole number"):
        Config(window_s=0.0005)


@pytest.mark.parametrize("start", ["nan", "inf", "-30", "3600", "3601.5", "1e9", "soon"])
def test_starts_outside_of_their_recording_are_refused(tmp_path: Path, start: str) -> None:
    run = imported(tmp_path, [("north/all.wav", 0), ("south/all.wav", start)], vectors_of(2))
    with pytest.raises(InputError, match=r"row 3: .*south/all\.wav"):
        command.execute(run, Options())


def test_recordings_are_found_by_the_end_of_their_path_and_others_are_named(tmp_path: Path) -> None:
    rows = [("D:\\x\\north\\all.wav", 0), ("/a/south/all.WAV", 3), ("/a/west/all.wav", 0)]
    run = imported(tmp_path, rows, vectors_of(3))
    outcome = command.execute(run, Options())
    assert (outcome.counts["vectors"], outcome.counts["vectors_of_unknown_recordings"]) == (2, 1)
    (note,) = outcome.notes
    assert note.startswith("1 vectors are of recordings that the cube does not have: /a/west/all.wav (nearest: ")
