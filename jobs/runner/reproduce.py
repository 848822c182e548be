"""Doing a run again from its receipt, elsewhere, and comparing what comes out."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.common.config import identity_config, stored_config
from jobs.common.containers import bind_words
from jobs.common.launch import launch, run_child
from jobs.common.run import Image, Options, Run, identities, listed
from jobs.runner.elsewhere import recordings_of
from jobs.runner.execute import execute_run
from jobs.runner.explain import explain
from jobs.runner.registry import JOBS
from lake.chain import lake_of
from lake.digest import sha256_of, sha256_of_file
from lake.errors import InputError, StoreError
from lake.graph import above
from lake.grid import Grid, iso
from lake.identity import config_id
from lake.image import DIGEST_VARIABLE, current_image
from lake.layout import Lake
from lake.ledger import Entry, Ledger
from lake.names import names_digest
from lake.receipts import latest_receipt
from lake.records import unseal

Say = Callable[[str], None]


def reproduce(
    receipt: Path, into: Path, options: Options, say: Say, *, images: Path | None = None, anywhere: bool = False
) -> None:
    """Execute the recorded configuration on the recorded inputs into a fresh lake, and compare.

    Parameters
    ----------
    receipt
        A receipt of a run that was finished, where its run left it: ``<lake>/receipts/<run>/….json``.
    into
        A folder that is empty or not there: the fresh lake.
    options
        How it is executed.
    say
        Called with what is done, and whether it is the same.
    images
        Folder to look for the recorded image in, when this process does not run in it.
    anywhere
        Go on where the recorded image is not to be had.

    Raises
    ------
    InputError
        If this is no receipt of a finished run, its image is another, or its algorithm or recordings changed.
    StoreError
        If inputs are not what they were, or what comes out differs: every difference by place.
    """
    facts = read_receipt(receipt)
    if into.exists() and any(into.iterdir()):
        raise InputError(f"{into}: expected an empty folder, found files. Name another with --into.")
    if _elsewhere(facts, receipt, into, images, say, anywhere=anywhere):
        return
    _require_fit(facts, receipt)
    lake = Lake(str(receipt.resolve().parents[2]))
    old = recorded_run(lake, facts)
    changed = [*_changed_inputs(old, facts), *_changed_tables(facts)]
    if changed:
        raise StoreError(
            f"{receipt}: what the run read is not what it was:\n{listed([f'  {line}' for line in changed])}\n"
            "Restore it, or reproduce a later receipt."
        )
    new = replace(old, lake=Lake(str(into.resolve())), image=None)
    n_processes = int(facts.get("n_processes", 1))
    say(f"{old.name}: {old.job} again, into {into}" + (f", by {n_processes} processes" if n_processes > 1 else ""))
    _execute(new, receipt, options, n_processes)
    backend = str((latest_receipt(new.lake, new.name) or {}).get("backend", ""))
    if new.ledger.summary()["content_id"] == facts["content_id"]:
        say(f"{old.name}: the same bytes, content_id {facts['content_id']}")
        return
    found = list(compare(old.ledger, new.ledger))
    of_place = [line for line in found if line.partition(" ")[0] in JOBS[old.job].of_place]
    lines = [line for line in found if line not in of_place]
    stored = old.ledger.summary()["content_id"]
    if not lines and stored == facts["content_id"]:
        if of_place:
            say(f"{old.name}: the same bytes, but {', '.join(of_place)}: it says where other files are")
        else:
            say(
                f"{old.name}: the same values in every window; files differ in their bytes (another zarr or compressor)"
            )
        return
    raise StoreError(_told(old, new, facts, backend, lines, has_changed=stored != facts["content_id"]))


def _execute(new: Run, receipt: Path, options: Options, n_processes: int) -> None:
    """Execute the run, by as many processes as made it: another number rounds sums otherwise."""
    if n_processes == 1:
        execute_run(new, options)
        return
    code = launch("jobs.runner.reproduce", [str(receipt), new.lake.storage.url, options.device or ""], n_processes)
    if code:
        raise StoreError(f"run {new.name!r}: its {n_processes} processes ended with exit code {code}; see above.")


def _require_fit(facts: Mapping[str, Any], receipt: Path) -> None:
    """Refuse the receipt of a clustering that has grown: the vectors of its fit cannot be separated from the others."""
    counts = facts.get("counts") or {}
    fitted, windows = counts.get("windows_at_fit"), counts.get("windows")
    if fitted is not None and fitted != windows:
        raise InputError(
            f"{receipt}: the clustering was fitted to {fitted} windows and has grown to {windows} since: done again, "
            f"it would be fitted to all of them. Make a new clustering (`dawnchorus run MANIFEST {facts['run']} "
            "--refresh`), and reproduce its receipt."
        )


def _one_process(receipt: str, into: str, device: str) -> None:
    """Act as one rank of a run that several processes make together."""
    path = Path(receipt)
    old = recorded_run(Lake(str(path.resolve().parents[2])), read_receipt(path))
    execute_run(replace(old, lake=Lake(into), image=None), Options(device=device or None))


def read_receipt(path: Path) -> dict[str, Any]:
    """Return a receipt of a finished run.

    Raises
    ------
    InputError
        If it is none.
    StoreError
        If it is damaged.
    """
    is_in_lake = path.resolve().parents[1].name == "receipts"
    try:
        facts = unseal(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such receipt; they are in <lake>/receipts/<run>.") from None
    except OSError as error:
        raise InputError(f"{path}: not a receipt: {error}.") from error
    except StoreError as error:
        if is_in_lake:
            raise
        raise InputError(f"{path}: not a receipt: {error.__cause__ or error}.") from error
    missing = [
        key for key in ("run", "job", "algorithm", "config", "config_id", "content_id", "inputs") if key not in facts
    ]
    if missing or not is_in_lake:
        what = f"it lacks {', '.join(missing)}" if missing else "it is not in <lake>/receipts/<run>"
        raise InputError(f"{path}: not a receipt that a run left: {what}.")
    if facts.get("state") != "done":
        raise InputError(
            f"{path}: the receipt of {facts.get('state')!r}, not of a whole run. Take that of `dawnchorus finalise`."
        )
    if facts["job"] not in JOBS:
        raise InputError(f"{path}: of the job {facts['job']!r}, which this version has not.")
    return facts


def recorded_run(lake: Lake, facts: Mapping[str, Any]) -> Run:
    """Return a run as its receipt describes it, with the runs it read.

    Raises
    ------
    InputError
        If this version computes something else under the same configuration.
    StoreError
        If a run that it read has left no receipt.
    """
    job, name = JOBS[facts["job"]], facts["run"]
    if facts["algorithm"] != job.algorithm:
        raise InputError(
            f"run {name!r} was made by algorithm {facts['algorithm']} of the job {facts['job']!r}; this version has "
            f"algorithm {job.algorithm}. Use the image of the receipt: {_image_told(facts)}."
        )
    model = job.config
    try:
        config = stored_config(model, facts["config"])
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in explain(error, model, ("config",)))
        raise InputError(f"run {name!r}: this version does not know its configuration:\n{lines}") from error
    inputs = {}
    for role, source in sorted(facts["inputs"].items()):
        other = lake_of(lake, source)
        theirs = latest_receipt(other, source["run"])
        if theirs is None:
            raise StoreError(
                f"run {name!r} read {source['run']!r} ({role}), which has left no receipt in {other.storage.url}."
            )
        inputs[role] = recorded_run(other, theirs)
    ids = identities(job.writes, inputs)
    wanted = config_id(facts["job"], facts["algorithm"], identity_config(config), ids)
    if wanted != facts["config_id"]:
        changed = [f"{role}: {facts['inputs'][role]['config_id']}, now {one}" for role, one in ids.items()]
        raise StoreError(f"run {name!r}: its inputs have another configuration than recorded: {'; '.join(changed)}.")
    tables = facts.get("recordings")
    return Run(
        lake=lake, name=name, job=facts["job"], kind=job.writes, config=config, algorithm=facts["algorithm"],
        config_id=facts["config_id"], inputs=inputs,
        recordings=recordings_of(tables) if tables else next((run.recordings for run in inputs.values()), None),
        labels=Path(facts["labels"]) if facts.get("labels") else None,
        files={key: Path(path) for key, path in facts.get("files", {}).items()},
        image=Image(facts["image"]["name"]) if facts.get("image") else None,
    )  # fmt: skip


def _changed_inputs(run: Run, facts: Mapping[str, Any]) -> Iterator[str]:
    for role, source in run.inputs.items():
        then, now = facts["inputs"][role]["content_id"], source.ledger.summary()["content_id"]
        if then != now:
            yield f"{source.name} ({role}): content_id {then} then, {now} now"
    if "names_sha256" in facts:
        then, now = facts["names_sha256"], names_digest(run.inputs["clusters"].output)
        if then != now:
            yield f"the names of {run.inputs['clusters'].name}: {then or 'none'} then, {now or 'none'} now (sha256)"


def _changed_tables(facts: Mapping[str, Any]) -> Iterator[str]:
    tables = facts.get("recordings") or {}
    pairs = [(tables.get("table"), tables.get("table_sha256")), (facts.get("labels"), facts.get("labels_sha256"))]
    pairs += [(path, facts["files_sha256"][key]) for key, path in facts.get("files", {}).items()]
    for path, then in pairs:
        if path is None:
            continue
        now = sha256_of(Path(path)) if Path(path).exists() else None
        if then != now:
            yield f"{path}: sha256 {then} then, {now or 'not there'} now"


def compare(old: Ledger, new: Ledger) -> Iterator[str]:
    """Yield one line for each place where the outputs that two ledgers list differ in what they hold.

    Notes
    -----
    Stores are compared window by window by the digests of the decoded values and by the index values; other
    files by their digest.
    """
    before, after = old.files() or {}, new.files() or {}
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            what = "is new" if key not in before else "is missing" if key not in after else "differs"
            yield f"{key} {what}"
    settled = old.grid()
    if settled is None:
        return
    grid, _ = settled
    mine = {(recorder, block): entry for recorder, _, day in old.entries() for block, entry in day.items()}
    for recorder, _, day in new.entries():
        for block, entry in sorted(day.items()):
            yield from _compare_block(recorder, mine.pop((recorder, block), None), entry, grid)
    for (recorder, _), entry in sorted(mine.items()):
        yield f"{recorder}: {_starts(entry.cells, grid)}: missing"


def _compare_block(recorder: str, old: Entry | None, new: Entry, grid: Grid) -> Iterator[str]:
    if old is None:
        yield f"{recorder}: {_starts(new.cells, grid)}: not there before"
        return
    before, after = dict(zip(old.cells, old.digests, strict=True)), dict(zip(new.cells, new.digests, strict=True))
    parts = {
        "missing": [cell for cell in before if cell not in after],
        "not there before": [cell for cell in after if cell not in before],
        "other values": [cell for cell in before if cell in after and before[cell] != after[cell]],
    }
    for what, cells in parts.items():
        if cells:
            yield f"{recorder}: {_starts(cells, grid)}: {what}"
    if old.cells == new.cells:
        for name in sorted({*old.index, *new.index}):
            pairs = zip(old.cells, old.index.get(name, []), new.index.get(name, []), strict=False)
            cells = [cell for cell, one, other in pairs if one != other]
            if cells or (name in old.index) != (name in new.index):
                yield f"{recorder}: {_starts(cells, grid)}: another {name}"


def _starts(cells: Sequence[int], grid: Grid) -> str:
    starts = [iso(grid.start_ms(cell)) for cell in cells[:3]]
    return ", ".join(starts) + (f" and {len(cells) - 3} more windows" if len(cells) > 3 else "")


def _told(
    old: Run, new: Run, facts: Mapping[str, Any], backend: str, lines: Sequence[str], *, has_changed: bool
) -> str:
    hints = []
    if backend != facts.get("backend"):
        hints.append(
            f"It was made on {facts.get('backend')}, here on {backend}: bytes are promised for the same one alone."
        )
    here = current_image()
    if (here or {}).get("sha256") != (facts.get("image") or {}).get("sha256"):
        hints.append(f"It was made in {_image_told(facts)}, here in {_image_told({'image': here})}.")
    if has_changed:
        hints.append(f"{old.output.url} has changed since this receipt; it is compared as it is now.")
    count = f"{len(lines)} differences" if len(lines) != 1 else "1 difference"
    return "\n".join(
        [f"run {old.name!r} gave something else: {count} between {old.output.url} and {new.output.url}:",
         listed([f"  {line}" for line in lines]), *hints]
    )  # fmt: skip


def _image_told(facts: Mapping[str, Any]) -> str:
    image = facts.get("image")
    return f"{image['name']} (sha256 {image['sha256']})" if image else "no image"


def _elsewhere(
    facts: Mapping[str, Any], receipt: Path, into: Path, images: Path | None, say: Say, *, anywhere: bool
) -> bool:
    """Run this command in the recorded image, unless this is it; tell whether it was."""
    recorded, here = facts.get("image"), current_image()
    if (recorded or {}).get("sha256") == (here or {}).get("sha256"):
        return False
    if anywhere:
        say(f"{facts['run']}: made in {_image_told(facts)}, here in {_image_told({'image': here})}")
        return False
    path = _find(recorded, images) if recorded and here is None else None
    command = shutil.which("apptainer") or shutil.which("singularity")
    if path is None or command is None or not recorded:
        raise InputError(
            f"{receipt}: made in {_image_told(facts)}, but this is {_image_told({'image': here})}. Give "
            "--images FOLDER with that image, outside of any; or --anywhere to compare what comes out here."
        )
    into.mkdir(parents=True, exist_ok=True)
    lake = receipt.resolve().parents[2]
    read = sorted({*_folders(facts, Lake(str(lake))), str(lake)})
    words = [
        command,
        "exec",
        "--cleanenv",
        "--containall",
        *(word for path in read for word in bind_words(path, writable=False)),
        *bind_words(str(into.resolve()), writable=True),
        f"--pwd={into.resolve()}",
    ]
    words += [
        f"--env={DIGEST_VARIABLE}={recorded['sha256']}",
        f"--env=OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')}",
    ]
    words += [str(path), "dawnchorus", "reproduce", str(receipt.resolve()), "--into", str(into.resolve())]
    say(f"{facts['run']}: in {path}")
    code = run_child(words)
    if code:
        sys.exit(code)
    return True


def _folders(facts: Mapping[str, Any], lake: Lake) -> set[str]:
    """Return the folders besides the lake that a run reads, itself or for what its inputs were made of."""

    def of_inputs(place: tuple[Lake, Mapping[str, Any]]) -> list[tuple[Lake, Mapping[str, Any]]]:
        sources = [(lake_of(place[0], source), source["run"]) for source in place[1]["inputs"].values()]
        theirs = [(other, latest_receipt(other, name)) for other, name in sources]
        return [(other, one) for other, one in theirs if one is not None]

    found: set[str] = set()
    for other, receipt in above((lake, facts), of_inputs, key=lambda one: (one[0].storage.url, one[1]["run"])):
        found |= {other.storage.url} if other.storage.is_local else set()
        tables = receipt.get("recordings") or {}
        files = [tables.get("table"), tables.get("deployments"), receipt.get("labels")]
        found |= {str(Path(path).parent) for path in (*files, *receipt.get("files", {}).values()) if path}
        found |= {tables["root"]} if tables.get("root") else set()
    return found


def _find(recorded: Mapping[str, Any], images: Path | None) -> Path | None:
    """Return the image with the recorded digest, among those of a folder."""
    for path in sorted(images.glob("*.sif")) if images and recorded["sha256"] else []:
        if sha256_of_file(path) == recorded["sha256"]:
            return path
    return None


if __name__ == "__main__":
    _one_process(*sys.argv[1:])
