import pytest
from pydantic import ValidationError

from jobs.common.training.alterations import Mix
from jobs.contrast.config import Config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 4}, "batch_size: expected 8 or more, found 4: each window is told from the others"),
        ({"batch_size": 48}, "batch_size: expected 8 to 32, or a multiple of 32, found 48"),
        ({"init": "net"}, r"init: expected 'random' or 'starter', found 'net'. .*inputs = { ..., init = 'net' }"),
        ({"steps": 10, "epochs": 2.0}, "steps, epochs: expected one of the two, found 10 and 2"),
        ({"bands": 100}, "bands: expected a multiple of 16, found 100"),
        ({"mel_span": (1.1, 0.9)}, r"mel_span: expected \[lowest, highest\]"),
        ({"views": ({"kind": "mix"}, {"kind": "mix", "share": 1.0})}, "each kind once at most, found 'mix' twice"),
        ({"views": ({"kind": "mix", "snr_db": (9.0, 3.0)},)}, r"snr_db: expected \[lowest, highest\]"),
        ({"views": ({"kind": "flip"},)}, "flip"),
        ({"views": ({"kind": "gain", "share": 0.5},)}, "share"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate(changes)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ValidationError, match=r"init: .*batch_size: .*bands: "):
        Config.model_validate({"init": "x", "batch_size": 2, "bands": 3})


def test_the_length_is_steps_or_passes() -> None:
    assert Config().steps_of(10) == 4000
    assert Config(steps=0).steps_of(10) == 0
    assert Config(epochs=3.0, batch_size=32).steps_of(320) == 30
    assert Config(epochs=0.01, batch_size=32).steps_of(64) == 1


def test_views_come_from_lists_as_json_has_them() -> None:
    config = Config.model_validate_json('{"views": [{"kind": "mix", "snr_db": [1.0, 2.0]}]}')
    assert config.views == (Mix(snr_db=(1.0, 2.0)),)
    assert Config.model_validate_json(config.model_dump_json()) == config
