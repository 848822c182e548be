import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobs.common.config import identity_config, resumed_config
from jobs.dino.config import Config

ROOT = Path(__file__).parents[3]


def test_the_manifest_of_the_study_needs_only_the_network_and_the_passes() -> None:
    config = Config(**tomllib.loads('arch = "vit_small_patch16_224"\nepochs = 50'))
    assert config == Config()


def test_toml_lists_and_whole_numbers_are_taken() -> None:
    config = Config(**tomllib.loads("patch_size = [32, 4]\nmix_snr_db = [3, 25]\ngain_db = 6"))
    assert config.patch_size == (32, 4)
    assert config.mix_snr_db == (3.0, 25.0)


def test_a_stored_configuration_is_the_same_configuration() -> None:
    config = Config(steps=7, global_time_span=(0.4, 1.0))
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert Config(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": (128, 4)}, r"global_size: expected a multiple of patch_size \(128, 4\), found \(224"),
        ({"local_size": (96, 90)}, r"local_size: expected a multiple of patch_size \(16, 16\)"),
        ({"mix_snr_db": (9.0, 3.0)}, r"mix_snr_db: expected \[lowest, highest\], found \[9.0, 3.0\]"),
        ({"local_time_span": (0.5, 1.5)}, r"local_time_span: expected a share of the window up to 1, found 1.5"),
        ({"seed": -1}, "seed"),
        ({"n_global": 1}, "n_global"),
        ({"center_momentum": 1.1}, "center_momentum"),
        ({"batchsize": 3}, "batchsize"),
        ({"pooling": "max"}, "pooling"),
        ({"steps": 3.5}, "steps"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**changes)


def test_a_list_of_views_is_the_same_as_the_settings_that_it_stands_for() -> None:
    usual = 'views = [{ kind = "mix" }, { kind = "gain" }, { kind = "tilt" }, { kind = "mask" }]'
    none: dict[str, Any] = {"mix_share": 0.0, "gain_db": 0.0, "tilt_db": 0.0, "mask_share": 0.0}
    some = 'views = [{ kind = "mask", width = 0.3 }, { kind = "mix", share = 1, snr_db = [0, 6] }]'
    flat: dict[str, Any] = {**none, "mix_share": 1.0, "mix_snr_db": (0.0, 6.0), "mask_width": 0.3}
    del flat["mask_share"]
    for written, same in ((usual, Config()), ("views = []", Config(**none)), (some, Config(**flat))):
        config = Config(**tomllib.loads(written))
        assert identity_config(config) == identity_config(same)
        assert config.model_dump() == same.model_dump()
    stored = Config(**flat).model_dump(mode="json")
    assert resumed_config(Config, tomllib.loads(usual), stored).model_dump() == Config().model_dump()


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ('[{ kind = "eq" }]', "'mix', 'gain', 'tilt', 'mask'"),
        ('[{ kind = "gain" }, { kind = "gain", db = 1 }]', "each kind once"),
        ('[{ kind = "mix", share = 2 }]', "less than or equal to 1"),
        ('[{ kind = "gain", dB = 2 }]', "dB"),
        ('[{ kind = "mix", snr_db = [9, 3] }]', "lowest, highest"),
        ('[{ kind = "gain" }]\nmask_share = 0.5\ngain_db = 6', "leave out gain_db, mask_share"),
        ('"gain"', "views"),
    ],
)
def test_lists_of_views_that_make_no_sense_are_refused(views: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**tomllib.loads(f"views = {views}"))


def test_several_problems_are_told_at_once() -> None:
    with pytest.raises(ValidationError, match=r"local_size: .*; mix_snr_db: "):
        Config(patch_size=(7, 7), mix_snr_db=(9.0, 3.0))


def test_the_configuration_loads_without_torch() -> None:
    script = "import sys, jobs.dino.config; sys.exit(any(m in sys.modules for m in ('torch', 'timm')))"
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT).returncode == 0
