"""The ``dino`` job: from a cube to a model's folder."""

from functools import partial

import xarray as xr

from jobs.common.network.card import ModelCard
from jobs.common.network.levels import level_statistics
from jobs.common.run import Options, Outcome, Run
from jobs.common.training import session
from jobs.common.training.data import Source
from jobs.common.training.learner import Method
from jobs.common.training.session import Kind
from jobs.common.training.statistics import backgrounds, level_counts, level_counts_by_recorder
from jobs.common.training.watch import Surroundings
from jobs.dino.config import Config
from jobs.dino.loop import method
from jobs.dino.sizes import described
from jobs.dino.train import Seen
from lake.read import grid_of


def execute(run: Run[Config], options: Options) -> Outcome:
    """Train the run's backbone, from where an earlier execution was stopped, and list its files."""
    return session.execute(run, options, KIND)


def describe(run: Run[Config], options: Options) -> list[str]:
    """Return what training would take: steps, operations, files, memory, and the time where a rate was measured."""
    found = session.extent(run, options)
    return described(
        found.shape, run.config, n_processes=found.n_processes, n_micro=found.n_micro, rate=found.rate,
        source=found.source,
    )  # fmt: skip


def _method(
    cube: xr.Dataset, source: Source, config: Config, around: Surroundings, init: str | None, /
) -> Method[ModelCard, Seen]:
    """Return how a backbone is trained on the windows of a cube."""
    return method(config, partial(_card, cube, source, config, around), around, init)


KIND = Kind(lambda _cube, source, _config, _init: source, _method)
train = partial(session.train, KIND)
"""Train a backbone; :func:`jobs.common.training.session.train` says with what."""


def _card(cube: xr.Dataset, source: Source, config: Config, around: Surroundings) -> ModelCard:
    mean_db, deviation_db = level_statistics(level_counts(source, config))
    background_db = None
    if config.background == "recorder":
        medians, deviation_db = backgrounds(dict(level_counts_by_recorder(source, config)), mean_db)
        background_db = {name: tuple(values.tolist()) for name, values in medians.items()}
    mel_hz = cube["mel"].to_numpy()
    return ModelCard(
        arch=config.arch,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        patch_size=config.patch_size,
        input_size=config.global_size,
        mean_db=tuple(mean_db.tolist()),
        deviation_db=deviation_db,
        seconds_per_frame=grid_of(cube).window_ms / 1000 / config.global_size[1],
        mel_first_hz=float(mel_hz[0]),
        mel_last_hz=float(mel_hz[-1]),
        run=around.run,
        config_id=around.config_id,
        registers=config.n_registers,
        background_db=background_db,
    )
