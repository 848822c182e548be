"""What all tests share."""

import os

from hypothesis import settings

# Before any numerical library is loaded: on tiny arrays more threads only get in each other's way.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A slow machine is no failure, and a failure must come again: examples are the same in every run.
settings.register_profile("dawnchorus", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("dawnchorus")
