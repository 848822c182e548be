"""Learning a dictionary at its default settings, with two rounds, takes no more memory for more windows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.studies import cube_run
from jobs.dictionary.config import Config

ROOT = Path(__file__).parents[3]
PER_DAY = 2_000
LEARN = """
import json, sys
from pathlib import Path
from stores import make_run
from jobs.common.run import Options, Run
from jobs.dictionary import command
from jobs.dictionary.config import Config
from jobs.spectrograms.config import Config as CubeConfig
from lake.layout import Lake
lake = Path(sys.argv[1])
config = CubeConfig.model_validate_json(sys.argv[2])
cube = Run(Lake(str(lake)), "mels", "spectrograms", "spectrograms", config, 2, sys.argv[3], {})
run = make_run(lake, "atoms", "dictionary", Config(n_rounds=2), inputs={"spectrograms": cube})
counts = command.execute(run, Options()).counts
kilobytes = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(json.dumps({"kilobytes": kilobytes, **counts}))
"""


@pytest.mark.slow
def test_a_hundred_times_the_windows_take_no_more_memory(tmp_path: Path) -> None:
    found = {}
    for n_days in (1, 100):
        lake = tmp_path / str(n_days)
        cube = cube_run(lake, "mels", n_days=n_days, per_day=PER_DAY, shape=(128, 256))
        words = [sys.executable, "-c", LEARN, str(lake), cube.config.model_dump_json(), cube.config_id]
        path = f"{ROOT / 'tests'}:{ROOT}"
        ended = subprocess.run(
            words, check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}
        )
        found[n_days * PER_DAY] = json.loads(ended.stdout.splitlines()[-1])
    assert [each["windows"] for each in found.values()] == [PER_DAY, Config().n_windows]
    few, many = (each["kilobytes"] / 1000 for each in found.values())
    assert many < few + 40, "megabytes at 200,000 and at 2,000 windows"
