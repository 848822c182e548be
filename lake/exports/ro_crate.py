"""A Workflow Run RO-Crate: the runs of a study as actions, in the terms of schema.org (RO-Crate 1.1).

Profiles: Process Run Crate 0.5 (each run is an action with its instrument, objects, results and times) and Workflow
Run Crate 0.5 (so is the whole), https://w3id.org/ro/wfrun.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final

from lake.exports.collection import About

FILE: Final = "ro-crate-metadata.json"
WORKFLOW: Final = "runs.json"
"""The file that lists runs, settings and what is made from what: the workflow."""
RECORDINGS: Final = "tables/recordings.csv"
PROFILES: Final = (
    "https://w3id.org/ro/wfrun/process/0.5", "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)  # fmt: skip
CONTEXT: Final = ("https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context")
TYPES: Final = {".csv": "text/csv", ".json": "application/json", ".md": "text/markdown", ".cff": "text/yaml"}

Entity = dict[str, Any]


def ro_crate(
    about: About, receipts: Sequence[Mapping[str, Any]], files: Sequence[str], purposes: Mapping[str, str]
) -> str:
    """Return the metadata of a crate.

    Parameters
    ----------
    about
        Title, creators and licence.
    receipts
        The last receipt of each run, those that others are made from first.
    files
        All other files of the crate; :data:`WORKFLOW` and :data:`RECORDINGS` among them.
    purposes
        What each job does, in a sentence, by its name.
    """
    people = [{"@id": f"#creator-{i}", "@type": "Person", "name": name} for i, name in enumerate(about.creators, 1)]
    licence = f"https://spdx.org/licenses/{about.licence}" if about.licence else "no licence was named"
    descriptor = {
        "@id": FILE, "@type": "CreativeWork", "about": {"@id": "./"},
        "conformsTo": [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": PROFILES[-1]}],
    }  # fmt: skip
    actions, whole = list(_actions(receipts)), _whole(receipts, files)
    root = {
        "@id": "./", "@type": "Dataset", "name": about.title, "datePublished": about.created_utc,
        "description": about.chosen or "Runs and tables of a study of recorded sound.",
        "license": {"@id": licence} if about.licence else licence,
        "conformsTo": [{"@id": profile} for profile in PROFILES], "hasPart": [{"@id": name} for name in sorted(files)],
        "mainEntity": {"@id": WORKFLOW},
        "mentions": [{"@id": one["@id"]} for one in [*actions, whole] if one["@type"] == "CreateAction"],
        **({"author": [{"@id": one["@id"]} for one in people]} if people else {}),
    }  # fmt: skip
    named = {receipt["job"]: receipt for receipt in receipts}
    entities = [
        descriptor, root, *({"@id": profile, "@type": "CreativeWork", "name": profile} for profile in PROFILES),
        *([{"@id": licence, "@type": "CreativeWork", "name": about.licence}] if about.licence else []), *people,
        *(_file(name) for name in sorted(files)), *(_program(one, purposes) for one in named.values()),
        {"@id": "#manifest", "@type": "ComputerLanguage", "name": "dawnchorus manifest"},
        *actions, whole,
    ]  # fmt: skip
    return json.dumps({"@context": list(CONTEXT), "@graph": entities}, indent=1, ensure_ascii=False) + "\n"


def _file(name: str) -> Entity:
    entity = {"@id": name, "@type": "File", "name": PurePosixPath(name).name}
    kind = TYPES.get(PurePosixPath(name).suffix)
    if kind is not None:
        entity["encodingFormat"] = kind
    if name != WORKFLOW:
        return entity
    return {
        **entity, "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"], "name": "runs of the study",
        "programmingLanguage": {"@id": "#manifest"},
    }  # fmt: skip


def _program(receipt: Mapping[str, Any], purposes: Mapping[str, str]) -> Entity:
    """Return the instrument of the runs of a job."""
    versions = dict(receipt.get("versions") or {})
    others = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()) if name != "dawnchorus")
    return {
        "@id": f"#job-{receipt['job']}", "@type": "SoftwareApplication", "name": f"dawnchorus {receipt['job']}",
        "softwareVersion": str(versions.get("dawnchorus", "unknown")), "description": purposes.get(receipt["job"], ""),
        "softwareRequirements": f"Python {receipt.get('python', 'unknown')}" + (f", {others}" if others else ""),
    }  # fmt: skip


def _actions(receipts: Sequence[Mapping[str, Any]]) -> Iterator[Entity]:
    """Yield the action of each run, its settings, and what it wrote, which is in the lake and not in the crate."""
    known = {receipt["run"] for receipt in receipts}
    for receipt in receipts:
        run = receipt["run"]
        sources = [str(one.get("run")) for one in (receipt.get("inputs") or {}).values()]
        settings = [
            {"@id": f"#setting-{run}-{key}", "@type": "PropertyValue", "name": key, "value": json.dumps(value)}
            for key, value in sorted((receipt.get("config") or {}).items())
        ]
        made_from = [f"#output-{name}" for name in sources if name in known] or [RECORDINGS]
        start, end = _times(receipt)
        yield {
            "@id": f"#run-{run}", "@type": "CreateAction", "name": f"{run}: {receipt['job']}",
            "instrument": {"@id": f"#job-{receipt['job']}"},
            "object": [{"@id": one} for one in [*made_from, *(one["@id"] for one in settings)]],
            "result": [{"@id": f"#output-{run}"}], "startTime": start, "endTime": end,
            "actionStatus": "http://schema.org/CompletedActionStatus",
        }  # fmt: skip
        yield {
            "@id": f"#output-{run}", "@type": "Dataset", "name": f"output of {run}",
            "identifier": f"config {receipt.get('config_id')}, content {receipt.get('content_id')}",
        }  # fmt: skip
        yield from settings


def _whole(receipts: Sequence[Mapping[str, Any]], files: Sequence[str]) -> Entity:
    """Return the action of all runs together, from the first start to the last end; its results are the tables."""
    times = [_times(receipt) for receipt in receipts]
    tables = [name for name in sorted(files) if name.startswith("tables/") and name != RECORDINGS]
    span = {"startTime": min(start for start, _ in times), "endTime": max(end for _, end in times)} if times else {}
    return {
        "@id": "#workflow-run", "@type": "CreateAction", "name": "the runs of the study",
        "instrument": {"@id": WORKFLOW}, "object": [{"@id": RECORDINGS}], "result": [{"@id": one} for one in tables],
        "actionStatus": "http://schema.org/CompletedActionStatus", **span,
    }  # fmt: skip


def _times(receipt: Mapping[str, Any]) -> tuple[str, str]:
    """Return start and end of a run, ISO 8601: a receipt is written at the end, and says how many seconds it took."""
    end = datetime.fromisoformat(str(receipt["written"]))
    return (end - timedelta(seconds=float(receipt.get("seconds") or 0))).isoformat(), str(receipt["written"])
