"""The command line: how commands begin and end."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
from chains import n_windows, runs, store, write_chain
from commands import ROOT, Cli, Ended, command
from soundfiles import Study, sound, usual_study
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from jobs.cli.help import EXAMPLES
from jobs.cli.help import EXAMPLES as IN_ORDER
from jobs.cli.main import app
from jobs.cli.neighbours import CHOSEN_BY
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
    assert shown == list(IN_ORDER)


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in COMMANDS)
    assert set(COMMANDS) <= set(IN_ORDER)
    assert CliRunner().invoke(app, []).exit_code == 2, "a command is missing"


@pytest.mark.parametrize("name", IN_ORDER)
def test_the_example_of_a_command_is_one_that_it_takes(name: str) -> None:
    command, words = get_command(app), shlex.split(EXAMPLES[name], comments=True)
    while isinstance(command, TyperGroup):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(name, words)  # raises what the user would read


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert f"dawnchorus {name}" in result.output.replace("root", "dawnchorus")
    assert result.stderr == ""


def test_version(cli: Cli) -> None:
    assert cli("--version") == (0, metadata.version("dawnchorus") + "\n", "")


def test_the_versions_that_a_report_needs(cli: Cli) -> None:
    said = dict(line.split(maxsplit=1) for line in cli("version").out.splitlines())
    assert said["dawnchorus"] == metadata.version("dawnchorus")
    assert {"python", "numpy", "zarr", "torch"} <= set(said)


@pytest.mark.parametrize("name", IN_ORDER)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    example = re.search(r"Example: dawnchorus (.*)", CliRunner().invoke(app, [name, "--help"]).output, re.DOTALL)
    assert example
    assert example[1].split()[0] == name
    words = [part for part in shlex.split(EXAMPLES[name]) if part.startswith("--")]
    shown = CliRunner().invoke(app, [*EXAMPLES[name].split()[: 2 if name == "verdicts" else 1], "--help"]).output
    assert all(f"{word} " in shown for word in words)


def test_completion_for_a_shell(tmp_path: Path) -> None:
    # What typer itself makes of the words typed so far.
    typed = {"_DAWNCHORUS_COMPLETE": "complete_bash", "COMP_WORDS": "dawnchorus ca", "COMP_CWORD": "1"}
    script = Path(sys.executable).with_name("dawnchorus")
    done = subprocess.run([script], env={**os.environ, **typed}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["catalog"]


def test_quiet_shows_no_progress_and_verbose_shows_where(chain: Study, tmp_path: Path) -> None:
    words = ("catalog", chain.folder / "audio", "--out", tmp_path / "t.csv")
    loud, quiet = command(*words), command(*words, "-q")
    assert "catalog: " in loud.error
    assert quiet.error == loud.error.replace(
        next(x for x in loud.error.splitlines(True) if x.startswith("catalog:")), ""
    )
    assert (quiet.code, quiet.out) == (loud.code, loud.out)
    plain, verbose = command("status", tmp_path / "nope.toml"), command("status", tmp_path / "nope.toml", "--verbose")
    assert "Traceback" not in plain.error
    assert verbose.error.startswith("Traceback")
    assert verbose.error.endswith(plain.error)
    assert verbose.code == plain.code == 3


@pytest.mark.parametrize(
    ("chosen", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "9"}, None)]
)
def test_threads_wait_passively_unless_the_user_chose(chosen: dict[str, str], policy: str | None) -> None:
    code = (
        "import os, sys\nfrom jobs.cli.main import main\nassert 'torch' not in sys.modules\n"
        "sys.argv[1:] = ['--version']\n"
    )
    code += "try: main()\nexcept SystemExit: print(os.environ.get('OMP_WAIT_POLICY'))"
    clean = {key: value for key, value in os.environ.items() if key not in CHOSEN_BY}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | chosen, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(policy)


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
    code = "import sys, jobs.runner.manifest as m\nm.read_manifest = None\nfrom jobs.cli.main import main\nmain()"
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
from jobs.cli.main import main
for line in sys.stdin:
    sys.argv = ["dawnchorus", *json.loads(line)]
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            main()
    except SystemExit as end:
        print(json.dumps([end.code, out.getvalue(), error.getvalue()]))
"""
HEAVY = (
    "torch", "torchvision", "torchaudio", "timm", "safetensors", "av", "scipy", "sklearn", "pyarrow", "matplotlib",
    "numba",
)  # fmt: skip
"""What a light installation lacks."""


def test_commands_start_where_packages_are_missing(manifest: Path, tmp_path: Path) -> None:
    folder = str(manifest.parent / "audio")
    asked: list[list[str]] = [[name, "--help"] for name in COMMANDS]
    asked += [["--version"], ["status", str(manifest)]]
    asked += [["query", store(manifest, name), "--recorder", "a"] for name in ("mels", "vectors", "clusters")]
    asked += [["query", store(manifest, "mels"), "--out", str(tmp_path / "x.parquet")]]
    asked += [
        ["catalog", folder, "--out", str(tmp_path / "light.csv")],
        ["run", str(manifest), "mels"],
        ["finalise", str(manifest), "mels"],
    ]
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
    what = shlex.quote(f"{ROOT}[spectrograms]")
    lacks = f"which is not installed here. Type `pip install {what}`, or use the image 'spectrograms'."
    assert "status needs the package " in status.out.splitlines()[0]
    assert status.out.splitlines()[0].endswith(lacks)
    for answer in queries:
        assert (answer.code, answer.error) == (0, "")
        assert answer.out.count("\n") > 20
    assert parquet.code == 3
    assert "needs the package 'pyarrow'" in parquet.error
    assert catalog.code == 0
    assert "PyAV is not installed" in catalog.error
    light = pd.read_csv(tmp_path / "light.csv", dtype=str)
    assert (light["reading"] == "libsndfile").all()
    assert light["n_samples"].notna().all()
    for end, what in [(run, "run 'mels'"), (finalise, "run 'mels'")]:
        assert (end.code, end.out) == (3, "")
        assert end.error.startswith(f"dawnchorus: {what} needs the package ")
        assert end.error.endswith(f"{lacks}\n")


def test_nothing_heavy_is_loaded_to_begin_with() -> None:
    names = (*HEAVY, "pandas", "xarray", "dask")
    code = f"import sys, jobs.cli.main\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, check=True, capture_output=True)
    assert done.stdout == "[]\n"
