"""What the wheel holds, and what the project says it needs."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Collection, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from jobs.runner.registry import JOBS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("dawnchorus", "lake", "jobs")
BESIDE_IMAGES = ("bench", "docs", "full", "hoplite", "s3")
"""Extras that are no image's."""
EXTRAS = {entry.package: entry.extra for entry in JOBS.values()} | {
    "jobs.catalog": "spectrograms", "jobs.demo": "spectrograms",
}  # fmt: skip
"""The image that a job is to run in."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


def test_the_citation_has_the_version() -> None:
    """One version: that of ``pyproject.toml``; whoever cites names the same."""
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"dawnchorus-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"dawnchorus-{PROJECT['version']}.dist-info"
    ours = {name for name in names if not name.startswith(f"{info}/")}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    assert ours == {str(path.relative_to(ROOT)) for path in files if path.parent.name != "__pycache__"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= ours
    assert {"jobs/common/pages/templates/base.html.j2", "jobs/demo/demo.toml", "jobs/submit/sites/slurm.toml"} <= ours
    assert len([name for name in ours if name.startswith("jobs/atlas/templates/")]) >= 4
    assert {name.removeprefix(f"{info}/") for name in names - ours} == {
        "METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE",
    }  # fmt: skip


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"dawnchorus-{PROJECT['version']}.dist-info"
        assert archive.read(f"{info}/entry_points.txt").decode().split("\n")[:2] == [
            "[console_scripts]",
            "dawnchorus = jobs.cli.main:main",
        ]
        about = archive.read(f"{info}/METADATA").decode()
        assert "Apache License" in archive.read(f"{info}/licenses/LICENSE").decode()
    assert "\nLicense-Expression: Apache-2.0\n" in about
    assert "\nRequires-Python: >=3.11\n" in about
    for extra in ("spectrograms", "dino", "cluster", "dev"):
        assert f"\nProvides-Extra: {extra}\n" in about


def test_what_the_wheel_installs_runs(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import dawnchorus, jobs.atlas.pages, jobs.cli.main, jobs.workflows.quickstart, lake
assert all(module.__file__.startswith(sys.argv[1]) for module in (dawnchorus, jobs.cli.main, lake))
template = jobs.workflows.quickstart.TEMPLATE
assert str(template).startswith(sys.argv[1]) and not template.is_symlink()
assert template.read_text().startswith("# The demo study")
sys.argv = ["dawnchorus", "--version"]
jobs.cli.main.main()
"""
    words = [sys.executable, "-c", code, str(tmp_path / "site")]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{PROJECT['version']}\n"


def test_our_names_are_nobody_elses() -> None:
    owners = metadata.packages_distributions()
    for name in PACKAGES:
        assert set(owners.get(name, [])) <= {"dawnchorus"}
        assert name not in sys.stdlib_module_names


# What is needed --------------------------------------------------------------------------------------------


def plain(requirement: str) -> str:
    """Return the name of a distribution as registries compare it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level names that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def declared(requirements: Collection[str]) -> set[str]:
    """Return the names of distributions; ``dask[distributed]`` brings one of the extra's name as well."""
    brackets = (re.findall(r"\[(.*)\]", requirement) for requirement in requirements)
    extras = {plain(extra) for found in brackets for extra in ",".join(found).split(",") if extra}
    return {plain(requirement) for requirement in requirements} | extras


@cache
def owners() -> dict[str, set[str]]:
    return {name: {plain(owner) for owner in found} for name, found in metadata.packages_distributions().items()}


def undeclared(folder: str, known: set[str]) -> dict[str, set[str]]:
    """Return by module the packages that it imports and that are not among those declared."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        names = {name for name in imported(path) if name not in {*sys.stdlib_module_names, *PACKAGES}}
        missing = {name for name in names if not owners().get(name, set()) & known}
        if missing:
            found[str(path.relative_to(ROOT))] = missing
    return found


def test_every_import_of_an_image_is_a_declared_dependency() -> None:
    always = declared(PROJECT["dependencies"])
    extras = {name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
    lake = undeclared("lake", always)
    assert all(path.startswith("lake/counting/") and names == {"scipy"} for path, names in lake.items()), lake
    assert undeclared("lake", always | extras[EXTRAS["jobs.count"]]) == {}, "the image that counts has it"
    assert undeclared("dawnchorus", always) == {}
    for package, extra in EXTRAS.items():
        more = extras["hoplite"] if package == "jobs.imports" else set()
        found = undeclared(package.replace(".", "/"), always | extras[extra] | more)
        assert found == {}, f"in the image {extra!r}"
    assert undeclared("jobs", always.union(*extras.values())) == {}


def test_the_development_environment_has_every_image() -> None:
    images = set(PROJECT["optional-dependencies"]) - {"dev", *BESIDE_IMAGES}
    assert images == set(EXTRAS.values())
    for extra, wanted in {"full": images, "dev": {"full", "s3", "hoplite"}}.items():
        (whole,) = [line for line in PROJECT["optional-dependencies"][extra] if line.startswith("dawnchorus[")]
        assert set(whole.removeprefix("dawnchorus[").rstrip("]").split(",")) == wanted
