"""Recorders whose names are those of folders of a ledger."""

from pathlib import Path

import numpy as np
import pytest
from clusterings import CONFIG, contents
from stores import make_embeddings, make_run

from jobs.cluster import command
from jobs.common.run import Options, is_replaceable
from lake.claims import claim
from lake.run_records import CHECKPOINTS
from lake.verify import damages


@pytest.mark.parametrize("name", ["checkpoints", ".checkpoints", "claims"])
def test_a_recorder_may_have_any_name(tmp_path: Path, name: str) -> None:
    vectors = np.random.default_rng(3).normal(size=(2, 288, 6)).astype(np.float32)
    embeddings = make_embeddings(tmp_path, vectors, recorders=(name, "south"))
    run = make_run(tmp_path, "clusters", "cluster", CONFIG, inputs={"embeddings": embeddings})
    command.execute(run, Options(workers=1))
    assert len(run.ledger.written()) == 4, "two days of two recorders"
    assert not list(damages(run.output, run.ledger, "clusters"))
    before = contents(run)
    command.execute(run, Options(workers=1))
    assert contents(run).keys() == before.keys()


def test_a_half_written_checkpoint_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(2, 144, 6)).astype(np.float32)
    embeddings = make_embeddings(tmp_path, vectors)
    run = make_run(tmp_path, "clusters", "cluster", CONFIG, inputs={"embeddings": embeddings})
    left = Path(run.ledger.storage.path(CHECKPOINTS)) / ".0123456789abcdef.aside"
    left.parent.mkdir()
    left.write_bytes(b"half of it")
    command.execute(run, Options(workers=1))
    assert not left.exists()


def test_a_share_that_was_killed_in_the_fit_leaves_a_claim_that_is_no_line(tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(2, 144, 6)).astype(np.float32)
    run = make_run(tmp_path, "clusters", "cluster", CONFIG, inputs={"embeddings": make_embeddings(tmp_path, vectors)})
    with claim(run.ledger.storage.below(CHECKPOINTS), run.name, (0, 1), run.config_id):
        (key,) = run.ledger.checkpoint_keys()
        left = run.ledger.storage.read(key)
        assert run.ledger.written() == {}
    run.ledger.storage.write(key, left)
    assert is_replaceable(run, {"config_id": "another"})
    assert command.execute(run, Options(workers=1)).did
    assert len(run.ledger.written()) == 2
    assert run.ledger.checkpoint_keys() == []


def test_lines_of_a_recorder_with_the_name_of_a_folder_are_no_leftovers(tmp_path: Path) -> None:
    run = make_run(tmp_path, "clusters", "cluster", CONFIG)
    assert is_replaceable(run, {"config_id": "another"})
    run.ledger.storage.write(f"{CHECKPOINTS}/fit.npz", b"")
    assert is_replaceable(run, {"config_id": "another"})
    for key in (f"{CHECKPOINTS}/2021-06-01.jsonl", f"{CHECKPOINTS}/2021-06-01/0.json"):
        run.ledger.storage.write(key, b"")
        assert not is_replaceable(run, {"config_id": "another"})
        run.ledger.remove_checkpoints()
        assert run.ledger.storage.exists(key)
        run.ledger.storage.remove(key)
