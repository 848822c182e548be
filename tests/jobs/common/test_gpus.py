from pathlib import Path

import pytest

from jobs.common import gpus
from jobs.common.gpus import driver_version, missing_gpus

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Wed Oct 25 00:00:00 UTC 2023\nGCC version: 11\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (root@host)\n"


def told(tmp_path: Path, wanted: int) -> list[str]:
    return list(missing_gpus(wanted, tmp_path, tmp_path / "version"))


def test_no_gpu_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpus, "current_image", lambda: None)
    assert told(tmp_path, 1) == ["asks for 1 GPU, none is seen here (is there a driver?); the CPU is used instead"]
    monkeypatch.setattr(gpus, "current_image", lambda: {"name": "dino.sif"})
    assert told(tmp_path, 8) == [
        "asks for 8 GPUs, none is seen here (give apptainer `--nv`, on a node that has them); the CPU is used instead"
    ]


def test_fewer_gpus_than_asked_for_are_told(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    assert told(tmp_path, 1) == []
    assert told(tmp_path, 2) == ["asks for 2 GPUs, 1 are seen here"]


@pytest.mark.parametrize(("driver", "fits"), [("570.133.20", False), ("580.65.06", True), ("590.1", True)])
def test_a_driver_too_old_for_the_image_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, fits: bool
) -> None:
    (tmp_path / "nvidia0").touch()
    (tmp_path / "version").write_text(VERSION.format(driver))
    monkeypatch.setattr(gpus, "least_driver", lambda: "580.65.06")
    lines = told(tmp_path, 1)
    assert (lines == []) is fits
    if not fits:
        assert "the NVIDIA driver here is 570.133.20, the CUDA of this image needs 580.65.06 or newer" in lines[0]


def test_the_driver_tells_its_version(tmp_path: Path) -> None:
    path = tmp_path / "version"
    assert driver_version(path) is None
    path.write_text(VERSION.format("535.129.03"))
    assert driver_version(path) == "535.129.03"
    path.write_text(OPEN.format("580.65.06"))
    assert driver_version(path) == "580.65.06"
    path.write_text("nothing of the kind")
    assert driver_version(path) is None
