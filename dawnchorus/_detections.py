"""Opening stores of detections, and the events in them."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import xarray as xr

from lake.chain import made_by
from lake.heard import shares_speech
from lake.layout import run_of
from lake.query.events import Joining
from lake.query.events import find_events as _find_events
from lake.query.select import open_any
from lake.read import open_detections as _open_detections
from lake.verdicts import read_verdicts


def open_detections(store: str, **options: Any) -> xr.Dataset:  # noqa: ANN401 (fsspec's own options)
    """Open a store of detections: score and probability of each sound in each window.

    Parameters
    ----------
    store
        ``<lake>/detections/<run>.zarr``: a path or an fsspec URL.
    options
        Passed to fsspec.

    Returns
    -------
    xarray.Dataset
        ``score`` and ``probability`` (0 to 1) on (recorder, time, sound), NaN where there is no window or no detector;
        ``detection_status``; and on ``sound`` the thresholds and figures of the detectors (``docs/store-format.md``).
        Its axes are those of the vectors: it merges with them.

    Raises
    ------
    StoreError
        If there is no finished store, or it is damaged; while values are read as well.
    StoreFormatError
        If it is of another kind, or of a newer format than this release reads.

    Examples
    --------
    >>> import dawnchorus
    >>> detections = dawnchorus.open_detections("data/demo/detections/detections.zarr")
    >>> detections["probability"].dims
    ('recorder', 'time', 'sound')
    >>> bool(detections["probability"].max() <= 1)
    True
    """
    return _open_detections(store, times=True, **options)


def find_events(
    store: str,
    threshold: str | float = "precision",
    *,
    sound: str | Sequence[str] = (),
    gap_s: float = 0.0,
    min_length_s: float = 0.0,
    cube: str | None = None,
) -> pd.DataFrame:
    """Return events: windows in which a detector scores above a threshold, joined where they are neighbours in time.

    The parameters have the names of the options of ``dawnchorus events``.

    Parameters
    ----------
    store
        A store of detections.
    threshold
        ``"best-f1"``, ``"precision"`` (as stated for the detectors), or a probability from 0 to 1.
    sound
        Only this sound, or these.
    gap_s
        Seconds between two windows that are still one event.
    min_length_s
        Seconds that an event has at least.
    cube
        The cube, for recordings; it is found by itself inside a lake.

    Returns
    -------
    pandas.DataFrame
        One row an event, by recorder, sound and start: recorder, sound, start_utc and end_utc (datetime64[ms], the end
        is exclusive), highest_probability, mean_probability, n_windows, and the recording and second of both ends
        (start_recording, start_s, end_recording, end_s; empty and NaN without a cube). Events that share time with
        what somebody marked as speech are left out.

    Raises
    ------
    UsageError
        If the threshold is none of these.
    InputError
        If the store has no such sound.
    StoreError
        If the store, or a delivery of verdicts, is not as it was written.

    Examples
    --------
    >>> import dawnchorus
    >>> events = dawnchorus.find_events("data/demo/detections/detections.zarr", 0.5, gap_s=10)
    >>> bool((events["highest_probability"] >= 0.5).all())
    True
    >>> bool((events["end_utc"] > events["start_utc"]).all())
    True
    """
    detections, inside = _open_detections(store, mask_and_scale=False), run_of(store)
    above = made_by(store).nearest("spectrograms") if cube is None and inside is not None else None
    cube = above.output.url if above else cube
    opened = open_any(cube) if cube else None
    sounds = (sound,) if isinstance(sound, str) else tuple(sound)
    joining = Joining(gap_s, min_length_s)
    table = _find_events(detections, opened, str(threshold), sounds=sounds, joining=joining)
    if inside is None:
        return table
    spans_ms = (table[end].to_numpy().astype("datetime64[ms]").astype("int64") for end in ("start_utc", "end_utc"))
    withheld = shares_speech(read_verdicts(inside[0]), table["recorder"], *spans_ms)
    return table[~withheld].reset_index(drop=True)
