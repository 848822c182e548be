"""The memory of learning a dictionary does not follow the number of windows."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stores import make_cube

TESTS = Path(__file__).parents[2]
LEARN = """
import json, sys
from pathlib import Path
from stores import make_run
from jobs.common.run import Options, Run
from jobs.dictionary import command
from jobs.dictionary.config import Config
from jobs.spectrograms.config import Config as CubeConfig
lake = Path(sys.argv[1])
cube = make_run(lake, "mels", "spectrograms", CubeConfig(**json.loads(sys.argv[2])))
config = Config(n_windows=2000, n_patches=20_000, n_rounds=3)
counts = command.execute(make_run(lake, "atoms", "dictionary", config, inputs={"spectrograms": cube}), Options()).counts
kilobytes = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps({"kilobytes": kilobytes, **counts}))
"""


@pytest.mark.slow
def test_a_hundred_times_the_windows_take_no_more_memory(tmp_path: Path) -> None:
    per_day, found = 14_400, {}
    random = np.random.default_rng(0)
    for n_days, n_windows in ((1, 2_000), (14, 200_000)):
        codes = np.zeros((1, n_days * per_day, 32, 32), dtype=np.uint8)
        codes[0, :n_windows] = random.integers(1, 255, (100, 32, 32), dtype=np.uint8)[np.arange(n_windows) % 100]
        lake = tmp_path / str(n_windows)
        shape = {"window_s": 6.0, "hop_s": 6.0, "n_mels": 32, "n_frames": 32, "shard_windows": 1440}
        make_cube(lake, codes, recorders=["one"], window_s=6.0, hop_s=6.0, shard_windows=1440)
        del codes
        words = [sys.executable, "-c", LEARN, str(lake), json.dumps(shape)]
        ended = subprocess.run(words, check=True, capture_output=True, text=True, cwd=TESTS.parent, env=_with(TESTS))
        found[n_windows] = json.loads(ended.stdout.splitlines()[-1])
    assert {each["windows"] for each in found.values()} == {2_000}
    few, many = (found[n]["kilobytes"] / 1000 for n in (2_000, 200_000))
    assert many < few + 60, "megabytes at 200,000 and at 2,000 windows"


def _with(tests: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"}
