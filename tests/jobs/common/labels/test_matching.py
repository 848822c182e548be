import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.common.labels.matching import match_recordings, told_unknown
from lake.errors import InputError

CUBE = ("AM07/x.WAV", "AM08/x.WAV", "AM07/sub/y.flac", "Forêt/z.wav")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("AM07/x.WAV", "AM07/x.WAV"),
        ("/home/u/audio/AM07/x.WAV", "AM07/x.WAV"),
        ("D:\\x\\AM08\\x.WAV", "AM08/x.WAV"),
        ("D:\\x/AM08\\x.wav", "AM08/x.WAV"),
        ("\\\\server\\share\\AM08\\x.WAV", "AM08/x.WAV"),
        ("file:///D:/a%20b/AM08/x.WAV", "AM08/x.WAV"),
        ("./other/../AM08/x", "AM08/x.WAV"),
        ("AM08/x.flac", "AM08/x.WAV"),
        ("y", "AM07/sub/y.flac"),
        ("sub/y.WAV", "AM07/sub/y.flac"),
        ("For%C3%AAt/z.wav", "Forêt/z.wav"),
        (unicodedata.normalize("NFD", "Forêt/z.wav"), "Forêt/z.wav"),
    ],
)
def test_names_of_a_recording(name: str, path: str) -> None:
    assert match_recordings([name], CUBE).row == {name: CUBE.index(path)}


@pytest.mark.parametrize("name", ["AM09/x.WAV", "/d/AM09/x", "D:\\AM07\\y.flac", "AM07/x.txt", "x.1", "am07/x.WAV", ""])
def test_names_of_no_recording(name: str) -> None:
    matched = match_recordings([name], CUBE)
    assert (matched.row, list(matched.unknown)) == ({}, [name])


def test_several_recordings_may_be_meant() -> None:
    with pytest.raises(InputError, match=r"'x.WAV' may be AM07/x.WAV, AM08/x.WAV"):
        match_recordings(["x.WAV"], CUBE)
    with pytest.raises(InputError, match=r"'a/x.flac' may be a/x.WAV, a/x.mp3"):
        match_recordings(["a/x.flac"], ["a/x.WAV", "a/x.mp3"])
    assert match_recordings(["x.WAV"], ["x.WAV", "AM07/x.WAV"]).row == {"x.WAV": 0}
    assert match_recordings(["a/x.wav"], ["a/x.WAV", "a/x.wav"]).row == {"a/x.wav": 1}


def test_namesakes_beyond_the_root_are_told_apart_by_its_name() -> None:
    names = ["/d/AM07/x.WAV", "/d/AM09/x.WAV"]
    matched = match_recordings(names, ["x.WAV"], root="/data/AM07")
    assert (matched.row, list(matched.unknown)) == ({names[0]: 0}, [names[1]])
    with pytest.raises(InputError, match=r"'/d/AM07/x.WAV' and '/d/AM09/x.WAV' would both be x.WAV"):
        match_recordings(names, ["x.WAV"], root="/data/audio")


def test_the_nearest_recording_is_named() -> None:
    assert told_unknown(["AM09/x.WAV"], CUBE) == "AM09/x.WAV (nearest: AM08/x.WAV)"


PART = st.sampled_from(["a", "b", "A", "x"])
PATH = st.builds(
    lambda folders, stem, suffix: "/".join([*folders, stem + suffix]), st.lists(PART, max_size=3),
    st.sampled_from(["x", "y", "x.1"]), st.sampled_from([".wav", ".WAV", ".flac"]),
)  # fmt: skip


@given(st.lists(PATH, min_size=1, max_size=8, unique=True), st.data())
def test_a_full_path_never_leads_to_another_recording(paths: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(paths))
    for name in (wanted, wanted.replace("/", "\\")):
        assert match_recordings([name], paths).row == {name: paths.index(wanted)}
    absolute = f"/p/q/{wanted}"
    found = match_recordings([absolute], paths).row[absolute]
    assert paths[found] == wanted
