from typing import Any

import pytest

from jobs.common.config import JobConfig, identity_config
from lake.errors import IdentityError
from lake.identity import config_id, content_id, require_same

RECORD: dict[str, Any] = {
    "job": "spectrograms", "algorithm": 1, "config": {"hop_s": 3.0, "n_mels": 64}, "inputs": {}, "config_id": "a",
}  # fmt: skip


def test_identity_depends_on_everything_that_changes_numbers_and_on_no_order() -> None:
    one = config_id("embed", 1, {"a": 1, "b": 2.0}, {"x": "1", "y": "2"})
    assert one == config_id("embed", 1, {"b": 2.0, "a": 1}, {"y": "2", "x": "1"})
    others = [
        config_id("cluster", 1, {"a": 1, "b": 2.0}, {"x": "1", "y": "2"}),
        config_id("embed", 2, {"a": 1, "b": 2.0}, {"x": "1", "y": "2"}),
        config_id("embed", 1, {"a": 2, "b": 2.0}, {"x": "1", "y": "2"}),
        config_id("embed", 1, {"a": 1, "b": 2.0}, {"x": "1", "y": "3"}),
    ]
    assert len({one, *others}) == 5
    assert content_id([("b", "2"), ("a", "1")]) == content_id([("a", "1"), ("b", "2")])


def test_another_configuration_is_refused_field_by_field() -> None:
    wanted = {**RECORD, "config": {"hop_s": 6.0, "n_frames": 4}, "config_id": "b"}
    with pytest.raises(IdentityError) as caught:
        require_same("mels", RECORD, wanted)
    text = str(caught.value)
    assert "config.hop_s: stored 3.0, wanted 6.0" in text
    assert "config.n_frames: stored '(absent)', wanted 4" in text
    assert "config.n_mels: stored 64, wanted '(absent)'" in text
    assert "new name" in text
    assert caught.value.exit_code == 3


def test_a_field_that_came_later_does_not_change_an_identity_until_it_is_used() -> None:
    from pydantic import Field

    class Before(JobConfig):
        a: int = 1

    class After(JobConfig):
        a: int = 1
        b: int = Field(7, json_schema_extra={"introduced_as": 3})

    assert identity_config(After(b=3)) == identity_config(Before())
    assert identity_config(After()) == {"a": 1, "b": 7}
