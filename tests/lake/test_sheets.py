import csv

import pytest

from lake.sheets import decoded, read_sheet, to_number, to_seconds

TEXT = "a;b;c\n1,5;Forêt;x\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_that_say_what_they_are(encoding: str) -> None:
    assert decoded(TEXT.encode(encoding)) == (TEXT, "")


def test_a_code_page_is_guessed_and_said() -> None:
    text, note = decoded(TEXT.encode("cp1252"))
    assert text == TEXT
    assert "not UTF-8; read as cp1252" in note
    for data in (b"\0\5\x16\7\0\2\0\0Mac OS X        \0\2", b"abc\0" * 3):
        with pytest.raises(ValueError, match=r"no text|decode"):
            decoded(data)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_empty_columns_and_rows(separator: str) -> None:
    text = "cluster,name,,\n0,wren,,\n,,,\n\n2,tit,\n".replace(",", separator)
    sheet = read_sheet(text)
    assert sheet.header == ["cluster", "name"]
    assert sheet.rows == [(2, {"cluster": "0", "name": "wren"}), (5, {"cluster": "2", "name": "tit"})]


def test_quotes_and_what_is_no_table() -> None:
    assert read_sheet('a,b\n"1,5","x ""y"""\n').rows == [(2, {"a": "1,5", "b": 'x "y"'})]
    assert read_sheet('a\tb\n"x\ty\n', quotes=False).rows == [(2, {"a": '"x', "b": "y"})]
    assert read_sheet("").rows == []
    with pytest.raises(ValueError, match="row 2: expected 1 cells, found 2"):
        read_sheet("a\n1,2\n")
    with pytest.raises(ValueError, match="column a is there 2 times"):
        read_sheet("a,a\n")
    for limit in (csv.field_size_limit(), 10**8):  # other libraries raise the limit of the whole process
        before = csv.field_size_limit(limit)
        with pytest.raises(ValueError, match="a row cannot be read"):
            read_sheet("a\n" + "x" * 200_000)
        assert csv.field_size_limit(before) == limit


def test_numbers_and_seconds() -> None:
    assert (to_number("0,812"), to_number("1e3"), to_number("-2.5")) == (0.812, 1000, -2.5)
    assert (to_seconds("1:02.5"), to_seconds("00:01:02.50"), to_seconds("3,5")) == (62.5, 62.5, 3.5)
    for cell in ("", "nan", "inf", "high", "²", "1.234,5", "1_0", "١"):
        with pytest.raises(ValueError, match="expected a number"):
            to_seconds(cell)
