"""Words and numbers of the store format; ``docs/store-format.md`` is the normative text."""

from typing import Final

FORMAT_VERSION: Final = 3
"""Version of the store format this release writes; it reads this one and older ones."""

KINDS: Final = ("spectrograms", "models", "embeddings", "clusters", "detections", "tables", "scores", "atlas")
"""Folders of a lake that hold the outputs of runs."""

STORES: Final = ("spectrograms", "embeddings", "clusters", "detections")
"""Kinds whose outputs are Zarr stores; those of the others are folders of files."""

DATA_ARRAYS: Final = ("spectrogram", "embedding", "attention", "cluster", "distance", "score", "probability")
"""Arrays that jobs write in blocks; the ledger lists their files."""

S_PER_DAY: Final = 86_400
MS_PER_HOUR: Final = 3_600_000
MS_PER_DAY: Final = 86_400_000

EARLIEST_MS: Final = 978_307_200_000
"""2001-01-01, ms since 1970: no recorder is older, and a clock that was never set reads 1970, 1980 or 2000."""

UNTIMED: Final = "untimed:"
"""Prefix of the recorder of recordings without a time, whose windows follow one another."""

OFFSET_UNKNOWN_S: Final = -(2**31)
"""``utc_offset_s`` of a window whose local time is not known."""

# Levels: code 0 is missing, codes 1 to 255 are -124 to +3 dBFS.
CODE_STEP_DB: Final = 0.5
CODE_OFFSET_DB: Final = -124.5
LEVEL_MIN_DB: Final = CODE_OFFSET_DB + CODE_STEP_DB
LEVEL_MAX_DB: Final = CODE_OFFSET_DB + 255 * CODE_STEP_DB

STATUS: Final = {"missing": 0, "ok": 1, "partial": 2, "unreadable": 3}
"""Values of the ``status`` of a cell."""

STATUS_NAMES: Final = {value: name for name, value in STATUS.items()}
"""Name of each status."""

STATUS_ARRAYS: Final = ("status", "embedding_status", "cluster_status", "detection_status")
"""Arrays that hold a status: of cubes, embeddings, clusters and detections."""

OFFSET_ARRAY: Final = "embedding_offset_s"
"""Variable with the seconds from the start of a cell to that of its vector's sound; vectors made elsewhere have it."""

LOST: Final = ("timeout", "crashed")
"""Problems of a recording that is set aside whole, and not asked again: its decoder hung, or died of it."""

COPIES: Final = ("duplicate", "same_sound")
"""Problems of a recording that is there twice: the other one is used, so nothing is lost."""

QUALITY: Final = {
    "silent": 1,  # every sample of every covered run is zero
    "constant": 2,  # every sample has the same value, other than zero
    "clipped": 4,  # samples at full scale, several in a row
    "channels_differ": 8,  # one channel is much quieter than another
    "overlap": 16,  # two recordings claimed the same seconds; the one that started first was taken
    "not_a_number": 32,  # samples that are no numbers were read as zero
}
"""Bits of the ``quality`` of a cell; such windows are still data."""

CLIP_RUN: Final = 3
"""Samples at full scale in a row that count as clipped."""

CLUSTER_FLAGS: Final = {"one_recorder": 1, "one_hour": 2, "noise": 4}
"""Bits of ``cluster_flags``."""
