"""Vectors as other programs wrote them: each format on files in it, and what is wrong with such files."""

import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import vectorfiles
import yaml
from numpy.typing import NDArray
from stores import make_cube, make_run
from usearch.index import Index

from jobs.common.run import Options, Run
from jobs.imports import command
from jobs.imports.config import Config
from jobs.imports.hoplite import read_hoplite
from jobs.imports.reading import read_source
from lake.errors import InputError
from lake.read import open_embeddings, usable_windows

WINDOWS = [(f"{name}/all.wav", 3.0 * i, 3.0 * i + 3) for name in ("south", "north") for i in range(6)]
VECTORS = np.random.default_rng(3).normal(size=(12, 8)).astype(np.float32)

Writer = Callable[[Path], Path]
WRITERS: dict[str, Writer] = {
    "hoplite": lambda at: vectorfiles.hoplite(at / "db", WINDOWS, VECTORS),
    "hoplite 0.1": lambda at: vectorfiles.hoplite_0_1(at / "db", WINDOWS, VECTORS),
    "hoplite 0.1 of Perch": lambda at: vectorfiles.hoplite_0_1(at / "db", WINDOWS, VECTORS, has_ends=False),
    "hoplite with blobs": lambda at: vectorfiles.hoplite_blobs(at / "perch.sqlite", WINDOWS, VECTORS),
    "birdnet 1": lambda at: vectorfiles.birdnet_1(at / "text", WINDOWS, VECTORS),
    "birdnet 2.0": lambda at: vectorfiles.birdnet_2_0(at / "text", WINDOWS, VECTORS),
    "birdnet csv": lambda at: vectorfiles.birdnet_csv(at / "vectors.csv", WINDOWS, VECTORS),
    "bacpipe": lambda at: vectorfiles.bacpipe(at / "2026-01-01_10-00___birdnet-audio", WINDOWS, VECTORS),
}


def run_of(lake: Path, vectors: Path, config: Config | None = None) -> Run[Config]:
    run = make_run(lake, "theirs", "import", config or Config(), inputs={"spectrograms": make_cube(lake)})
    return Run(**{**vars(run), "files": {"vectors": vectors}})


@pytest.mark.parametrize("name", WRITERS)
def test_vectors_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path)
    found = read_source(path, None, Config())
    order = sorted(range(12), key=lambda i: (found.recordings[i].removesuffix(".wav"), found.start_s[i]))
    wanted = sorted(range(12), key=lambda i: WINDOWS[i])
    assert [found.recordings[i].removesuffix(".wav") for i in order] == [WINDOWS[i][0][:-4] for i in wanted]
    assert [found.start_s[i] for i in order] == [WINDOWS[i][1] for i in wanted]
    np.testing.assert_allclose(found.vectors[order], VECTORS[wanted], atol=2e-3)
    assert found.notes == []


def test_a_database_becomes_a_store_at_its_recordings_times(tmp_path: Path) -> None:
    """The rest of the way is the same for every format."""
    path = vectorfiles.hoplite(tmp_path / "db", [*WINDOWS, ("west/x.wav", 0, 3)], np.vstack([VECTORS, VECTORS[:1]]))
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    run = run_of(tmp_path / "lake", path)
    assert any("13 vectors of 8 features" in line for line in command.describe(run, Options()))
    outcome = command.execute(run, Options())
    assert dict(outcome.counts) == {"vectors": 12, "left_out": 0, "vectors_of_unknown_recordings": 1}
    assert "west/x.wav (nearest: " in outcome.notes[0]
    with open_embeddings(run.output.url) as store:
        at = usable_windows(store, status="embedding_status")
        np.testing.assert_allclose(store["embedding"].to_numpy()[at.recorder, at.cell][6:], VECTORS[:6], atol=2e-3)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_vectors_of_no_recording_here_are_told_with_both_sides(tmp_path: Path) -> None:
    path = vectorfiles.birdnet_1(tmp_path / "text", [("elsewhere/rec.wav", 0.0, 3.0)], VECTORS[:1])
    told = r"none of the 1 vectors of .*text .*they are of elsewhere/rec; the cube has north/all\.wav, south/all\.wav"
    with pytest.raises(InputError, match=told):
        command.execute(run_of(tmp_path / "lake", path), Options())


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        (
            [("a.wav", 5.0 * i, 5.0 * i + 5) for i in range(3)],
            r"5 s of sound each.*Write window_s = 5 and hop_s = 5 ",
        ),
        ([("a.wav", 2.5 * i, 2.5 * i + 5) for i in range(3)], r"Write window_s = 5 and hop_s = 2\.5 in the config"),
    ],
)
def test_another_length_than_the_settings_is_told_with_what_to_write(
    windows: vectorfiles.Windows, told: str, tmp_path: Path
) -> None:
    path = vectorfiles.hoplite(tmp_path / "db", windows, VECTORS[:3])
    with pytest.raises(InputError, match=told):
        read_source(path, None, Config())


def test_the_last_window_of_a_recording_may_be_shorter(tmp_path: Path) -> None:
    path = vectorfiles.birdnet_csv(tmp_path / "v.csv", [("a.wav", 0.0, 3.0), ("a.wav", 3.0, 4.2)], VECTORS[:2])
    assert len(read_source(path, None, Config())) == 2


def test_windows_without_a_vector_are_counted(tmp_path: Path) -> None:
    found = read_hoplite(vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS, without=(2, 5)))
    assert len(found) == 10
    assert found.notes == ["2 windows of hoplite.sqlite have no vector in usearch.index."]
    assert found.where(1) == "window 3"


def test_what_a_database_has_not_handed_over_yet_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS)
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(path / "hoplite.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("DELETE FROM windows WHERE id > 4")
        database.commit()
        shutil.copytree(path, copy)  # as after a program that was killed
    (copy / "hoplite.sqlite-shm").unlink()
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    assert len(read_hoplite(copy)) == 4
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


def test_recordings_of_one_name_are_told_apart_by_the_folders_of_their_data_sets(tmp_path: Path) -> None:
    globs = [{"dataset_name": name, "base_path": f"/data/{name}"} for name in ("north", "south")]
    path = vectorfiles.hoplite(
        tmp_path / "db", [("all.wav", 0, 3), ("all.wav", 0, 3), ("b.wav", 0, 3)], VECTORS[:3],
        projects=["south", "north", "north"], metadata={"audio_sources": {"audio_globs": globs}},
    )  # fmt: skip
    assert read_hoplite(path).recordings == ["/data/south/all.wav", "/data/north/all.wav", "b.wav"]


def test_starts_of_16_bits_late_in_long_recordings_are_noted(tmp_path: Path) -> None:
    path = vectorfiles.hoplite_blobs(tmp_path / "old.sqlite", [("a.wav", 0, 5), ("a.wav", 3000, 3005)], VECTORS[:2])
    (note,) = read_hoplite(path).notes
    assert "16-bit floats, which round beyond 2048 s" in note


def test_another_speed_is_noted(tmp_path: Path) -> None:
    about = {"birdnet_analyzer_settings": {"AUDIO_SPEED": 0.5, "AUDIO_ROOT": "/x"}}
    (note,) = read_hoplite(vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS, metadata=about)).notes
    assert "at 0.5 times the speed" in note


def _without_index(path: Path) -> None:
    (path / "usearch.index").unlink()


def _cut_index(path: Path) -> None:
    index = path / "usearch.index"
    index.write_bytes(index.read_bytes()[:-200])


def _wrong_header(path: Path) -> None:
    """Change the number of features, which USearch believes: reading would end the process."""
    index = path / "usearch.index"
    data = bytearray(index.read_bytes())
    data[8 + 12 * 16 + 35] = 7
    index.write_bytes(data)


def _no_index(path: Path) -> None:
    (path / "usearch.index").write_bytes(b"nothing of the kind" * 30)


def _cut_tables(path: Path) -> None:
    tables = path / "hoplite.sqlite"
    tables.write_bytes(tables.read_bytes()[:9000])


def _bad_offsets(path: Path) -> None:
    with closing(sqlite3.connect(path / "hoplite.sqlite")) as database:
        database.execute("UPDATE windows SET offsets = 'soon' WHERE id = 3")
        database.execute("UPDATE windows SET offsets = ? WHERE id = 4", (np.array([np.nan, 3]).tobytes(),))
        database.commit()


def _other_tables(path: Path) -> None:
    (path / "hoplite.sqlite").unlink()
    with closing(sqlite3.connect(path / "hoplite.sqlite")) as database:
        database.execute("CREATE TABLE birds (name TEXT)")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without_index, r"usearch\.index: expected the vectors of hoplite\.sqlite, found no file"),
        (_cut_index, r"usearch\.index: expected an index of USearch: "),
        (_wrong_header, r"usearch\.index: expected an index of USearch: it has 12 rows of 16 bytes for 12 vectors of"),
        (_no_index, r"usearch\.index: expected an index of USearch"),
        (_cut_tables, r"hoplite\.sqlite: expected a database of perch-hoplite, which SQLite cannot read"),
        (_bad_offsets, r"2 windows have no start that can be read.*\n  window 3\n  window 4"),
        (_other_tables, r"expected the tables of perch-hoplite .*found birds"),
    ],
)
def test_a_damaged_database_is_told_with_what_is_wrong(
    spoil: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    path = vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS)
    spoil(path)
    with pytest.raises(InputError, match=told):
        read_source(path, None, Config())


def test_the_file_of_a_database_alone_is_sent_to_its_folder(tmp_path: Path) -> None:
    path = vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS)
    with pytest.raises(InputError, match=r"its vectors are in usearch\.index.*Name the folder: vectors = '.*/db'"):
        read_source(path / "hoplite.sqlite", None, Config())


def test_a_missing_package_is_told_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(InputError, match=r"needs the package 'usearch.*Type `pip install .*\[hoplite\]"):
        read_source(path, None, Config())


def _text(text: str) -> Writer:
    def write(at: Path) -> Path:
        (at / "text").mkdir()
        (at / "text" / "a.birdnet.embeddings.txt").write_text(text)
        return at / "text"

    return write


def _csv(text: str) -> Writer:
    def write(at: Path) -> Path:
        (at / "v.csv").write_text(f"file_path,start,end,embedding\n{text}")
        return at / "v.csv"

    return write


def _link_out(at: Path) -> Path:
    folder = vectorfiles.birdnet_1(at / "text", WINDOWS, VECTORS)
    (at / "secret.txt").write_text("0\t3\t1,2\n")
    (folder / "x.birdnet.embeddings.txt").symlink_to(at / "secret.txt")
    return folder


def _bacpipe(change: Callable[[dict[str, object], Path], None]) -> Writer:
    def write(at: Path) -> Path:
        folder = vectorfiles.bacpipe(at / "m", WINDOWS, VECTORS)
        about = yaml.safe_load((folder / "metadata.yml").read_text())
        change(about, folder)
        (folder / "metadata.yml").write_text(yaml.safe_dump(about))
        return folder

    return write


def _pickled(_about: dict[str, object], folder: Path) -> None:
    np.save(folder / "north/all_birdnet.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _other_size(_about: dict[str, object], folder: Path) -> None:
    np.save(folder / "north/all_birdnet.npy", np.zeros((6, 5), dtype=np.float32))


def _annotated_only(_about: dict[str, object], folder: Path) -> None:
    np.save(folder / "north/all_birdnet.npy", VECTORS[:2])


def _path_out(about: dict[str, object], _folder: Path) -> None:
    about["files"] = {"audio_files": ["../../etc/x.wav"]}


def _not_finished(about: dict[str, object], _folder: Path) -> None:
    about.clear()


def _python_object(at: Path) -> Path:
    folder = vectorfiles.bacpipe(at / "m", WINDOWS, VECTORS)
    (folder / "metadata.yml").write_text("!!python/object/apply:os.system ['touch /tmp/never']")
    return folder


def _folder_of_folders(at: Path) -> Path:
    vectorfiles.bacpipe(at / "results" / "one___birdnet-audio", WINDOWS, VECTORS)
    return at / "results"


def _nothing(at: Path) -> Path:
    (at / "empty").mkdir()
    return at / "empty"


def _array_alone(at: Path) -> Path:
    np.save(at / "v.npy", VECTORS)
    return at / "v.npy"


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (_text(""), r"expected numbers, found nothing"),
        (_text("0\t3\t1,2\n3\t6\t1\n"), r"a\.birdnet\.embeddings\.txt: expected seconds and vectors as numbers"),
        (_text("0\t3\t1,x\n"), r"expected seconds and vectors as numbers: could not convert string 'x'"),
        (_text("1,2,3\n"), r"one vector in a file whose name ends in _start_end"),
        (_csv("a.wav,0,3\n"), r"v\.csv, row 2: expected 4 columns, found 3"),
        (_csv('a.wav,0,3,"1,2"\na.wav,soon,6,"1,2"\n'), r"v\.csv, row 3: expected seconds and vectors as numbers"),
        (_csv('a.wav,0,3,"1,2"\na.wav,3,6,"1,2"\na.wav,6,9,"1"\n'), r"of 2 features, as most have, found 1 in row 4"),
        (_csv(""), r"v\.csv: expected vectors, found none"),
        (_link_out, r"is a link that leads out of .*text"),
        (_bacpipe(_pickled), r"all_birdnet\.npy: expected vectors in NumPy's format \(\.npy\): .*Python objects"),
        (_bacpipe(_other_size), r"expected vectors of \d features, as most have, found \d in vector 0 of all_birdnet"),
        (_bacpipe(_annotated_only), r"1 recordings do not cover them.*\n  north/all\.wav: 2 vectors of 3 s, 18 s of"),
        (_bacpipe(_path_out), r"'\.\./\.\./etc/x\.wav' leads out of the folder"),
        (_bacpipe(_not_finished), r"expected bacpipe's metadata.*model_name.*If bacpipe was stopped, run it again"),
        (_python_object, r"metadata\.yml: expected bacpipe's metadata: could not determine a constructor"),
        (_folder_of_folders, r"a folder of such folders \(one___birdnet-audio\): name one of them"),
        (_nothing, r"expected a folder of perch-hoplite .*; found a folder with nothing"),
        (_array_alone, r"an array needs table = a CSV"),
        (lambda at: at / "nowhere", r"nowhere: expected vectors, found nothing: a folder of perch-hoplite"),
    ],
)
def test_what_cannot_be_read_is_told(write: Writer, told: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(InputError, match=told):
        read_source(path, None, Config())


def test_a_table_beside_what_names_its_own_recordings_is_refused(tmp_path: Path) -> None:
    path = vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS)
    with pytest.raises(InputError, match=r"names its recordings and seconds itself\. Take table out of files"):
        read_source(path, tmp_path / "table.csv", Config())


def test_recordings_of_bacpipe_without_vectors_and_vectors_without_recordings_are_noted(tmp_path: Path) -> None:
    folder = vectorfiles.bacpipe(tmp_path / "m", WINDOWS, VECTORS)
    (folder / "south/all_birdnet.npy").rename(folder / "stray.npy")
    found = read_source(folder, None, Config())
    assert len(found) == 6
    assert found.notes == [
        "1 recordings of metadata.yml have no vectors: south/all.wav.",
        "1 .npy files are of no recording of metadata.yml: stray.npy.",
    ]


def test_bacpipe_on_windows_writes_backslashes(tmp_path: Path) -> None:
    folder = vectorfiles.bacpipe(tmp_path / "m", WINDOWS, VECTORS)
    metadata = folder / "metadata.yml"
    metadata.write_text(metadata.read_text().replace("north/all.wav", "north\\all.wav"))
    assert len(read_source(folder, None, Config())) == 12


def test_index_of_other_number_types(tmp_path: Path) -> None:
    path = vectorfiles.hoplite(tmp_path / "db", WINDOWS, VECTORS)
    index = Index(ndim=8, metric="cos", dtype="f32")
    index.add(np.arange(1, 13, dtype=np.uint64), VECTORS)
    index.save(str(path / "usearch.index"))
    found: NDArray[np.float32] = read_hoplite(path).vectors
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VECTORS)
