import hashlib
from pathlib import Path

import pytest
from stores import make_run

from jobs.atlas.config import Config
from jobs.common.folders import publish
from jobs.common.run import Run
from lake.ledger import Ledger
from lake.storage import Storage


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "lake", "pages", "atlas", Config())


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        file = path / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def test_a_folder_becomes_the_output(run: Run, tmp_path: Path) -> None:
    files = publish(run, folder(tmp_path / "a", index_html="hello", pictures__c0__1_png="…"))
    assert files == {
        "index.html": hashlib.sha256(b"hello").hexdigest(),
        "pictures/c0/1.png": hashlib.sha256("…".encode()).hexdigest(),
    }
    assert run.ledger.files() == files
    assert run.output.list_keys() == sorted(files)
    assert run.output.read("index.html") == b"hello"


def test_what_is_there_already_is_not_touched_and_what_is_old_goes(run: Run, tmp_path: Path) -> None:
    publish(run, folder(tmp_path / "a", index_html="hello", old__1_png="1", same_css="same"))
    stamp = (Path(run.output.url) / "same.css").stat().st_mtime_ns
    files = publish(run, folder(tmp_path / "b", index_html="bye", same_css="same"))
    assert run.ledger.files() == files
    assert run.output.list_keys() == ["index.html", "same.css"]
    assert run.output.read("index.html") == b"bye"
    assert (Path(run.output.url) / "same.css").stat().st_mtime_ns == stamp


def test_old_files_go_only_after_the_new_ones_are_listed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(run, folder(tmp_path / "a", index_html="hello", old_png="1"))

    def fail(*_: object) -> None:
        raise OSError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "remove", fail)
        with pytest.raises(OSError, match="no more"):
            publish(run, folder(tmp_path / "b", index_html="bye", new_png="2"))
    assert set(run.ledger.files() or {}) == {"index.html", "new.png"}
    assert run.output.list_keys() == ["index.html", "new.png", "old.png"]
    publish(run, tmp_path / "b")
    assert run.output.list_keys() == ["index.html", "new.png"]


def test_what_somebody_else_put_there_stays(run: Run, tmp_path: Path) -> None:
    publish(run, folder(tmp_path / "a", index_html="hello", old_png="1"))
    run.output.write("notes of mine.txt", b"frogs in c07")
    run.output.write("pictures/mine.png", b"...")
    publish(run, folder(tmp_path / "b", index_html="bye"))
    assert run.output.list_keys() == ["index.html", "notes of mine.txt", "pictures/mine.png"]


def test_what_a_stopped_run_left_goes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it was stopped before its ledger listed the files, and the next one writes others."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "settle_files", stop)
        with pytest.raises(KeyboardInterrupt):
            publish(run, folder(tmp_path / "a", index_html="hello", half_png="1"))
    assert run.output.list_keys() == ["half.png", "index.html"]
    publish(run, folder(tmp_path / "b", index_html="bye"))
    assert run.output.list_keys() == ["index.html"]
    assert run.ledger.storage.list_keys() == ["files.json", "run.json"]
