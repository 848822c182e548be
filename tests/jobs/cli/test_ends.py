"""Ends that are no bug: one sentence, the right exit code, never a traceback."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chains import store, write_chain
from commands import ROOT, Cli
from soundfiles import usual_study

from jobs.cli.ends import explained
from jobs.common import machines
from jobs.runner.registry import needing
from lake.errors import InputError, TryAgainError, of_system
from lake.storage import Storage

TRY_AGAIN = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNREFUSED, errno.EBUSY,
)  # fmt: skip
WRONG = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


def typed(text: str, **environment: str) -> tuple[int, str, str]:
    """Type a line of a shell, in which ``dawnchorus`` is this one; return exit code, output and error."""
    words = f'set -o pipefail; dawnchorus() {{ "{sys.executable}" -m jobs "$@"; }}; {text}'
    done = subprocess.run(
        ["bash", "-c", words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def fails_with(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises an error."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


# What the system refuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [*TRY_AGAIN, *WRONG])
def test_an_error_of_the_system_names_the_file_and_what_was_said(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_: object) -> None:
        raise OSError(number, os.strerror(number), "/lake/mels.zarr")

    monkeypatch.setattr("jobs.runner.manifest.read_manifest", fail)
    code, out, error = cli("status", "study.toml")
    assert (code, out) == (75 if number in TRY_AGAIN else 3, "")
    assert error.startswith("dawnchorus: /lake/mels.zarr: ")
    assert os.strerror(number) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (FileNotFoundError("The specified bucket does not exist"), InputError),
        (PermissionError("Access Denied"), TryAgainError),
        (ConnectionResetError(), TryAgainError),
        (TimeoutError(), TryAgainError),
    ],
)
def test_an_error_without_a_number_has_that_of_its_class(raised: OSError, kind: type[Exception]) -> None:
    assert isinstance(of_system(raised), kind)
    assert str(raised) in str(of_system(raised))


def test_what_a_library_raises_for_a_reason_of_its_own_is_a_bug() -> None:
    assert of_system(OSError("frobnicated")) is None
    with pytest.raises(OSError, match="frobnicated"), explained():
        raise OSError("frobnicated")


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG, errno.ENOTDIR])
@pytest.mark.parametrize("what", ["write", "create", "append"])
def test_a_write_that_the_system_refuses_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, what: str
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", fail)
    kind = TryAgainError if number in TRY_AGAIN else InputError
    with pytest.raises(kind, match=rf"folder/key: .*{os.strerror(number)}"):
        getattr(Storage(tmp_path), what)("folder/key", b"bytes")


@pytest.mark.parametrize("lake", ["study.csv/lake", "x" * 300])
def test_a_lake_below_a_file_and_one_with_a_long_name(cli: Cli, tmp_path: Path, lake: str) -> None:
    manifest = write_chain(usual_study(tmp_path))
    manifest.write_text(manifest.read_text().replace('lake = "lake"', f'lake = "{lake}"'))
    code, _, error = cli("run", manifest, "mels", "--workers", "1")
    assert code == 3
    assert lake in error


@pytest.mark.slow
def test_files_that_may_not_grow(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    code, _, error = typed(f"trap '' XFSZ; ulimit -f 1; dawnchorus run {manifest} mels --workers 1")
    assert code == 75
    assert "File too large" in error
    assert "ulimit -f" in error
    assert typed(f"dawnchorus run {manifest} mels --workers 1")[0] == 0


def test_no_folder_for_temporary_files(manifest: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    none = fails_with(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"))
    monkeypatch.setattr("jobs.evaluate.command.TemporaryDirectory", none)
    code, _, error = cli("run", manifest, "scores", "--refresh")
    assert code == 3
    assert error.splitlines()[-1].startswith("dawnchorus: No usable temporary directory found")
    assert cli("run", manifest, "scores").out == "scores: done, nothing to do\n"


# Standard streams ------------------------------------------------------------------------------------------


def test_a_full_standard_output(whole: Path) -> None:
    code, _, error = typed(f"dawnchorus query {store(whole, 'mels')} >/dev/full")
    assert code == 75
    assert error.startswith("dawnchorus: standard output: the disk (or your quota) is full (No space left on device).")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status {manifest}", "run {manifest}", "query {store}", "verify {manifest}"])
def test_streams_that_are_closed_or_full_or_have_no_reader(manifest: Path, command: str) -> None:
    words = "dawnchorus " + command.format(manifest=manifest, store=store(manifest, "mels"))
    assert typed(f"{words} | head -1")[::2] == (0, "")
    assert typed(f"{words} >&-")[0] == 0
    assert typed(f"{words} >&- 2>&- <&-") == (0, "", "")
    assert typed(f"{words} 2>/dev/full >/dev/full") == (75, "", "")


@pytest.mark.slow
def test_a_closed_stream_is_no_file_of_ours(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    assert typed(f"dawnchorus run {manifest} mels vectors --workers 2 >&- 2>&- <&-") == (0, "", "")
    assert typed(f"dawnchorus verify {manifest} mels vectors")[0] == 0


def test_help_without_room() -> None:
    assert typed("dawnchorus --help >/dev/full")[0] == 75


# Memory and processes --------------------------------------------------------------------------------------


def test_memory_that_is_used_up() -> None:
    with pytest.raises(TryAgainError, match="memory is used up"), explained():
        raise MemoryError
    for error in (
        ImportError("libtorch.so: failed to map segment from shared object"),
        OSError("Cannot allocate memory"),
    ):
        with pytest.raises(TryAgainError, match="does not find the memory to load its libraries"), needing("x", "dino"):
            raise error
    with pytest.raises(ImportError, match="no symbol"), needing("x", "dino"):
        raise ImportError("no symbol")


@pytest.mark.slow
def test_too_little_address_space(manifest: Path) -> None:
    code, _, error = typed(f"ulimit -v 1500000; dawnchorus run {manifest} clusters --refresh")
    assert code in {0, 75}, error


@pytest.mark.parametrize("raised", [RuntimeError("Nanny failed to start."), OSError(errno.ENOSYS, "no semaphores")])
def test_workers_that_do_not_start(monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    def fail(**_: object) -> Any:
        raise RuntimeError("Cluster failed to start") from raised

    monkeypatch.setattr(machines, "LocalCluster", fail)
    told = r"the 2 worker processes did not start \(.*\)\. .*/dev/shm"
    with pytest.raises(TryAgainError, match=told), machines.local_client(2):
        raise AssertionError


# Object stores ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lake", ["zip://x", "reference://x", "tar://x.tar", "https://localhost/x", "nope://x"])
def test_a_lake_where_nothing_can_be_written(cli: Cli, tmp_path: Path, lake: str) -> None:
    manifest = write_chain(usual_study(tmp_path))
    manifest.write_text(manifest.read_text().replace('lake = "lake"', f'lake = "{lake}"'))
    for words in (["run", manifest, "mels"], ["status", manifest], ["run", manifest, "--dry-run"], ["query", lake]):
        code, _, error = cli(*words)
        assert code == 3 or (code == 4 and words[0] == "query")
        assert lake in error
        assert "Traceback" not in error


def test_an_object_store_without_credentials(tmp_path: Path) -> None:
    manifest = write_chain(usual_study(tmp_path))
    manifest.write_text(manifest.read_text().replace('lake = "lake"', 'lake = "s3://bucket/lake"'))
    nothing = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    aws = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"}
    code, _, error = typed(f"dawnchorus run {manifest} mels", **nothing, **aws, HOME=str(tmp_path))
    assert code == 3
    assert "credentials" in error
    assert error.count("\n") == 1


def test_a_service_that_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    failed = exceptions.ClientError({"Error": {"Code": "SlowDown", "Message": "Please reduce"}}, "PutObject")
    monkeypatch.setattr("jobs.runner.manifest.read_manifest", fails_with(failed))
    code, _, error = cli("status", "study.toml")
    assert code == 75
    assert "Please reduce" in error


@pytest.mark.parametrize("command", ["status", "run", "verify", "finalise", "catalog", "query", "demo", "submit"])
def test_ctrl_c_in_any_command(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, tmp_path: Path) -> None:
    stop = fails_with(KeyboardInterrupt())
    monkeypatch.setattr("jobs.runner.manifest.read_manifest", stop)
    monkeypatch.setattr("jobs.catalog.command.run_catalog", stop)
    monkeypatch.setattr("jobs.workflows.quickstart.quickstart", stop)
    monkeypatch.setattr("lake.query.find.ask", stop)
    more: dict[str, list[object]] = {"finalise": ["m.toml", "r"], "demo": ["--folder", tmp_path]}
    words = more.get(command, ["m.toml"])
    code, out, error = cli(command, *words)
    assert (code, out) == (75, "")
    assert error.splitlines()[-1].startswith("dawnchorus: interrupted. What was written before is whole;")
