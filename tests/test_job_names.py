"""Lake, submission and command line know no job by its name: they ask the job, or what a store says of itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.runner.registry import JOBS
from lake.constants import DATA_ARRAYS, KINDS

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    path
    for pattern in ("lake/**/*.py", "jobs/submit/**/*.py", "jobs/cli*.py", "jobs/cli/**/*.py", "jobs/runner/execute.py",
                    "jobs/runner/execution.py", "jobs/runner/state.py", "jobs/runner/dryrun.py",
    "jobs/runner/manifest.py", "jobs/runner/reproduce.py")
    for path in ROOT.glob(pattern)
)  # fmt: skip
OTHER_MEANINGS = {*KINDS, *DATA_ARRAYS, *(job.extra for job in JOBS.values())}
"""Words that name a folder of the lake, an array or an image as well."""


def job_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text where a module speaks of a job by its name.

    That is a string that is a job's name and nothing else's; or one that is compared with, or looked up by, something
    called ``job``. A command of the command line may be called like a job.
    """
    tree = ast.parse(source)
    commands = {
        keyword.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "command"
        for keyword in call.keywords
    }
    for named in ast.walk(tree):
        if (
            isinstance(named, ast.Assign)
            and isinstance(named.value, ast.Dict)
            and ast.unparse(named.targets[0]) == "EXAMPLES"
        ):
            commands.update([named.value, *filter(None, named.value.keys)])
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr | ast.stmt):
            continue
        if _is_of_a_job(node) or (_is_table_of_jobs(node) and node not in commands):
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Constant) and node.value in {*JOBS} - OTHER_MEANINGS and node not in commands:
            yield node.lineno, repr(node.value)


def _is_table_of_jobs(node: ast.AST) -> bool:
    """Return whether a literal table speaks of more jobs than it has words of another meaning."""
    words = {*_texts(node)} if isinstance(node, ast.Dict) else set()
    return len(words & {*JOBS}) > len(words & OTHER_MEANINGS)


def _is_of_a_job(node: ast.AST) -> bool:
    """Return whether something called ``job`` is compared with a job's name."""
    if not isinstance(node, ast.Compare | ast.Match):
        return False
    sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.subject]
    named = any(
        (isinstance(part, ast.Attribute) and part.attr == "job")
        or (isinstance(part, ast.Name) and part.id == "job")
        or (isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Constant) and part.slice.value == "job")
        for side in sides
        for part in ast.walk(side)
    )
    return named and bool({*_texts(node)} & {*JOBS})


def _texts(node: ast.AST) -> list[str]:
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_job_is_known_by_its_name(path: Path) -> None:
    assert list(job_names(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        'if run.job == "dino":\n    pass',
        'found = [one for one in made.above() if one.job == "import"]',
        'if record["job"] == "cluster":\n    pass',
        'if "spectrograms" != job:\n    pass',
        'if run.job in {"atlas", "dino"}:\n    pass',
        'match run.job:\n    case "atlas":\n        pass',
        'KINDS = {"embed": "embeddings"}',
        'config = JOBS["evaluate"].config',
    ],
)
def test_this_test_finds(source: str) -> None:
    assert list(job_names(source))


@pytest.mark.parametrize(
    "source",
    ['made.nearest("spectrograms")', 'needing("the catalog", "spectrograms")', 'dataset["cluster"]',
     '@commands.command(name="import")\ndef f(): ...', 'kind = {"spectrograms": 1, "atlas": 2}'],
)  # fmt: skip
def test_other_meanings_are_left_alone(source: str) -> None:
    assert list(job_names(source)) == []
