import pytest
from pydantic import ValidationError

from jobs.atlas.config import Config


def test_the_defaults_are_valid_and_plain_numbers() -> None:
    config = Config()
    assert (config.n_exemplars, config.level_range_db) == (6, "auto")
    assert Config(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"level_range_db": [-30.0, -90.0]}, r"level_range_db = \[-30, -90\] does not rise within -124 to 3 dBFS"),
        ({"level_range_db": [-200.0, 0.0]}, r"level_range_db = \[-200, 0\] does not rise"),
        ({"level_range_db": "loud"}, "Input should be 'auto'"),
        ({"level_percentiles": [99.0, 1.0]}, r"level_percentiles = \[99, 1\] do not rise within 0 to 100"),
        ({"n_exemplars": 0}, "greater than or equal to 1"),
        ({"perplexity": 1.0}, "greater than or equal to 2"),
        ({"n_map_windows": -1}, "greater than or equal to 0"),
        ({"title": ""}, "at least 1 character"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Config.model_validate(given)
