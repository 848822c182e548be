from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.common.network import devices
from jobs.common.network.devices import backend_of, choose_device, peak_flops, peak_memory_bytes
from lake.errors import InputError


def test_each_kind_of_processor_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    assert backend_of("cuda:1") == "cuda-sm90"
    assert backend_of().startswith("cpu-")


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: x\n", ""),
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: x\n", "-AuthenticAMD"),
        ("processor\t: 0\nCPU implementer\t: 0x41\n", ""),
        (None, ""),
    ],
)
def test_makers_whose_processors_compute_otherwise_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, ending: str
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
    assert backend_of() == f"cpu-{torch.backends.cpu.get_cpu_capability()}{ending}"


def test_cuda_is_taken_where_it_is_and_refused_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None) == "cuda"
    assert choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == "cpu"
    with pytest.raises(InputError, match="cuda:1 was asked for, but torch sees no CUDA device"):
        choose_device("cuda:1")


def test_a_cpus_speed_is_what_a_product_reaches() -> None:
    found = peak_flops("cpu", "fp32")
    assert found is not None
    assert 1e8 < found < 1e14


def test_a_devices_speed_is_that_of_its_data_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H200")
    assert peak_flops("cuda:0", "bf16") == 989e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Somebody's GPU")
    assert peak_flops("cuda:0", "bf16") is None


def test_memory_is_at_least_what_was_just_held() -> None:
    held = np.ones(200_000_000, dtype=np.uint8)
    assert peak_memory_bytes("cpu") > held.nbytes
