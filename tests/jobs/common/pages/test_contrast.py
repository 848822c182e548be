"""Colours of the page by WCAG 2.2: text 4.5 to 1, what is not text 3 to 1, in light and in dark."""

import re
from importlib.resources import files

import pytest

STYLE = files("jobs.common.pages").joinpath("templates/page.css").read_text(encoding="utf-8")


def schemes() -> list[dict[str, str]]:
    light, dark = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", part)) for part in STYLE.split("@media", 1))
    return [light, {**light, **dict(list(dark.items())[: len(light)])}]


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_the_examples_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark"])
@pytest.mark.parametrize(("colour", "least"), [("ink", 4.5), ("quiet", 4.5), ("link", 4.5), ("mark", 4.5), ("bar", 3)])
def test_text_and_bars_stand_out_from_the_page_and_from_cards(
    scheme: dict[str, str], colour: str, least: float
) -> None:
    for ground in ("paper", "card"):
        assert contrast(scheme[colour], scheme[ground]) >= least
