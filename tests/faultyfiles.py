"""Examining files as the catalog does, in a decoder's process that some of them harm."""

from pathlib import Path

import faultydecoders

from jobs.catalog.examine import FileFacts, examine


def examine_faulty(path: str, maker: str = "", *, deadline_s: float = 300.0) -> FileFacts:
    """Examine a file; one whose name ends in a fault will have it."""
    faults = {"hang": faultydecoders.hang, "crash": faultydecoders.crash, "exit": faultydecoders.leave}
    fault = faults.get(Path(path).stem.rpartition("-")[2])
    if fault is not None:
        fault()
    return examine(path, maker, deadline_s=deadline_s)
