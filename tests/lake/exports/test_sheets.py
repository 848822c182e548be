"""Sheets for Raven and Audacity."""

import pandas as pd

from lake.exports.audacity import audacity_sheets
from lake.exports.raven import COLUMNS, raven_combined, raven_sheets


def table_of(*paths: str, name: str = "") -> pd.DataFrame:
    return pd.DataFrame({
        "recording": paths, "start_s": 1.0, "end_s": 2.0, "cluster": range(len(paths)), "label": name, "distance": 0.5,
    })  # fmt: skip


def keys(*paths: str) -> list[str]:
    return [sheet.key.removesuffix(".labels.txt") for sheet in audacity_sheets(table_of(*paths))]


def test_sheets_do_not_take_the_names_that_raven_proposes() -> None:
    sheets = list(raven_sheets(table_of("a/x.wav", "b/y.flac"), high_hz=4000))
    assert [sheet.key for sheet in sheets] == ["a/x.dawnchorus.selections.txt", "b/y.dawnchorus.selections.txt"]


def test_recordings_of_one_stem_have_sheets_of_their_own() -> None:
    assert keys("a/x.wav", "a/x.flac", "b/x.wav") == ["a/x.flac", "a/x.wav", "b/x"]


def test_a_folder_with_a_dot_and_a_recording_without_suffix() -> None:
    assert keys("v1.2/x", "./a//y.wav") == ["a/y", "v1.2/x"]


def test_a_long_name_leaves_room_for_the_suffix() -> None:
    names = [f"{letter * 240}{i}.wav" for letter in "xж" for i in range(2)]
    found = [sheet.key for sheet in raven_sheets(table_of(*(f"a/{name}" for name in names)), high_hz=1)]
    assert all(len(key.split("/")[1].encode()) <= 255 for key in found)
    assert len(set(found)) == len(names)


def test_names_break_no_row_and_numbers_stay() -> None:
    for name in ("=x\ty\nz\r\u2028\x85", "-1+1", "\t", "\x0b@"):
        (sheet,) = raven_sheets(table_of("a\t/=b\n\x1b.wav", name=name), high_hz=4000)
        header, row = sheet.text.removesuffix("\n").split("\n")
        cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
        assert list(cells) == [*COLUMNS, "Cluster", "Distance"]
        assert cells["Annotation"][0] == "'"
        assert cells["Begin File"] == "'=b\\n\\x1b.wav"
        assert (cells["Begin Time (s)"], cells["High Freq (Hz)"]) == ("1.000000", "4000.0")
        (labels,) = audacity_sheets(table_of("x.wav", name=name))
        assert len(labels.text.splitlines()) == 1
        assert labels.text.count("\t") == 2


def rows_of(text: str) -> list[dict[str, str]]:
    header, *lines = text.removesuffix("\n").split("\n")
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def test_a_combined_table_counts_from_the_first_recording() -> None:
    rows = rows_of(
        raven_combined(table_of("b/y.wav", "a/x.wav", "b/y.wav"), {"a/x.wav": 60, "b/y.wav": 30}, high_hz=1, root="/r")
    )
    assert [row["Begin Time (s)"] for row in rows] == ["1.000000", "61.000000", "61.000000"]
    assert [row["File Offset (s)"] for row in rows] == ["1.000000"] * 3
    assert [row["Begin Path"] for row in rows] == ["/r/a/x.wav", "/r/b/y.wav", "/r/b/y.wav"]
    assert [row["Selection"] for row in rows] == ["1", "2", "3"]


def test_frequencies_follow_each_label() -> None:
    (sheet,) = audacity_sheets(table_of("x.wav", "x.wav", name="wren"), high_hz=4000)
    assert sheet.text == "1.000000\t2.000000\twren\n\\\t0.000000\t4000.000000\n" * 2
