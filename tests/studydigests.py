"""The digest of a demo study, computed again from its files."""

from pathlib import Path

import soundfile

from jobs.demo.files import bytes_line, flac_line, total_digest
from jobs.demo.study import TABLES


def study_digest(folder: Path) -> str:
    """Return the digest of a study on disk, as :class:`jobs.demo.study.StudySummary` defines it."""
    lines = []
    for path in sorted((folder / "audio").rglob("*")):
        if path.is_file():
            name = path.relative_to(folder / "audio").as_posix()
            if path.suffix == ".flac":
                samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
                lines.append(flac_line(name, samples, rate))
            else:
                lines.append(bytes_line(name, path.read_bytes()))
    tables = [bytes_line(name, (folder / name).read_bytes()) for name in TABLES]
    return total_digest(lines, tables)
