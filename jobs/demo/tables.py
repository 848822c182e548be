"""The tables of the demo study: the truth, the deployments, the zones."""

import csv
import io
from datetime import UTC, datetime, timedelta

from jobs.demo.config import StudyConfig
from jobs.demo.plan import FIRST_DAY, RECORDERS, ZONE, ZONES, Take, moved_utc
from jobs.demo.scene import Event

TRUTH_COLUMNS = ("recorder", "start_utc", "end_utc", "label", "level_db", "path")
DEPLOYMENT_COLUMNS = (
    "deployment",
    "recorder",
    "site",
    "latitude",
    "longitude",
    "start",
    "end",
    "gain_db",
    "habitat",
    "zone",
)
MOVE = timedelta(hours=1)
"""Time that the recorder takes to move."""


def truth_row(take: Take, event: Event) -> tuple[str, ...]:
    """Return one row of truth: times as the name of the file and its samples say."""
    file = take.files[event.file]
    start, end = (file.start_utc + timedelta(milliseconds=ms - file.offset_ms) for ms in (event.start_ms, event.end_ms))
    recorder = RECORDERS[take.recorder].name
    return recorder, _utc(start), _utc(end), event.label, f"{event.level_db:.2f}", file.path


def _utc(time: datetime) -> str:
    spec = "milliseconds" if time.microsecond else "seconds"
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _deployment_rows(config: StudyConfig) -> list[tuple[str, ...]]:
    """Return one row a deployment; those of the recorder that moves leave an hour for the move."""
    moved, last = moved_utc(config), FIRST_DAY + timedelta(days=config.n_days + 1)
    rows: list[tuple[str, ...]] = []
    for recorder in RECORDERS:
        for i, site in enumerate(recorder.deployments):
            start = FIRST_DAY if i == 0 else moved + MOVE
            end = moved if i + 1 < len(recorder.deployments) else last
            where = (f"{site.latitude:.4f}", f"{site.longitude:.4f}", _utc(start), _utc(end))
            rows.append((site.name, recorder.name, site.site, *where, f"{site.gain_db:.1f}", site.habitat, ZONE))
    return rows


def make_tables(config: StudyConfig, truth: list[tuple[str, ...]]) -> dict[str, bytes]:
    """Return the tables of a study by file name: the truth sorted by recorder, time and label."""
    zones = "".join(f'"{name}" = "{zone}"\n' for name, zone in ZONES.items())
    return {
        "deployments.csv": _table(DEPLOYMENT_COLUMNS, _deployment_rows(config)),
        "truth.csv": _table(TRUTH_COLUMNS, sorted(truth)),
        "zones.toml": f"[zones]\n{zones}".encode(),
    }
