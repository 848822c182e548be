"""The ``adopt`` job: a file of weights and a cube around the pure core."""

import numpy as np

from jobs.adopt.config import Config
from jobs.adopt.core import adopted, count_codes, level_statistics, read_tensors
from jobs.common.backbone import build_backbone, save_backbone
from jobs.common.card import ModelCard
from jobs.common.needs import reads
from jobs.common.run import Options, Outcome, Run
from lake.digest import sha256
from lake.errors import InputError
from lake.read import grid_of, open_cube, usable_windows
from lake.shards import open_codes

WINDOWS_AT_ONCE = 16


def execute(run: Run[Config], options: Options) -> Outcome:
    """Write the weights and the card of a backbone; ``embed`` uses it like one that was trained here.

    Raises
    ------
    InputError
        If there are no weights, they are not those of the network, or the cube has no windows.
    """
    config, cube, path = run.config, run.inputs["spectrograms"], run.files["weights"]
    if not path.is_file():
        raise InputError(f"run {run.name!r}: {path}: expected weights, found no file. Nothing is downloaded.")
    with open_cube(cube.output.url) as dataset:
        windows, mel_hz = usable_windows(dataset), dataset["mel"].to_numpy()
        window_s = grid_of(dataset).window_ms / 1000
    if not len(windows):
        raise InputError(f"run {run.name!r}: the cube {cube.name!r} has no usable window.")
    drawn = np.random.default_rng([config.seed, 0]).permutation(len(windows))[: config.n_statistics]
    some = windows.take(np.sort(drawn))
    read_codes, counts = open_codes(cube.output.url), np.zeros((len(mel_hz), 256), dtype=np.int64)
    for first in range(0, len(some), WINDOWS_AT_ONCE):
        part = some.take(slice(first, first + WINDOWS_AT_ONCE))
        counts += count_codes(read_codes(part.recorder, part.cell))
    mean_db, deviation_db = level_statistics(counts)
    card = ModelCard(
        arch=config.arch, patch_size=config.patch_size, input_size=config.input_size, registers=config.registers,
        mean_db=tuple(mean_db.tolist()), deviation_db=deviation_db, seconds_per_frame=window_s / config.input_size[1],
        mel_first_hz=float(mel_hz[0]), mel_last_hz=float(mel_hz[-1]), run=run.name, config_id=run.config_id,
    )  # fmt: skip
    try:
        model = build_backbone(card)
        model.load_state_dict(
            adopted(read_tensors(path.read_bytes(), is_safetensors=path.suffix == ".safetensors"), model)
        )
    except InputError as error:
        raise InputError(f"run {run.name!r}: {path}: {error}") from error
    outcome = Outcome(did=True, counts={"windows_of_the_statistics": len(some)}, backend="torch")
    run = options.begin(run, outcome)
    save_backbone(run.output.url, model, card)
    keys = run.output.list_keys()
    run.ledger.settle_files({key: sha256(run.output.read(key)) for key in keys})
    return outcome


def describe(run: Run[Config], _options: Options) -> list[str]:
    """Return what a run would read, without writing anything."""
    return reads(run)
