"""The walks of ``docs/architecture.md`` name the files that a window and a batch pass through."""

import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from smalllake import write_study

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest

ROOT = Path(__file__).parent.parent


def listed(heading: str) -> tuple[list[str], int]:
    """Return the files with a path that a walk names, in order, and how many it says there are."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (walk,) = re.findall(rf"\*\*{heading}[^*]*\*\*, .*?\n\n", text, re.DOTALL)
    (stated,) = re.findall(r"\*\*, (\d+) files", walk)
    return list(dict.fromkeys(re.findall(r"`((?:jobs|lake)/[\w/]+\.py)`", walk))), int(stated)


def callers(manifest: Path, run: str, functions: set[str]) -> set[str]:
    """Return the project's files from the runner down to functions, while a run is executed."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_qualname in functions:
            above: FrameType | None = frame
            while above is not None:
                path = Path(above.f_code.co_filename)
                if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in {"jobs", "lake"}:
                    found.add(path.relative_to(ROOT).as_posix())
                above = above.f_back

    try:
        threading.setprofile(note)
        sys.setprofile(note)
        execute_runs(read_manifest(manifest), [run], Options(workers=1), lambda _: None)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


@pytest.mark.parametrize(
    ("heading", "run", "functions", "most"),
    [
        ("A window", "mels", {"Decoder.call", "frame_codes", "measure", "Shard.put", "encode_block"}, 22),
        ("A batch", "net", {"advance", "views_of", "plans", "uniforms", "open_windows"}, 14),
    ],
)  # fmt: skip
def test_a_walk_names_the_files_on_its_way(
    tmp_path: Path, heading: str, run: str, functions: set[str], most: int
) -> None:
    files, stated = listed(heading)
    assert not [name for name in files if not (ROOT / name).is_file()]
    manifest = write_study(tmp_path)
    if run != "mels":
        execute_runs(read_manifest(manifest), ["mels"], Options(workers=1), lambda _: None)
    passed = callers(manifest, run, functions)
    runner = {"jobs/runner/execute.py", "jobs/runner/execution.py", "jobs/runner/manifest.py"}
    assert passed - runner <= set(files), "the page leaves out files that call these functions"
    assert len(passed) > len(files) // 2  # the trace saw the walk
    also = {"jobs/contrast/command.py", "jobs/dino/views.py"}  # in place of another
    assert len(set(files) - also) == stated <= most
