"""The Python in README and docs: it imports the public package alone, and it runs."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?:python|py|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    """Return the Python of a page."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


WITH_PYTHON = [page for page in PAGES if blocks(page)]


def test_the_pages_that_have_python_are_found() -> None:
    assert {page.name for page in WITH_PYTHON} >= {"README.md", "api.md", "querying.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_imports_the_public_package_alone(page: Path) -> None:
    trees = [ast.parse(block) for block in blocks(page)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom)} <= {"dawnchorus"}
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    assert not re.search(r"^\s*(from|import) (lake|jobs)\b", prose, re.MULTILINE)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, demo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page in order, in the folder of a finished demo, as a script."""
    monkeypatch.chdir(demo_folder)
    exec(compile("\n".join(blocks(page)), page.name, "exec"), {"__name__": "__main__"})  # noqa: S102 (our own pages)
