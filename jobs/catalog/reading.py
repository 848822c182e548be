"""Examining many files: side by side, each under a deadline, and not again while they do not change."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from jobs.catalog.cache import Known, Stand, append_cache, read_cache, write_cache
from jobs.catalog.config import DEADLINE_S, SLOWEST_BYTES_PER_S
from jobs.catalog.examine import FileFacts, examine, sound_digest
from jobs.catalog.folders import as_text
from jobs.catalog.sources import Sources
from jobs.common.audio.decoder import Decoder, this_decoder
from jobs.common.audio.probe import AudioError
from lake.threads import in_threads

BATCH_FILES = 256
"""Files that are handed to the workers ahead, and lines that are written to the cache at once."""
WRITE_EVERY_S = 5.0
"""Results are written to the cache at least this often, or with the next file."""

Examine = Callable[[str, str], FileFacts]
"""Examines a local file of a maker."""


@dataclass(frozen=True)
class Found:
    """The facts of a file, their age, and whether it had to be examined."""

    key: str
    stand: Stand | None
    facts: FileFacts
    is_new: bool


Started = Found | Future[Found]


def examine_apart(path: str, maker: str) -> FileFacts:
    """Examine a file in this thread's decoder process, which is killed when the file's deadline is over."""
    deadline_s = DEADLINE_S + Path(path).stat().st_size / SLOWEST_BYTES_PER_S
    return this_decoder().call(examine, path, deadline_s, path, maker, deadline_s=deadline_s)


def examine_files(
    sources: Sources,
    makers: Sequence[str],
    *,
    workers: int = 1,
    cache: Path | None = None,
    retry: bool = False,
    examine_one: Examine = examine_apart,
) -> Iterator[FileFacts]:
    """Examine all files, and yield what was found in their order.

    Parameters
    ----------
    sources
        The files.
    makers
        Who writes names like each file's.
    workers
        Files examined at once.
    cache
        The file of :mod:`jobs.catalog.cache`. Files that it knows and that have not changed are not opened; what is
        found is added while it goes, so that a stopped run continues.
    retry
        Whether to examine files again of which nothing could be used.
    examine_one
        Examines one file.
    """
    known = read_cache(cache) if cache else {}
    if cache and not known:
        write_cache(cache, {})
    trusted = {key: entry for key, entry in known.items() if not retry or entry[1].audio is not None}

    def remembered(path: PurePath) -> Found | None:
        before = trusted.get(as_text(str(path)))
        if before is None or before[0] != sources.stand(path):
            return None
        return Found(as_text(str(path)), before[0], before[1], is_new=False)

    decoders: set[Decoder] = set()

    def one(path: PurePath, maker: str) -> Found:
        decoders.add(this_decoder())
        known_one = remembered(path) if sources.remote else None
        if known_one:
            return known_one
        key, stand = as_text(str(path)), sources.stand(path)
        return Found(key, stand, _examined(sources, path, stand, maker, examine_one), is_new=True)

    def begin(pool: ThreadPoolExecutor, path: PurePath, maker: str) -> Started:
        # A local file is looked up at once: handing it to a thread takes longer.
        known_one = None if sources.remote else remembered(path)
        return known_one or pool.submit(one, path, maker)

    kept: Known = {}
    for found in _in_order(begin, sources.files, makers, workers, cache=cache, decoders=decoders):
        if found.stand is not None:
            kept[found.key] = (found.stand, found.facts)
        yield found.facts
    if cache and any(kept.get(key) is not entry and kept.get(key) != entry for key, entry in known.items()):
        write_cache(cache, kept)


def digest_sounds(
    sources: Sources, facts: Sequence[FileFacts], wanted: Sequence[int], *, workers: int = 1, cache: Path | None = None
) -> dict[int, str]:
    """Return digests of the decoded samples of some files, without those that do not decode.

    Parameters
    ----------
    sources, facts
        All files, and what is known of each.
    wanted
        Numbers of the files.
    workers, cache
        As :func:`examine_files` has them; a digest that the cache knows is not made again.
    """

    def one(i: int) -> str:
        audio, path = facts[i].audio, sources.files[i]
        if audio is None or facts[i].sound:
            return facts[i].sound
        try:
            with sources.local(path) as local:
                deadline_s = DEADLINE_S + audio.n_samples * audio.n_channels * 4 / SLOWEST_BYTES_PER_S
                return this_decoder().call(sound_digest, local, deadline_s, str(local), audio)
        except AudioError:
            return ""

    found = dict(zip(wanted, in_threads(one, wanted, workers), strict=True))
    new = [(i, sources.stand(sources.files[i])) for i in wanted if found[i] and not facts[i].sound]
    if cache:
        lines = [
            (as_text(str(sources.files[i])), stand, replace(facts[i], sound=found[i]))
            for i, stand in new
            if stand is not None
        ]
        append_cache(cache, lines)
    return {i: sound for i, sound in found.items() if sound}


def _in_order(
    begin: Callable[[ThreadPoolExecutor, PurePath, str], Started],
    paths: Sequence[PurePath],
    makers: Sequence[str],
    workers: int,
    *,
    cache: Path | None,
    decoders: Collection[Decoder],
) -> Iterator[Found]:
    """Begin with all files, some ahead; write what is new to the cache in batches, and when it is stopped.

    Not :func:`lake.threads.in_threads`: when it is stopped, what is done already is kept, and decoders are killed.
    """
    ahead: deque[Started] = deque()
    unwritten: list[Found] = []
    written_s = time.monotonic()

    def write() -> None:
        if cache:
            append_cache(cache, [(new.key, new.stand, new.facts) for new in unwritten if new.stand is not None])
        unwritten.clear()

    with ThreadPoolExecutor(workers) as pool:
        try:
            for i in range(len(paths) + BATCH_FILES):
                if i < len(paths):
                    ahead.append(begin(pool, paths[i], makers[i]))
                if i >= BATCH_FILES and ahead:
                    found = ahead[0] if isinstance(ahead[0], Found) else ahead[0].result()
                    ahead.popleft()
                    unwritten += [found] if found.is_new else []
                    if len(unwritten) >= BATCH_FILES or time.monotonic() - written_s >= WRITE_EVERY_S:
                        write()
                        written_s = time.monotonic()
                    yield found
        finally:
            unwritten += _given_up(ahead)
            write()
            for decoder in list(decoders) if ahead else ():
                decoder.kill()


def _given_up(ahead: Iterable[Started]) -> list[Found]:
    """Cancel what was not begun with, and return what is new of that which is done."""
    begun = [started for started in ahead if not isinstance(started, Found) and not started.cancel()]
    done = [started for started in begun if started.done() and started.exception() is None]
    return [found for found in (started.result() for started in done) if found.is_new]


def _examined(sources: Sources, path: PurePath, stand: Stand | None, maker: str, examine_one: Examine) -> FileFacts:
    """Examine a file; what it does to the process that reads it is its own fact."""
    url = sources.url(path)
    if as_text(url) != url:
        return FileFacts(
            problems=("name_not_utf8",), message=f"{as_text(url)}: the name is not UTF-8; rename the file."
        )
    place = url
    try:
        with sources.local(path, stand[0] if stand else None) as local:
            place = str(local)
            found = examine_one(place, maker)
            return found if sources.remote is None else replace(found, message=found.message.replace(place, url))
    except AudioError as error:
        message = f"{str(error).replace(place, url)} `--retry-quarantined` examines it again."
        return FileFacts(problems=(error.problem,), message=message)
    except OSError as error:
        return FileFacts(problems=("unreadable",), message=f"{url}: cannot be opened ({error.strerror or error}).")
