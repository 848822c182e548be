"""What builds the images, with a stand-in for apptainer; and that the locks lock what the jobs need."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"[a-z0-9][a-z0-9-]*==[\w.+!]+ --hash=sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_images", ROOT / "containers/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calls(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for apptainer on the PATH, which notes its words and makes a file; return the notes."""
    notes, tools = tmp_path / "notes", tmp_path / "tools"
    tools.mkdir()
    lines = [
        "#!/bin/bash",
        f'echo "$*" >>{notes}',
        'eval target="\\${$(($# - 1))}"',
        'echo "$*" >"$target"; exit ${CODE:-0}',
    ]
    (tools / "apptainer").write_text("\n".join(lines) + "\n")
    (tools / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    wheel = tmp_path / "wheel" / "dawnchorus-0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"a wheel")
    monkeypatch.setattr(build, "build_wheel", lambda _folder: wheel)
    monkeypatch.setattr(build, "pip_download", lambda *_words: None)
    monkeypatch.setattr(
        build, "link_wheels", lambda _source, stage, _digests: (stage / "torch-2.12.1-cp313.whl").touch()
    )
    return notes


def make(build: ModuleType, tmp_path: Path, *words: str) -> None:
    build.main([*words, "--out", str(tmp_path / "images"), "--wheels", str(tmp_path / "wheels"), "--mirror", "m"])


def test_images_are_built_once(
    build: ModuleType, calls: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(build, tmp_path)
    words = calls.read_text().splitlines()
    assert [line.split()[-1].rsplit("/", 1)[1] for line in words] == ["base.def", "job.def", "job.def", "job.def"]
    assert "--build-arg IMAGE=dino" in words[2]
    assert "--build-arg TORCH=2.12.1" in words[2]
    digest = hashlib.sha256((tmp_path / "images/dino.sif").read_bytes()).hexdigest()
    told = capfd.readouterr().out
    assert f"dino: built, 0 MB, sha256 {digest}" in told
    assert (tmp_path / "images/dino.sif.sha256").read_text() == f"{digest}  dino.sif\n"
    make(build, tmp_path)
    assert calls.read_text().splitlines() == words, "nothing is built again"
    told = capfd.readouterr().out
    assert [line.split(",")[0] for line in told.splitlines()] == [
        f"{name}: up to date" for name in ("base", "spectrograms", "dino", "cluster")
    ]


def test_only_what_changed_is_built_again(build: ModuleType, calls: Path, tmp_path: Path, monkeypatch: Any) -> None:
    make(build, tmp_path, "dino", "cluster")
    copy = tmp_path / "containers"
    shutil.copytree(ROOT / "containers", copy)
    monkeypatch.setattr(build, "HERE", copy)
    with (copy / "dino.lock").open("a") as file:
        file.write(f"extra==1.0 --hash=sha256:{'0' * 64}\n")
    calls.unlink()
    make(build, tmp_path, "dino", "cluster")
    assert [line for line in calls.read_text().splitlines() if "IMAGE=dino" not in line] == []
    (tmp_path / "images/cluster.sif").write_text("cut short")
    calls.unlink()
    make(build, tmp_path, "dino", "cluster")
    assert ["IMAGE=cluster" in line for line in calls.read_text().splitlines()] == [True]


def test_a_build_that_fails_leaves_the_old_image(
    build: ModuleType, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(build, tmp_path, "cluster")
    before = (tmp_path / "images/cluster.sif").read_bytes()
    monkeypatch.setenv("CODE", "4")
    monkeypatch.setattr(build, "version", lambda: "9.9")
    (tmp_path / "wheel/dawnchorus-0-py3-none-any.whl").write_bytes(b"another wheel")
    with pytest.raises(SystemExit, match=r"build: cluster failed after \d+ s:"):
        make(build, tmp_path, "cluster")
    assert (tmp_path / "images/cluster.sif").read_bytes() == before


def test_a_build_without_room_does_not_begin(
    build: ModuleType, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(_source: Path, stage: Path, _digests: set[str]) -> None:
        (stage / "torch-2.12.1-cp313.whl").write_bytes(b"x" * 1000)

    free = 0
    monkeypatch.setattr(build, "link_wheels", link)
    monkeypatch.setattr(build.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    with pytest.raises(SystemExit, match=r"cluster takes up to .* GB while it is built, and .* has 0.0 GB free"):
        make(build, tmp_path, "cluster")
    assert not any("IMAGE=cluster" in line for line in calls.read_text().splitlines())
    assert not (tmp_path / "stage/cluster").exists()
    free = 5000
    make(build, tmp_path, "cluster")
    assert (tmp_path / "images/cluster.sif").exists()


def test_a_torch_of_another_index(build: ModuleType, calls: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The lock's torch and CUDA give way, and what came instead is locked in turn."""
    asked: list[tuple[str, ...]] = []

    def download(folder: Path, *words: str) -> None:
        asked.append(words)
        if "--index-url" in words:
            (folder / "torch-2.12.1+cpu-cp313.whl").write_bytes(b"torch")

    monkeypatch.setattr(build, "pip_download", download)
    monkeypatch.setattr(build, "link_wheels", lambda *_: None)
    monkeypatch.setattr(build.shutil, "rmtree", lambda *_words, **_more: None)
    make(build, tmp_path, "dino", "--torch-index", "file:///cpu")
    assert asked[1][:2] == ("--index-url", "file:///cpu")
    assert any(word.startswith("torch==") for word in asked[1])
    lock = (tmp_path / "stage/dino/lock.txt").read_text()
    assert lock == f"torch==2.12.1+cpu --hash=sha256:{hashlib.sha256(b'torch').hexdigest()}\n"
    pins = (tmp_path / "stage/dino/pins.txt").read_text()
    assert "timm==" in pins
    assert not re.search(r"^(torch|nvidia|triton|cuda)", pins, re.MULTILINE)
    assert "TORCH=2.12.1+cpu" in calls.read_text()
    assert "DRIVER=none" in calls.read_text()


def test_an_index_without_the_wheels(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(SystemExit, match=r"from file:///\S+/index; its reason is above\. .* CPython 3\.13 on"):
        build.pip_download(tmp_path, "--index-url", f"file://{tmp_path}/index", "torch==2.12.1")
    assert "torch==2.12.1" in capfd.readouterr().err


def test_the_least_driver(build: ModuleType) -> None:
    assert build.least_driver(["nvidia_cuda_runtime-13.0.96-py3-none-any.whl"]) == "580.65.06"
    assert build.least_driver(["nvidia_cuda_runtime_cu12-12.6.77-py3-none-any.whl"]) == "525.60.13"
    assert build.least_driver(["numpy-2.0-any.whl"]) == "none"


def test_an_image_that_there_is_not(build: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build.main(["dyno"])
    assert caught.value.code == 2
    assert "no image 'dyno'; there are spectrograms, dino, cluster and base" in capsys.readouterr().err


# Locks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["spectrograms", "dino", "cluster"])
def test_a_lock_has_everything_that_its_image_needs(image: str) -> None:
    """Otherwise `make lock-images` was forgotten."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / f"containers/{image}.lock").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not LINE.fullmatch(line)] == [], "names, versions and digests; no host names"
    locked = {line.split("==")[0] for line in lines}
    wanted = [
        *project["dependencies"],
        *(line for of in (image, "s3") for line in project["optional-dependencies"][of]),
    ]
    names = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in wanted}
    assert names - locked == set()
    if image == "cluster":
        assert not {name for name in locked if name.startswith(("torch", "nvidia"))}


def test_no_image_holds_a_path_or_a_host() -> None:
    for path in (ROOT / "containers").iterdir():
        if path.is_file():
            assert not re.search(r"https?://\w", path.read_text()), path


def test_stamps_are_json(build: ModuleType, calls: Path, tmp_path: Path) -> None:
    make(build, tmp_path, "base")
    stored = json.loads((tmp_path / "images/base.json").read_text())
    assert stored["made_of"]["from"] == "trixie"
