"""Labels from outside: from every kind of table, as lift over the base rate, against a slow twin."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import stores
import xarray as xr
from atlases import N_CLUSTERS, RECORDERS, Study, read_cluster, write_labels
from scipy.stats import fisher_exact

from jobs.atlas.config import Config
from jobs.atlas.labels import Intervals, lifts, read_intervals, windows_with
from jobs.atlas.study import open_stores
from jobs.atlas.windows import read_table
from jobs.atlas.words import q_value
from lake.errors import InputError

SMALL = Config(image_width_px=16, image_height_px=16, n_map_windows=0)
HEAD = "recorder,start_utc,end_utc,label\n"


def spans(found: dict[str, Intervals]) -> dict[str, list[tuple[int, int, int]]]:
    """Return the intervals of each label as recorder and milliseconds since the origin."""
    return {
        label: [
            (int(i), int(start) - stores.ORIGIN_MS, int(end) - stores.ORIGIN_MS)
            for i, start, end in zip(one.recorder, one.start_ms, one.end_ms, strict=True)
        ]
        for label, one in found.items()
    }


def read(study: Study, path: Path, least: float = 0.0) -> tuple[dict[str, list[tuple[int, int, int]]], str]:
    opened = open_stores(study.clusters.output.url, study.cube.output.url)
    found, note = read_intervals(path, opened, min_confidence=least)
    return spans(found), note


def test_every_kind_of_table_gives_the_same_intervals(study: Study, tmp_path: Path) -> None:
    wanted = {"rain": [(0, 600_000, 602_500)], "wren": [(0, 1_000, 3_000)]}
    tables = {
        "utc.csv": f"{HEAD}north,2021-06-01T00:00:01Z,2021-06-01T00:00:03Z,wren\n"
        "north,2021-06-01T00:10:00Z,2021-06-01T00:10:02.5Z,rain\n",
        "plain.csv": "recording,start_s,end_s,label\nnorth/all.wav,1,3,wren\nnorth/all.wav,600,602.5,rain\n",
        "raven.txt": "Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\tBegin Path\n"
        "1\t1\t3\twren\t/there/north/all.wav\n2\t600\t602.5\train\tnorth\\all.wav\n".replace("/there/", ""),
        "birdnet.csv": "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
        "1,3,Troglodytes,wren,0.9,north/all.wav\n600,602.5,,rain,0.8,north/all.wav\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
        assert read(study, tmp_path / name) == (wanted, ""), name


def test_a_folder_of_audacity_labels_belongs_to_its_recordings(tmp_path: Path) -> None:
    codes = stores.random_codes(n_recorders=1, n_per_day=6)
    cube = stores.make_cube(tmp_path, codes, recorders=["north"])
    labels = np.where(codes.any(axis=(2, 3)), 0, -1)
    clusters = stores.make_clusters(tmp_path, labels, recorders=["north"])
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/all.txt").write_text("1\t3\twren\n")
    found, note = read(Study(tmp_path, cube, clusters), tmp_path / "tables")
    assert (found, note) == ({"wren": [(0, 1_000, 3_000)]}, "")


def test_labels_that_a_program_is_not_sure_of_are_left_out(study: Study, tmp_path: Path) -> None:
    table = tmp_path / "birdnet.csv"
    rows = "0,3,,wren,0.9,north/all.wav\n0,3,,rain,0.2,north/all.wav\n0,3,,jay,0.9,elsewhere.wav\n"
    table.write_text(f"Start (s),End (s),Scientific name,Common name,Confidence,File\n{rows}")
    found, note = read(study, table, least=0.5)
    assert set(found) == {"wren"}
    assert note == "1 labels are of 1 recordings that the cube does not have: elsewhere.wav (nearest: north/all.wav)."
    assert set(read(study, table)[0]) == {"rain", "wren"}


def test_what_has_no_place_is_said(study: Study, tmp_path: Path) -> None:
    begin, end = "2021-06-01T00:00:01Z", "2021-06-01T00:00:03Z"
    (tmp_path / "l.csv").write_text(f"{HEAD}north,{begin},{end},wren\nwest,{begin},{end},wren\n")
    found, note = read(study, tmp_path / "l.csv")
    assert found == {"wren": [(0, 1_000, 3_000)]}
    assert note == "Labelled intervals of recorders that this clustering does not have: 1 (west)."
    folder = study.atlas(SMALL, "absent", labels=tmp_path / "absent.csv")
    assert "Labels are left out: absent.csv was not there" in (folder / "index.html").read_text()
    assert not [table for table in read_cluster(folder, 1).tables if table[0][0] == "Label"]


def test_tables_that_cannot_be_read_are_refused(study: Study, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("Selection\tView\n")
    (tmp_path / "time.csv").write_text(f"{HEAD}north,today,2021-06-01T00:00:00Z,x\n")
    (tmp_path / "strange.csv").write_text("recording,start_s,end_s,label\nwest.wav,1,3,wren\n")
    (tmp_path / "number.csv").write_text("recording,start_s,end_s,label\nnorth/all.wav,one,3,wren\n")
    for name, told in {
        "other.txt": "other.txt is not a table of labels",
        "time.csv": "row 2: start_utc",
        "strange.csv": "none of 1 labels is of a recording of the cube; labelled are west.wav",
        "number.csv": r"number.csv, row 2: start_s: expected a number, found 'one'",
    }.items():
        with pytest.raises(InputError, match=told):
            read(study, tmp_path / name)
        with pytest.raises(InputError, match=told):
            study.atlas(SMALL, "refused", labels=tmp_path / name)


def slow_lifts(
    study: Study, rows: Sequence[tuple[str, np.datetime64, np.datetime64, str]]
) -> dict[tuple[int, str], tuple[int, int, float, float]]:
    """Return windows of a cluster with a label, all with it, lift and q, one window and one label at a time."""
    cluster = xr.open_dataset(study.clusters.output.url, engine="zarr")["cluster"].load()
    windows = [
        (str(recorder), time, int(cluster.sel(recorder=recorder, time=time)))
        for recorder in cluster["recorder"].to_numpy()
        for time in cluster["time"].to_numpy()
        if not np.isnan(cluster.sel(recorder=recorder, time=time))
    ]
    long = np.timedelta64(6, "s")
    has = {
        label: [
            any(
                name == who and name_ == label and begin < time + long and end > time for who, begin, end, name_ in rows
            )
            for name, time, _ in windows
        ]
        for label in {label for *_, label in rows}
    }
    found, p = {}, {}
    for label, marks in has.items():
        for number in range(N_CLUSTERS):
            mine = [mark for mark, (_, _, one) in zip(marks, windows, strict=True) if one == number]
            a, b = sum(mine), len(mine) - sum(mine)
            c, d = sum(marks) - a, len(marks) - len(mine) - sum(marks) + a
            p[number, label] = fisher_exact([[a, b], [c, d]], alternative="greater").pvalue
            if mine and a / len(mine) > sum(marks) / len(marks):
                found[number, label] = a, sum(marks), (a / len(mine)) / (sum(marks) / len(marks))
    ordered, q, least = sorted(p, key=lambda key: p[key]), {}, 1.0
    for rank in range(len(ordered), 0, -1):
        least = min(least, p[ordered[rank - 1]] * len(ordered) / rank)
        q[ordered[rank - 1]] = least
    return {key: (*values, q[key]) for key, values in found.items()}


def test_lift_and_q_of_a_whole_study_agree_with_a_slow_twin(study: Study) -> None:
    path = write_labels(study)
    cells = [line.split(",") for line in path.read_text().splitlines()[1:]]
    rows = [(name, np.datetime64(begin[:-1]), np.datetime64(end[:-1]), label) for name, begin, end, label in cells]
    wanted = slow_lifts(study, rows)
    opened = open_stores(study.clusters.output.url, study.cube.output.url)
    table = read_table(opened, lambda _: None)
    intervals, _ = read_intervals(path, opened, min_confidence=0)
    both = np.stack(
        [np.bincount(table.cluster[windows_with(one, table, opened)], minlength=6) for one in intervals.values()],
        axis=1,
    )
    found = lifts(both, np.bincount(table.cluster, minlength=N_CLUSTERS), list(intervals), n_most=9)
    assert {(i, one.label) for i, group in enumerate(found) for one in group} == set(wanted)
    for i, group in enumerate(found):
        for one in group:
            n_both, n_label, lift, q = wanted[i, one.label]
            assert (one.n_both, one.n_label) == (n_both, n_label)
            assert one.lift == pytest.approx(lift)
            assert one.q == pytest.approx(q, rel=1e-6, abs=1e-12)
    # and the page says the same
    folder = study.atlas(SMALL, "labelled", labels=path)
    rows_of_page = next(table for table in read_cluster(folder, 1).tables if table[0][0] == "Label")[1:]
    assert rows_of_page[0][0] == "<b>wren</b>"
    n_both, _, lift, q = wanted[1, "<b>wren</b>"]
    assert rows_of_page[0][1] == str(n_both)
    assert rows_of_page[0][4] == f"{lift:.3g} ×"
    assert rows_of_page[0][5] == q_value(q)
    assert RECORDERS[0] == rows[0][0]
