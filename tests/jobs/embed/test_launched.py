"""Embedding under a launcher: each process takes its share, nobody waits, and finalising makes the store."""

from pathlib import Path

import pytest
from chains import n_windows, runs, write_chain
from commands import Cli
from soundfiles import usual_study


def test_processes_of_a_launcher_take_a_share_each(
    cli: Cli, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_chain(usual_study(tmp_path))
    assert cli("run", manifest, "mels", "--workers", 1).code == 0
    for name, value in {
        "WORLD_SIZE": "3",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29411",
    }.items():
        monkeypatch.setenv(name, value)
    for rank in (2, 0, 1):
        monkeypatch.setenv("RANK", str(rank))
        done = cli("run", manifest, "vectors", "--workers", 1)
        assert done.code == 0, done.error
        assert "share" in done.out
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name)
    assert cli("finalise", manifest, "vectors").code == 0
    assert n_windows(manifest, "vectors") == n_windows(whole, "vectors")
    alone, together = (runs(path)["vectors"].ledger.summary()["content_id"] for path in (whole, manifest))
    assert alone == together
