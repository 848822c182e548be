import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import audiofiles
import faultydecoders
import numpy as np
import psutil
import pytest

from jobs.common.audio import decoder as module
from jobs.common.audio.decoder import Decoder, RemoteReader, fingerprint, this_decoder
from jobs.common.audio.probe import AudioError, Samples, open_audio, probe
from lake.errors import TryAgainError


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return audiofiles.any_kind(tmp_path, "flac")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "misdeclared_flac", "m4a"])
def test_samples_from_the_process_are_those_read_here(tmp_path: Path, decoder: Decoder, kind: str) -> None:
    file = audiofiles.any_kind(tmp_path, kind)
    info = probe(file)
    assert decoder.call(probe, file, 60.0, str(file)) == info
    apart = RemoteReader(file, info.reading, decoder=decoder)
    assert (apart.sample_rate_hz, apart.n_channels) == (info.sample_rate_hz, info.n_channels)
    with open_audio(file, info.reading) as here:
        for start, count in ((0, 100), (50, 9000), (info.n_samples - 7, 7), (3, 0), (0, info.n_samples)):
            found, expected = apart.read(start, count), here.read(start, count)
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)
        apart.close()
        assert np.array_equal(apart.read(5, 9), here.read(5, 9)), "a later read opens it again"


def test_samples_once_read_stay_although_more_are_read(file: Path, decoder: Decoder) -> None:
    audio = RemoteReader(file, "libsndfile", decoder=decoder)
    first = audio.read(0, 1000)
    copy = first.copy()
    audio.read(4000, 16_000)
    assert np.array_equal(first, copy)


def test_two_files_are_open_side_by_side(tmp_path: Path, decoder: Decoder) -> None:
    one, two = audiofiles.any_kind(tmp_path, "wav"), audiofiles.any_kind(tmp_path, "mp3")
    readers = [RemoteReader(path, "libsndfile", decoder=decoder) for path in (one, two)]
    for start in (0, 700, 9000):
        for path, audio in zip((one, two), readers, strict=True):
            assert np.array_equal(audio.read(start, 700), read_here(path, start, 700))


def test_what_a_reader_refuses_is_told_as_it_tells_it(tmp_path: Path, file: Path, decoder: Decoder) -> None:
    with pytest.raises(AudioError, match=r"samples 19000 to 21000 were asked for, 1000 of them decode; if the file"):
        RemoteReader(file, "libsndfile", decoder=decoder).read(19_000, 2000)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(AudioError, match=r"empty.wav: is empty \(0 bytes\)") as caught:
        decoder.call(probe, tmp_path / "empty.wav", 60.0, str(tmp_path / "empty.wav"))
    assert caught.value.problem == "empty"


@pytest.mark.parametrize(
    ("fault", "problem", "message"),
    [
        (faultydecoders.hang, "timeout", r"x.wav: nothing came within 0 s, and its decoder was stopped. If the disk"),
        (faultydecoders.leave, "crashed", r"x.wav: its decoder died of it \(exit code 7\). The file is damaged, or me"),
        (faultydecoders.crash, "crashed", r"x.wav: its decoder died of it \(SIGSEGV\)"),
        (faultydecoders.fail, "crashed", r"x.wav: reading it failed \(KeyError: 'what'\)"),
    ],
)
def test_a_faulty_decoder_costs_its_file_alone(
    file: Path, decoder: Decoder, fault: Callable[[], None], problem: str, message: str
) -> None:
    audio = RemoteReader(file, "libsndfile", decoder=decoder)
    with pytest.raises(AudioError, match=message) as caught:
        decoder.call(fault, "x.wav", 0.2 if fault is faultydecoders.hang else 30)
    assert caught.value.problem == problem
    assert caught.value.exit_code == 3
    assert np.array_equal(audio.read(3, 9), read_here(file, 3, 9)), "another file is opened again"


def test_one_that_hangs_is_killed_at_its_deadline(decoder: Decoder) -> None:
    child = psutil.Process(decoder.call(faultydecoders.process_number, "x", 30))
    began = time.monotonic()
    with pytest.raises(AudioError):
        decoder.call(faultydecoders.hang, "x", 0.3)
    assert 0.3 <= time.monotonic() - began < 5
    assert not child.is_running()


def test_one_killed_between_two_calls_is_started_again(file: Path, decoder: Decoder) -> None:
    audio = RemoteReader(file, "libsndfile", decoder=decoder)
    number = decoder.call(faultydecoders.process_number, "x", 30)
    os.kill(number, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(number)] if psutil.pid_exists(number) else [], timeout=5)
    assert np.array_equal(audio.read(3, 9), read_here(file, 3, 9))
    assert decoder.call(faultydecoders.process_number, "x", 30) != number


def test_each_thread_has_its_own_and_it_ends_with_the_thread() -> None:
    numbers: list[int] = []

    def ask() -> None:
        numbers.append(this_decoder().call(faultydecoders.process_number, "x", 30))

    for _ in range(2):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    ask()
    ask()
    assert len(set(numbers)) == 3
    assert not psutil.pid_exists(numbers[0])
    assert psutil.pid_exists(numbers[3])


HANGING = """
import sys, threading
import faultydecoders
from jobs.common.audio.decoder import Decoder
decoder = Decoder()
print(decoder.call(faultydecoders.process_number, "x", 30), flush=True)
if sys.argv[1] == "busy":
    decoder.call(faultydecoders.hang, "x", 1000)
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["busy", "idle"])
def test_it_ends_with_its_parent_although_that_is_killed(state: str) -> None:
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        time.sleep(0.2)
        assert psutil.pid_exists(number)
        parent.kill()
    stop = time.monotonic() + 10
    while psutil.pid_exists(number) and time.monotonic() < stop:
        time.sleep(0.02)
    assert not psutil.pid_exists(number)


def test_a_forked_process_leaves_its_parents_decoder_alone(file: Path) -> None:
    number = this_decoder().call(faultydecoders.process_number, file, 30)
    code = (
        "import os, faultydecoders\nfrom jobs.common.audio.decoder import this_decoder\n"
        "ask = lambda: this_decoder().call(faultydecoders.process_number, 'x', 30)\n"
        "before = ask()\nchild = os.fork()\nif child == 0:\n    other = ask()\n    this_decoder().stop()\n"
        "    os._exit(0 if other != before else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\nassert ask() == before\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert this_decoder().call(faultydecoders.process_number, file, 30) == number


def test_one_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TryAgainError, match=r"did not start \(exit code 1\|SIGKILL\)|did not start"):
        Decoder().call(faultydecoders.process_number, "x", 30)


def test_a_fingerprint_is_the_digest_and_changes_with_the_file(file: Path) -> None:
    digest, stand = fingerprint(file)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert stand[0] == file.stat().st_size
    os.utime(file, ns=(1, 1))
    assert fingerprint(file)[1] != stand
    file.unlink()
    with pytest.raises(AudioError, match=r"a.flac: expected a recording, found none \(No such file") as caught:
        fingerprint(file)
    assert caught.value.problem == "gone"


def test_skipping_far_may_take_longer(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []
    call = Decoder.call

    def noting(self: Decoder, function: object, path: Path, deadline_s: float, /, *args: object) -> object:
        deadlines.append(deadline_s)
        return call(self, function, path, deadline_s, *args)  # type: ignore[arg-type] # passed on as it came

    monkeypatch.setattr(Decoder, "call", noting)
    monkeypatch.setattr(module, "SLOWEST_DECODING", 0.01)
    with Decoder() as decoder:
        audio = RemoteReader(file, "libsndfile", decoder=decoder, deadline_s=30)
        audio.read(16_000, 1600)
    assert deadlines == pytest.approx([30, 30 + 110])


def read_here(path: Path, start: int, count: int) -> Samples:
    with open_audio(path, "libsndfile") as audio:
        return audio.read(start, count)
