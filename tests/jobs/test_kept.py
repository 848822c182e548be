"""What others wrote at a place that a command is given is kept, unless `--force` says otherwise."""

import json
from pathlib import Path

import pytest
import soundfile
from chains import store
from commands import Cli
from soundfiles import files, sound

from jobs.workflows.quickstart import _write_manifest
from lake.errors import UsageError
from lake.outputs import RECORD

WINDOW = ("--recorder", "a", "--time", "2021-07-14T23:59:16")
SHEET = "out/a/000.dawnchorus.selections.txt"


def words_of(name: str, manifest: Path, out: Path) -> tuple[object, ...]:
    """Return a command that writes below a folder."""
    audio = manifest.parent / "audio"
    return {
        "catalog": ("catalog", audio, "--out", out / "x.csv", "--zone", "UTC"),
        "effort": ("catalog", timed(out), "--out", out / "r.csv", "--zone", "UTC", "--effort", out / "x.png"),
        "query csv": ("query", store(manifest, "mels"), "--out", out / "x.csv"),
        "query json": ("query", store(manifest, "mels"), "--out", out / "x.json"),
        "query parquet": ("query", store(manifest, "vectors"), "--features", "--out", out / "x.parquet"),
        "similar": ("similar", store(manifest, "vectors"), *WINDOW, "--out", out / "x.csv"),
        "trace": ("trace", store(manifest, "mels"), *WINDOW, "--root", audio, "--audio", out / "x.wav"),
        "export csv": ("export", store(manifest, "clusters"), "--out", out / "x.csv"),
        "export parquet": ("export", store(manifest, "clusters"), "--to", "parquet", "--out", out / "x.parquet"),
        "export raven": ("export", store(manifest, "clusters"), "--to", "raven", "--out", out / "out"),
        "export audacity": ("export", store(manifest, "clusters"), "--to", "audacity", "--out", out / "out"),
        "submit": ("submit", manifest, "mels", "--dry-run", "--out", out / "out"),
    }[name]


def timed(out: Path) -> Path:
    """Return a recording whose name has a time."""
    path = out / "audio" / "20210714_050000.wav"
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, sound(1, 0), 8000)
    return path


TARGETS = {
    "catalog": ("x.csv", "x.receipt.json", "x.cache.jsonl"), "effort": ("x.png",), "query csv": ("x.csv",),
    "query json": ("x.json",), "query parquet": ("x.parquet",), "similar": ("x.csv",), "trace": ("x.wav",),
    "export csv": ("x.csv",), "export parquet": ("x.parquet",), "export raven": (SHEET,),
    "export audacity": ("out/a/000.labels.txt",), "submit": ("out/mels.sh", "out/submit.sh"),
}  # fmt: skip


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder of one's own, so that tests of finished studies do not write in them."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", TARGETS)
def test_what_others_wrote_or_changed_is_kept(cli: Cli, whole: Path, quiet: Path, name: str) -> None:
    words = words_of(name, whole, quiet)
    for target in TARGETS[name]:
        (quiet / target).parent.mkdir(parents=True, exist_ok=True)
        (quiet / target).write_bytes(b"a biologist's own")
        before = files(quiet)
        ended = cli(*words)
        assert (ended.code, ended.out) == (2, ""), ended
        assert target in ended.error
        assert "--force" in ended.error
        assert files(quiet) == before, "nothing else is written either"
        (quiet / target).unlink()
    (quiet / TARGETS[name][0]).write_bytes(b"a biologist's own")
    assert cli(*words, "--force").code == 0
    assert b"biologist" not in (quiet / TARGETS[name][0]).read_bytes()
    assert cli(*words).code == 0, "its own it may replace"
    changed = (quiet / TARGETS[name][0]).read_bytes() + b"\n"
    (quiet / TARGETS[name][0]).write_bytes(changed)
    ended = cli(*words)
    assert (ended.code, TARGETS[name][0] in ended.error) == (2, True)
    assert (quiet / TARGETS[name][0]).read_bytes() == changed


def test_other_words_may_replace_what_a_command_wrote(cli: Cli, whole: Path, quiet: Path) -> None:
    out = quiet / "x.csv"
    assert cli("query", store(whole, "mels"), "--out", out).code == 0
    n_before = len(out.read_text().splitlines())
    assert cli("query", store(whole, "mels"), "--recorder", "a", "--out", out).code == 0
    assert len(out.read_text().splitlines()) < n_before


def test_a_table_of_an_earlier_release_is_known_by_its_receipt(cli: Cli, whole: Path, quiet: Path) -> None:
    words = words_of("catalog", whole, quiet)
    assert cli(*words).code == 0
    (quiet / RECORD).unlink()
    (quiet / "x.cache.jsonl").unlink()
    assert cli(*words).code == 0
    (quiet / RECORD).unlink()
    receipt = json.loads((quiet / "x.receipt.json").read_text())
    (quiet / "x.receipt.json").write_text(json.dumps({**receipt, "table_sha256": "0" * 64}))
    assert cli(*words).code == 2
    (quiet / "x.receipt.json").unlink()
    written = (quiet / "x.csv").read_bytes()
    (quiet / "x.csv").write_bytes(written.replace(b"\n", b"\r\n"))
    assert cli(*words).code == 2, "a spreadsheet has saved it"
    (quiet / "x.csv").write_bytes(written)
    assert cli(*words).code == 0, "copied without its receipt"


def test_a_certificate_and_a_reproduction_want_a_new_place(cli: Cli, whole: Path, quiet: Path) -> None:
    (quiet / "tls").mkdir()
    (quiet / "tls/key.pem").write_text("mine")
    assert cli("certificate", quiet / "tls").code == 3
    assert (quiet / "tls/key.pem").read_text() == "mine"
    receipts = sorted((whole.parent / "lake/receipts/vectors").glob("*.json"))
    assert cli("reproduce", receipts[0], "--into", quiet / "tls").code == 3
    assert files(quiet) == {"tls/key.pem": b"mine"}


def test_a_demo_keeps_a_manifest_and_a_table_that_somebody_changed(quiet: Path, whole: Path, cli: Cli) -> None:
    manifest = _write_manifest(quiet, 'lake = "."', force=False)
    _write_manifest(quiet, 'lake = "..."', force=False)
    manifest.write_text(manifest.read_text() + "# by hand\n")
    with pytest.raises(UsageError, match=r"manifest\.toml"):
        _write_manifest(quiet, 'lake = "."', force=False)
    _write_manifest(quiet, 'lake = "."', force=True)
    (quiet / "own").mkdir()
    (quiet / "own/recordings.csv").write_text("mine\n")
    ended = cli("init", quiet / "own", "--audio", whole.parent / "audio")
    assert ended.code == 2
    assert (quiet / "own/recordings.csv").read_text() == "mine\n"
