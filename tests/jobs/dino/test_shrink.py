import pytest

from jobs.dino.views import shrunk_size


@pytest.mark.parametrize(
    ("now", "expected"),
    [((1024, 1024), (512, 512)), ((128, 256), (128, 256)), ((447, 896), (447, 448)), ((1000, 1345), (500, 448))],
)
def test_windows_shrink_by_whole_factors_to_twice_a_view_at_least(
    now: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert shrunk_size(now, (224, 224)) == expected
