"""Find where and when windows of a cube were recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from jobs.common.pages.hours import local_time
from lake.constants import STATUS
from lake.read import grid_of, open_array, recorder_names, values_at

_FACTS = ("status", "utc_offset_s", "deployment", "recording", "offset_s")


@dataclass(frozen=True)
class Place:
    """The place and time of a window.

    Attributes
    ----------
    cube_row, cell
        Its position in the cube.
    recorder, deployment, site
        Where it was recorded.
    start_ms
        Its start, milliseconds since 1970.
    offset_s
        Local time minus UTC in seconds, or ``None`` while unknown.
    time_is_real
        Whether the recorder's times are clock times.
    status
        Its code in the cube.
    recording, recording_offset_s
        The file it begins in, and where in it.
    """

    cube_row: int
    cell: int
    recorder: str
    deployment: str
    site: str
    start_ms: int
    offset_s: int | None
    time_is_real: bool
    status: int
    recording: str
    recording_offset_s: float

    @property
    def is_partial(self) -> bool:
        """Return whether parts of it were not recorded."""
        return self.status == STATUS["partial"]


def places(cube: xr.Dataset, url: str, row: NDArray[np.int64], cell: NDArray[np.int64]) -> list[Place]:
    """Return where and when windows were recorded, in the order given.

    Parameters
    ----------
    cube, url
        The cube, opened, and where it stands.
    row, cell
        The windows' recorders and cells in it, shape (n_windows,); a cell that it does not have is missing.
    """
    facts = {name: values_at(cube, name, row, cell) for name in _FACTS}
    grid = grid_of(cube)
    start_ms = grid.origin_ms + cell * grid.hop_ms
    local = local_time(start_ms, facts["utc_offset_s"], facts["deployment"], _texts(cube, "zone"))
    sites, deployments, recorders = _texts(cube, "site"), _texts(cube, "deployment_name"), recorder_names(cube)
    is_real, paths = cube["time_is_real"].to_numpy(), _paths(url, facts["recording"])
    found = []
    for i in range(len(cell)):
        deployment = int(facts["deployment"][i])
        found.append(
            Place(
                cube_row=int(row[i]),
                cell=int(cell[i]),
                recorder=recorders[int(row[i])],
                deployment=deployments[deployment] if deployment >= 0 else "",
                site=sites[deployment] if deployment >= 0 else "",
                start_ms=int(start_ms[i]),
                offset_s=int(local.offset_s[i]) if local.known[i] else None,
                time_is_real=bool(is_real[int(row[i])]),
                status=int(facts["status"][i]),
                recording=paths.get(int(facts["recording"][i]), ""),
                recording_offset_s=float(facts["offset_s"][i]),
            )
        )
    return found


def _texts(cube: xr.Dataset, name: str) -> Sequence[str]:
    return [str(value) for value in cube[name].to_numpy()]


def _paths(url: str, recording: NDArray[Any]) -> dict[int, str]:
    """Return the paths of the recordings that are asked for, by their rows in the cube's table."""
    rows = np.unique(recording[recording >= 0]).astype(np.int64)
    if len(rows) == 0:
        return {}
    found = open_array(url, "recording_path").oindex[rows]
    return {int(row): str(path) for row, path in zip(rows, np.asarray(found), strict=True)}
