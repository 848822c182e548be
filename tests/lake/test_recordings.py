import errno
import os
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from lake.constants import QUALITY
from lake.errors import InputError, TryAgainError
from lake.recordings import (
    COLUMNS,
    PROBLEMS,
    has_problem,
    is_usable,
    make_recordings,
    read_recordings,
    write_recordings,
)

SHA = "0123456789abcdef" * 4
ROW: dict[str, object] = {
    "path": "set1/00023764/20210622_STUDY/20210622T000000-0500_REC.wav",
    "recorder": "00023764",
    "start_utc": datetime(2021, 6, 22, 5),
    "start_local": datetime(2021, 6, 22),
    "utc_offset": "-05:00",
    "time_source": "name",
    "duration_s": 1 / 3,
    "sample_rate_hz": 48_000,
    "n_channels": 1,
    "n_samples": 16_000,
    "format": "WAV/PCM_16",
    "sha256": SHA,
    "reading": "libsndfile",
    "latitude": 41.81,
}
HEADER = (
    "path,recorder,deployment,start_utc,start_local,utc_offset,time_source,time_conflict,duration_s,sample_rate_hz,"
    "n_channels,n_samples,format,sha256,reading,problems,gain_db,latitude,longitude"
)
GOOD = (
    f"a.wav,r,,2021-06-22T05:00:00Z,2021-06-22T00:00:00,-05:00,name,,1.5,8000,1,12000,WAV/PCM_16,{SHA},libsndfile,,,,"
)


def changed(**cells: str) -> str:
    """Return the good line with other cells."""
    return ",".join((dict(zip(COLUMNS, GOOD.split(","), strict=True)) | cells).values())


def table_file(folder: Path, *lines: str) -> Path:
    path = folder / "recordings.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_recordings(path)
    return str(caught.value)


def test_a_row_is_written_as_the_format_says(tmp_path: Path) -> None:
    write_recordings(make_recordings([ROW]), tmp_path / "recordings.csv")
    assert (tmp_path / "recordings.csv").read_bytes().decode() == (
        f"{HEADER}\n"
        "set1/00023764/20210622_STUDY/20210622T000000-0500_REC.wav,00023764,,2021-06-22T05:00:00Z,2021-06-22T00:00:00,"
        f"-05:00,name,,0.3333333333333333,48000,1,16000,WAV/PCM_16,{SHA},libsndfile,,,41.81,\n"
    )


def test_milliseconds_are_written_only_where_there_are_some(tmp_path: Path) -> None:
    shifted = ROW | {"start_utc": datetime(2021, 6, 22, 5, 0, 0, 250_000), "start_local": None, "path": "b.wav"}
    write_recordings(make_recordings([ROW | {"path": "a.wav"}, shifted]), tmp_path / "t.csv")
    starts = [line.split(",")[3] for line in (tmp_path / "t.csv").read_text().splitlines()[1:]]
    assert starts == ["2021-06-22T05:00:00Z", "2021-06-22T05:00:00.250Z"]


def test_types_of_the_columns(tmp_path: Path) -> None:
    write_recordings(make_recordings([ROW]), tmp_path / "t.csv")
    table = read_recordings(tmp_path / "t.csv")
    assert tuple(table.columns) == COLUMNS
    assert table["start_utc"].dtype == np.dtype("datetime64[ms]")
    assert table["start_utc"].tolist() == [pd.Timestamp("2021-06-22T05:00:00")]
    assert table["n_samples"].dtype == pd.Int64Dtype()
    assert table["gain_db"].dtype == np.float64
    assert table.loc[0, "deployment"] == ""


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
times = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
    lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)
)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
offsets = st.integers(-14 * 60, 14 * 60)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, object]:
    utc, minutes = draw(st.none() | times), draw(offsets)
    sign = "-" if minutes < 0 else "+"
    has_local = utc is not None and draw(st.booleans())
    row: dict[str, object] = {
        "path": draw(texts.map(lambda t: "x" + t).filter(lambda t: ".." not in t.split("/"))),
        "recorder": draw(texts.map(lambda t: "r" + t)),
        "deployment": draw(texts),
        "time_conflict": draw(texts),
        "start_utc": utc,
        "start_local": utc + timedelta(minutes=minutes) if utc and has_local else None,
        "utc_offset": f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if has_local else "",
        "duration_s": draw(st.floats(0, 1e9)),
        "sha256": SHA,
        "reading": draw(st.sampled_from(["libsndfile", "pyav"])),
        "problems": ";".join(draw(st.lists(st.sampled_from(sorted(PROBLEMS)), max_size=3))),
        "gain_db": draw(numbers),
        "latitude": draw(st.none() | st.floats(-90, 90)),
        "longitude": draw(st.none() | st.floats(-180, 180)),
        "n_samples": draw(st.integers(0, 10**12)),
    }
    return row | {key: draw(st.integers(1, 10**6)) for key in ("sample_rate_hz", "n_channels")}


@settings(max_examples=25)
@given(st.lists(rows(), max_size=5, unique_by=lambda row: row["path"]), st.randoms())
def test_what_is_written_is_read_and_the_order_does_not_matter(made: list[dict[str, object]], random: object) -> None:
    table = make_recordings(made)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "a.csv"), Path(folder, "b.csv")
        write_recordings(table, first)
        write_recordings(table.sample(frac=1, random_state=len(made))[list(reversed(COLUMNS))], second)
        assert first.read_bytes() == second.read_bytes()
        assert_frame_equal(read_recordings(first), table, check_exact=True)


def test_an_empty_table_keeps_its_types(tmp_path: Path) -> None:
    write_recordings(make_recordings([]), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == HEADER + "\n"
    assert_frame_equal(read_recordings(tmp_path / "t.csv"), make_recordings([]))


def test_other_types_that_hold_the_same_are_written_alike(tmp_path: Path) -> None:
    table = make_recordings([ROW, ROW | {"path": "a", "n_samples": None, "reading": ""}])
    write_recordings(table, tmp_path / "a.csv")
    loose = table.astype(
        {"n_samples": "float64", "sample_rate_hz": "int32", "recorder": object, "start_utc": "datetime64[ns]"}
    )
    write_recordings(loose, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_an_object_store_serves_as_well() -> None:
    write_recordings(make_recordings([ROW]), "memory://study/recordings.csv")
    assert_frame_equal(read_recordings("memory://study/recordings.csv"), make_recordings([ROW]))


def test_spreadsheets_may_add_a_mark_and_an_offset_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    line = changed(start_utc="2021-06-21T22:00:00-07:00")
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{line}\r\n".encode())
    assert read_recordings(path)["start_utc"].tolist() == [pd.Timestamp("2021-06-22T05:00:00")]


def test_a_full_disk_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    write_recordings(make_recordings([ROW]), path)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TryAgainError, match="disk"):
        write_recordings(make_recordings([]), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_writing_refuses_other_columns_and_repeated_paths(tmp_path: Path) -> None:
    table = make_recordings([ROW])
    with pytest.raises(InputError, match="column gain_db is missing\n  column 'gain' is unknown"):
        write_recordings(table.rename(columns={"gain_db": "gain"}), tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"row 3: path set1/.* is in row 2 already"):
        write_recordings(pd.concat([table, table]), tmp_path / "t.csv")
    with pytest.raises(ValueError, match="altitude"):
        make_recordings([{"altitude": 3.0}])
    assert not (tmp_path / "t.csv").exists()


def test_no_file(tmp_path: Path) -> None:
    message = refusal(tmp_path / "none.csv")
    assert "none.csv: expected a table of recordings, found no file; `dawnchorus catalog AUDIO" in message
    assert "found no file" in refusal(tmp_path)


def test_not_utf8(tmp_path: Path) -> None:
    path = table_file(tmp_path, GOOD)
    path.write_bytes(path.read_bytes().replace(b"a.wav", b"\xe4.wav"))
    assert "expected CSV in UTF-8, found other bytes; save the table as UTF-8." in refusal(path)


def test_missing_unknown_and_doubled_columns_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEADER.replace("gain_db", "gain").replace("longitude", "latitude") + "\n")
    message = refusal(path)
    for problem in ("gain_db is missing", "longitude is missing", "'gain' is unknown", "latitude is there 2 times"):
        assert f"  column {problem}" in message
    path.write_text("")
    assert refusal(path).count("is missing") == len(COLUMNS)


def test_rows_of_another_length(tmp_path: Path) -> None:
    message = refusal(table_file(tmp_path, GOOD, "", GOOD + ",1", "x"))
    assert "row 4: expected 19 cells, found 20" in message
    assert "row 5: expected 19 cells, found 1" in message


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("path", "", "a path below the recordings' root, with forward slashes"),
        ("path", "/abs/a.wav", "a path below"),
        ("path", "a/../b.wav", "a path below"),
        ("recorder", " ", "a name"),
        ("start_utc", "2021-06-22T05:00:00", "a time such as 2021-06-22T05:00:00Z"),
        ("start_utc", "2021-06-31T05:00:00Z", "a time such as"),
        ("start_utc", "22.6.2021", "a time such as"),
        ("start_local", "2021-06-22T00:00:00Z", "a time such as 2021-06-22T00:00:00"),
        ("utc_offset", "-5", "an offset such as -05:00"),
        ("utc_offset", "+15:00", "an offset such as -05:00"),
        ("duration_s", "-1", "a number of at least 0"),
        ("duration_s", "nan", "a number of at least 0"),
        ("gain_db", "inf", "a number"),
        ("gain_db", "high", "a number"),
        ("sample_rate_hz", "0", "a whole number of at least 1"),
        ("n_channels", "1.0", "a whole number of at least 1"),
        ("n_samples", "-4", "a whole number of at least 0"),
        ("sha256", "ABC", "64 hexadecimal digits"),
        ("reading", "ffmpeg", "libsndfile, pyav or nothing"),
        ("problems", "a;;b", "codes joined by ;"),
        ("latitude", "90.1", "a number from -90 to 90"),
        ("longitude", "-181", "a number from -180 to 180"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, column: str, cell: str, expected: str) -> None:
    message = refusal(table_file(tmp_path, GOOD, changed(**{"path": "b.wav", column: cell})))
    assert f"row 3: {column} should be {expected}" in message
    assert message.rstrip().endswith(f"found {cell!r}")
    assert "row 2" not in message


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    message = refusal(table_file(tmp_path, changed(duration_s="x", reading="y"), GOOD, changed(latitude="z")))
    assert message.startswith(f"{tmp_path / 'recordings.csv'} is not a table of recordings; fix these and try again:")
    for problem in ("row 2: duration_s", "row 2: reading", "row 4: latitude", "row 4: path a.wav is in row 2 already"):
        assert problem in message


def test_cells_that_contradict_each_other(tmp_path: Path) -> None:
    lines = [
        changed(path="b.wav", utc_offset="+05:00"),
        changed(path="c.wav", n_samples="", sha256=""),
        changed(path="d.wav", reading="", sample_rate_hz="", n_channels="", n_samples="", duration_s=""),
    ]
    message = refusal(table_file(tmp_path, GOOD, *lines))
    assert "row 3: start_utc, start_local and utc_offset do not agree" in message
    assert "row 4: sha256 is empty, though reading is not" in message
    assert "row 4: n_samples is empty, though reading is not" in message
    assert "row 2" not in message
    assert "row 5" not in message


def test_usable_is_readable_not_empty_and_no_duplicate() -> None:
    kinds: list[dict[str, object]] = [
        {"path": "a"},
        {"path": "b", "reading": "", "n_samples": None, "problems": "unreadable"},
        {"path": "c", "problems": "truncated;duplicate"},
        {"path": "d", "n_samples": 0},
        {"path": "e", "problems": "truncated;no_time", "start_utc": None},
    ]
    table = make_recordings([ROW | kind for kind in kinds])
    assert is_usable(table).tolist() == [True, False, False, False, True]
    assert has_problem(table, "truncated").tolist() == [False, False, True, False, True]
    assert not has_problem(table, "time").any()
    assert is_usable(make_recordings([])).tolist() == []


def test_every_code_and_column_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs/recordings.md").read_text()
    assert [code for code, meaning in PROBLEMS.items() if f"| `{code}` | {meaning} |" not in text] == []
    assert [column for column in COLUMNS if f"`{column}`" not in text] == []


def test_a_code_that_the_table_shares_with_the_cube_means_the_same() -> None:
    """``silent`` and ``clipped`` of the cube are measured otherwise than the table's near silence and full scale."""
    assert set(PROBLEMS) & set(QUALITY) == {"constant", "overlap", "not_a_number"}
