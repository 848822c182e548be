"""The command lines and the Python of README and docs: which of them tests run, and why the others only are parsed.

``python tests/docslines.py`` prints the numbers, and the lines that are not run with their reasons.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HOUSE = Path(__file__).resolve().parents[1]
PAGES = [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted((HOUSE / "docs").glob("*.md"))]
STARTS = re.compile(r"(?:^\s*|`|&& |\.venv/bin/|sif )dawnchorus (?!is )([a-z][^`]*)")
PYTHON = re.compile(r"^```(?:python|py|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FOR_CONTRIBUTORS = "add-a-*.md"
"""Pages on how to change dawnchorus itself: they show its inside, and have tests of their own."""
TUTORIAL = "tutorial.md"
READS = {"config", "events", "export", "query", "similar", "status", "trace", "verify"}
"""Commands whose lines are run on the small demo; ``verdicts list`` too."""
NOT_RUN = {
    "catalog": "reads folders of recordings that are not here; tests/jobs/catalog runs the command",
    "certificate": "is for a cluster of machines; tests/jobs/runner runs it",
    "demo": "makes the demo: .ci/wheel and the tutorial's test run it",
    "finalise": "ends a run of several machines; tests/jobs/runner runs it",
    "import": "needs vectors of another program; the notebook on BirdNET and tests/jobs/imports run it",
    "init": "begins a study; the tutorial's test runs it",
    "loop": "needs the answers of a person; tests/jobs/workflows runs it",
    "reproduce": "needs container images; .ci/images runs it",
    "review": "writes a batch for a person; tests/jobs/review runs it",
    "run": "computes for minutes or more; the tutorial's test and those of each job run it",
    "submit": "needs a scheduler; tests/jobs/submit runs it with stand-ins",
    "verdicts": "needs the answers of a person; tests/jobs/review runs it",
}
DEMO = "data/demo"
STUDY, CLUSTERS, VECTORS = (
    f"{DEMO}/{name}" for name in ("manifest.toml", "clusters/clusters.zarr", "embeddings/vectors.zarr")
)
STANDS_FOR = {
    **dict.fromkeys(["study.toml", "MANIFEST", "M", "manifests/demo.toml", "data/meadow/manifest.toml"], STUDY),
    **dict.fromkeys(["CLUSTERS", "data/meadow/clusters/clusters.zarr"], CLUSTERS),
    "EMBEDDINGS": VECTORS, "DETECTIONS": f"{DEMO}/detections/detections.zarr", "found": "detections",
    "R": "00004862", "T": "2021-06-22T09:50:00", "wren": "hoot", "North wood": "creek", "12": "2", "JOB": "cluster",
    "/audio": f"{DEMO}/study/audio", "FOLDER": "bundle", "data/meadow/windows.csv": "meadow.csv",
}  # fmt: skip
"""What stands in the docs for a study of the reader's, and what it is in the demo."""


class Line(NamedTuple):
    """A command line of a page, without ``dawnchorus``."""

    page: str
    number: int
    words: list[str]

    @property
    def not_run(self) -> str:
        """Why it is not run by the test of these lines; empty if it is."""
        first, rest = self.words[0], self.words[1:]
        gap = any("…" in word or word.endswith("[--json]") for word in rest) or rest[-1:] == ["--out"]
        own = [
            (not rest, "names the command"),
            (gap, "has a gap for the reader to fill"),
            (self.page == "add-a-job.md", "is of a job that the page makes; tests/test_add_a_job.py runs it"),
            (first == "similar" and "--audio" in rest, "needs a clip of the reader's; tests/jobs/cli runs it"),
            (first == "similar" and "DICTIONARY" in rest, "needs two vector sets; tests/jobs/cli runs it"),
            (first == "names", "needs two clusterings; tests/jobs/cli runs it"),
            (first in READS or self.words[:2] == ["verdicts", "list"], ""),
            (first == "run" and "--dry-run" in rest, ""),
        ]
        return next((reason for holds, reason in own if holds), NOT_RUN.get(first, ""))

    @property
    def typed(self) -> list[str]:
        """The words as they are typed in the folder of the small demo; a comment at the end is left out."""
        store = CLUSTERS if self.words[0] == "export" else VECTORS
        words = [{**STANDS_FOR, "STORE": store}.get(word, word) for word in self.words]
        return [word.rstrip("/") if word in {"raven/", "labels/"} else word for word in words]


def lines_of(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and words of every ``dawnchorus …`` in blocks of code and between backticks."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    for number, line in enumerate(text.splitlines(), 1):
        for found in STARTS.finditer(line):
            typed = re.split(r"\s#|\s\||\s&&|;|\s>|\s{3,}", found[1])[0]
            try:
                yield number, shlex.split(typed)
            except ValueError:  # an apostrophe of a sentence
                yield number, typed.split()


def all_lines() -> list[Line]:
    """Return every command line of all pages."""
    return [Line(page.name, number, words) for page in PAGES for number, words in lines_of(page)]


def summary() -> list[str]:
    """Return what is run and what is not, as lines."""
    lines = all_lines()
    rest = [line for line in lines if line.not_run]
    blocks = {page: len(PYTHON.findall(page.read_text(encoding="utf-8"))) for page in PAGES}
    inside = sum(n for page, n in blocks.items() if page.match(FOR_CONTRIBUTORS))
    said = f"docs: {len(lines) - len(rest)} of {len(lines)} command lines are run"
    said += f", {sum(blocks.values()) - inside} of {sum(blocks.values())} blocks of Python; the others are parsed:"
    more = [f"  {page.name}: {n} blocks: have a test of their own" for page, n in blocks.items() if n]
    kept = [line for line in more if line.strip().startswith("add-a-")]
    return [
        said,
        *(f"  {line.page}:{line.number}: {' '.join(line.words)[:70]}: {line.not_run}" for line in rest),
        *kept,
    ]


if __name__ == "__main__":
    import sys

    sys.stdout.write("\n".join([*summary(), ""]))
