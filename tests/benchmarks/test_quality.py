"""The ladder's manifest with more minutes and other seeds, and its curves."""

import tomllib
from typing import Any

import pytest

from benchmarks.curves import curve, picture
from benchmarks.quality import ROOT, STEPS_A_MINUTE, Figures, seeded, title_of, trained_longer


@pytest.fixture
def manifest() -> dict[str, Any]:
    return tomllib.loads((ROOT / "manifests" / "quality.toml").read_text(encoding="utf-8"))


def test_two_minutes_are_the_manifest_as_it_is(manifest: dict[str, Any]) -> None:
    assert trained_longer(manifest, [2]) == manifest
    assert manifest["runs"]["contrast"]["config"]["steps"] == 2 * STEPS_A_MINUTE["contrast"]


def test_longer_trainings_are_scored_beside_the_short_ones(manifest: dict[str, Any]) -> None:
    longer = trained_longer(manifest, [2, 8, 20])["runs"]
    assert longer["contrast-8m"]["config"] == {"steps": 8 * STEPS_A_MINUTE["contrast"]}
    assert longer["contrast-stem-20m"] == {
        "job": "embed", "inputs": {"spectrograms": "mels", "model": "contrast-20m"}, "config": {"readout": "stem"},
    }  # fmt: skip
    assert longer["dino-20m"]["config"] == {
        **manifest["runs"]["dino"]["config"], "steps": 20 * STEPS_A_MINUTE["dino"],
    }  # fmt: skip
    inputs = longer["scores"]["inputs"]
    assert inputs["contrast_dictionary_8"] == ["contrast-output-8m", "dictionary"]
    assert inputs["trained_20"] == ["trained-20m"]
    assert "untrained-8m" not in longer


def test_every_input_of_a_seeded_ladder_is_there(manifest: dict[str, Any]) -> None:
    runs = seeded(trained_longer(manifest, [2, 8]), 3)["runs"]
    for run in runs.values():
        for sources in run.get("inputs", {}).values():
            assert {sources} <= set(runs) if isinstance(sources, str) else set(sources) <= set(runs)
    assert runs["contrast-8m-3"]["config"]["seed"] == 3


def test_titles_say_the_minutes() -> None:
    assert title_of("trained_8") == "DINO, 8 minutes"
    assert title_of("contrast_20") == "contrast, 20 minutes"
    assert title_of("contrast_dictionary_8") == "contrast (output), 8 minutes ‖ dictionary"
    assert title_of("joined") == "dictionary ‖ statistics"


def test_curves_hold_means_over_seeds_by_minutes() -> None:
    found: Figures = {
        "contrast": {"ami": [0.5, 0.7]}, "contrast_20": {"ami": [0.8]}, "contrast_8": {"ami": [0.75, 0.75]},
        "contrast_dictionary": {"ami": [0.6]}, "joined": {"ami": [0.4], "knn": [0.6]},
    }  # fmt: skip
    points = curve(found, "contrast", "ami")
    assert [point[0] for point in points] == [2, 8, 20]
    assert points[0][1:] == pytest.approx((0.6, 0.1))
    figure = picture({"dev": found})
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["dictionary ‖ statistics", "contrast", "contrast (output) ‖ dictionary"]
