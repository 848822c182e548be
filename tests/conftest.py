"""What all tests share."""

import os

# Before any numerical library is loaded: on tiny arrays more threads only get in each other's way.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
