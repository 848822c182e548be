"""Keys and recordings' paths never lead out of their root."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InputError, StoreError
from lake.keys import inside, outward
from lake.query.trace import recordings_table
from lake.read import paths_of
from lake.recordings import read_recordings
from lake.storage import Storage

OUTWARD = [
    "../x", "..", "a/..", "a/../b", "a/../../b", "/etc/passwd", "//host/share", "..\\x", "a\\..\\..\\b", "a/..\\..\\b",
    "\\x", "\\\\host\\share", "C:\\x", "c:/x", "a\0b", "\0", "",
]  # fmt: skip
INWARD = [
    "a",
    "a/b.wav",
    "~",
    "~/x",
    "...",
    "a..b",
    "..a/b..",
    ".hidden",
    "-x",
    "a\\b",
    "$HOME/x",
    "a:b",
    "%2e%2e/x",
    "ä\n",
]
DO: dict[str, Callable[[Storage, str], object]] = {
    "path": Storage.path, "below": Storage.below, "exists": Storage.exists, "read": Storage.read,
    "read_or_none": Storage.read_or_none, "write": lambda storage, key: storage.write(key, b""),
    "write_if_changed": lambda storage, key: storage.write_if_changed(key, b""),
    "create": lambda storage, key: storage.create(key, b""), "append": lambda storage, key: storage.append(key, b""),
    "remove": Storage.remove, "list_keys": Storage.list_keys,
}  # fmt: skip


@pytest.mark.parametrize("path", OUTWARD)
def test_what_could_lead_out_is_refused_with_its_name(path: str) -> None:
    assert outward(path)
    with pytest.raises(StoreError) as caught:
        inside(path, "here")
    assert str(caught.value).startswith(f"here: expected a path below a folder, found {path!r}: ")


@pytest.mark.parametrize("path", INWARD)
def test_what_stays_below_is_taken_as_it_is(path: str, tmp_path: Path) -> None:
    assert inside(path, "here") == path
    storage = Storage(tmp_path / "root")
    storage.write(path, b"x")
    assert storage.list_keys() == [path]
    assert {entry.name for entry in tmp_path.iterdir()} == {"root"}


@given(st.lists(st.sampled_from(["..", ".", "a", "", "/", "\\", "C:"]), max_size=6).map("/".join))
def test_what_is_taken_is_below_the_root(path: str) -> None:
    if not outward(path):
        root = Path("/root/of/it")
        assert Path(str(root / path.replace("\\", "/"))).resolve().is_relative_to(root)


@pytest.mark.parametrize("do", DO.values(), ids=DO)
@pytest.mark.parametrize("key", [key for key in OUTWARD if key] + ["a//b", "a/", "./a", "a/./b"])
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_no_operation_of_a_storage_leaves_its_root(
    tmp_path: Path, do: Callable[[Storage, str], object], key: str, kind: str
) -> None:
    (tmp_path / "x").write_bytes(b"outside")
    storage = Storage(tmp_path / "root" if kind == "local" else f"memory://{tmp_path.name}/root")
    with pytest.raises(StoreError):
        do(storage, key)
    assert (tmp_path / "x").read_bytes() == b"outside"
    assert {entry.name for entry in tmp_path.iterdir()} == {"x"}


def test_links_that_stand_for_files_are_replaced_or_refused_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    storage = Storage(tmp_path / "root")
    for key in ("written", "appended", "created", "removed", "changed"):
        storage.write(f"{key}-beside", b"")
        (tmp_path / "root" / key).symlink_to(outside)
    storage.write("written", b"new")
    assert storage.write_if_changed("changed", b"new")
    storage.remove("removed")
    assert not storage.create("created", b"new")
    with pytest.raises(StoreError, match="found a link, which is not followed"):
        storage.append("appended", b"new")
    assert outside.read_bytes() == b"mine"
    assert storage.read("written") == storage.read("changed") == b"new"
    (tmp_path / "root/dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError):
        storage.append("dangling", b"new")
    storage.write("dangling", b"new")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/store").symlink_to(tmp_path / "large-disk")
    storage = Storage(tmp_path / "root")
    storage.write("store/a", b"1")
    storage.append("store/log", b"1")
    assert storage.list_keys("store") == ["store/a", "store/log"]
    assert (tmp_path / "large-disk/a").read_bytes() == b"1"


@pytest.mark.parametrize(
    "url",
    [
        "zip:///x/a.zip",
        "zip://::/x/a.zip",
        "reference://",
        "reference::/x/refs.json://",
        "tar://a::/x",
        "simplecache::zip://a::s3://b/c",
    ],
)
def test_archives_and_references_are_no_lakes(url: str) -> None:
    with pytest.raises(InputError, match="expected a folder or an object store, found"):
        Storage(url)


def test_colons_in_a_folders_name_are_no_chain_of_file_systems(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "a::b")
    storage.write("x", b"1")
    assert (tmp_path / "a::b/x").read_bytes() == b"1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a::b"]


@pytest.mark.parametrize("n_bytes", [200, 250, 255])
def test_a_name_of_full_length_is_written(tmp_path: Path, n_bytes: int) -> None:
    storage = Storage(tmp_path)
    for key in ("x" * n_bytes, "ж" * (n_bytes // 2)):
        storage.write(key, b"1")
        assert storage.create(f"deep/{key}", b"2")
        assert storage.read(key) == b"1"
    with pytest.raises(InputError, match=r"File name too long\. Correct the path"):
        storage.write("x" * 256, b"1")


@pytest.mark.parametrize("path", OUTWARD)
def test_a_stores_paths_are_looked_at(path: str) -> None:
    n = np.ones(2, dtype=np.int64)
    cube = xr.Dataset({
        "recording_path": ("recording", np.array(["a/x.wav", path], dtype=object)),
        "recording_recorder": ("recording", np.array(["a", "b"], dtype=object)),
        "recording_sha256": ("recording", np.array(["", ""], dtype=object)),
        **{f"recording_{name}": ("recording", n) for name in ("start_ms", "n_samples", "sample_rate_hz")},
    })  # fmt: skip
    with pytest.raises(StoreError, match="recording_path"):
        paths_of(cube)
    with pytest.raises(StoreError, match="recording_path"):
        recordings_table(cube, "b")
    assert recordings_table(cube, "a")[0]["path"] == "a/x.wav", "its own are fine"


@pytest.mark.parametrize("path", [path for path in OUTWARD if "\0" not in path])
def test_a_table_of_recordings_has_no_such_path(path: str, tmp_path: Path) -> None:
    columns = "path,recorder,deployment,start_utc,start_local,utc_offset,time_source,time_conflict,duration_s"
    columns += ",sample_rate_hz,n_channels,n_samples,format,sha256,reading,problems,gain_db,latitude,longitude"
    (tmp_path / "r.csv").write_text(f"{columns}\n{path},r{',' * 17}\n")
    with pytest.raises(InputError, match="row 2: path should be a path below the recordings' root"):
        read_recordings(tmp_path / "r.csv")
