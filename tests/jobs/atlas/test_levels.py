"""Levels of pictures: one range for a study, one of its own for a quiet recorder."""

from pathlib import Path

import numpy as np
import stores
from atlases import Study, read_cluster, scripted
from PIL import Image

from jobs.atlas.config import Config


def test_a_quiet_recorder_has_levels_of_its_own_and_says_so(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(120, 200, (3, 144, 16, 24)).astype(np.uint8)
    codes[1] -= 110
    codes[2, 30:] = 0
    codes[:, 40:] = 0
    cube = stores.make_cube(tmp_path, codes, recorders=["loud", "quiet", "short"])
    labels = np.where(codes.any(axis=(2, 3)), 0, -1).astype(np.int16)
    labels[1] = np.where(labels[1] == 0, 1, -1)
    clusters = stores.make_clusters(tmp_path, labels, recorders=["loud", "quiet", "short"], n_exemplars=2)
    study = Study(tmp_path, cube, clusters)
    folder = study.atlas(Config(image_width_px=24, image_height_px=16, n_borders=0))
    assert list(scripted(folder / "data.js")["own_levels"]) == ["1"]
    with Image.open(folder / "images/1-1.webp") as image:
        quiet = np.asarray(image.convert("RGB")).astype(int)
    with Image.open(folder / "images/0-1.webp") as image:
        loud = np.asarray(image.convert("RGB")).astype(int)
    assert quiet.mean() > 60
    assert quiet.mean() > 0.4 * loud.mean()
    page = read_cluster(folder, 1)
    assert "A quiet recorder: dark to bright is" in page.text
    assert "Pictures of 1 quiet recorder have levels of their own" in page.text
    assert "A quiet recorder" not in read_cluster(folder, 0).text
    fixed = study.atlas(Config(image_width_px=24, image_height_px=16, level_range_db=(-60.0, 0.0)), "fixed")
    assert scripted(fixed / "data.js")["own_levels"] == {}
