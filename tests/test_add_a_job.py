"""The page on adding a job, followed to the letter: its code is a package, its manifest runs."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stores import finish, make_cube, random_codes

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/add-a-job.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:`(jobs/[\w/.]+)`\n\n)?```(\w+)\n(.*?)```", re.DOTALL)
CUBE = """lake = "lake"
[runs.mels]
job = "spectrograms"
config = { window_s = 6.0, hop_s = 600.0, n_mels = 8, n_frames = 16, shard_windows = 72 }
"""


def blocks(language: str) -> dict[str, str]:
    """Return the page's blocks of a language by the file that they are; those of no file by their first line."""
    return {path or text.split("\n")[0].strip(): text for path, found, text in BLOCK.findall(PAGE) if found == language}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the code with the page's job."""
    for package in ("jobs", "lake", "dawnchorus"):
        target = tmp_path / "checkout" / package
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                (target / path.relative_to(ROOT / package)).parent.mkdir(parents=True, exist_ok=True)
                (target / path.relative_to(ROOT / package)).write_bytes(path.read_bytes())
    for name, text in blocks("python").items():
        if name.startswith("jobs/"):
            file = tmp_path / "checkout" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    registry = tmp_path / "checkout/jobs/runner/registry.py"
    (line,) = blocks("text").values()
    before = registry.read_text()
    registry.write_text(before.replace("PACKAGES = (\n", f"PACKAGES = (\n{line}", 1))
    assert registry.read_text() != before
    return tmp_path / "checkout"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a folder with a finished cube and a manifest with the page's run."""
    finish(make_cube(tmp_path / "lake", random_codes()))
    (manifest,) = blocks("toml").values()
    (tmp_path / "study.toml").write_text(CUBE + manifest)
    return tmp_path


def typed(line: str, checkout: Path, folder: Path) -> str:
    """Run a line of the page with the code of a checkout; return what was said."""
    words = shlex.split(line)
    assert words[0] == "dawnchorus"
    code = f"import sys; sys.path.insert(0, {str(checkout)!r}); import jobs.cli.main; jobs.cli.main.main()"
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_is_followed(checkout: Path, study: Path) -> None:
    (commands,) = blocks("sh").values()
    said = {line: typed(line, checkout, study) for line in commands.splitlines()}
    dry, ran, status, verified = said.values()
    assert "to read: 44 windows of mels" in dry
    assert "disk: up to 0.98 kiB in 1 files" in dry
    assert ran.startswith("loud: done in ")
    assert "44 windows" in ran
    assert re.search(r"loud +loudness +done", status)
    assert verified.startswith("loud: 1 files in the ledger, 0 of them differ")
    found = json.loads((study / "lake/scores/loud/loudness.json").read_text())
    codes = random_codes()
    whole = codes[(codes > 0).all(axis=(2, 3))]
    assert found["n_windows"] == len(whole) == 44
    np.testing.assert_allclose(found["mean_code"], whole.mean())
    assert typed("dawnchorus run study.toml loud", checkout, study) == "loud: done, nothing to do\n"
    assert "whether windows with gaps count" in typed("dawnchorus config loudness", checkout, study)


@pytest.mark.slow
def test_the_job_of_the_page_is_behind_the_walls(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(lint, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    command = checkout / "jobs/loudness/command.py"
    for other in ("jobs.cluster.core", "jobs.runner.manifest", "jobs.submit.plan"):
        command.write_text(f"{blocks('python')['jobs/loudness/command.py']}\nimport {other}\n")
        done = subprocess.run(lint, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, other
        assert "jobs.loudness" in done.stdout
    command.write_text(blocks("python")["jobs/loudness/command.py"])
    shared = checkout / "jobs/common/terminal.py"
    shared.write_text(f"{shared.read_text()}\nimport jobs.loudness.command\n")
    done = subprocess.run(lint, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "jobs.common.terminal -> jobs.loudness.command" in done.stdout


def test_the_page_adds_a_package_and_one_line() -> None:
    assert {path.rpartition("/")[0] for path in blocks("python")} == {"jobs/loudness"}
    assert [text.count("\n") for text in blocks("text").values()] == [1]


def test_the_job_of_the_page_is_ten_lines_of_its_own() -> None:
    """Statements of its functions, and its settings: the rest is the same in every job."""
    command, config = (ast.parse(blocks("python")[f"jobs/loudness/{name}.py"]) for name in ("command", "config"))
    functions = [node for node in command.body if isinstance(node, ast.FunctionDef)]
    settings = [node for node in ast.walk(config) if isinstance(node, ast.AnnAssign)]
    assert {node.name for node in functions} == {"execute", "describe"}
    assert sum(len(node.body) - 1 for node in functions) + len(settings) <= 10
