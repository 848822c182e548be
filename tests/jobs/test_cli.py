"""The command line: how commands begin and end."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from chains import n_windows, runs, store, write_chain
from commands import ROOT, Cli, Ended, command
from soundfiles import Study, sound, usual_study
from typer.testing import CliRunner

from jobs.cli import COMMANDS as IN_ORDER
from jobs.cli import app
from lake.claims import claim

COMMANDS = (
    "catalog", "config", "run", "certificate", "finalise", "status", "verify", "query", "demo", "similar", "trace",
    "export", "names", "import",
)  # fmt: skip


# Help and versions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["run"], ["verdicts"], ["verdicts", "add"]])
def test_h_is_help(words: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*words, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output


def test_help_lists_every_command_once_in_the_order_of_the_work() -> None:
    shown = re.findall(r"^  ([a-z]+)  ", CliRunner().invoke(app, ["--help"]).output.split("Commands:")[1], re.MULTILINE)
    assert tuple(shown) == IN_ORDER


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in COMMANDS)
    assert set(COMMANDS) <= set(IN_ORDER)
    assert CliRunner().invoke(app, []).exit_code == 2, "a command is missing"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert f"dawnchorus {name}" in result.output.replace("root", "dawnchorus")
    assert result.stderr == ""


def test_version(cli: Cli) -> None:
    assert cli("--version") == (0, metadata.version("dawnchorus") + "\n", "")


# How commands end ------------------------------------------------------------------------------------------


def test_done_is_0_and_facts_go_to_standard_output(whole: Path) -> None:
    code, out, error = command("query", store(whole, "clusters"), "--json")
    assert (code, error) == (0, "")
    assert len(json.loads(out)) == n_windows(whole, "clusters")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "m.toml", "--workers", "0"], "--workers"),
        (["run", "m.toml", "--partition", "4/4"], "--partition '4/4': expected i/n with 0 <= i < n, for example 0/4"),
        (["query", "x.zarr", "--date", "14.07.2021"], "--date '14.07.2021': expected a day (2021-07-14), a month"),
        (["query", "x.zarr", "--out", "x.xlsx"], "--out x.xlsx: expected a name that ends in .csv, .parquet or .json"),
        (["quarry"], "No such command 'quarry'"),
        (["status"], "issing argument"),
        (["status", "m.toml", "--jason"], "No such option: --jason"),
    ],
)
def test_usage_is_2(cli: Cli, words: list[str], told: str) -> None:
    code, out, error = cli(*words)
    assert (code, out) == (2, "")
    assert told in " ".join(error.replace("│", "").split()), "in a frame, or as one line"
    assert "Traceback" not in error


def test_usage_is_2_in_a_process() -> None:
    code, out, error = command("query", "x.zarr", "--date", "yesterday")
    assert (code, out) == (2, "")
    assert error == (
        "dawnchorus: --date 'yesterday': expected a day (2021-07-14), a month (2021-07) or two joined by /.\n"
    )


def test_a_wrong_manifest_is_3(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('lake = "l"\nlabel = "x.csv"\n[runs.mels]\njob = "spectrogram"\n')
    code, out, error = command("run", path)
    assert (code, out) == (3, "")
    assert error == (
        f"dawnchorus: {path}: 2 problems:\n  label: unknown key; did you mean 'labels'?\n"
        "  runs.mels.job = 'spectrogram': no such job; did you mean 'spectrograms'?\n"
    )


def test_an_incomplete_store_is_4(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    code, out, error = command("run", manifest, "clusters")
    assert (code, out) == (4, "")
    assert error == (
        "dawnchorus: run 'clusters' reads 'vectors' (embeddings), which is not done. "
        f"Type `dawnchorus run {manifest} vectors`.\n"
    )


def test_too_many_set_aside_is_5(chain: Study) -> None:
    chain.add("c", 0.0, sound(9, 2), problems="unreadable", reading="")
    manifest = write_chain(chain)
    code, out, error = command("run", manifest, "mels")
    assert (code, out) == (5, "mels: done, nothing to do\n")
    assert error.startswith("dawnchorus: run 'mels' finished, but 1 of 7 recordings were set aside (1 unreadable)")


def test_a_run_that_another_works_on_is_75_naming_the_owner(manifest: Path) -> None:
    with claim(runs(manifest)["scores"].ledger.storage, "scores", (0, 1), "plan"):
        code, out, error = command("run", manifest, "scores", "--refresh")
    assert (code, out) == (75, "")
    assert error.startswith(
        f"dawnchorus: run 'scores': part 0 of 1 is being worked on by process {os.getpid()} on {os.uname().nodename} "
    )
    assert error.count("\n") == 1


def test_a_bug_is_1_with_a_traceback(tmp_path: Path) -> None:
    code = "import sys, jobs.manifest as m\nm.read_manifest = None\nfrom jobs.cli import main\nmain()"
    words = [sys.executable, "-c", code, "status", "study.toml"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("TypeError: 'NoneType' object is not callable\n")
    assert "dawnchorus:" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(whole: Path) -> None:
    words = [sys.executable, "-m", "jobs", "query", store(whole, "mels")]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0


# Where packages are missing --------------------------------------------------------------------------------

BLOCKED = """
import contextlib, io, json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from jobs.cli import main
for line in sys.stdin:
    sys.argv = ["dawnchorus", *json.loads(line)]
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            main()
    except SystemExit as end:
        print(json.dumps([end.code, out.getvalue(), error.getvalue()]))
"""
HEAVY = ("torch", "torchvision", "torchaudio", "timm", "safetensors", "soundfile", "av", "scipy", "sklearn", "pyarrow")


def test_commands_start_where_packages_are_missing(manifest: Path, tmp_path: Path) -> None:
    folder = str(manifest.parent / "audio")
    asked: list[list[str]] = [[name, "--help"] for name in COMMANDS]
    asked += [["--version"], ["status", str(manifest)]]
    asked += [["query", store(manifest, name), "--recorder", "a"] for name in ("mels", "vectors", "clusters")]
    asked += [["query", store(manifest, "mels"), "--out", str(tmp_path / "x.parquet")]]
    asked += [["catalog", folder], ["run", str(manifest), "mels"], ["finalise", str(manifest), "mels"]]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(names=HEAVY)], cwd=ROOT, text=True, check=True, capture_output=True,
        input="".join(json.dumps(words) + "\n" for words in asked),
    )  # fmt: skip
    ended = {
        " ".join(words[:1] + words[1:][-1:]): Ended(*json.loads(line))
        for words, line in zip(asked, done.stdout.splitlines(), strict=True)
    }
    for name in COMMANDS:
        assert ended[f"{name} --help"].code == 0, ended[f"{name} --help"].error
    found = list(ended.values())[len(COMMANDS) + 1 :]
    status, *queries, parquet, catalog, run, finalise = found
    assert status.code == 0
    assert [line.split()[2] for line in status.out.splitlines()] == ["done:", "done", "done", "done"]
    lacks = (
        "which is not installed here. Use the image 'spectrograms', or type `pip install 'dawnchorus[spectrograms]'`."
    )
    assert status.out.splitlines()[0].endswith(f"status needs the package 'av', {lacks}")
    for answer in queries:
        assert (answer.code, answer.error) == (0, "")
        assert answer.out.count("\n") > 20
    assert parquet.code == 3
    assert "needs the package 'pyarrow'" in parquet.error
    for end, what in [(catalog, "the catalog"), (run, "run 'mels'"), (finalise, "run 'mels'")]:
        assert (end.code, end.out) == (3, "")
        assert end.error.startswith(f"dawnchorus: {what} needs the package ")
        assert end.error.endswith(f"{lacks}\n")


def test_nothing_heavy_is_loaded_to_begin_with() -> None:
    names = (*HEAVY, "pandas", "xarray", "dask")
    code = f"import sys, jobs.cli\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, check=True, capture_output=True)
    assert done.stdout == "[]\n"
