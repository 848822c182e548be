"""Suffixes of recordings."""

from typing import Final

AUDIO_SUFFIXES: Final = (
    ".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".rf64",
    ".snd", ".w64", ".wac", ".wav", ".wave", ".wma", ".wv",
)  # fmt: skip
"""In lower case. ``.wac`` has no decoder here: it is listed, so that it is not missed."""
