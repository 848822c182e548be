"""Camtrap DP 1.0.2 (https://camtrap-dp.tdwg.org): a data package of deployments, media files and observations."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import pandas as pd

from lake.deployments import CAMTRAP_DP_COLUMNS, camtrap_deployments
from lake.digest import sha256
from lake.errors import InputError
from lake.exports.collection import Collection
from lake.exports.media import media_type
from lake.tables import defused_table

VERSION: Final = "1.0.2"
SCHEMAS: Final = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"
MEDIA = (
    "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype",
    "exifData", "favorite", "mediaComments",
)  # fmt: skip
_OBSERVATIONS = (
    "observationID deploymentID mediaID eventID eventStart eventEnd observationLevel observationType "
    "cameraSetupType scientificName count lifeStage sex behavior individualID individualPositionRadius "
    "individualPositionAngle individualSpeed bboxX bboxY bboxWidth bboxHeight classificationMethod classifiedBy "
    "classificationTimestamp classificationProbability observationTags observationComments"
)
OBSERVATIONS = tuple(_OBSERVATIONS.split())
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "deployments": CAMTRAP_DP_COLUMNS, "media": MEDIA, "observations": OBSERVATIONS,
}  # fmt: skip
FOLDER: Final = "recordings"
"""Folder beside the tables that paths of media begin with: put the recordings there, or name a URL in their place."""
SAMPLING: Final = "opportunistic"
"""``samplingDesign`` of the package, which cannot be known here."""


def camtrap_dp(collection: Collection) -> tuple[dict[str, bytes], int]:
    """Return the files of a Camtrap DP package by name, and its number of observations.

    Each span is an observation at the level of the media file. Sounds without a scientific name are observations of
    the type ``unclassified``, with the tag ``sound:NAME``.

    Raises
    ------
    InputError
        If no span is in a recording of a deployment with coordinates, which the standard asks for.
    """
    spans = collection.in_recordings()
    deployments = collection.deployments
    is_placed = deployments["latitude"].notna() & deployments["longitude"].notna()
    known = set(deployments.loc[is_placed, "deployment"])
    has_place = spans["deployment"].isin(known)
    if not has_place.all():
        lacking = spans.loc[~has_place]
        who = zip(lacking["deployment"], lacking["recorder"], strict=True)
        names = sorted({deployment or f"(none, of recorder {recorder})" for deployment, recorder in who})
        of = ", ".join(names)
        told = f"{len(lacking)} spans of deployments without coordinates, which Camtrap DP asks for: {of}"
        if not has_place.any():
            raise InputError(
                f"nothing is left to export: {told}. Add latitude and longitude to the table of deployments, name it "
                "in the manifest (`deployments`), and run the spectrograms again."
            )
        collection.notes.append(f"left out are {told}")
        spans = spans[has_place].reset_index(drop=True)
    deployments = deployments[is_placed].reset_index(drop=True)
    deployment_of = spans.drop_duplicates("recording").set_index("recording")["deployment"]
    media = collection.recordings[collection.recordings["path"].isin(deployment_of.index)]
    media = media.assign(deployment=media["path"].map(deployment_of)).reset_index(drop=True)
    about = collection.about
    uncertainty_m = None if about.decimals is None else about.uncertainty_m
    tables = {
        "deployments": camtrap_deployments(deployments, uncertainty_m=uncertainty_m),
        "media": _media(media),
        "observations": _observations(spans, media, collection),
    }
    package = _package(collection, deployments, spans)
    texts = {f"{name}.csv": defused_table(table).to_csv(index=False).encode() for name, table in tables.items()}
    package_text = json.dumps(package, indent=2, ensure_ascii=False) + "\n"
    return {**texts, "datapackage.json": package_text.encode()}, len(spans)


def span_id(row: Mapping[Any, Any]) -> str:
    """Return an identifier of a span, a row of a table of spans, that is the same in every export of it."""
    times = [row[name].isoformat(timespec="milliseconds") for name in ("start_utc", "end_utc")]
    return sha256(json.dumps([row["sound"], row["recorder"], *times]).encode())[:24]


def _media(media: pd.DataFrame) -> pd.DataFrame:
    found = pd.DataFrame("", index=media.index, columns=list(MEDIA), dtype="str")
    return found.assign(
        mediaID=[_media_id(path) for path in media["path"]],
        deploymentID=media["deployment"],
        captureMethod="timeLapse",
        timestamp=[_time(start) for start in media["start_utc"]],
        filePath=[_file_path(path) for path in media["path"]],
        filePublic="false",
        fileName=[path.rsplit("/", 1)[-1] for path in media["path"]],
        fileMediatype=[media_type(path) for path in media["path"]],
        mediaComments=[f"sha256:{digest}" for digest in media["sha256"]],
    )


def _observations(spans: pd.DataFrame, media: pd.DataFrame, collection: Collection) -> pd.DataFrame:
    deployment_of = dict(zip(media["path"], media["deployment"], strict=True))
    rows = []
    for row in spans.to_dict("records"):
        name = collection.scientific_name(row["sound"])
        is_human = row["verdict"] == "yes"
        rows.append({
            "observationID": span_id(row),
            "deploymentID": deployment_of[row["recording"]],
            "mediaID": _media_id(row["recording"]),
            "eventStart": _time(row["start_utc"]),
            "eventEnd": _time(row["end_utc"]),
            "observationLevel": "media",
            "observationType": "animal" if name else "unclassified",
            "scientificName": name,
            "classificationMethod": "human" if is_human else "machine",
            "classifiedBy": row["reviewers"] if is_human else collection.about.detector,
            "classificationTimestamp": _time(row["decided_at"]) if is_human else "",
            "classificationProbability": "" if is_human or pd.isna(row["probability"]) else f"{row['probability']:.6g}",
            "observationTags": f"sound:{row['sound']}",
            "observationComments": f"seconds {row['start_s']:g} to {row['end_s']:g} of the recording",
        })  # fmt: skip
    return pd.DataFrame([{key: row.get(key, "") for key in OBSERVATIONS} for row in rows], columns=list(OBSERVATIONS))


def _package(collection: Collection, deployments: pd.DataFrame, spans: pd.DataFrame) -> dict[str, Any]:
    about = collection.about
    positions = deployments[["longitude", "latitude"]].drop_duplicates().to_numpy().tolist()
    creators = about.creators or ("(not named)",)
    if not about.creators:
        collection.notes.append("the package names no contributor; add --creator NAME")
    collection.notes.append(
        f"the package says samplingDesign {SAMPLING!r}, which is not known here; correct datapackage.json if it is "
        "another"
    )
    names = {collection.scientific_name(sound): collection.sounds[sound] for sound in spans["sound"].unique()
             if collection.scientific_name(sound)}  # fmt: skip
    licences = {"licenses": [{"name": about.licence, "scope": scope} for scope in ("data", "media")]}
    rounding = {"coordinatePrecision": 10.0**-about.decimals} if about.decimals is not None else {}
    return {
        "resources": [
            {
                "name": name, "path": f"{name}.csv", "profile": "tabular-data-resource", "format": "csv",
                "mediatype": "text/csv", "encoding": "utf-8", "schema": f"{SCHEMAS}/{name}-table-schema.json",
            }
            for name in TABLES
        ],
        "profile": f"{SCHEMAS}/camtrap-dp-profile.json",
        "name": re.sub(r"[^a-z0-9._-]+", "-", about.title.lower()).strip("-.") or "study",
        "created": about.created_utc,
        "title": about.title,
        "description": " ".join(part for part in (about.chosen, about.rounding) if part),
        "contributors": [{"title": name, "role": "contributor"} for name in creators],
        "sources": [{"title": about.program}],
        **(licences if about.licence else {}),
        "project": {
            "title": about.title, "samplingDesign": SAMPLING, "captureMethod": ["timeLapse"],
            "individualAnimals": False, "observationLevel": ["media"],
        },
        **rounding,
        "spatial": {"type": "MultiPoint", "coordinates": positions},
        "temporal": {"start": f"{deployments['start'].min():%Y-%m-%d}", "end": f"{deployments['end'].max():%Y-%m-%d}"},
        "taxonomic": [
            {"scientificName": name, **({"taxonID": sound.key} if sound.key else {})}
            for name, sound in sorted(names.items())
        ],
    }  # fmt: skip


def _media_id(path: str) -> str:
    return sha256(path.encode())[:24]


def _file_path(path: str) -> str:
    """Return a path as the standard allows it: below a folder, without two dots in a row, and of one line."""
    plain = "".join(letter if letter.isprintable() else quote(letter) for letter in path)
    return f"{FOLDER}/{plain}".replace("..", ".%2E")


def _time(time: pd.Timestamp) -> str:
    """Return a time in ISO 8601, to the second, as the standard has it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
