"""A Darwin Core archive (https://dwc.tdwg.org/text): occurrences, and their sound by Audiovisual Core."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from lake.errors import InputError
from lake.escapes import cell_in_line, printable
from lake.exports.camtrap import span_id
from lake.exports.collection import Collection
from lake.exports.media import media_type
from lake.exports.times import local_iso

_DWC, _AC = "http://rs.tdwg.org/dwc/terms/", "http://rs.tdwg.org/ac/terms/"
_DCTERMS, _DC = "http://purl.org/dc/terms/", "http://purl.org/dc/elements/1.1/"
_XMP = "http://ns.adobe.com/xap/1.0/"
OCCURRENCE: Final[Mapping[str, str]] = {
    "occurrenceID": _DWC, "basisOfRecord": _DWC, "occurrenceStatus": _DWC, "scientificName": _DWC, "taxonID": _DWC,
    "vernacularName": _DWC, "eventDate": _DWC, "eventID": _DWC, "locality": _DWC, "decimalLatitude": _DWC,
    "decimalLongitude": _DWC, "geodeticDatum": _DWC, "coordinateUncertaintyInMeters": _DWC, "coordinatePrecision": _DWC,
    "dataGeneralizations": _DWC, "samplingProtocol": _DWC, "identifiedBy": _DWC, "dateIdentified": _DWC,
    "identificationVerificationStatus": _DWC, "identificationRemarks": _DWC, "license": _DCTERMS,
}  # fmt: skip
"""Columns of the core, and the vocabulary of each."""
MULTIMEDIA: Final[Mapping[str, str]] = {
    "occurrenceID": "", "identifier": _DCTERMS, "type": _DC, "format": _DC, "title": _DCTERMS, "CreateDate": _XMP,
    "captureDevice": _AC, "startTime": _AC, "endTime": _AC, "freqLow": _AC, "freqHigh": _AC, "hashFunction": _AC,
    "hashValue": _AC,
}  # fmt: skip
"""Columns of the extension: the recording, and the seconds and frequencies of it that are meant."""
_ENDS = ("start_utc", "end_utc")
CORE_FILE, MEDIA_FILE = "occurrence.txt", "multimedia.txt"
PROTOCOL: Final = "passive acoustic monitoring"


def darwin_core(collection: Collection) -> tuple[bytes, int]:
    """Return a Darwin Core archive, the bytes of a ZIP file, and its number of occurrences.

    Each span is an occurrence, a ``MachineObservation``. Sounds without a scientific name are left out and noted:
    rain has no place in a taxonomy.

    Raises
    ------
    InputError
        If no sound has a scientific name.
    """
    spans = collection.spans
    names = spans["sound"].map({sound: collection.scientific_name(sound) for sound in spans["sound"].unique()})
    is_named = names.fillna("") != ""
    if not is_named.all():
        lacking = ", ".join(f"{name!r} ({n})" for name, n in spans.loc[~is_named, "sound"].value_counts().items())
        told = f"sounds without a scientific name in sounds.csv, and their spans: {lacking}"
        if not is_named.any():
            raise InputError(f"nothing is left to export: {told}. Fill in the column `scientific_name`.")
        collection.notes.append(f"left out are {told}")
        spans = spans[is_named].reset_index(drop=True)
    if spans["latitude"].isna().any():
        n = int(spans["latitude"].isna().sum())
        collection.notes.append(f"{n} occurrences have no coordinates: their deployment or its position is not known")
    has = spans["recording"] != ""
    if not has.all():
        collection.notes.append(f"{int((~has).sum())} occurrences have no media: no recording is of their time")
    files = {
        CORE_FILE: _text(OCCURRENCE, _occurrences(spans, collection)),
        MEDIA_FILE: _text(MULTIMEDIA, _multimedia(spans[has], collection)),
        "meta.xml": _meta(),
        "eml.xml": _eml(collection),
    }
    return _zipped(files, collection.about.created), len(spans)


def _occurrences(spans: pd.DataFrame, collection: Collection) -> Iterable[Sequence[str]]:
    about = collection.about
    for row in spans.to_dict("records"):
        sound, is_human = collection.sounds[row["sound"]], row["verdict"] == "yes"
        is_placed = not pd.isna(row["latitude"])
        is_rounded = about.decimals is not None and is_placed
        precision = _number(10.0 ** -(about.decimals or 0))
        said = "" if pd.isna(row["probability"]) else f"probability {row['probability']:.6g} by a detector"
        yield (
            span_id(row), "MachineObservation", "present", sound.scientific_name, sound.key, sound.sound,
            "/".join(local_iso(row[end], row["start_utc"], row["start_local"], "seconds") for end in _ENDS),
            row["deployment"], row["site"], _number(row["latitude"]), _number(row["longitude"]),
            "WGS84" if is_placed else "", str(about.uncertainty_m) if is_rounded else "",
            precision if is_rounded else "", about.rounding if is_rounded else "", PROTOCOL,
            row["reviewers"] if is_human else about.detector,
            f"{row['decided_at']:%Y-%m-%dT%H:%M:%SZ}" if is_human else "",
            "verified by a person" if is_human else "unverified", said, about.licence,
        )  # fmt: skip


def _multimedia(spans: pd.DataFrame, collection: Collection) -> Iterable[Sequence[str]]:
    recordings = collection.recordings.set_index("path")
    for row in spans.to_dict("records"):
        path, one = row["recording"], recordings.loc[row["recording"]]
        yield (
            span_id(row), path, "Sound", media_type(path), path.rsplit("/", 1)[-1],
            f"{one['start_utc']:%Y-%m-%dT%H:%M:%SZ}", row["recorder"], f"{row['start_s']:g}", f"{row['end_s']:g}", "0",
            f"{collection.high_hz:g}", "sha256", one["sha256"],
        )  # fmt: skip


def _text(columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are parted by tabs; within them line ends and tabs are escaped."""
    lines = ["\t".join(columns), *("\t".join(map(cell_in_line, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def _meta() -> str:
    def fields(columns: Mapping[str, str]) -> str:
        terms = [(i, f"{vocabulary}{name}") for i, (name, vocabulary) in enumerate(columns.items()) if vocabulary]
        return "".join(f'    <field index="{i}" term={quoteattr(term)}/>\n' for i, term in terms)

    form = 'encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">\n'
        f'  <core {form} rowType="{_DWC}Occurrence">\n    <files><location>{CORE_FILE}</location></files>\n'
        f'    <id index="0"/>\n{fields(OCCURRENCE)}  </core>\n'
        f'  <extension {form} rowType="{_AC}Multimedia">\n    <files><location>{MEDIA_FILE}</location></files>\n'
        f'    <coreid index="0"/>\n{fields(MULTIMEDIA)}  </extension>\n</archive>\n'
    )


def _eml(collection: Collection) -> str:
    """Return what is said of the archive in the Ecological Metadata Language, as far as it is known."""
    about = collection.about
    people = "".join(
        f"    <creator><organizationName>{_xml(name)}</organizationName></creator>\n"
        for name in about.creators or ("(not named)",)
    )
    abstract = " ".join(part for part in (about.chosen, about.rounding) if part)
    rights = (
        f"    <intellectualRights><para>{_xml(about.licence)}</para></intellectualRights>\n" if about.licence else ""
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<eml:eml xmlns:eml="https://eml.ecoinformatics.org/eml-2.2.0" packageId="dawnchorus" system="dawnchorus">\n'
        f"  <dataset>\n    <title>{_xml(about.title)}</title>\n{people}"
        f"    <pubDate>{about.created:%Y-%m-%d}</pubDate>\n    <abstract><para>{_xml(abstract)}</para></abstract>\n"
        f"{rights}    <contact><organizationName>{_xml((about.creators or ('(not named)',))[0])}</organizationName>"
        "</contact>\n  </dataset>\n</eml:eml>\n"
    )


def _xml(text: str) -> str:
    return escape(printable(text))


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.10g}"


def _zipped(files: Mapping[str, str], created: datetime) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, created.timetuple()[:6]), text.encode(), zipfile.ZIP_DEFLATED)
    return made.getvalue()
