"""Content of an export: spans of named sound, their recordings and deployments, and its title and authors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import xarray as xr

from lake.deployments import deployments_at
from lake.errors import InputError
from lake.exports.spans import rounded
from lake.query.find import reached
from lake.query.trace import recordings_table
from lake.read import grid_of, recorder_names, windows_of
from lake.sounds import Sound

M_PER_DEGREE = 111_320
"""Metres of a degree of latitude."""


@dataclass(frozen=True)
class About:
    """Title, authors, licence and origin of an export.

    Attributes
    ----------
    title
        Of the study.
    creators
        Names of people or institutions.
    licence
        Its SPDX name, such as ``CC-BY-4.0``; empty if the user names none.
    created
        When, UTC.
    decimals
        That latitudes and longitudes are rounded to; ``None`` if they are not.
    program
        Name and version of what wrote it.
    chosen
        How the spans were chosen, as a sentence.
    detector
        What scored the windows; empty if nothing did.
    """

    title: str
    creators: Sequence[str] = ()
    licence: str = ""
    created: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    decimals: int | None = None
    program: str = "dawnchorus"
    chosen: str = ""
    detector: str = ""

    @property
    def rounding(self) -> str:
        """A sentence on how coordinates were rounded; empty if they were not."""
        if self.decimals is None:
            return ""
        return f"Coordinates were rounded to {self.decimals} decimals of a degree (within {self.uncertainty_m} m)."

    @property
    def uncertainty_m(self) -> int:
        """Metres from a rounded position within which the true one is: half the diagonal of a cell at the equator."""
        return int(np.ceil(0.5 * 10.0 ** -(self.decimals or 0) * M_PER_DEGREE * np.sqrt(2)))

    @property
    def created_utc(self) -> str:
        """When, in ISO 8601."""
        return self.created.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


@dataclass(frozen=True)
class Collection:
    """Spans of named sound, and all that formats need of their study.

    Attributes
    ----------
    spans
        As :func:`lake.exports.spans.placed` gives them.
    deployments
        Columns of a table of deployments (:mod:`lake.deployments`); none of them lacks its start and end.
    recordings
        ``path``, ``recorder``, ``deployment``, ``start_utc``, ``duration_s``, ``sample_rate_hz``, ``sha256``.
    sounds
        By name; a sound that the study's table lacks is not here.
    high_hz
        Upper edge of the spectrograms.
    about
        What is said of all.
    notes
        What a user must know of what is left out.
    """

    spans: pd.DataFrame
    deployments: pd.DataFrame
    recordings: pd.DataFrame
    sounds: Mapping[str, Sound]
    high_hz: float
    about: About
    notes: list[str] = field(default_factory=list)

    def scientific_name(self, sound: str) -> str:
        """Return the scientific name of a sound, empty if there is none."""
        return self.sounds[sound].scientific_name if sound in self.sounds else ""

    def in_recordings(self) -> pd.DataFrame:
        """Return the spans whose recording is known, with ``label``; note how many are not.

        Raises
        ------
        InputError
            If none is.
        """
        has = self.spans["recording"] != ""
        n_gone = int((~has).sum())
        if n_gone:
            names = sorted(set(self.spans.loc[~has, "recorder"]))
            shown = f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
            self.notes.append(f"{n_gone} spans are left out: no recording of the study is of their time ({shown})")
        if not has.any():
            raise InputError(f"nothing is left to export: no recording of the study is of the time of {n_gone} spans.")
        found = self.spans[has].reset_index(drop=True)
        return found.assign(label=found["sound"])

    def with_rounded_positions(self) -> "Collection":
        """Return the same with positions rounded as ``about`` says."""
        return replace(
            self,
            spans=rounded(self.spans, self.about.decimals),
            deployments=rounded(self.deployments, self.about.decimals),
        )


def recordings_of(cube: xr.Dataset) -> pd.DataFrame:
    """Return the recordings of a cube with the deployment of each; see :class:`Collection`."""
    grid, parts = grid_of(cube), []
    names = np.array([*np.asarray(cube.variables["deployment_name"]).tolist(), ""], dtype=object)
    for recorder in recorder_names(cube):
        rows = pd.DataFrame(
            recordings_table(cube, recorder), columns=["path", "sha256", "start_ms", "n_samples", "sample_rate_hz"]
        )
        first = (rows["start_ms"].to_numpy(np.int64) - grid.origin_ms) // grid.hop_ms
        numbers = np.full(len(rows), -1)
        for step in (1, 0):  # a window that began before a recording may be of none
            cells = np.clip(first + step, 0, grid.n_cells - 1)
            at = reached(cube, "deployment", windows_of(cube, [recorder] * len(rows), cells), -1)
            numbers = np.where(numbers < 0, at, numbers)
        parts.append(rows.assign(recorder=recorder, deployment=names[numbers]))
    table = pd.concat(parts, ignore_index=True)
    start = table["start_ms"].to_numpy(np.int64).astype("datetime64[ms]")
    table = table.assign(start_utc=start, duration_s=table["n_samples"] / table["sample_rate_hz"])
    columns = ["path", "recorder", "deployment", "start_utc", "duration_s", "sample_rate_hz", "sha256"]
    return table.sort_values("path", kind="stable", ignore_index=True)[columns]


def lengths_of(recordings: pd.DataFrame) -> dict[str, float]:
    """Return the seconds of each recording by its path."""
    return dict(zip(recordings["path"], recordings["duration_s"].astype(float), strict=True))


def deployments_of(cube: xr.Dataset, recordings: pd.DataFrame, known: pd.DataFrame | None) -> pd.DataFrame:
    """Return the deployments of a cube, with start and end.

    Parameters
    ----------
    cube, recordings
        The cube, and :func:`recordings_of` it.
    known
        The study's table of deployments (:func:`lake.deployments.read_deployments`), if there is one.
    """
    names = {"deployment_name": "deployment", "deployment_recorder": "recorder"}
    keys = ["deployment_name", "deployment_recorder", "site", "latitude", "longitude", "gain_db", "habitat", "zone"]
    table = pd.DataFrame({names.get(key, key): np.asarray(cube.variables[key]) for key in keys})
    return deployments_at(table, recordings, known)
