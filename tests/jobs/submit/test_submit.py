"""Scripts of a submission, run as they are under stand-ins that set what the schedulers document."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chains import receipts, standing
from soundfiles import CONFIG, Study
from standins import install, jobs

from jobs.runner.manifest import read_manifest
from jobs.submit.command import Where, submit
from jobs.submit.profile import Site
from jobs.submit.sites import read_site

DONE = {"mels": ("done", ""), "vectors": ("done", ""), "clusters": ("done", ""), "scores": ("done", "")}
CUBE = {"mels": ("done", ""), "vectors": ("done", "")}
RESOURCES = "resources = { tasks = 2, workers = 1, hours = 1.5 }"
Submitted = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def fresh(chain: Study) -> Path:
    """Return the manifest of the chain before anything was run, the shares of its cube in two tasks."""
    manifest = chain.folder / "study-lake.toml"
    text = manifest.read_text().replace('lake = "lake"', 'lake = "fresh"')
    manifest.write_text(text.replace(f"config = {{ {CONFIG} }}", f"config = {{ {CONFIG} }}\n{RESOURCES}"))
    return manifest


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("spectrograms", "dino", "cluster"):
        (folder / f"{name}.sif").write_bytes(name.encode())
    return folder


@pytest.fixture
def submitted(fresh: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submitted:
    """Return a function that submits the chain under the stand-in of a scheduler and returns its jobs."""

    def submitted(site: Site, *names: str) -> list[dict[str, Any]]:
        folder = tmp_path / site.scheduler
        if not folder.exists():
            for key, value in install(folder, site.scheduler).items():
                monkeypatch.setenv(key, value)
        submit(read_manifest(fresh), names, site, Where(images, tmp_path / "out"), print, dry_run=False)
        return jobs(folder)

    return submitted


def site(name: str, **changes: Any) -> Site:
    return read_site(name).model_copy(update={"workers": 1, "account": "birds", **changes})


def log(tmp_path: Path, name: str) -> str:
    return "".join(
        path.read_text() for path in sorted((tmp_path / "out").glob(f"{name}*")) if path.suffix in {".log", ".output"}
    )


def same_as_before(fresh: Path) -> None:
    """Check that the runs gave the bytes that they gave without any scheduler, with receipts that name the backend.

    Jobs run in a clean environment: where a variable chooses the kernels of this process, as OPENBLAS_CORETYPE does,
    they compute as another backend, and the last digits of what follows are their own.
    """
    before = {path.parent.name: json.loads(path.read_text()) for path in (fresh.parent / "lake/receipts").glob("*/*")}
    done = [name for name, where in standing(fresh).items() if where == ("done", "")]
    assert done
    for name in done:
        now, then = receipts(fresh, name)[-1], before[name]
        if now["backend"] != then["backend"]:
            assert "OPENBLAS_CORETYPE" in os.environ
            return
        assert (name, now["content_id"]) == (name, then["content_id"])


# The whole chain under each scheduler ----------------------------------------------------------------------


@pytest.mark.slow
def test_slurm(submitted: Submitted, fresh: Path, images: Path, tmp_path: Path) -> None:
    made = submitted(site("slurm", queue="ci"))
    assert standing(fresh) == DONE, log(tmp_path, "")
    names = [job["script"].removesuffix(".sh") for job in made]
    assert names == ["mels", "mels-finalise", "vectors", "vectors-finalise", "clusters", "scores"]
    assert [job["needs"] for job in made] == [[], ["1"], ["2"], ["3"], ["4"], ["5"]]
    assert made[0]["codes"] == [0, 0], "an array of two tasks"
    assert made[0]["options"] | {"--output": ""} == {
        "--job-name": "mels", "--output": "", "--open-mode": "append", "--time": "01:30:00", "--nodes": "1",
        "--ntasks-per-node": "1", "--cpus-per-task": "1", "--signal": "B:TERM@300", "--requeue": "",
        "--partition": "ci", "--account": "birds", "--array": "0-1",
    }  # fmt: skip
    same_as_before(fresh)
    (whole,) = [receipt for receipt in receipts(fresh, "mels") if receipt["state"] == "done"]
    assert whole["image"]["sha256"] == hashlib.sha256(b"spectrograms").hexdigest()
    assert not list(tmp_path.glob("out/tls*"))


@pytest.mark.slow
def test_pbs(submitted: Submitted, fresh: Path, tmp_path: Path) -> None:
    made = submitted(site("polaris"), "mels", "vectors")
    assert {name: standing(fresh)[name] for name in CUBE} == CUBE, log(tmp_path, "")
    assert made[0]["codes"] == [0, 0], "an array of two tasks"
    assert [job["needs"] for job in made] == [[], ["1[].pbs"], ["2.pbs"], ["3.pbs"]]
    options = made[0]["options"]
    assert (options["-N"], options["-q"], options["-A"], options["-J"]) == ("mels", "preemptable", "birds", "0-1")
    assert options["-l"] == "select=1:system=polaris"
    assert options["-l walltime"] == "walltime=01:30:00"
    assert options["-l filesystems"] == "filesystems=home:eagle"
    same_as_before(fresh)


@pytest.mark.slow
def test_cobalt(submitted: Submitted, fresh: Path, tmp_path: Path) -> None:
    made = submitted(site("thetagpu"), "mels", "vectors")
    assert {name: standing(fresh)[name] for name in CUBE} == CUBE, log(tmp_path, "")
    assert [job["needs"] for job in made] == [[], ["1"], ["2"], ["3"]]
    assert made[0]["options"] == {
        "-n": "2", "-t": "01:30:00", "-O": str(tmp_path / "out" / "mels"), "-q": "full-node", "-A": "birds",
        "--attrs": "filesystems=home,grand,eagle",
    }  # fmt: skip
    shares = [receipt["part"] for receipt in receipts(fresh, "mels") if receipt["state"] == "share"]
    assert sorted(shares) == [[0, 2], [1, 2]], "no arrays: a share on each node"
    same_as_before(fresh)
