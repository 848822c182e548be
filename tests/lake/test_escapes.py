"""Text from outside, for terminals and spreadsheets."""

import csv
import io
import json
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.escapes import as_written, cell_in_line, defused, json_text, printable
from lake.tables import defused_table

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
FORMULAS = [
    "=1+1", "=HYPERLINK(\"http://x\",\"y\")", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1",
    "\u00a0=1", "\ufeff=1", "\x00=1", "\uff1d1", "\uff0bx", "\uff0dx", "\uff20x", "-x.wav", "--1", "-1-1", "+", "=",
    "\ttabbed", "\rreturned",
]  # fmt: skip
HARMLESS = [
    "",
    "pewee",
    "-12.5",
    "+05:00",
    "-05:00",
    "-1e-5",
    "+1000",
    "-1,5",
    "12",
    "a=b",
    "'quoted'",
    "'",
    "x@y",
    "O'N",
]


def is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in BIDI


@given(st.text(st.characters() | st.sampled_from(BIDI + "\x1b\x9b\x7f\n\t\u2028\udc80")))
def test_no_control_character_is_printed_and_all_else_stays(text: str) -> None:
    shown = printable(text)
    assert not any(map(is_control, shown))
    assert printable(shown) == shown, "twice does no harm"
    assert printable(text, lines=True).count("\n") == text.count("\n")
    if not any(map(is_control, text)):
        assert shown == text


def test_how_it_is_escaped() -> None:
    assert printable("a\x1b]0;x\x07\x9b\x7f\u202e\n\tß") == "a\\x1b]0;x\\x07\\x9b\\x7f\\u202e\\n\\tß"
    assert printable("one\ntwo\r", lines=True) == "one\ntwo\\r"


@given(st.text())
def test_json_reads_back_and_is_plain_ascii(text: str) -> None:
    shown = json_text({"name": text})
    assert json.loads(shown) == {"name": text}
    assert printable(shown, lines=True) == shown
    assert shown.isascii()


@pytest.mark.parametrize("cell", [*FORMULAS, *(f"'{one}" for one in FORMULAS), *(f"''{one}" for one in FORMULAS)])
def test_what_a_spreadsheet_runs_gets_an_apostrophe(cell: str) -> None:
    assert defused(cell) == f"'{cell}"
    assert as_written(defused(cell)) == cell


@pytest.mark.parametrize("cell", HARMLESS)
def test_other_cells_stay(cell: str) -> None:
    assert defused(cell) == as_written(cell) == cell


@given(st.text(st.characters() | st.sampled_from("'=+-@\t\r\n 01.")))
def test_every_text_comes_back(text: str) -> None:
    assert as_written(defused(text)) == text
    assert defused(text)[:1] not in {"=", "@", "\t", "\r", "\n"}


@given(st.text(st.characters() | st.sampled_from("\t\n\r\x0b\x85\u2028=")))
def test_a_cell_in_a_line_ends_no_row_and_no_cell(text: str) -> None:
    assert len(f"a\t{cell_in_line(text)}\tb".splitlines()) == 1
    assert f"a\t{cell_in_line(text)}\tb".count("\t") == 2


def test_texts_of_a_table_are_defused_and_numbers_are_not() -> None:
    table = pd.DataFrame({
        "recorder": ["=x", "ok"], "time": pd.to_datetime(["2021-07-14", "2021-07-15"]), "level": [-12.5, 1.0],
        "cluster": [-1, 2], "site": ["@y\n", float("nan")],
    })  # fmt: skip
    rows = list(csv.reader(io.StringIO(defused_table(table).to_csv(index=False))))
    assert rows[1:] == [["'=x", "2021-07-14", "-12.5", "-1", "'@y\n"], ["ok", "2021-07-15", "1.0", "2", ""]]
    assert defused_table(table, one_line=True)["site"][0] == "'@y\\n"
    assert table["recorder"][0] == "=x", "the table itself stays"
    assert pd.api.types.is_float_dtype(defused_table(table)["level"])
