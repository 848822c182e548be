"""Recordings that browsers play."""

import pytest

from jobs.common.pages.playable import why_unplayable


@pytest.mark.parametrize(
    ("path", "form", "rate", "why"),
    [
        ("a.wav", "WAV/PCM_24", 384_000, ""), ("a.WAV", "", None, ""), ("a.flac", "FLAC", 96_000, ""),
        ("a.wav", "WAV/MS_ADPCM", 8_000, "WAV/MS_ADPCM"), ("a.wav", "WAV/DOUBLE", 8_000, "WAV/DOUBLE"),
        ("a.aif", "AIFF/PCM_16", 8_000, "AIFF/PCM_16"), ("a.wma", "ASF/WMAV2", 8_000, "ASF/WMAV2"),
        ("a.w64", "W64/PCM_16", 8_000, "W64/PCM_16"), ("a.wv", "", None, ".wv"),
        ("a", "", None, "a file without a suffix"),
        ("a.wav", "WAV/PCM_16", 1_000, "1000 Hz"), ("a.wav", "RF64/PCM_16", 48_000, ""),
    ],
)  # fmt: skip
def test_what_browsers_do_not_play_is_known_beforehand(path: str, form: str, rate: int | None, why: str) -> None:
    assert why_unplayable(path, form, rate) == why
