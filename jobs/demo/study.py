"""The demo study on disk: audio files, their truth, the table of deployments, the zones; and its digest.

<study>/audio/<recorder>/…     recordings; the folder is the recorder
<study>/truth.csv              what sounds when, in each file
<study>/deployments.csv        where each recorder stood
<study>/zones.toml             zone of the recorders whose file names carry local time
<study>/study.json             settings, digest and counts
"""

import fcntl
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from jobs.demo.config import ALGORITHM, DEMO, StudyConfig
from jobs.demo.files import Made, bytes_line, total_digest, write_take
from jobs.demo.plan import RECORDERS, Take, plan_takes
from jobs.demo.tables import make_tables
from lake.errors import IdentityError, InputError, StoreError, TryAgainError
from lake.records import seal, unseal
from lake.storage import Storage

Progress = Callable[[int, int], None]
"""Called with the takes that are done and the takes in all."""

TABLES = ("deployments.csv", "truth.csv", "zones.toml")
"""Files next to ``audio``."""


@dataclass(frozen=True)
class StudySummary:
    """The contents of a study.

    Attributes
    ----------
    folder
        Where it is; its recordings are below ``audio``.
    digest
        SHA-256, hexadecimal, over a line for each recording, sorted: path, rate, channels and the SHA-256 of the
        decoded 16-bit samples of a FLAC file (its bytes depend on the encoder), or path and SHA-256 of the bytes of
        another; then a line for each of `TABLES`.
    is_new
        Whether this call made it.
    n_files, n_events, n_bytes
        Recordings, rows of truth, bytes of audio.
    audio_s
        Seconds that can be decoded, overlaps counted twice.
    """

    folder: Path
    digest: str
    is_new: bool
    n_files: int
    n_events: int
    n_bytes: int
    audio_s: float


def make_study(
    folder: Path, config: StudyConfig = DEMO, *, workers: int = 1, on_progress: Progress | None = None
) -> StudySummary:
    """Make a study, or find that it is there already.

    Parameters
    ----------
    folder
        Where the study shall be. It appears there only when it is complete.
    config
        Settings.
    workers
        Processes to use; the bytes do not depend on them. They are spawned: a script that asks for more than
        one needs the guard ``if __name__ == "__main__"``.
    on_progress
        Called after each take.

    Returns
    -------
    StudySummary
        With ``is_new`` false if a complete study of these settings stood there.

    Raises
    ------
    IdentityError
        If a study of other settings stands there.
    InputError
        If something else stands there, or files of the study are gone.
    TryAgainError
        If another process is making it, or the disk has no room for it.

    Notes
    -----
    Samples are computed in float64 and rounded to 16 bits. Another processor, or another build of NumPy or SciPy,
    may round a sine or a Fourier transform otherwise in the last bit: some 1e-13 of a 16-bit step. A sample
    changes with a probability of that order, so of 2.4e8 samples one does on about one machine in 10,000. What
    could add up, a phase, is summed exactly alike everywhere (`jobs.demo.calls`). The streams of
    ``numpy.random.Generator`` that are used (``random``, ``standard_normal``, ``integers``) have not changed since
    NumPy 1.17, but NumPy does not promise that.
    """
    folder = Path(folder)
    found = _existing(folder, config)
    if found is not None:
        return found
    takes = plan_takes(config)
    with _aside(folder) as aside:
        _check_room(aside, folder, takes)
        made: list[Made] = []
        for one in _made_takes(partial(write_take, config, aside), takes, workers):
            made.append(one)
            if on_progress is not None:
                on_progress(len(made), len(takes))
        return _finish(folder, aside, config, takes, made)


def _existing(folder: Path, config: StudyConfig) -> StudySummary | None:
    """Return the complete study of these settings at a folder, or None if nothing is there."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    facts_path = folder / "study.json"
    if not facts_path.is_file():
        raise InputError(
            f"{folder}: expected nothing, an empty folder or a demo study, found something without a study.json. "
            "Name another folder."
        )
    try:
        facts = unseal(facts_path.read_bytes(), str(facts_path))
        held, summary = dict(facts["config"]), StudySummary(folder=folder, is_new=False, **facts["summary"])
    except (KeyError, TypeError, StoreError) as error:
        raise InputError(
            f"{facts_path}: expected the summary of a demo study, found something else ({error}). "
            "Name another folder, or remove this one."
        ) from error
    wanted = {"algorithm": ALGORITHM, **config.model_dump()}
    others = [f"{key} is {held.get(key)}, not {wanted[key]}" for key in wanted if held.get(key) != wanted[key]]
    if others:
        raise IdentityError(
            f"{folder}: holds a demo study with other settings ({'; '.join(others)}). "
            "Name another folder, or remove this one."
        )
    paths = [f"audio/{file.path}" for take in plan_takes(config) for file in take.files]
    gone = [path for path in (*paths, *TABLES) if not (folder / path).is_file()]
    if gone:
        raise InputError(
            f"{folder}: {len(gone)} of {len(paths) + len(TABLES)} files of the demo study are gone, first {gone[0]}. "
            "Remove the folder; the same command then makes it anew."
        )
    return summary


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill that takes its name only if all goes well; one process at a time."""
    aside = folder.with_name(f".{folder.name}.aside")
    aside.mkdir(parents=True, exist_ok=True)
    handle = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # What a killed process left.
        shutil.rmtree(aside / "audio", ignore_errors=True)
        try:
            yield aside
            aside.replace(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except BlockingIOError as error:
        raise TryAgainError(
            f"{folder}: another process is making this study. Wait until it is done and type the same command again."
        ) from error
    finally:
        os.close(handle)


def _check_room(aside: Path, folder: Path, takes: list[Take]) -> None:
    needed = sum(
        file.n_ms * RECORDERS[take.recorder].sample_rate_hz // 1000 * 2 * RECORDERS[take.recorder].n_channels
        for take in takes
        for file in take.files
    )
    free = Storage(aside).free_bytes()
    if free is not None and free < needed:
        raise TryAgainError(
            f"{folder}: the demo study needs up to {needed / 1e6:.0f} MB, but the disk has {free / 1e6:.0f} MB left. "
            "Free some space, or name a folder on another disk, and type the same command again."
        )


def _made_takes(write: Callable[[Take], Made], takes: list[Take], workers: int) -> Iterator[Made]:
    """Make takes in their order, in this process or in others."""
    if workers <= 1:
        yield from map(write, takes)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(takes)), mp_context=context) as pool:
        yield from pool.map(write, takes)


def _finish(folder: Path, aside: Path, config: StudyConfig, takes: list[Take], made: list[Made]) -> StudySummary:
    """Write the tables and the summary; return it under the study's final name."""
    truth = [row for one in made for row in one.truth]
    contents = make_tables(config, truth)
    storage = Storage(aside)
    for name, data in contents.items():
        storage.write(name, data)
    tables = [bytes_line(name, contents[name]) for name in TABLES]
    summary = StudySummary(
        folder=folder,
        digest=total_digest([line for one in made for line in one.lines], tables),
        is_new=True,
        n_files=sum(len(take.files) for take in takes),
        n_events=len(truth),
        n_bytes=sum(one.n_bytes for one in made),
        audio_s=sum(file.kept_ms for take in takes for file in take.files) / 1000.0,
    )
    kept = {key: value for key, value in asdict(summary).items() if key not in {"folder", "is_new"}}
    facts = {"config": {"algorithm": ALGORITHM, **config.model_dump()}, "summary": kept}
    storage.write("study.json", seal(facts, indent=1))
    return summary
