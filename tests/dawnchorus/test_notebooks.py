"""The notebooks of the docs: as they are kept, and executed by a kernel on the lake of the small demo."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import pytest

from dawnchorus import errors

FOLDER = Path(__file__).resolve().parents[2] / "docs/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PUBLIC = {"dawnchorus", "matplotlib", "numpy", "pandas", "pathlib", "xarray"}
QUICK = {"STEPS = 150": "STEPS = 2", "n_patches = 20000, n_atoms = 64": "n_patches = 5000, n_atoms = 8"}
"""For the study of a test; what is tested are the cells."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types


def executed(path: Path, folder: Path) -> list[Any]:
    """Execute a notebook in a folder and return its cells; nothing but a file of this machine connects the kernel."""
    notebook = read(path)
    for cell in notebook.cells:
        for slow, quick in QUICK.items():
            cell.source = cell.source.replace(slow, quick)
    with TemporaryDirectory() as name:
        own = Path(name) / path.name
        nbformat.write(notebook, own)  # type: ignore[no-untyped-call]  # nbformat has no types
        # A process of its own: what a kernel's sockets leave open would be another test's warning.
        words = [sys.executable, "-W", "ignore", "-c", EXECUTE, str(own), str(folder), f"{name}/kernel"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        notebook = read(own)
    return list(notebook.cells)


EXECUTE = """
import sys

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

path, folder, sockets = sys.argv[1:]
notebook = nbformat.read(path, as_version=4)
manager = AsyncKernelManager(transport="ipc", ip=sockets, kernel_name="python3")
NotebookClient(notebook, km=manager, timeout=1800, resources={"metadata": {"path": folder}}).execute()
nbformat.write(notebook, path)
"""


def shown(cells: list[Any]) -> set[str]:
    """Return the kinds of what the cells show."""
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return {kind for output in outputs for kind in output.get("data", {})}


def test_there_are_four() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["1-first-look", "2-verdicts", "3-birdnet", "4-own-network"]
    assert issubclass(errors.InputError, errors.DawnchorusError)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_results_and_uses_what_is_public(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert notebook.cells[0].source.startswith("# ")
    for cell in code:
        lines = ("" if line.startswith("!") else line for line in cell.source.splitlines())
        for node in ast.walk(ast.parse("\n".join(lines))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= PUBLIC


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(demo_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    kinds = shown(executed(path, tmp_path))
    assert {"text/html", "image/png"} <= kinds
