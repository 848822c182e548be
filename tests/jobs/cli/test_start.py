"""What each command imports: those that compute nothing start without the libraries that only computing needs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from chains import store

COMPUTING = {"av", "dask.distributed", "distributed", "matplotlib", "numba", "sklearn", "torch"}
STORES = {"xarray", "zarr"}
TABLES = {"pandas", "pyarrow"}
NUMBERS = {"jobs.common.config", "numpy", "scipy"}
NOT_OF: dict[str, set[str]] = {
    "--help": COMPUTING | STORES | TABLES | NUMBERS,
    "version": COMPUTING | STORES | TABLES | NUMBERS,
    "init --help": COMPUTING | STORES | TABLES | NUMBERS,
    "run --help": COMPUTING | STORES | TABLES | NUMBERS,
    "--show-completion": COMPUTING | STORES | TABLES | NUMBERS,
    "config cluster": COMPUTING | STORES | TABLES,
    "status MANIFEST": COMPUTING | STORES | TABLES | {"scipy"},
    "verify MANIFEST": COMPUTING | TABLES | {"scipy", "xarray"},
    "query CLUSTERS --cluster 1": COMPUTING | {"dask", "scipy"},
    "export CLUSTERS --to raven --out OUT": COMPUTING | {"dask", "scipy"},
    "similar VECTORS --recorder a --time 2021-07-14T23:59:00Z": COMPUTING,
    "trace CLUSTERS --cluster 0": COMPUTING | {"scipy"},
    "review MANIFEST": COMPUTING | {"scipy"},
    "events MANIFEST clusters": COMPUTING | {"scipy"},
}
"""What a command may not import."""
PROGRAM = """
import sys
from jobs.cli.main import main
try:
    main()
finally:
    print("IMPORTED", *sys.modules, file=sys.stderr)
"""
SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


@pytest.mark.parametrize("words", NOT_OF)
def test_a_command_imports_only_what_it_needs(whole: Path, tmp_path: Path, words: str) -> None:
    places = {
        "MANIFEST": str(whole), "CLUSTERS": store(whole, "clusters"), "VECTORS": store(whole, "vectors"),
        "OUT": str(tmp_path / "out"),
    }  # fmt: skip
    typed = [places.get(word, word) for word in words.split()]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *typed],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **SHELL},
    )
    assert done.returncode != 1, done.stderr[-2000:]
    imported = set(done.stderr.rpartition("IMPORTED")[2].split())
    assert "jobs.cli.main" in imported
    assert imported & NOT_OF[words] == set()


def test_status_of_what_grew_looks_into_the_job(whole: Path, tmp_path: Path) -> None:
    """The short way of `status` is one for what is unchanged: another table of recordings is compared with the cube."""
    text, table = whole.read_text(), whole.parent / re.findall(r'table = "(.*?)"', whole.read_text())[0]
    (tmp_path / "copy.csv").write_bytes(table.read_bytes())
    other = whole.parent / "other.toml"
    other.write_text(text.replace(f'"{table.name}"', f'"{tmp_path / "copy.csv"}"'))
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "status", str(other)], capture_output=True, text=True, check=False
        )
    finally:
        other.unlink()
    assert "jobs.spectrograms.command" in done.stderr
    assert done.stdout.splitlines()[0].split()[:3] == ["mels", "spectrograms", "done"]
