"""The starter's recipe with another seed or length: nothing else of the manifest changes."""

import tomllib

from benchmarks.starter import MANIFEST, placed


def test_seed_0_is_the_manifest_itself() -> None:
    assert placed("starter", 0, None)["runs"] == tomllib.loads(MANIFEST.read_text(encoding="utf-8"))["runs"]


def test_another_seed_is_another_run_on_the_same_cube() -> None:
    first, other = placed("starter", 0, None), placed("starter-2", 2, 512)
    assert other["runs"]["mels"] == first["runs"]["mels"]
    assert set(other["runs"]) == {"mels", "starter-2"}
    assert other["runs"]["starter-2"]["config"] == {**first["runs"]["starter"]["config"], "seed": 2, "steps": 512}
    assert {key: other[key] for key in ("lake", "recordings")} == {key: first[key] for key in ("lake", "recordings")}
