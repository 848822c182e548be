import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.common.pages.axes import LEAST_DISTANCE_PERCENT, frequency_ticks, linear_ticks


def mel_centres_hz(n_mels: int, f_max_hz: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """HTK's scale, written down a second time."""
    top = 2595 * np.log10(1 + f_max_hz / 700)
    return np.asarray(700 * (10 ** (np.linspace(0, top, n_mels + 2)[1:-1] / 2595) - 1))


def test_ticks_of_a_window_of_six_seconds() -> None:
    ticks = linear_ticks(0, 6)
    assert [tick.label for tick in ticks] == ["0", "1", "2", "3", "4", "5", "6"]
    assert [tick.percent for tick in ticks] == pytest.approx([100 * s / 6 for s in range(7)], abs=1e-3)


def test_ticks_of_levels_keep_to_round_values_and_have_a_real_minus() -> None:
    assert [(tick.percent, tick.label) for tick in linear_ticks(-95, -15, 5)] == [
        (18.75, "−80"), (43.75, "−60"), (68.75, "−40"), (93.75, "−20"),
    ]  # fmt: skip


def test_counts_get_no_ticks_between_whole_numbers() -> None:
    assert [tick.label for tick in linear_ticks(0, 2, 5, least_step=1)] == ["0", "1", "2"]


@given(st.floats(-1000, 1000), st.floats(1, 1000), st.integers(2, 12))
def test_linear_ticks_rise_within_the_axis_and_are_few(low: float, span: float, n_most: int) -> None:
    ticks = linear_ticks(low, low + span, n_most)
    percents = [tick.percent for tick in ticks]
    assert len(ticks) <= n_most + 1
    assert percents == sorted(set(percents))
    assert all(-1e-3 <= percent <= 100.001 for percent in percents)
    step = np.diff([float(tick.label.replace("−", "-")) for tick in ticks])
    assert np.all(np.abs(step - step[:1]) <= 1e-3 * np.abs(step[:1]) + 1e-2)


def test_frequencies_stand_where_their_bands_are() -> None:
    centres = mel_centres_hz(1024, 20_000)
    ticks = frequency_ticks(centres)
    labels = {tick.label: tick.percent for tick in ticks}
    assert list(labels) == ["0", "0.5", "1", "2", "3", "5", "7", "10", "15", "20"]
    top = np.log10(1 + 20_000 / 700)
    for label, percent in labels.items():
        # The scale's own formula; a picture's ends are half a band within the bank's.
        assert percent == pytest.approx(100 * np.log10(1 + float(label) * 1000 / 700) / top, abs=0.1)


@given(st.integers(2, 300), st.floats(500, 150_000))
def test_frequency_ticks_do_not_touch_and_stay_on_the_axis(n_mels: int, f_max_hz: float) -> None:
    ticks = frequency_ticks(mel_centres_hz(n_mels, f_max_hz))
    percents = [tick.percent for tick in ticks]
    values = [float(tick.label) for tick in ticks]
    assert values == sorted(set(values))
    assert all(0 <= percent <= 100 for percent in percents)
    assert np.all(np.diff(percents) >= LEAST_DISTANCE_PERCENT)
    assert len(ticks) >= 2


def test_a_single_band_has_its_own_tick() -> None:
    assert [(t.percent, t.label) for t in frequency_ticks(np.array([440.0]))] == [(50.0, "0.44")]
