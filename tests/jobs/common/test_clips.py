"""Clips: sound beyond full scale."""

import io

import numpy as np
import pytest
import soundfile

from jobs.common.clips import _wav


@pytest.mark.parametrize("peak", [0.5, 1.0, 4.0])
def test_sound_beyond_full_scale_is_lowered_and_says_so(peak: float) -> None:
    samples = np.linspace(-peak, peak, 1001, dtype=np.float32)
    data, gain_db = _wav(samples, 24_000)
    back, rate = soundfile.read(io.BytesIO(data))
    assert rate == 24_000
    np.testing.assert_allclose(back * 10 ** (-gain_db / 20), samples, atol=peak * 2**-10)
    assert (gain_db < 0) == (peak > 1)
