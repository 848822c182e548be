"""The proof's chain as dependent jobs of a real Slurm, of which one task and one training are killed on the way."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from proof_tools import ENVIRONMENT, command, same_bytes, submit, write_manifest

from jobs.runner.manifest import read_manifest
from lake.receipts import latest_receipt, read_receipts

PROFILE = 'like = "slurm"\nworkers = 1\nwarn_s = 5\n'


def under_slurm(images: Path, work: Path, inside: Path) -> None:
    """Submit the chain to Slurm, kill a task of the array and the training once, and end with the same bytes."""
    profile = work / "site.toml"
    profile.write_text(PROFILE, encoding="utf-8")
    manifest, out = write_manifest(work, "slurm"), work / "jobs-slurm"
    submit(manifest, images, profile, out)
    array = numbers(out)["mels"]
    wait_until(lambda: bool(squeue(f"{array}_1", "RUNNING")), "the second task of the array runs", out)
    command("scancel", "--signal=KILL", "--full", f"{array}_1")
    wait_until(lambda: not squeue(None), "Slurm's queue is empty", out)
    done = [name for name, run in read_manifest(manifest).runs.items() if latest_receipt(run.lake, name)]
    if (out / f"mels-{array}_0.log").read_text().count("mels: done") != 1:
        sys.exit(f"proof: the other task of the array was to go on: {(out / f'mels-{array}_0.log').read_text()}")
    if done:
        sys.exit(f"proof: a task was killed, and {', '.join(done)} went on all the same")
    print(f"proof: a task of {array} was killed: what depends on it did not run; submitted again")
    submit(manifest, images, profile, out)
    training = numbers(out)["dino"]
    checkpoint = manifest.parent / "slurm/models/dino/metrics.jsonl"
    wait_until(checkpoint.exists, "the training has begun", out)
    command("scancel", "--signal=TERM", "--batch", training)
    wait_until(lambda: not squeue(None), "Slurm's queue is empty", out)
    (log,) = out.glob(f"dino-{training}.log")
    print(
        "proof: the training's log:\n"
        + "".join(f"    {line}\n" for line in log.read_text().splitlines() if "dino: " in line)
    )
    if "back into the queue" not in log.read_text():
        sys.exit(f"proof: the training was not taken back into the queue:\n{log.read_text()[-4000:]}")
    same_bytes(inside, manifest)
    shares = [receipt["part"] for receipt in read_receipts(read_manifest(manifest).runs["mels"].lake, "mels")]
    print(f"proof: the same bytes as in the images without Slurm; receipts of mels: {shares}")


def numbers(out: Path) -> dict[str, str]:
    """Return the job's number by step."""
    return dict(line.split() for line in (out / "jobs.txt").read_text().splitlines())


def squeue(job: str | None, state: str | None = None) -> list[str]:
    """Return the states of jobs that Slurm still knows as not ended."""
    words = ["squeue", "--noheader", "--array", "--format=%T"] + ([f"--jobs={job}"] if job else [])
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    return [line for line in done.stdout.split() if state in {None, line}]


def wait_until(is_so: Callable[[], bool], what: str, out: Path, at_most_s: float = 900) -> None:
    """Wait until something is so, as long as Slurm has jobs that could make it so."""
    until = time.monotonic() + at_most_s
    while not is_so():
        if time.monotonic() > until or not (squeue(None) or is_so()):
            logs = "\n".join(f"{path.name}: {path.read_text()[-1000:]}" for path in sorted(out.glob("*.log")))
            sys.exit(f"proof: waited in vain until {what}\n{command('squeue')}\n{logs}")
        time.sleep(0.2)
