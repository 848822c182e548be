"""Windows of a lake to see and hear."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from jobs.runner.registry import needing
from lake.chain import Made
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB, STATUS_ARRAYS
from lake.errors import InputError, UsageError
from lake.grid import iso
from lake.heard import shares_speech
from lake.query.across import open_spans, starts_of
from lake.query.places import RecordingsOf
from lake.query.select import Instant, open_any, place_of
from lake.read import Windows, grid_of, recorder_names, usable_windows
from lake.verdicts import read_verdicts

STARTS = ("time", "time_utc", "start_utc")
"""Names of the start of a window in tables."""
MOST_MS = 120_000
"""Longest span that is shown or played."""
N_TICKS = 7
"""Labels of the axis of bands, evenly spaced."""
EXPECTED = (
    "expected a window: a row with a recorder and a time, such as table.iloc[0], or a recorder and a time, such as "
    "('00004862', '2021-06-22T09:50:00')"
)


@dataclass(frozen=True)
class Span:
    """A span of one recorder's time, milliseconds since 1970; the end is exclusive."""

    recorder: str
    start_ms: int
    end_ms: int


def named(window: object) -> tuple[str, Instant, str]:
    """Return recorder and start of a window, and the run that it is a window of; empty if that is not known.

    Raises
    ------
    InputError
        If it is no window.
    """
    if isinstance(window, pd.DataFrame):
        if len(window) != 1:
            raise InputError(f"{EXPECTED}; found a table of {len(window)} rows.")
        window = window.iloc[0]
    if isinstance(window, (tuple, list)) and not hasattr(window, "_fields"):  # rows of itertuples have names
        if len(window) != 2:
            raise InputError(f"{EXPECTED}; found {window!r}.")
        window = dict(zip(("recorder", "time"), window, strict=True))
    recorder, starts = _value(window, "recorder"), [_value(window, name) for name in STARTS]
    start = next((one for one in starts if one is not None), None)
    if recorder is None or start is None or start is pd.NaT:
        raise InputError(f"{EXPECTED}; found {str(window)[:200]!r}.")
    run = window.attrs.get("run", "") if isinstance(window, pd.Series) else ""
    return str(recorder), start, str(run)


def span_of(window: object, url: str) -> Span:
    """Return the span of a window of a store: of a row that says how long it is, that; else a window's length.

    Raises
    ------
    InputError
        If the store has no such window, with the nearest one; or the span is too long.
    """
    recorder, start, _ = named(window)
    row = window.iloc[0] if isinstance(window, pd.DataFrame) else window
    end, length_s = _value(row, "end_utc"), _value(row, "duration_s")
    if end is None and length_s is None:
        return _window_of(recorder, start, url)
    start_ms = _ms(start)
    end_ms = _ms(end) if end is not None else start_ms + round(float(length_s) * 1000)
    if not 0 < end_ms - start_ms <= MOST_MS:
        raise InputError(
            f"{recorder} at {iso(start_ms)}: expected a span of up to {MOST_MS // 1000} s, found "
            f"{(end_ms - start_ms) / 1000:g} s. Take a part of it: (recorder, time) is one window."
        )
    return Span(recorder, start_ms, end_ms)


def _window_of(recorder: str, time: Instant, url: str) -> Span:
    with open_any(url) as dataset:
        grid, known = grid_of(dataset), recorder_names(dataset)
        place = place_of(known, grid, recorder, time)
        status = next(name for name in STATUS_ARRAYS if name in dataset)
        windows = usable_windows(dataset.isel(recorder=[place.recorder]), status=status)
        if place.cell not in windows.cell:
            begins = f"{url}: recorder {known[place.recorder]!r} has no window at {iso(grid.start_ms(place.cell))}"
            if not len(windows):
                raise InputError(f"{begins}, nor at any other time. Name another recorder: {', '.join(known)}.")
            near = iso(grid.start_ms(int(windows.cell[np.argmin(np.abs(windows.cell - place.cell))])))
            raise InputError(f"{begins}; the nearest begins at {near}. Type ({known[place.recorder]!r}, {near!r}).")
        one = Windows(np.array([place.recorder], dtype=np.int32), np.array([place.cell], dtype=np.int64))
        start_ms = int(starts_of(dataset, one)[0])
        return Span(known[place.recorder], start_ms, start_ms + grid.window_ms)


def samples_of(span: Span, cube: Made, root: Path, *, speech: bool) -> tuple[NDArray[np.float32], int]:
    """Return the samples of a span of sound, shape (n_samples,), and their rate in Hz; see ``Lake.samples``."""
    from jobs.common.audio.cutting import span_samples  # noqa: PLC0415 (decoders are loaded for sound alone)

    start, end = (np.array([ms]) for ms in (span.start_ms, span.end_ms))
    if not speech and shares_speech(read_verdicts(cube.lake), pd.Series([span.recorder]), start, end)[0]:
        raise UsageError(
            f"{span.recorder} at {iso(span.start_ms)}: somebody marked the sound as speech. With speech=True it is "
            "played all the same."
        )
    with open_any(cube.output.url) as dataset:
        pieces = RecordingsOf(dataset, span.recorder).pieces(span.start_ms, span.end_ms)
    if not pieces:
        raise InputError(f"{span.recorder} at {iso(span.start_ms)}: no recording of the lake is of that time.")
    length_ms = span.end_ms - span.start_ms
    return span_samples(pieces, root, length_ms, cube.record["config"].get("channel", "mix"))


def player(samples: NDArray[np.float32], rate_hz: int, speed: float) -> Any:  # noqa: ANN401 (IPython.display.Audio, which the light install lacks)
    """Return a player for notebooks."""
    if not 0 < speed <= 10:
        raise UsageError(f"speed {speed}: expected a number above 0, up to 10, such as 0.1 for bats.")
    import soundfile  # noqa: PLC0415 (decoders are loaded for sound alone)

    try:
        audio = import_module("IPython.display").Audio  # only notebooks have it
    except ModuleNotFoundError as error:
        raise InputError(
            "listen needs the package 'IPython', which is not installed here. Type `pip install ipython`; or "
            "lake.samples(window) returns the samples and their rate."
        ) from error
    made, peak = io.BytesIO(), float(np.abs(samples).max(initial=0))
    soundfile.write(made, samples / max(peak, 1.0), max(1, round(rate_hz * speed)), subtype="PCM_16", format="WAV")
    return audio(data=made.getvalue())


def draw(span: Span, url: str, ax: Any) -> Any:  # noqa: ANN401 (axes of Matplotlib, which the light install lacks)
    """Draw a span of spectrogram; see ``Lake.show``."""
    with needing("show", "cluster"):
        plt = import_module("matplotlib.pyplot")  # not in the light install
    length_ms = span.end_ms - span.start_ms
    with open_any(url) as cube:
        number = recorder_names(cube).index(span.recorder)
        bands_khz = cube["mel"].to_numpy() / 1000
        recording, at_s, _ = RecordingsOf(cube, span.recorder).first_piece(span.start_ms, span.end_ms)
    codes = open_spans(url, length_ms)(np.array([number]), np.array([span.start_ms]))[0]
    levels = np.where(codes == 0, np.nan, codes * np.float32(CODE_STEP_DB) + np.float32(CODE_OFFSET_DB))
    edges_khz, number_of_edge = edges_of(bands_khz), np.arange(len(bands_khz) + 1, dtype=np.float64)
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    edges_s = np.linspace(0, length_ms / 1000, levels.shape[1] + 1)
    image = ax.pcolormesh(edges_s, edges_khz, levels, cmap="magma", rasterized=True)
    ax.set_yscale(  # bands are equally high; between their edges kHz are linear
        "function",
        functions=(
            lambda khz: np.interp(khz, edges_khz, number_of_edge),
            lambda number: np.interp(number, number_of_edge, edges_khz),
        ),
    )
    ax.set_xlim(0, length_ms / 1000)
    ax.set_ylim(edges_khz[0], edges_khz[-1])
    at_bands = np.interp(np.linspace(0, len(bands_khz), N_TICKS), number_of_edge, edges_khz)
    ticks = [float(f"{khz:.2g}") for khz in at_bands]
    ax.set_yticks(ticks, [f"{khz:g}" for khz in ticks])
    place = f"\n{recording} at {at_s:g} s" if recording else ""
    ax.set(xlabel="s", ylabel="kHz", title=f"{span.recorder}, {iso(span.start_ms)}{place}")
    ax.figure.colorbar(image, ax=ax, label="dB re full scale")
    return ax


def edges_of(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges between bands, shape (n_bands + 1,): half-way between centres, never below 0."""
    if len(centres) == 1:
        return np.array([0.0, 2 * centres[0]])
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[max(first, 0.0)], middle, [last]])


@contextmanager
def bar(total: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar where tqdm is installed, once something takes longer than half a second."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of notebooks without widgets: the bar is text there
            tqdm = import_module("tqdm.auto").tqdm  # not in the light install
    except ModuleNotFoundError:
        yield None
        return
    with tqdm(total=total, unit=" windows", unit_scale=True, leave=False, delay=0.5) as shown:
        yield lambda n: (shown.update(n), None)[1]


def _value(window: object, name: str) -> Any:  # noqa: ANN401 (a row of a table may hold any type)
    """Return a value of a row, a mapping, a named tuple or a dataset of one window; ``None`` if it has none."""
    if isinstance(window, xr.Dataset | xr.DataArray):
        found = window.coords.get(name)
        return found.to_numpy()[()] if found is not None and found.ndim == 0 else None
    if isinstance(window, Mapping | pd.Series):
        return window.get(name)
    return getattr(window, name, None)


def _ms(time: Any) -> int:  # noqa: ANN401 (a row of a table may hold any type)
    stamp = pd.Timestamp(time)
    utc = stamp if stamp.tzinfo is None else stamp.tz_convert("UTC").tz_localize(None)
    return int(utc.to_datetime64().astype("datetime64[ms]").astype(np.int64))
