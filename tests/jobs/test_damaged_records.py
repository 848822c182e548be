"""Every record of a lake, found by walking it, damaged in every way: it is named, and healed as the message says."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from chains import run_chain, standing, write_chain
from soundfiles import usual_study

from jobs.common.run import Options
from jobs.runner.dryrun import describe_runs
from jobs.runner.execute import verify_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.reproduce import reproduce
from jobs.runner.state import refuse_damaged, states
from lake.errors import DawnchorusError, StoreError
from lake.query.select import open_any

Damage = Callable[[bytes], bytes | None]
DAMAGES: dict[str, Damage] = {
    "flipped": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :],
    "flipped at the start": lambda data: data[:3] + bytes([data[3] ^ 1]) + data[4:],
    "flipped at the end": lambda data: data[:-6] + bytes([data[-6] ^ 1]) + data[-5:],
    "newline flipped": lambda data: data[:-1] + bytes([data[-1] ^ 64]),
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "garbage": lambda data: bytes(range(256)) * (len(data) // 256 + 1),
    "another's": lambda _: b'{"hello": "world"}\n',
    "a list": lambda _: b"[1, 2]\n",
    "gone": lambda _: None,
}
NAMES = ("scores", "clusters", "vectors", "mels")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a chain that is done; every test leaves it as it was."""
    manifest = write_chain(usual_study(tmp_path_factory.mktemp("whole")))
    run_chain(manifest)
    return manifest


def records(manifest: Path) -> list[Path]:
    """Return all records of a lake: of ledgers and receipts, and the root metadata of stores."""
    lake = manifest.parent / "lake"
    found = [path for folder in ("ledgers", "receipts") for path in (lake / folder).rglob("*") if path.is_file()]
    return sorted([*found, *lake.glob("*/*.zarr/zarr.json")])


def run_of(path: Path) -> str:
    return next(part.removesuffix(".zarr") for part in path.parts if part.removesuffix(".zarr") in NAMES)


def verify(manifest: Path) -> str:
    """Return what verify says is wrong; nothing else may be raised."""
    try:
        verify_runs(read_manifest(manifest), [], lambda _: None)
    except StoreError as error:
        return str(error)
    return ""


def damage(path: Path, how: Damage) -> None:
    data = how(path.read_bytes())
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)


def test_a_whole_lake_is_whole(whole: Path) -> None:
    assert verify(whole) == ""
    assert set(standing(whole).values()) == {("done", "")}
    kinds = {path.name for path in records(whole)}
    assert {"run.json", "grid.json", "commit.json", "files.json", "zarr.json"} <= kinds
    assert any(name.endswith(".jsonl") for name in kinds)


@pytest.mark.parametrize("how", DAMAGES)
def test_each_damaged_record_is_named_by_every_command(whole: Path, tmp_path: Path, how: str) -> None:
    for path in records(whole):
        sound, run = path.read_bytes(), run_of(path)
        damage(path, DAMAGES[how])
        try:
            check_named(whole, path, run, how, tmp_path)
        finally:
            path.write_bytes(sound)
    assert verify(whole) == ""


def check_named(manifest: Path, path: Path, run: str, how: str, tmp_path: Path) -> None:
    is_receipt, is_root = "receipts" in path.parts, path.name == "zarr.json"
    found = {state.name: state for state in states(read_manifest(manifest))}
    assert set(found) == set(NAMES), "one damaged run does not hide the others"
    said = verify(manifest)
    if is_receipt and how == "gone":
        assert found[run].state == "partial"
        return
    if how == "gone" and is_root and (manifest.parent / "lake/ledgers" / run / "files.json").exists():
        return
    assert str(path) in said, f"{path} {how}: {said}"
    if is_root and how in {"flipped", "flipped at the start", "flipped at the end", "newline flipped"}:
        return  # whether it still is JSON depends on the place; its digest is compared when it is read
    if is_root and how in {"another's", "gone"}:
        return
    assert found[run].state == "damaged", f"{path} {how}: {found[run]}"
    assert str(path) in found[run].detail
    with pytest.raises(StoreError, match=run):
        refuse_damaged(found.values())
    if how not in {"gone", "empty", "half", "another's"}:  # what is gone, `run` may write again
        with pytest.raises(StoreError):
            describe_runs(read_manifest(manifest), [run], Options(), lambda _: None)
    if is_root:
        with pytest.raises(StoreError, match="expected the metadata"):
            open_any(str(path.parent))
    if is_receipt:
        with pytest.raises(DawnchorusError, match=path.name):
            reproduce(path, tmp_path / "again", Options(workers=1), lambda _: None)
    consumer = {"mels": "vectors", "vectors": "clusters", "clusters": "scores"}.get(run)
    if consumer is not None and not is_root:
        with pytest.raises(StoreError) as caught:
            run_chain(manifest, consumer, refresh=True) if consumer != "vectors" else run_chain(manifest, consumer)
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == 4


HEALED = ("run.json", "commit.json", "files.json", ".jsonl", "receipt")


@pytest.mark.parametrize("what", HEALED)
def test_what_the_message_says_heals(tmp_path: Path, what: str) -> None:
    """The file, or its damaged line, is removed and the run typed again: then all is whole."""
    manifest = write_chain(usual_study(tmp_path))
    run_chain(manifest)
    kept = {path: path.read_bytes() for path in (tmp_path / "lake").glob("*/*.zarr/**/c.*")}
    for path in records(manifest):
        if not (path.name.endswith(what) or (what == "receipt" and "receipts" in path.parts)):
            continue
        run = run_of(path)
        if what == ".jsonl":
            first, *rest = path.read_bytes().split(b"\n")
            path.write_bytes(b"\n".join([first[:-3] + b"x" + first[-2:], *rest]))
            assert f"{path}, line 1: the record is damaged" in verify(manifest)
            path.write_bytes(b"\n".join(rest))
        else:
            path.unlink()
        run_chain(manifest, run)
        assert verify(manifest) == "", path
        run_chain(manifest)
        assert {path: path.read_bytes() for path in kept} == kept
    assert {state for state, _ in standing(manifest).values()} <= {"done", "stale"}


def test_a_day_that_the_ledger_lost_is_no_growth(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    run_chain(manifest, "mels", "vectors")
    day = next((tmp_path / "lake/ledgers/mels").rglob("*.jsonl"))
    for lose in (day.unlink, lambda: day.write_bytes(b"")):
        lose()
        with pytest.raises(
            StoreError, match=r"'vectors' reads 'mels' \(spectrograms\), whose records are damaged"
        ) as caught:
            run_chain(manifest, "vectors")
        assert str(day) in str(caught.value)
        assert str(day) in verify(manifest)
        assert standing(manifest)["mels"][0] == "damaged"
        run_chain(manifest, "mels")
        assert verify(manifest) == ""
        assert run_chain(manifest, "vectors") == ["vectors: done, nothing to do"]


def test_files_that_nobody_listed_are_named(whole: Path) -> None:
    lake = whole.parent / "lake"
    for key in ("spectrograms/mels.zarr/spectrogram/c.9.9.0.0", "scores/scores/mine.txt", "ledgers/mels/notes.txt",
                "embeddings/vectors.zarr/embedding_status/c.0.99", "receipts/mels/notes.txt"):  # fmt: skip
        path = lake / key
        path.write_bytes(b"x")
        try:
            assert f"{path}: " in verify(whole), key
        finally:
            path.unlink()
    left = lake / "spectrograms/mels.zarr/.c.0.abc.aside"
    left.write_bytes(b"x")
    said: list[str] = []
    verify_runs(read_manifest(whole), ["mels"], said.append)
    left.unlink()
    assert any(str(left) in line and "killed write" in line for line in said)


def test_a_copy_of_the_whole_lake_is_whole(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole.parent, tmp_path / "copy")
    assert verify(tmp_path / "copy" / whole.name) == ""
