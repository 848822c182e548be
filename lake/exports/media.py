"""Media types of recordings, by the suffix of their names."""

from pathlib import PurePosixPath

TYPES = {
    ".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".opus": "audio/ogg",
    ".m4a": "audio/mp4", ".aac": "audio/aac", ".aif": "audio/aiff", ".aiff": "audio/aiff", ".wma": "audio/x-ms-wma",
}  # fmt: skip


def media_type(path: str) -> str:
    """Return the media type of a recording; of a suffix that is not known, ``audio/x-SUFFIX``."""
    suffix = PurePosixPath(path).suffix.lower()
    letters = "".join(letter for letter in suffix if letter.isascii() and letter.isalnum())
    return TYPES.get(suffix) or f"audio/x-{letters or 'unknown'}"
