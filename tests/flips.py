"""Damage to any file of a lake that a job reads, and what the job then does.

``PYTHONPATH=tests python tests/flips.py [FILES_OF_EACH_KIND [WAYS]]`` prints a table of file, job and what came of it.
The files are found by noting what a job opens while it works on a whole lake.
"""

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

from smalllake import ADDED, write_recordings, write_study, write_table

from jobs.common.run import Options
from jobs.runner.execute import execute_runs
from jobs.runner.manifest import read_manifest
from jobs.runner.state import states
from lake.errors import DawnchorusError
from lake.query.find import Wanted, find
from lake.query.select import open_any
from lake.query.similar import similar
from lake.query.trace import trace

Result = dict[str, str]
Act = Callable[[Path], Result]
"""What is done in a study's folder, and what came out."""
_MEMORY = Path("/dev/shm")  # noqa: S108 (folders in it get random names)
SCRATCH = _MEMORY if os.access(_MEMORY, os.W_OK) else None
"""Where the lake is copied to for each file: most of the time goes into copies and their removal."""
WAYS = ("flip", "truncate", "empty", "remove", "replace")
ABOUT_TRAINING = ("metrics.jsonl", "summary.json", "health.png", "checkpoints/")
"""Files of a model's folder that hold times of day: no other job reads them."""


@dataclass(frozen=True)
class Case:
    """Something that reads a lake.

    Attributes
    ----------
    name
        For the table.
    prepare
        Changes a copy of the whole lake before it is damaged.
    act
        Reads it.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Act


def make_study(folder: Path) -> None:
    """Write a small study and its lake: once as it began, then grown by some recordings, without what reads them."""
    execute_runs(read_manifest(write_study(folder)), [], Options(device="cpu"), lambda _: None)


def cases() -> list[Case]:
    """Return all that reads a lake."""
    anew = [Case(f"{name} anew", _without(name), _run(name)) for name in KINDS if name != "mels"]
    more = [Case(f"{name} extended", _grown(name), _run(name)) for name in ("mels", "vectors", "learned")]
    resumed = Case("net resumed", _unfinished, _run("net"))
    url = {name: f"lake/{kind}/{name}.zarr" for name, kind in KINDS.items()}
    commands = [Case(f"query {name}", _nothing, _query(url[name])) for name in ("mels", "vectors", "clusters")]
    commands.append(Case("similar", _nothing, lambda folder: _text(similar(str(folder / url["learned"]), *PLACE))))
    commands.append(Case("trace", _nothing, lambda folder: _text(trace(str(folder / url["clusters"]), *PLACE))))
    commands.append(Case("status", _nothing, _status))
    return [*anew, resumed, *more, *commands]


KINDS = {
    "mels": "spectrograms", "net": "models", "vectors": "embeddings", "learned": "embeddings", "others": "embeddings",
    "clusters": "clusters", "scores": "scores", "atlas": "atlas",
}  # fmt: skip
PLACE = ("north", "2021-07-14T23:59:20Z")


def _nothing(_folder: Path) -> None:
    """Leave the lake as it is."""


def _without(name: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        for path in _own(folder, name):
            shutil.rmtree(path)

    return prepare


def _own(folder: Path, name: str) -> list[Path]:
    suffix = ".zarr" if KINDS[name] in {"spectrograms", "embeddings", "clusters"} else ""
    return [
        folder / "lake" / place for place in (f"{KINDS[name]}/{name}{suffix}", f"ledgers/{name}", f"receipts/{name}")
    ]


def _unfinished(folder: Path) -> None:
    """Leave a training as if it had been killed after its last checkpoint."""
    model, ledger, receipts = _own(folder, "net")
    shutil.rmtree(receipts)
    for path in (model / "summary.json", model / "backbone.safetensors", ledger / "files.json"):
        path.unlink()
    (ledger / "unfinished").touch()


def _grown(name: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        (folder / "audio").unlink()  # a link to the sound of all copies
        write_recordings(folder, {"north": ("20210714_235900",), "south": ("20210715_000000",)})
        write_recordings(folder, ADDED)
        write_table(folder)
        if name != "mels":
            execute_runs(read_manifest(folder / "study.toml"), ["mels"], Options(), lambda _: None)

    return prepare


def _run(name: str) -> Act:
    def act(folder: Path) -> Result:
        execute_runs(read_manifest(folder / "study.toml"), [name], Options(device="cpu"), lambda _: None)
        _HOLDING.append(set())  # the files that are opened from here on are not noted as read
        output, *_ = _own(folder, name)
        files = {str(path.relative_to(output)): path for path in sorted(output.rglob("*")) if path.is_file()}
        return {
            key: sha256(path.read_bytes()).hexdigest()
            for key, path in files.items()
            if name != "net" or not key.startswith(ABOUT_TRAINING)
        }

    return act


def _query(url: str) -> Act:
    def act(folder: Path) -> Result:
        with open_any(str(folder / url)) as dataset:
            return _text(find(dataset, Wanted(), features="embedding" in dataset).to_csv())

    return act


def _status(folder: Path) -> Result:
    return {state.name: f"{state.state}: {state.detail}" for state in states(read_manifest(folder / "study.toml"))}


def _text(value: object) -> Result:
    return {"": str(value)}


_HOLDING: list[set[Path]] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _HOLDING and isinstance(arguments[0], str | Path):
        _HOLDING[-1].add(Path(arguments[0]))


@contextmanager
def opened() -> Iterator[set[Path]]:
    """Give the files that are opened meanwhile, in any thread of this process."""
    if not _HOLDING:
        sys.addaudithook(_note)
    found: set[Path] = set()
    _HOLDING.append(found)
    yield found
    _HOLDING.append(set())


def copied(study: Path, to: Path) -> Path:
    """Copy a study, all but its sound."""
    shutil.copytree(study, to, ignore=shutil.ignore_patterns("audio"))
    (to / "audio").symlink_to(study / "audio", target_is_directory=True)
    return to


def read_files(prepared: Path, case: Case) -> tuple[list[str], Result]:
    """Return the files of the lake that a case reads, relative to the study's folder, and its result."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        folder = copied(prepared, Path(scratch).resolve() / "study")
        there = {path for path in (folder / "lake").rglob("*") if path.is_file()}
        with opened() as paths:
            result = case.act(folder)
        return sorted(str(path.relative_to(folder)) for path in there & paths), result


def pattern(key: str) -> str:
    """Return the kind of a file: its path with numbers, days and recorders taken out."""
    key = re.sub(r"\d{8}T\d+Z", "UTC", re.sub(r"\d{4}-\d\d-\d\d", "DAY", key))
    return re.sub(r"\d+", "#", re.sub(r"/(north|south|west)/", "/RECORDER/", key))


def damaged(data: bytes, way: str, random: Random) -> bytes | None:
    """Return what is left of a file, ``None`` if it is gone."""
    if way == "flip":
        at = random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    return {"truncate": data[: random.randrange(1, len(data))] if len(data) > 1 else b"", "empty": b""}.get(way)


def outcome(prepared: Path, case: Case, key: str, expected: Result, way: str, random: Random) -> str:
    """Damage one file, and return what came of it: ``same``, ``error``, or what is wrong."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        folder = copied(prepared, Path(scratch).resolve() / "study")
        path = folder / key
        data = path.read_bytes()
        if not data:
            return "same"  # a mark without content
        if way == "replace":
            like = [other for other in sorted((folder / "lake").rglob(path.name)) if other.read_bytes() != data]
            if not like:
                return "same"
            shutil.copyfile(random.choice(like), path)
        else:
            left = damaged(data, way, random)
            path.unlink()
            if left is not None:
                path.write_bytes(left)
        try:
            result = case.act(folder)
        except DawnchorusError as error:
            named = _is_named(folder, key, str(error), of_run=way != "flip")
            return "error" if named else f"UNNAMED {error.exit_code}: {error}"
        except Exception as error:  # noqa: BLE001 (a traceback is what is looked for)
            return f"TRACEBACK {type(error).__name__}: {error}"
        if result == expected:
            return "same"
        named = case.name == "status" and _is_named(folder, key, str(result), of_run=way != "flip")
        return "error" if named or _is_answer(case.name, key, result, way) else "SILENT"


def _is_answer(name: str, key: str, result: Result, way: str) -> bool:
    """Tell whether a result that differs says itself that something is wrong.

    `status` goes on with the other runs; the one that is damaged is not done, or names the file. `trace` shows what a
    receipt says as not known where the receipt is gone, and still names the right samples.
    """
    _, kind, run, *_ = key.split("/")
    if name == "trace":
        return kind == "receipts" and way == "remove"
    said = result.get(run.removesuffix(".zarr"), "done")
    return name == "status" and not said.startswith("done")


def _is_named(folder: Path, key: str, message: str, *, of_run: bool) -> bool:
    """Tell whether an error names a file; or its run, where a file is gone or another's.

    Nothing is read of a file that is gone. A record of another run, or of the same run at another time, is whole by its
    own checksum: only comparing it with the store shows that the two differ, not which of them is wrong.
    """
    names = [str(folder / key), key.removeprefix("lake/")]
    if of_run:
        _, _, run, *_ = key.split("/")
        run = run.removesuffix(".zarr")
        names += [f"/{run}/", f"/{run}.zarr", repr(run), f"{run} is not done"]
    return any(name in message for name in names)


def table(
    study: Path, *, ways: Sequence[str] = WAYS, each: int = 1, names: Collection[str] = (), seed: int = 0
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield pattern, case, way, file and outcome.

    Parameters
    ----------
    study
        A study whose lake is whole.
    ways
        How files are damaged.
    each
        Files of each pattern.
    names
        Of cases; all if empty.
    """
    random = Random(seed)
    for case in cases():
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
            prepared = copied(study, Path(scratch).resolve() / "study")
            case.prepare(prepared)
            files, expected = read_files(prepared, case)
            kinds: dict[str, list[str]] = {}
            for key in files:
                kinds.setdefault(pattern(key), []).append(key)
            for kind, keys in kinds.items():
                for key in random.sample(keys, min(each, len(keys))):
                    for way in ways:
                        yield kind, case.name, way, key, outcome(prepared, case, key, expected, way, random)


def main(ways: tuple[str, ...], each: int) -> None:
    """Print a table of what each kind of damage gave."""
    rows: dict[tuple[str, str], list[str]] = {}
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        study = Path(scratch).resolve() / "study"
        make_study(study)
        for kind, case, way, key, came in table(study, ways=ways, each=each):
            rows.setdefault((kind, case), []).append(f"{way} {came}")
            if came not in {"same", "error"}:
                sys.stderr.write(f"!! {case}: {key}: {way}: {came[:400]}\n")
    for (kind, case), outcomes in sorted(rows.items()):
        counts = Counter(one.split(":")[0] for one in outcomes)
        sys.stdout.write(f"{kind} | {case} | {', '.join(f'{what} {n}' for what, n in sorted(counts.items()))}\n")


if __name__ == "__main__":
    main(tuple(sys.argv[2].split(",")) if sys.argv[2:] else WAYS, int(sys.argv[1]) if sys.argv[1:] else 1)
