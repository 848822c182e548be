import pytest
import torch

from jobs.common.devices import backend_of, choose_device
from lake.errors import InputError


def test_each_kind_of_processor_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    assert backend_of("cuda:1") == "cuda-sm90"
    assert backend_of().startswith("cpu-")


def test_cuda_is_taken_where_it_is_and_refused_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None) == "cuda"
    assert choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None) == "cpu"
    with pytest.raises(InputError, match="cuda:1 was asked for, but torch sees no CUDA device"):
        choose_device("cuda:1")
