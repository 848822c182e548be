"""The ``contrast`` job: from a cube to a model's folder."""

from dataclasses import replace
from functools import partial

import numpy as np
import xarray as xr

from jobs.common.frames.card import FrameCard
from jobs.common.frames.network import CHANNELS, WIDTH
from jobs.common.frames.resampling import ROWS, Floats, Shape, own_input, resampler
from jobs.common.network.levels import level_statistics
from jobs.common.run import Options, Outcome, Run
from jobs.common.training import session
from jobs.common.training.data import Source
from jobs.common.training.learner import Method
from jobs.common.training.session import Kind
from jobs.common.training.statistics import level_counts
from jobs.common.training.watch import Surroundings
from jobs.contrast.begin import beginning
from jobs.contrast.config import Config
from jobs.contrast.learner import method
from jobs.contrast.sizes import described
from jobs.contrast.step import Seen
from lake.read import grid_of, open_cube


def execute(run: Run[Config], options: Options) -> Outcome:
    """Train the run's network, from where an earlier execution was stopped, and list its files."""
    return session.execute(run, options, KIND)


def describe(run: Run[Config], options: Options) -> list[str]:
    """Return what training would take: steps, operations, files, memory, and the time where a rate was measured."""
    init = run.inputs["init"].output.url if "init" in run.inputs else None
    with open_cube(run.inputs["spectrograms"].output.url) as cube:
        shape = _shape(cube)
    mel_hz, seconds_per_frame = _input(shape, run.config, init)
    _, n_frames = resampler(shape, mel_hz, seconds_per_frame)
    return described(session.extent(run, options), run.config, len(mel_hz), n_frames)


def _windows(cube: xr.Dataset, source: Source, config: Config, init: str | None, /) -> Source:
    """Return the windows at the bands and frames of the network."""
    shape = _shape(cube)
    mel_hz, seconds_per_frame = _input(shape, config, init)
    resample, n_frames = resampler(shape, mel_hz, seconds_per_frame)
    read = source.read
    return replace(source, read=lambda windows: resample(read(windows)), n_mels=len(mel_hz), n_frames=n_frames)


def _method(
    cube: xr.Dataset, source: Source, config: Config, around: Surroundings, init: str | None, /
) -> Method[FrameCard, Seen]:
    """Return how the network is trained on windows at its bands and frames."""
    begun = beginning(config, init)
    begin = None if begun is None else (lambda: begun[0])
    called = "random" if begun is None else begun[2]
    make_card = partial(_card, source, config, around, _input(_shape(cube), config, init), called)
    return method(source, config, make_card, around, begin)


KIND = Kind(_windows, _method)
train = partial(session.train, KIND)
"""Train a network; :func:`jobs.common.training.session.train` says with what."""


def _input(shape: Shape, config: Config, init: str | None) -> tuple[Floats, float]:
    """Return bands and duration of a frame of the network's input: those that its weights are for."""
    begun = beginning(config, init)
    if begun is None:
        return own_input(shape, config.bands, config.frame_s)
    return np.array(begun[1].mel_hz), begun[1].seconds_per_frame


def _shape(cube: xr.Dataset) -> Shape:
    return Shape(cube["mel"].to_numpy(), cube.sizes["frame"], grid_of(cube).window_ms / 1000)


def _card(
    source: Source, config: Config, around: Surroundings, given: tuple[Floats, float], began_with: str
) -> FrameCard:
    mean_db, deviation_db = level_statistics(level_counts(source, config))
    mel_hz, seconds_per_frame = given
    return FrameCard(
        mel_hz=tuple(mel_hz.tolist()),
        seconds_per_frame=seconds_per_frame,
        mean_db=tuple(mean_db.tolist()),
        deviation_db=deviation_db,
        own_median=config.own_median,
        n_output=WIDTH,
        n_stem=CHANNELS[-1] * len(mel_hz) // ROWS,
        began_with=began_with,
        run=around.run,
        config_id=around.config_id,
    )
