import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.text import near_or_all, nearest, normal, same_name


@given(st.text())
def test_both_forms_of_a_name_are_one_name(name: str) -> None:
    assert same_name(unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name))
    assert normal(normal(name)) == normal(name)


def test_names_that_differ_are_not_one_name() -> None:
    assert not same_name("Foret", "Forêt")
    assert not same_name("am07", "AM07")
    assert not same_name("4862", "00004862")


@pytest.mark.parametrize(
    ("typed", "there"),
    [
        ("4862", "00004862"), ("00004862", "4862"), ("am07", "AM07"), (" AM07 ", "AM07"), ("AM7", "AM07"),
        ("Fore\u0302t", "Forêt"), ("SiteA/visit 1", "SiteA_visit 1"), ("Wald-Nord", "Wald_Nord"), ("ＡＭ07", "AM07"),
        ("00", "000"),
    ],
)  # fmt: skip
def test_the_nearest_name_comes_first(typed: str, there: str) -> None:
    assert nearest(typed, ["unlike anything else", there, "another"])[0] == there


def test_a_message_names_the_nearest_or_what_there_is() -> None:
    assert near_or_all("4862", ["00004862", "x"]) == "near: 00004862"
    assert near_or_all("zzz", ["b", "a"]) == "there is a, b"
    assert near_or_all("zzz", []) == "there is none"
    assert near_or_all("zzz", [f"{i}" for i in range(12)]).endswith("and 2 more")
