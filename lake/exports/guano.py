"""GUANO metadata (https://guano-md.org, 1.0) in WAV files: where and when a clip was recorded, and what is in it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lake.escapes import printable
from lake.exports.times import local_iso

CHUNK = b"guan"


def guano_of(clip: Mapping[str, Any], *, rate_hz: int, gain_db: float = 0.0) -> dict[str, str]:
    """Return the GUANO fields of a clip.

    Parameters
    ----------
    clip
        A row of :func:`lake.exports.clips.clips_of`.
    rate_hz
        Sample rate of the clip.
    gain_db
        That its samples were lowered by, where the sound went beyond full scale.
    """
    name = str(clip["scientific_name"] or clip["sound"])
    position = f"{clip['latitude']:.10g} {clip['longitude']:.10g}" if pd.notna(clip["latitude"]) else ""
    fields = {
        "GUANO|Version": "1.0",
        "Timestamp": local_iso(clip["start_utc"], clip["start_utc"], clip["start_local"], "milliseconds"),
        "Length": f"{clip['end_time']:g}",
        "Samplerate": str(rate_hz),
        "Serial": str(clip["recorder"]),
        "Loc Position": position,
        "Original Filename": str(clip["recording"]).rsplit("/", 1)[-1],
        "Species Manual ID" if clip["verdict"] == "yes" else "Species Auto ID": name,
        "Tags": str(clip["sound"]),
        "dawnchorus|Site": str(clip["site"]),
        "dawnchorus|Deployment": str(clip["deployment"]),
        "dawnchorus|Recording": str(clip["recording"]),
        "dawnchorus|Offset": f"{clip['offset_s']:g}",
        "dawnchorus|Gain": f"{gain_db:g}" if gain_db else "",
        "dawnchorus|Probability": "" if pd.isna(clip["probability"]) else f"{clip['probability']:.6g}",
    }
    return {key: value for key, value in fields.items() if value}


def with_guano(wav: bytes, fields: Mapping[str, str]) -> bytes:
    """Return a WAV file with a chunk of GUANO metadata at its end.

    Parameters
    ----------
    wav
        A RIFF file below 4 GiB.
    fields
        Text by key; line ends in it are escaped.
    """
    text = "\n".join(f"{key}: {printable(value)}" for key, value in fields.items()).encode() + b"\n"
    padded = wav + b"\0" * (len(wav) % 2)
    made = padded + CHUNK + len(text).to_bytes(4, "little") + text + b"\0" * (len(text) % 2)
    return made[:4] + (len(made) - 8).to_bytes(4, "little") + made[8:]
