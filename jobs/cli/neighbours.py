"""Good manners towards the other programs of a machine."""

import os

CHOSEN_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_passively() -> None:
    """Make waiting threads sleep, unless the environment says how they wait.

    OpenMP's default is to spin, which takes the cores from whoever has the work: beside other programs a training was
    nine times slower for it. The libraries read this once, when they are loaded.
    """
    if not any(name in os.environ for name in CHOSEN_BY):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
