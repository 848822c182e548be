"""Model the cost of larger studies from measured costs of a window, and compare it with measurements.

    python -m benchmarks.scaling

Costs of spectrograms are CPU-seconds; those of vectors and of clusters are seconds times two cores, so upper bounds.
The cluster's are of 2.2 million vectors in 75 s.

A job takes as long as the slowest of its processors, its storage, its GPUs and its scheduler, and what only one process
does comes on top. Costs were measured on two cores (`docs/benchmarks.md`); rates of storage and the share of a GPU's
peak that a training reaches are assumptions, and all that follows from them is modelled.
"""

from dataclasses import dataclass
from typing import Final

from benchmarks.report import Figure, report
from jobs.dino.config import Config
from jobs.dino.flops import flops_per_window

WINDOW_MB: Final = 0.503
"""A window of 1024 x 1024 in the cube, of synthetic sound."""
PASSES: Final = 50
SCHEDULER_S: Final = 0.010
"""Seconds of a task that does nothing, there and back."""
MFU: Final = 0.35
"""Assumed: the share of its peak that a GPU reaches in training."""


@dataclass(frozen=True)
class Job:
    """Cost of a window: CPU-seconds on all cores, seconds of one process alone, GPU operations, MB read and written.

    ``fixed_s`` are seconds whatever the number of windows.
    """

    name: str
    cpu_s: float
    alone_s: float = 0.0
    flops: float = 0.0
    mb: float = 0.0
    fixed_s: float = 0.0


@dataclass(frozen=True)
class Machine:
    """Cores, MB a second of storage, and operations a second of GPUs at their peak; of all nodes together."""

    name: str
    cores: int
    mb_s: float
    peak: float = 0.0


@dataclass(frozen=True)
class Study:
    """Windows, and days of a recorder that they lie in: the partitions."""

    name: str
    n: int
    n_partitions: int


JOBS: Final = (
    Job("spectrograms", 0.0141, mb=0.576 + WINDOW_MB),
    Job("log-mel vectors", 0.0125, mb=WINDOW_MB),
    Job("vectors of a small network", 0.0182, mb=WINDOW_MB),
    Job("dino, 50 passes", 0.0, flops=PASSES * flops_per_window(Config(), 384, 12), mb=PASSES * WINDOW_MB),
    Job("cluster, 1 epoch", 70e-6, alone_s=0.56e-6, mb=0.0015, fixed_s=4.0),
    Job("atlas", 0.27e-3, mb=0.0015, fixed_s=75.0),
)
A100: Final = 312e12
MACHINES: Final = (
    Machine("2 cores, disk", 2, 500),
    Machine("8 A100, 128 cores, NVMe", 128, 5_000, 8 * A100),
    Machine("4 such nodes, parallel file system", 512, 10_000, 32 * A100),
    Machine("16 nodes of 64 cores, object store", 1_024, 8_000),
)
STUDIES: Final = (
    Study("230,259 windows", 230_259, 84),
    Study("2.3 TB of codes", 2_200_000, 76),
    Study("400 recorders, 5 years, 1 minute in 10", 730_500 * 2_736, 730_500),
)
MEASURED: Final = (
    ("spectrograms", 29_778, 272.0, "an eighth of the study, 24 kHz"),
    ("cluster, 1 epoch", 20_000_000, 782.0, "two workers"),
)
"""Job, windows and seconds on two cores, of runs that gave none of the costs."""


def terms(job: Job, study: Study, machine: Machine) -> dict[str, float]:
    """Return the seconds that each part of a machine needs, by its name."""
    n = study.n
    found = {
        "processors": n * job.cpu_s / machine.cores,
        "storage": n * job.mb / machine.mb_s,
        "scheduler": study.n_partitions * SCHEDULER_S,
    }
    if job.flops:
        found["GPUs"] = n * job.flops / (MFU * machine.peak) if machine.peak else float("inf")
    return found


def seconds(job: Job, study: Study, machine: Machine) -> tuple[float, str]:
    """Return the seconds of a job, and the part that bounds it."""
    found = terms(job, study, machine)
    alone = job.fixed_s + study.n * job.alone_s
    bound = max(found, key=lambda name: found[name])
    return found[bound] + alone, bound if found[bound] > alone else "one process"


def main() -> None:
    """Print the model and how far it is from what was measured."""
    figures = []
    by_name = {job.name: job for job in JOBS}
    for name, n, measured_s, note in MEASURED:
        modelled, _ = seconds(by_name[name], Study("", n, n // 14_400), MACHINES[0])
        is_near = 0.5 <= modelled / measured_s <= 2
        says = f"{measured_s:g} s measured ({note}); within a factor of 2: {'pass' if is_near else 'MISS'}"
        figures.append(Figure(f"{name}, {n:,} windows, modelled", modelled, "s", says, modelled / measured_s))
    for study in STUDIES:
        for machine in MACHINES:
            for job in JOBS:
                taken, bound = seconds(job, study, machine)
                if taken < float("inf"):
                    rate = f"{study.n / taken:,.0f} windows/s; bound by {bound}"
                    figures.append(Figure(f"{study.name}; {machine.name}; {job.name}", taken / 3600, "h", rate))
    report("scaling", figures)


if __name__ == "__main__":
    main()
