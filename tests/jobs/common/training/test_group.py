"""What processes that train together send each other: JSON and tensors, nothing that runs when it is read."""

import math
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed

from jobs.common.processes import Place
from jobs.common.training import group
from lake.errors import InputError

ROOT = Path(__file__).parents[4]
PICKLED = {
    "broadcast_object_list", "all_gather_object", "gather_object", "scatter_object_list", "send_object_list",
    "recv_object_list", "TCPStore",
}  # fmt: skip


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be the one process of a group of one, which sends through gloo all the same."""
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "lo")
    store = distributed.FileStore(str(tmp_path / "store"), 1)  # type: ignore[attr-defined]  # public; torch lists none
    distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    yield
    distributed.destroy_process_group()


@pytest.fixture
def forged(alone: None, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what the group is to be sent instead of its own bytes."""
    sent: list[bytes] = []
    gather = distributed.all_gather

    def all_gather(found: list[Tensor], mine: Tensor) -> None:
        gather(found, mine)
        data = torch.tensor(list(sent[0]), dtype=torch.uint8)
        found[0].resize_(1 if mine.dtype == torch.int64 else len(data))
        found[0].copy_(torch.tensor([len(data)]) if mine.dtype == torch.int64 else data)

    monkeypatch.setattr(distributed, "all_gather", all_gather)
    return sent


VALUES: list[Any] = [None, 7, "Bäume", 0.1 + 0.2, -1e-308, {"loss": 1.5, "last": {"step": 3}}, [], [1, None], True]


@pytest.mark.parametrize("value", VALUES)
def test_values_arrive_as_they_were(value: object, alone: None) -> None:
    assert group.of_first(value) == value
    assert group.of_all(value) == [value]


def test_what_is_no_number_arrives(alone: None) -> None:
    found = group.of_first({"a": math.nan, "b": -math.inf})
    assert math.isnan(found["a"])
    assert found["b"] == -math.inf


@pytest.mark.parametrize("shape", [(0, 4), (3, 4), ()])
def test_tensors_arrive_as_they_were(shape: tuple[int, ...], alone: None) -> None:
    sent = {"x": torch.randn(shape), "state": torch.get_rng_state()}
    (found,) = group.tensors_of_all(sent)
    assert found.keys() == sent.keys()
    assert all(torch.equal(found[name], sent[name]) and found[name].dtype == sent[name].dtype for name in sent)


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_a_forged_message_is_refused_and_nothing_of_it_runs(forged: list[bytes], tmp_path: Path) -> None:
    bad = tmp_path / "run"
    data = [pickle.dumps(Malice(bad), protocol) for protocol in range(6)]
    data += [b"", b"\xff", b"[", b"[1, 2]", b"{}", b"null", np.arange(3).tobytes()]
    for each in data:
        forged[:] = [each]
        for ask in (group.of_first, group.of_all):
            with pytest.raises(InputError, match="process 0 of this training sent"):
                ask(1)
        with pytest.raises(InputError, match="sent no tensors"):
            group.tensors_of_all({"x": torch.zeros(2)})
    assert not bad.exists()
    pickle.loads(data[0])  # noqa: S301 (shows that the message would have done it)
    assert bad.exists()


def test_a_message_that_says_it_is_huge_is_refused(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (2**60, -1):
        monkeypatch.setattr(distributed, "all_gather", lambda found, _mine, size=size: found[0].fill_(size))
        with pytest.raises(InputError, match="more than 268435456"):
            group.of_all(1)


def test_no_module_sends_what_is_pickled() -> None:
    paths = [path for folder in ("jobs", "lake", "containers", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 100
    for path in paths:
        used = PICKLED & set(re.findall(r"\w+", path.read_text()))
        assert not used, path


def test_processes_that_cannot_meet_are_refused() -> None:
    place = Place(0, 2, 0, "Slurm")
    with (
        pytest.raises(InputError, match="Slurm started 2 processes; expected a folder for them to meet in"),
        group.joined(place, torch.device("cpu")),
    ):
        pass
