"""Add levels in dB, bands in Hz and local time to xarray datasets of a lake, as ``ds.dawnchorus``."""

import numpy as np
import xarray as xr

from lake.chain import made_by
from lake.constants import OFFSET_UNKNOWN_S
from lake.errors import InputError
from lake.read import grid_of, open_cube


class Accessor:
    """Levels in dB, bands in Hz and local time of a dataset of a lake, whole or a part of it.

    Examples
    --------
    >>> import dawnchorus
    >>> lake = dawnchorus.open("data/demo")
    >>> morning = lake.mels.sel(recorder="00004862", time=slice("2021-06-22T09:50", "2021-06-22T09:51"))
    >>> bool(morning.dawnchorus.levels_db.max() <= 3)
    True
    >>> float(morning.dawnchorus.bands_hz[0]) > 0, morning.dawnchorus.bands_hz.attrs["units"]
    (True, 'Hz')
    >>> str(morning.dawnchorus.local_time[0].values)[:16]
    '2021-06-22T04:50'
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def levels_db(self) -> xr.DataArray:
        """The spectrogram in dB relative to full scale, NaN where nothing was recorded; read when it is used.

        Raises
        ------
        InputError
            If the dataset has no spectrogram.
        """
        levels = self._variable("spectrogram")
        is_decoded = levels.dtype.kind == "f"
        return levels if is_decoded else xr.decode_cf(levels.to_dataset(name="spectrogram"))["spectrogram"]

    @property
    def bands_hz(self) -> xr.DataArray:
        """The centre frequency of each mel band in Hz, shape (n_mels,).

        Raises
        ------
        InputError
            If the dataset has no mel bands.
        """
        return self._variable("mel")

    @property
    def local_time(self) -> xr.DataArray:
        """The start of each cell in the local time of its recorder, datetime64 on the dataset's recorders and times.

        NaT where there is no window, or the zone is not known. Vectors, clusters and detections ask the spectrograms
        that they were made from.

        Raises
        ------
        InputError
            If the dataset has no time, or is in no lake.
        """
        offset_s = self._offset_s().astype(np.float64)
        offset_s = offset_s.where((offset_s != OFFSET_UNKNOWN_S) & offset_s.notnull())
        is_known = offset_s.notnull()
        shift = (offset_s.fillna(0) * 1000).astype(np.int64).astype("timedelta64[ms]")
        local: xr.DataArray = (self._times().astype("datetime64[ms]") + shift).where(is_known)
        local.attrs = {"long_name": "local time at the recorder"}
        return local.rename("local_time")

    def _variable(self, name: str) -> xr.DataArray:
        if name not in self._dataset.variables:
            there = ", ".join(sorted(map(str, self._dataset.variables)))
            raise InputError(f"ds.dawnchorus: expected a dataset with {name!r}, such as lake['mels']; found {there}.")
        return self._dataset[name]

    def _times(self) -> xr.DataArray:
        """Return the times of a dataset: its coordinate, or those of its grid if it was opened without."""
        if "time" in self._dataset.coords:
            return self._dataset["time"]
        if "grid" not in self._dataset.attrs or "time" not in self._dataset.dims:
            return self._variable("time")
        grid = grid_of(self._dataset)
        times = grid.origin_ms + np.arange(self._dataset.sizes["time"]) * grid.hop_ms
        return xr.DataArray(times.astype("datetime64[ms]"), dims="time")

    def _offset_s(self) -> xr.DataArray:
        """Return local time less UTC in seconds, on the recorders and times of the dataset."""
        if "utc_offset_s" in self._dataset:
            return self._dataset["utc_offset_s"]
        source = self._dataset.encoding.get("source", "")
        if not source:
            raise InputError("ds.dawnchorus: expected a dataset of a store; open it with dawnchorus.open(lake).")
        made = made_by(source).nearest("spectrograms")
        if made is None:
            raise InputError(
                f"{source}: expected the spectrograms that it was made from, which know the zones; found none."
            )
        with open_cube(made.output.url, times=True) as cube:
            of_recorders = cube["utc_offset_s"].sel(recorder=self._dataset["recorder"])
            return of_recorders.sel(time=self._times(), method="pad").drop_vars("time").load()


xr.register_dataset_accessor("dawnchorus")(Accessor)  # type: ignore[no-untyped-call] # xarray does not type it
