"""Collections for tests of exports, and what Camtrap DP asks of its tables."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lake.exports.collection import About, Collection
from lake.exports.spans import COLUMNS
from lake.sounds import Sound

ABOUT = About(
    "Meadow", ("Ana Ray",), "CC-BY-4.0", datetime(2021, 7, 2, tzinfo=UTC), None, "dawnchorus 0.1.0", "Chosen."
)
WREN = Sound("wren", "Troglodytes troglodytes", "5231630")
FAR = pd.Timestamp("2021-06-22T05:00:00")


def spans_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table of spans; what a row leaves out is as in an ordinary one."""
    filled = [
        {
            "sound": "wren", "recorder": "a", "start_utc": FAR + pd.Timedelta(10 * i, "s"),
            "end_utc": FAR + pd.Timedelta(10 * i + 5, "s"), "start_local": FAR + pd.Timedelta(10 * i - 18_000, "s"),
            "recording": "a/x.wav", "start_s": 10.0 * i, "end_s": 10.0 * i + 5, "deployment": "a-1", "site": "creek",
            "latitude": 41.81637, "longitude": -88.06889, "probability": np.nan, "verdict": "yes", "reviewers": "Ana",
            "decided_at": pd.Timestamp("2021-07-01"), **row,
        }
        for i, row in enumerate(rows)
    ]  # fmt: skip
    times = ("start_utc", "end_utc", "start_local", "decided_at")
    return pd.DataFrame(filled)[list(COLUMNS)].astype(dict.fromkeys(times, "datetime64[ms]"))


def collection_of(
    rows: Sequence[Mapping[str, Any]] = ({},), sounds: Sequence[Sound] = (WREN,), about: About = ABOUT
) -> Collection:
    """Return a collection of spans; each of their recordings and deployments is there."""
    spans = spans_of(rows)
    paths = spans[spans["recording"] != ""].drop_duplicates("recording")
    recordings = pd.DataFrame({
        "path": paths["recording"], "recorder": paths["recorder"], "deployment": paths["deployment"], "start_utc": FAR,
        "duration_s": 3600.0, "sample_rate_hz": 24_000, "sha256": "ab" * 32,
    })  # fmt: skip
    placed = spans[spans["deployment"] != ""].drop_duplicates("deployment")
    deployments = pd.DataFrame({
        "deployment": placed["deployment"], "recorder": placed["recorder"], "site": placed["site"],
        "latitude": placed["latitude"], "longitude": placed["longitude"], "gain_db": 24.0, "habitat": "oak",
        "zone": "America/Chicago", "start": FAR, "end": FAR + pd.Timedelta(3, "D"),
    })  # fmt: skip
    return Collection(
        spans, deployments.reset_index(drop=True), recordings.reset_index(drop=True),
        {one.sound: one for one in sounds}, 8000.0, about,
    ).with_rounded_positions()  # fmt: skip


TIME = "%Y-%m-%dT%H:%M:%S%z"
_REQUIRED = {
    "deployments": {"deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd"},
    "media": {"mediaID", "deploymentID", "timestamp", "filePath", "filePublic", "fileMediatype"},
    "observations": {"observationID", "deploymentID", "eventStart", "eventEnd", "observationLevel", "observationType"},
}
_KEYS = {"deployments": "deploymentID", "media": "mediaID", "observations": "observationID"}
_AT_LEAST_0 = (
    "cameraDelay", "cameraHeight", "cameraDepth", "detectionDistance", "individualPositionRadius", "individualSpeed",
)  # fmt: skip
_TYPES: Mapping[str, dict[str, Any]] = {
    **{key: {"minimum": -90, "maximum": 90} for key in ("latitude", "cameraTilt", "individualPositionAngle")},
    "longitude": {"minimum": -180, "maximum": 180},
    "cameraHeading": {"minimum": 0, "maximum": 360},
    **{key: {"minimum": 1} for key in ("coordinateUncertainty", "count")},
    **{key: {"minimum": 0} for key in _AT_LEAST_0},
    **{key: {"minimum": 0, "maximum": 1} for key in ("classificationProbability", "bboxX", "bboxY")},
    **{key: {"minimum": 1e-15, "maximum": 1} for key in ("bboxWidth", "bboxHeight")},
}
_INTEGERS = {"coordinateUncertainty", "cameraDelay", "cameraTilt", "cameraHeading", "count"}
_TIMES = {"deploymentStart", "deploymentEnd", "timestamp", "eventStart", "eventEnd", "classificationTimestamp"}
_FLAGS = {"timestampIssues", "baitUse", "filePublic", "favorite"}
_TEXTS: Mapping[str, dict[str, Any]] = {
    "captureMethod": {"enum": ["activityDetection", "timeLapse"]},
    "filePath": {"pattern": r"^(?=^[^./~])(^((?!\.{2}).)*$).*$"},
    "fileMediatype": {"pattern": r"^(image|video|audio)/.*$"},
    "observationLevel": {"enum": ["media", "event"]},
    "observationType": {"enum": ["animal", "human", "vehicle", "blank", "unknown", "unclassified"]},
    "cameraSetupType": {"enum": ["setup", "calibration"]},
    "lifeStage": {"enum": ["adult", "subadult", "juvenile"]},
    "sex": {"enum": ["female", "male"]},
    "featureType": {"enum": ["roadPaved", "roadDirt", "trailHiking", "trailGame", "roadUnderpass", "roadOverpass",
                             "roadBridge", "culvert", "burrow", "nestSite", "carcass", "waterSource",
                             "fruitingTree"]},
    "classificationMethod": {"enum": ["human", "machine"]},
}  # fmt: skip
PROFILE = {
    "type": "object",
    "required": ["resources", "profile", "created", "contributors", "project", "spatial", "temporal", "taxonomic"],
    "properties": {
        "name": {"pattern": r"^([-a-z0-9._/])+$"},
        "profile": {"format": "uri", "pattern": r"/1\.0\.2/camtrap-dp-profile\.json$"},
        "resources": {"minItems": 3, "items": {
            "required": ["name", "path", "profile", "schema"],
            "properties": {
                "name": {"enum": ["deployments", "media", "observations"]},
                "profile": {"enum": ["tabular-data-resource"]},
                "schema": {"pattern": r"/1\.0\.2/(deployments|media|observations)-table-schema\.json$"},
            },
        }},
        "contributors": {"minItems": 1, "items": {"required": ["title"], "properties": {"role": {"enum": [
            "contact", "principalInvestigator", "rightsHolder", "publisher", "contributor"]}}}},
        "licenses": {"minItems": 2, "items": {"required": ["scope"],
                                              "properties": {"scope": {"enum": ["data", "media"]}}}},
        "project": {
            "required": ["title", "samplingDesign", "captureMethod", "individualAnimals", "observationLevel"],
            "properties": {
                "samplingDesign": {"enum": ["simpleRandom", "systematicRandom", "clusteredRandom", "experimental",
                                            "targeted", "opportunistic"]},
                "captureMethod": {"type": "array", "minItems": 1, "uniqueItems": True,
                                  "items": {"enum": ["activityDetection", "timeLapse"]}},
                "individualAnimals": {"type": "boolean"},
                "observationLevel": {"type": "array", "items": {"enum": ["media", "event"]}},
            },
        },
        "coordinatePrecision": {"type": "number"},
        "spatial": {"required": ["type", "coordinates"]},
        "temporal": {"required": ["start", "end"],
                     "properties": {key: {"pattern": r"^\d{4}-\d\d-\d\d$"} for key in ("start", "end")}},
        "taxonomic": {"type": "array", "items": {"required": ["scientificName"]}},
    },
}  # fmt: skip
"""What Camtrap DP 1.0.2 asks of ``datapackage.json``, as a JSON Schema."""


def table_schema(name: str, columns: Sequence[str]) -> dict[str, Any]:
    """Return what Camtrap DP 1.0.2 asks of a table, as a Table Schema with its own names, types and bounds."""
    fields = []
    for column in columns:
        kind = (
            "datetime" if column in _TIMES else "boolean" if column in _FLAGS else "integer" if column in _INTEGERS
            else "number" if column in _TYPES else "string"
        )  # fmt: skip
        limits: dict[str, Any] = {
            **_TYPES.get(column, {}),
            **_TEXTS.get(column, {}),
            "required": column in _REQUIRED[name],
        }
        if column == _KEYS[name]:
            limits["unique"] = True
        fields.append(
            {"name": column, "type": kind, "constraints": limits, **({"format": TIME} if column in _TIMES else {})}
        )
    keys = [
        {"fields": "deploymentID", "reference": {"resource": "deployments", "fields": "deploymentID"}},
        {"fields": "mediaID", "reference": {"resource": "media", "fields": "mediaID"}},
    ]
    n_keys = {"deployments": 0, "media": 1, "observations": 2}[name]
    return {
        "fields": fields, "missingValues": ["", "NA", "NaN", "nan"], "primaryKey": _KEYS[name],
        "foreignKeys": keys[:n_keys],
    }  # fmt: skip


def camtrap_problems(folder: Path) -> list[str]:
    """Return what frictionless and jsonschema find wrong with a Camtrap DP package."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the readers' own dependencies
        import frictionless
        import jsonschema

        package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
        problems = [error.message for error in jsonschema.Draft7Validator(PROFILE).iter_errors(package)]
        checked = {"name": "checked", "resources": [
            {"name": one["name"], "path": one["path"], "encoding": "utf-8", "type": "table",
             "schema": table_schema(one["name"], _columns(folder / one["path"]))}
            for one in package["resources"]
        ]}  # fmt: skip
        report = frictionless.Package.from_descriptor(checked, basepath=str(folder)).validate()
    return [*problems, *(str(row) for row in report.flatten(["rowNumber", "fieldName", "type", "note"]))]


def _columns(path: Path) -> list[str]:
    from lake.exports.camtrap import TABLES

    header = path.read_text(encoding="utf-8").split("\n", 1)[0].split(",")
    assert header == list(TABLES[path.stem])
    return header
