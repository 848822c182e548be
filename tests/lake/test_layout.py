"""Names as path components: long ones end in a digest, and lead to the same folder again."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InputError
from lake.layout import MOST_BYTES, RUN_BYTES, Lake, safe_name

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)


@given(texts)
def test_every_name_fits_and_leads_to_the_same_folder(name: str) -> None:
    component = safe_name(name)
    assert len(component.encode()) <= MOST_BYTES
    assert "/" not in component
    assert safe_name(unquote(component)) == component


@given(texts, texts)
def test_two_names_are_two_components(a: str, b: str) -> None:
    assert (safe_name(a) == safe_name(b)) == (a == b)
    assert (safe_name("Б" * 100 + a) == safe_name("Б" * 100 + b)) == (a == b)


@pytest.mark.parametrize("name", ["Б" * 47, "点" * 85, "é" * 125, "x" * 255, "x" * 300, "点Ж" * 60, "%" * 250])
def test_folders_can_be_made_of_names_in_any_script(tmp_path: Path, name: str) -> None:
    (tmp_path / safe_name(name)).mkdir()
    store = Lake(str(tmp_path)).output("spectrograms", name)
    store.write("a", b"x")
    assert store.read("a") == b"x"


def test_names_that_fit_stay_as_they_are() -> None:
    assert safe_name("x" * 255) == "x" * 255
    assert safe_name("Б" * 42) == "%D0%91" * 42
    assert safe_name("x" * RUN_BYTES, RUN_BYTES) == "x" * RUN_BYTES


def test_the_finished_stores_of_a_lake_are_listed_by_kind_and_name() -> None:
    lake = Lake("memory://listed/lake")
    names = {"clusters": ["b", "a c.d", "ä" * 200], "spectrograms": ["mels"], "atlas": ["page"]}
    for kind, runs in names.items():
        for run in runs:
            lake.output(kind, run).write("zarr.json", b"{}")
    lake.output("embeddings", "begun").write("embedding/c.0.0.0", b"")
    found = lake.stores()
    assert [kind for kind, _ in found] == ["spectrograms", "clusters", "clusters", "clusters"]
    assert [run for _, run in found[:3]] == ["mels", "a c.d", "b"], "as they were named"
    assert {lake.output(*one).root for one in found} == {
        lake.output(kind, run).root for kind, runs in names.items() for run in runs if kind != "atlas"
    }
    with pytest.raises(InputError, match="expected the folder of a lake, found nothing"):
        Lake("memory://listed/other").stores()
