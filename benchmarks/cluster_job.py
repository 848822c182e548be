"""One whole cluster job in a process of its own, on threads or on the workers of a local Dask cluster."""

import json
import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.cluster_bytes import count_gathered, count_sent, gathered_bytes
from benchmarks.cluster_workers import all_sent
from jobs.cluster import command
from jobs.cluster.config import Config
from jobs.common.machines import local_client
from jobs.common.run import Options, Run
from jobs.embed.config import Config as EmbedConfig
from lake.layout import Lake


def peak_bytes() -> int:
    """Return the largest resident size of this process; not ru_maxrss, which begins with what the parent had."""
    return int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """Print what was measured as JSON."""
    lake, name, workers, epochs, normalise = Lake(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5]), sys.argv[5]
    vectors = Run(lake, name, "embed", "embeddings", EmbedConfig(features="logmel"), 1, "x", {})
    config = Config.model_validate({"n_epochs": epochs, "normalise": normalise})
    run = Run(lake, f"clusters-{name}", "cluster", "clusters", config, 3, "y", {"embeddings": vectors})
    for left in (run.output, run.ledger.storage):  # labels that stand would not be made again
        shutil.rmtree(left.root, ignore_errors=True)
    run.ledger.open_run(run.name, run.record)
    start = time.perf_counter()
    with local_client(workers) if workers else nullcontext() as client:
        if client is not None:
            count_sent()
            count_gathered(client)
            client.run(count_sent)
        began = time.perf_counter()
        outcome = command.execute(run, Options(workers=2))
        seconds = time.perf_counter() - began
        peaks = list(client.run(peak_bytes).values()) if client is not None else []
        sent = all_sent(client) if client is not None else 0
    found = {
        "seconds": seconds, "start": began - start, "driver": peak_bytes(), "workers": peaks, "sent": sent,
        "results": gathered_bytes(), **outcome.counts,
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
