"""AOEF, the JSON of soundevent and whombat: what people verified as annotations, what detectors find as predictions.

Version 1.1.0, as https://github.com/mbsantiago/soundevent reads it.
"""

import json
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID, uuid5

import pandas as pd

from lake.exports.collection import Collection

VERSION: Final = "1.1.0"
NAMESPACE: Final = UUID("7a3f2f52-6a5d-5b8c-9a44-1f0e5d0c2b61")
"""Identifiers are the same in every export of the same spans."""
KEYS: Final = {"sound": "label", "scientific_name": "dwc:scientificName"}
"""Keys of the tags of a span."""


def aoef(collection: Collection) -> tuple[bytes, int]:
    """Return a file of annotations if people verified all spans, else one of predictions; and the number of spans.

    A clip is a span that was heard or scored, not the whole recording: nothing is said of what lies between. Dates and
    times of recordings are UTC.

    Raises
    ------
    InputError
        If the recording of no span is known.
    """
    about, spans = collection.about, collection.in_recordings()
    is_verified = bool((spans["verdict"] == "yes").all())
    kind = "annotation_set" if is_verified else "prediction_set"
    users = {name: _id("user", name) for cell in spans["reviewers"] for name in _names(cell)} if is_verified else {}
    tags = {
        tag: i for i, tag in enumerate(dict.fromkeys(tag for row in _rows(spans) for tag in _tags(row, collection)))
    }
    data: dict[str, Any] = {
        "uuid": _id("set", about.title, about.chosen), "name": about.title, "description": about.chosen,
        "collection_type": kind, "created_on": _time(pd.Timestamp(about.created)),
        "users": [{"uuid": identity, "name": name} for name, identity in users.items()],
        "tags": [{"id": i, "key": key, "value": value} for (key, value), i in tags.items()],
        "recordings": list(_recordings(collection, spans)), "sound_events": [], "clips": [],
    }  # fmt: skip
    events, clips = (
        ("sound_event_annotations", "clip_annotations")
        if is_verified
        else ("sound_event_predictions", "clip_predictions")
    )
    data |= {events: [], clips: []}
    by_clip: dict[str, list[str]] = {}
    for row in _rows(spans):
        place = (row["recording"], f"{row['start_s']:.6f}", f"{row['end_s']:.6f}")
        clip, event = _id("clip", *place), _id("event", *place, row["sound"])
        of_recording, ends = _id("recording", row["recording"]), [row["start_s"], row["end_s"]]
        data["sound_events"].append(
            {"uuid": event, "recording": of_recording, "geometry": {"type": "TimeInterval", "coordinates": ends}}
        )
        if clip not in by_clip:
            by_clip[clip] = []
            data["clips"].append({"uuid": clip, "recording": of_recording, "start_time": ends[0], "end_time": ends[1]})
        said: dict[str, Any] = {"uuid": _id(kind, event), "sound_event": event}
        numbers = [tags[tag] for tag in _tags(row, collection)]
        if is_verified:
            said |= {
                "tags": numbers,
                "created_on": _time(row["decided_at"]),
                "created_by": users[_names(row["reviewers"])[0]],
            }
        else:
            said |= {"score": row["probability"], "tags": [[number, row["probability"]] for number in numbers]}
        data[events].append(said)
        by_clip[clip].append(said["uuid"])
    when = {"created_on": _time(pd.Timestamp(about.created))} if is_verified else {}
    data[clips] = [{"uuid": _id(clips, clip), "clip": clip, "sound_events": of, **when} for clip, of in by_clip.items()]
    text = json.dumps(
        {"version": VERSION, "created_on": data["created_on"], "data": data}, indent=1, ensure_ascii=False
    )
    return text.encode(), len(spans)


def _recordings(collection: Collection, spans: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the recordings of spans; with one channel, which is what the spectrograms show."""
    wanted = collection.recordings[collection.recordings["path"].isin(spans["recording"])]
    places = collection.deployments.set_index("deployment")[["latitude", "longitude"]]
    for row in _rows(wanted):
        place = places.loc[row["deployment"]].dropna().to_dict() if row["deployment"] in places.index else {}
        start = pd.Timestamp(row["start_utc"])
        yield {
            "uuid": _id("recording", row["path"]), "path": row["path"], "duration": float(row["duration_s"]),
            "channels": 1, "samplerate": int(row["sample_rate_hz"]), "hash": row["sha256"],
            "date": f"{start:%Y-%m-%d}", "time": f"{start:%H:%M:%S.%f}", "owners": [], **place,
        }  # fmt: skip


def _tags(row: dict[str, Any], collection: Collection) -> list[tuple[str, str]]:
    name = collection.scientific_name(row["sound"])
    return [(KEYS["sound"], row["sound"]), *([(KEYS["scientific_name"], name)] if name else [])]


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _names(cell: str) -> list[str]:
    return cell.split("; ")


def _id(*parts: str) -> str:
    return str(uuid5(NAMESPACE, "\0".join(parts)))


def _time(time: pd.Timestamp) -> str:
    return time.isoformat()
