"""Names and stores from somebody who means harm, through every command that writes, reads or prints by them."""

import json
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from chains import CHAIN, run_chain, runs, store
from commands import ROOT, Cli, Ended
from soundfiles import Study, files, sound

from jobs.common.labels.marks import read_marks
from lake.escapes import printable
from lake.layout import safe_name
from lake.query.naming import Name, read_names, write_names
from lake.recordings import read_recordings
from lake.storage import Storage

OSC, CSI = "\x1b]0;owned\x07", "\x9b31m"
RECORDERS = (f"a{OSC}\x7f", f'=1+1\n"><script>{CSI}\u202e\t', "@SUM(1)\u2028")
SITE, LABEL, NAME = f"</script>{OSC}=x", f"=wren\t{CSI}\r\n", f"+pewee\n{OSC}\tx"
RUNS = {"mels": f"m{OSC}els", "vectors": "=vectors\u202e", "clusters": "clu\x9bsters", "scores": "sco\x7fres"}
PAGES = """
[runs.pages]
job = "atlas"
inputs = { clusters = "clusters", spectrograms = "mels" }
config = { title = "</title><script>" }
"""
OUTWARD = ["../../outside/x.wav", "/etc/passwd", "C:\\x", "a/../../b", "..\\x.wav", "a\0b.wav", "../x"]


def controls(text: str) -> set[str]:
    """Return what a terminal would take for more than text."""
    bidi = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    found = {c for c in text if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in bidi}
    return found - {"\n"}


def toml(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a finished chain whose every name is hostile."""
    study = Study(tmp_path_factory.mktemp("hostile"))
    for i, recorder in enumerate(RECORDERS):
        study.add(recorder, 20 * i + 0.5, sound(18, i), deployment=f"-{recorder}")
    rows = "\n".join(
        f'"-{n.replace(chr(34), 2 * chr(34))}","{n.replace(chr(34), 2 * chr(34))}","{SITE}",2021-01-01'
        for n in RECORDERS
    )
    (study.folder / "deployments.csv").write_text(f"deployment,recorder,site,start\n{rows}\n", newline="")
    manifest = study.write(extra=', deployments = "deployments.csv"')
    text = manifest.read_text() + CHAIN.replace('"mine"', '"mine"') + PAGES
    for plain, name in RUNS.items():
        text = text.replace(f"[runs.{plain}]", f"[runs.{toml(name)}]").replace(f'= "{plain}"', f"= {toml(name)}")
    manifest.write_text(f'labels = "labels.csv"\n{text}')
    labels = [["recording", "start_s", "end_s", "label"], *([row["path"], 1, 9, LABEL] for row in study.rows)]
    pd.DataFrame(labels[1:], columns=labels[0]).to_csv(study.folder / "labels.csv", index=False)
    said = run_chain(manifest, *(name for name in RUNS.values() if name != "pages"))
    assert len([line for line in said if ": note: " not in line]) == 4
    write_names(Storage(store(manifest, RUNS["clusters"])), [Name(i, NAME, NAME) for i in range(3)])
    run_chain(manifest, "pages")
    return manifest


def commands_of(manifest: Path, out: Path) -> Iterator[tuple[object, ...]]:
    """Yield the words of every command that prints names, and of some that fail by them."""
    url = {name: store(manifest, run) for name, run in RUNS.items()}
    window = ("--recorder", RECORDERS[0], "--time", "2021-07-14T23:59:04")
    audio = manifest.parent / "audio"
    yield "catalog", audio, "--out", out / f"r{CSI}.csv", "--zone", "UTC"
    yield "catalog", audio, "--out", out / "other.csv", "--zone", f"{OSC}=UTC"
    yield "catalog", out / f"nothing{OSC}", "--out", out / "x.csv"
    yield "run", manifest
    yield "run", manifest, "--dry-run"
    yield "run", manifest, f"no such run{OSC}"
    yield "run", manifest, "--partition", f"1/{OSC}"
    yield "run", f"{OSC}.toml"
    yield "status", manifest
    yield "status", manifest, "--json"
    yield "verify", manifest
    yield "finalise", manifest, RUNS["mels"]
    yield "finalise", manifest, RUNS["scores"]
    for name in ("mels", "vectors", "clusters"):
        yield "query", url[name]
        yield "query", url[name], "--json"
        yield "query", url[name], "--recorder", f"unknown{OSC}"
    yield "query", url["clusters"], "--local", "--cluster", 1, "--out", out / "q.csv"
    yield "query", url["mels"], "--site", f"unknown{OSC}"
    yield "query", url["mels"], f"--no-such-option{OSC}"
    yield "query", url["mels"], "--date", f"{OSC}\u202e"
    yield "similar", url["vectors"], *window
    yield "similar", url["vectors"], *window, "--json"
    yield "similar", url["vectors"], *window, "--out", out / f"near{OSC}.html", "--json"
    yield "similar", url["vectors"], *window, "--out", out / f"near{OSC}.txt"
    yield "trace", url["clusters"], *window, "--audio", out / f"{OSC}.wav", "--root", audio
    yield "trace", url["clusters"], *window, "--json"
    yield "trace", url["clusters"], "--recorder", f"unknown{CSI}", "--time", "2021-07-15"
    for to in ("raven", "audacity"):
        yield "export", url["clusters"], "--to", to, "--out", out / f"{to}{OSC}"
    yield "export", url["clusters"], "--to", "csv", "--out", out / "all.csv"
    yield "export", url["clusters"], "--to", "csv", "--out", out / "all.csv", "--json"
    yield "names", url["clusters"], url["clusters"]
    yield "names", url["clusters"], url["clusters"], "--json"
    yield "submit", manifest, "--dry-run", "--out", out / f"submitted{CSI}"
    yield "certificate", out / f"tls{OSC}"
    yield "import", manifest, RUNS["mels"]
    yield "import", manifest, "m\x9bls"
    yield (f"no such command{OSC}",)
    receipts = sorted((manifest.parent / "lake/receipts" / safe_name(RUNS["vectors"])).glob("*.json"))
    yield "reproduce", receipts[-1], "--into", out / f"again{OSC}"
    yield "reproduce", out / f"no receipt{OSC}"


def test_no_control_character_of_a_name_is_printed(cli: Cli, hostile: Path, tmp_path: Path) -> None:
    n_names, codes = 0, []
    for words in commands_of(hostile, tmp_path):
        ended = cli(*words)
        codes.append(ended.code)
        for text in (ended.out, ended.error):
            assert not controls(text), (words, text)
        assert "Traceback" not in ended.error, (words, ended.error)
        n_names += "\\x1b" in ended.out + ended.error or "\\x9b" in ended.out + ended.error
        if "--json" in words and ended.code == 0:
            json.loads(ended.out)
    assert n_names > 20, "the names are there, escaped"
    assert codes.count(0) > 20


def test_nor_by_headers(cli: Cli, tmp_path: Path) -> None:
    """GUANO serials and firmware, as a recorder writes them."""
    folder = tmp_path / "audio"
    folder.mkdir()
    guano = f"GUANO|Version: 1.0\nMake: X{OSC}\nSerial: S{OSC}{CSI}\u202e\nFirmware Version: 1{OSC}\n"
    guano += "Timestamp: 2021-07-14T05:00:00Z\n"
    for i in range(2):
        (folder / f"rec{i}{CSI}.wav").write_bytes(with_guano(guano.replace("05:00", f"0{i}:00"), i))
    (folder / f"none{OSC}.wav").write_bytes(b"nothing")
    for more in ((), ("--json",), ("--effort", tmp_path / "effort.png", "--force")):
        ended = cli("catalog", folder, "--out", tmp_path / "r.csv", *more)
        assert ended.code == 0, ended.error
        assert not controls(ended.out + ended.error), (ended.out, ended.error)


def with_guano(text: str, seed: int) -> bytes:
    samples = (sound(1, seed)[:, 0] * 32767).astype("<i2").tobytes()
    said = text.encode()
    said += b" " * (len(said) % 2)
    chunks = b"fmt " + (16).to_bytes(4, "little") + b"\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00"
    chunks += b"data" + len(samples).to_bytes(4, "little") + samples + b"guan" + len(said).to_bytes(4, "little") + said
    return b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks


def test_a_bugs_traceback_goes_through_the_door(cli: Cli, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"a bug with {OSC}{CSI}")

    monkeypatch.setattr("jobs.runner.state.states", broken)
    ended = cli("status", hostile)
    assert ended.code == 1
    assert "RuntimeError: a bug with \\x1b]0;owned" in ended.error
    assert not controls(ended.error)


def test_nor_in_a_process_of_another_locale(hostile: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "jobs", "query", store(hostile, RUNS["mels"])], cwd=ROOT,
        capture_output=True, check=False, env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not controls(done.stdout.decode("ascii"))


def test_tables_hold_nothing_that_a_spreadsheet_runs(cli: Cli, hostile: Path, tmp_path: Path) -> None:
    url = store(hostile, RUNS["clusters"])
    assert cli("export", url, "--to", "csv", "--out", tmp_path / "all.csv").code == 0
    assert cli("query", url, "--local", "--out", tmp_path / "some.csv").code == 0
    folders = [hostile.parent / "lake/scores", hostile.parent / "lake/clusters", tmp_path]
    tables = [path for folder in folders for path in folder.rglob("*.csv")]
    assert len(tables) >= 6
    n_defused = 0
    for path in [*tables, hostile.parent / "study.csv"]:
        cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False).to_numpy().ravel()
        for cell in cells:
            assert not cell.startswith(("=", "@", "\t", "\r")), (path, cell)
            assert not (cell.startswith(("+", "-")) and not cell[1:2].isdigit()), (path, cell)
            n_defused += cell.startswith("'")
    assert n_defused > 10
    assert set(read_recordings(hostile.parent / "study.csv")["recorder"]) == set(RECORDERS), "reading takes it off"
    assert {name.name for name in read_names(Storage(url)).rows} == {NAME}


def test_a_table_that_catalog_wrote_is_read_again(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "audio" / "=cmd"
    folder.mkdir(parents=True)
    for i, name in enumerate(("@20210714_050000.wav", "-20210714_060000.wav", "'=20210714_070000.wav")):
        (folder / name).write_bytes(with_guano("GUANO|Version: 1.0\n", i))
    out = tmp_path / "r.csv"
    assert cli("catalog", tmp_path / "audio", "--out", out, "--zone", "UTC").code == 0
    table = read_recordings(out)
    assert set(table["recorder"]) == {"=cmd"}
    assert all((tmp_path / "audio" / path).is_file() for path in table["path"])
    raw = pd.read_csv(out)["path"]
    assert raw.str.startswith("'=cmd/").all(), "plain pandas sees the apostrophe"
    before = out.read_bytes()
    assert cli("catalog", tmp_path / "audio", "--out", out, "--zone", "UTC").code == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize("to", ["raven", "audacity"])
def test_names_break_no_row_and_are_read_back(cli: Cli, hostile: Path, tmp_path: Path, to: str) -> None:
    assert cli("export", store(hostile, RUNS["clusters"]), "--to", to, "--out", tmp_path / "out").code == 0
    sheets = [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".txt"]
    assert len(sheets) == len(RECORDERS)
    for sheet in sheets:
        rows = [line.split("\t") for line in sheet.read_bytes().decode().removesuffix("\n").split("\n")]
        assert {len(row) for row in rows} == {13 if to == "raven" else 3}
        assert not any(cell[:1] in {"=", "@", "+"} for row in rows for cell in row)
        assert not any(controls(cell) for row in rows for cell in row)
    marks = read_marks(tmp_path / "out").marks
    assert len(marks) == sum(len(sheet.read_text().splitlines()) - (to == "raven") for sheet in sheets)
    assert {mark.label for mark in marks} == {printable(NAME)}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        is_ours = tag == "script" and str(known.get("src")).endswith(".js") and ":" not in str(known.get("src"))
        self.bad += [tag] * (tag == "script" and not is_ours) + [name for name in known if name.startswith("on")]
        self.bad += [str(value) for value in known.values() if str(value).lower().startswith("javascript:")]


def test_no_name_is_markup(hostile: Path) -> None:
    folder = hostile.parent / "lake/atlas/pages"
    pages = [(folder / "index.html").read_text()]
    for path in folder.rglob("*.js"):
        text = path.read_text()
        assert not path.name.startswith("c") or "<" not in text
        if text.startswith("atlasPart("):
            pages.append(json.loads(text.removeprefix("atlasPart(").rstrip().removesuffix(");"))["html"])
    assert len(pages) == 4
    for page in pages:
        parser = Tags()
        parser.feed(page)
        assert parser.bad == []
    assert "&lt;script&gt;" in pages[0]


# Paths out of a store --------------------------------------------------------------------------------------


def with_paths(manifest: Path, path: str) -> None:
    """Name other paths in the cube's table of recordings and in the ledger, as a lake from elsewhere may."""
    mels = runs(manifest)["mels"]
    array = zarr.open_group(mels.output.url, mode="r+", use_consolidated=False)["recording_path"]
    assert isinstance(array, zarr.Array)
    array[:] = np.array([path] * array.shape[0], dtype=object)


@pytest.fixture
def study(chain: Study, tmp_path: Path) -> Path:
    """Return a manifest in a folder of its own, with something beside it to lose and to find."""
    inner = tmp_path / "deep" / "deeper"
    inner.mkdir(parents=True)
    for name in ("lake", "audio", "study.csv", "labels.csv", "study-lake.toml"):
        shutil.move(chain.folder / name, inner / name)
    (tmp_path / "outside").mkdir()
    shutil.copy(inner / "audio/a/000.wav", tmp_path / "outside/x.wav")
    return inner / "study-lake.toml"


@pytest.mark.parametrize("path", OUTWARD)
def test_a_stores_paths_lead_nowhere(cli: Cli, study: Path, tmp_path: Path, path: str) -> None:
    study.write_text(study.read_text() + PAGES)
    (study.parent / "labels.csv").write_text("recording,start_s,end_s,label\na/000.wav,1,9,wren\n")
    with_paths(study, path)
    url, out = store(study, "clusters"), study.parent / "out"
    out.mkdir()
    window = ("--recorder", "a", "--time", "2021-07-14T23:59:04")
    before = files(tmp_path)
    for words in (
        ("export", url, "--to", "raven", "--out", out), ("export", url, "--to", "audacity", "--out", out),
        ("export", url, "--to", "csv", "--out", out / "x.csv"),
        ("trace", url, *window, "--audio", out / "x.wav", "--root", study.parent / "audio"),
        ("trace", url, *window), ("run", study, "pages"), ("run", study, "scores", "--refresh"),
    ):  # fmt: skip
        ended = cli(*words)
        assert ended.code in {3, 4}, (words, ended)
        assert not controls(ended.error)
    now = files(tmp_path)
    lake = f"{study.parent.relative_to(tmp_path)}/lake/"
    assert {key for key in now if not key.startswith(lake)} == {key for key in before if not key.startswith(lake)}
    assert not list(out.iterdir())


@pytest.mark.parametrize("path", OUTWARD)
def test_a_tables_paths_lead_nowhere(cli: Cli, study: Path, path: str) -> None:
    table = study.parent / "study.csv"
    table.write_text(table.read_text().replace("a/000.wav", path))
    study.write_text(study.read_text() + PAGES)
    told = "path should be a path below the recordings' root"
    for words in (("run", study, "mels"), ("run", study, "pages"), ("run", study, "--dry-run", "mels")):
        ended = cli(*words)
        assert told in ended.out + ended.error, ended
        assert ended.code == 3 or "--dry-run" in words


@pytest.mark.parametrize("key", ["../../../../outside/x.wav", "/etc/passwd", "C:\\x", "a\\..\\..\\b", "a\0b"])
@pytest.mark.parametrize("where", ["ledger", "files.json", "commit.json"])
def test_a_ledgers_keys_lead_nowhere(cli: Cli, study: Path, key: str, where: str) -> None:
    """Keys with the right digest of a file outside: nothing says that it is there."""
    folder = study.parent / "lake/ledgers"
    if where == "ledger":
        path = next((folder / "mels/a").glob("*.jsonl"))
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[0]["files"] = dict.fromkeys([key], next(iter(lines[0]["files"].values())))
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        path = folder / ("scores/files.json" if where == "files.json" else "mels/commit.json")
        facts = json.loads(path.read_text())
        files_of = facts if where == "files.json" else facts["files"]
        files_of[key] = files_of.pop(next(iter(files_of)))
        path.write_text(json.dumps(facts))
    ended = cli("verify", study)
    assert ended.code == 4, ended
    assert not controls(ended.error)


def test_names_of_recorders_and_runs_are_one_folder(cli: Cli, tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    for i, name in enumerate(("../x", "..", "/etc", "~", "C:\\x", "a\\..\\b")):
        study.add("plain", 30.0 * i, sound(9, i))
        study.rows[-1]["recorder"] = name
    manifest = study.write()
    manifest.write_text(manifest.read_text().replace("[runs.mels]", '[runs."../../m"]'))
    ended: Ended = cli("run", manifest, "--workers", 1)
    assert ended.code == 0, ended.error
    assert cli("verify", manifest).code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"study"}
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"audio", "lake", "study.csv", manifest.name}
    assert cli("submit", manifest, "--dry-run", "--out", tmp_path / "study/scripts").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"study"}
