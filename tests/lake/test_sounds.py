from pathlib import Path

import pytest

from lake.errors import InputError
from lake.sounds import SPEECH, read_sounds


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "sounds.csv").write_bytes(text.encode(encoding))
    return folder / "study.toml"


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-16")])
def test_names_that_lead_to_a_sound(tmp_path: Path, separator: str, encoding: str) -> None:
    rows = [
        ["sound", "scientific_name", "key", "aliases"],
        ["wren", "Troglodytes troglodytes", "5231630", "Zaunkönig|winter wren"],
        ["rain", "", "", ""],
    ]
    text = "\r\n".join(separator.join(row) for row in rows)
    sounds = read_sounds(written(tmp_path, text, encoding))
    assert sounds.names == ("wren", "rain")
    for name in ("wren", "WREN ", "troglodytes Troglodytes", "5231630", "Zaunko\u0308nig", "Winter Wren"):
        assert sounds.resolve(name) == "wren"
    assert sounds.resolve("Speech") == SPEECH
    with pytest.raises(ValueError, match=r"sound 'wern' is not in sounds\.csv; near: wren"):
        sounds.resolve("wern")


def test_a_table_with_one_column(tmp_path: Path) -> None:
    assert read_sounds(written(tmp_path, "sound\nwren\n")).names == ("wren",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name\nwren\n", "expected the columns sound, scientific_name, key, aliases, found name"),
        ("sound\n", "expected at least one sound"),
        ("sound,aliases\nwren,tit\ngreat tit,Tit\n", "row 3: 'Tit' is a name of 'wren' already"),
        ("sound\nwren\nwren\n", "the sound 'wren' is there twice"),
        ("sound,key\n,5\n", "row 2: the sound has no name"),
        ("sound,aliases\nvoice,speech\n", "row 2: 'speech' is a name of 'speech' already"),
        ("sound\nwren,5\n", "row 2: expected 1 cells, found 2"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_sounds(written(tmp_path, text))


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Write it with the columns sound,scientific_name,key,aliases"):
        read_sounds(tmp_path / "study.toml")
