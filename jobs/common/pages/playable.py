"""Which recordings a browser plays as they are."""

from pathlib import PurePosixPath

CODINGS = frozenset({
    "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "PCM_S16LE", "PCM_S24LE", "PCM_S32LE", "FLOAT", "PCM_F32LE", "ULAW", "ALAW",
    "PCM_MULAW", "PCM_ALAW", "PCM_S8", "VORBIS", "OPUS", "FLAC", "MPEG_LAYER_III", "MP3", "MP3FLOAT", "AAC",
})  # fmt: skip
CONTAINERS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "MPEG", "MOV", "AAC"})
SUFFIXES = frozenset({
    ".wav", ".wave", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac",
})  # fmt: skip
LEAST_RATE_HZ, MOST_RATE_HZ = 3_000, 768_000
"""Of Chromium, in which all of these were tried."""


def why_unplayable(path: str, form: str = "", sample_rate_hz: int | None = None) -> str:
    """Return what of a recording browsers do not play, in a few words; empty if they play it.

    Parameters
    ----------
    path
        Of the recording; its suffix decides where the format is not known.
    form
        Container and coding, such as ``WAV/PCM_16``, as a table of recordings has them.
    sample_rate_hz
        Its rate, if known.

    Examples
    --------
    >>> why_unplayable("a.WAV", "WAV/PCM_24", 384_000), why_unplayable("a.wav", "WAV/IMA_ADPCM", 16_000)
    ('', 'WAV/IMA_ADPCM')
    >>> why_unplayable("a.aiff"), why_unplayable("a.flac", "FLAC/PCM_16", 1_000_000)
    ('.aiff', '1000000 Hz')
    """
    container, _, coding = form.upper().partition("/")
    if form and (container not in CONTAINERS or (coding and coding not in CODINGS)):
        return form
    suffix = PurePosixPath(path).suffix.lower()
    if not form and suffix not in SUFFIXES:
        return suffix or "a file without a suffix"
    if sample_rate_hz is not None and not LEAST_RATE_HZ <= sample_rate_hz <= MOST_RATE_HZ:
        return f"{sample_rate_hz} Hz"
    return ""
