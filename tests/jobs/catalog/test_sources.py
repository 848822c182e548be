from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import fsspec
import numpy as np
import pandas as pd
import pytest
import soundfile

from jobs.catalog.command import run_catalog
from jobs.catalog.examine import examine
from jobs.catalog.sources import common_root, survey
from lake.errors import InputError
from lake.recordings import read_recordings

RECLOG = "Date,Time,UTC Timezone,Filename,Gain (dB)\n22/06/2021,00:00:02,-05:00,20210622_000000.wav,37dB\n"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    """Put a study into an object store, and into ``local``: two recordings, a log, an empty file, a hidden one."""
    fs = fsspec.filesystem("memory")
    for i, name in enumerate(["set1/A/20210622_000000.wav", "set1/B/20210622T000000-0500_REC.flac"]):
        path = tmp_path / "local" / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.random.default_rng(i).uniform(-0.1, 0.1, 4000), 8000)
    (tmp_path / "local/set1/A/Reclog.csv").write_text(RECLOG)
    (tmp_path / "local/set1/B/x.wav").touch()
    (tmp_path / "local/set1/B/.y.wav").touch()
    for path in (tmp_path / "local").rglob("*.*"):
        fs.pipe_file(f"/{path.relative_to(tmp_path).as_posix().replace('local', 'bucket', 1)}", path.read_bytes())
    yield "memory://bucket"
    fs.rm("/bucket", recursive=True)


def test_an_object_store_gives_the_same_table_as_a_folder(memory: str, tmp_path: Path) -> None:
    remote = run_catalog([memory], tmp_path / "r.csv", zones={}, examine_one=examine)
    local = run_catalog([tmp_path / "local"], tmp_path / "l.csv", zones={}, examine_one=examine)
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / "l.csv").read_bytes()
    assert remote["root"] == "memory:///bucket"
    assert remote["recorders"] == local["recorders"]
    table = read_recordings(tmp_path / "r.csv")
    assert table["path"].tolist() == [
        "set1/A/20210622_000000.wav", "set1/B/20210622T000000-0500_REC.flac", "set1/B/x.wav",
    ]  # fmt: skip
    first = table.loc[0]
    assert (first["time_source"], first["gain_db"], first["start_utc"]) == (
        "name+reclog", 37.0, pd.Timestamp("2021-06-22T05:00"),
    )  # fmt: skip
    receipt = (tmp_path / "r.receipt.json").read_text()
    assert '"set1/B/x.wav": "memory:///bucket/set1/B/x.wav: is empty (0 bytes)."' in receipt


def test_a_file_url_is_a_path(memory: str, tmp_path: Path) -> None:
    run_catalog([f"file://{tmp_path}/local"], tmp_path / "f.csv", zones={}, examine_one=examine)
    run_catalog([tmp_path / "local"], tmp_path / "l.csv", zones={}, examine_one=examine)
    assert (tmp_path / "f.csv").read_bytes() == (tmp_path / "l.csv").read_bytes()


def test_an_unchanged_object_is_not_fetched_again(memory: str, tmp_path: Path) -> None:
    run_catalog([memory], tmp_path / "r.csv", zones={}, examine_one=examine)
    before = (tmp_path / "r.csv").read_bytes()

    def unasked(*_: str) -> None:
        pytest.fail("a file was examined")

    run_catalog([memory], tmp_path / "r.csv", zones={}, examine_one=unasked)  # type: ignore[arg-type] # never called
    assert (tmp_path / "r.csv").read_bytes() == before
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/bucket/set1/B/x.wav", b"RIFF")
    seen: list[str] = []

    def note(path: str, maker: str) -> object:
        seen.append(Path(path).name)
        return examine(path, maker)

    run_catalog([memory], tmp_path / "r.csv", zones={}, examine_one=note)  # type: ignore[arg-type] # returns facts
    assert seen == ["x.wav"]


def test_roots_of_an_object_store(memory: str) -> None:
    both = survey([f"{memory}/set1/A", f"{memory}/set1/B"])
    assert common_root(both) == PurePosixPath("/bucket/set1")
    one = survey([f"{memory}/set1/A/20210622_000000.wav"])
    assert (common_root(one), one.folders) == (PurePosixPath("/bucket/set1/A"), [])


def test_what_is_not_there_or_mixed_is_refused(memory: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memory://nowhere: expected a folder of recordings, found nothing there"):
        survey(["memory://nowhere"])
    fsspec.filesystem("memory").pipe_file("/bucket/docs/a.txt", b"")
    with pytest.raises(InputError, match=r"memory://bucket/docs: expected recordings .* found 1 \.txt"):
        survey([f"{memory}/docs"])
    with pytest.raises(InputError, match=r"expected folders of one file system. Catalogue each by itself"):
        survey([memory, tmp_path])
    with pytest.raises(
        InputError, match=r"nosuch://a: expected a path, or a URL that fsspec opens \(Protocol not known"
    ):
        survey(["nosuch://a"])


def test_a_path_with_the_signs_of_a_url_is_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a::b [1]" / "~c"
    folder.mkdir(parents=True)
    (folder / "x.wav").touch()
    assert [path.name for path in survey([str(tmp_path / "a::b [1]")]).files] == ["x.wav"]


def test_a_file_that_is_gone_meanwhile_has_no_stand(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    sources = survey([tmp_path])
    (tmp_path / "a.wav").unlink()
    assert sources.stand(sources.files[0]) is None
