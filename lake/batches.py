"""Batches: windows that people are asked to hear, in the order in which they were drawn; each is written once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lake.batch_files import batch_damage, batch_digest, batch_names, batch_receipt, batches_folder
from lake.errors import InputError, StoreError
from lake.layout import Lake
from lake.receipts import environment
from lake.records import RESTORE, seal
from lake.sounds import SPEECH
from lake.tables import (
    UTC_TIME,
    UTC_TIME_HINT,
    Column,
    as_csv,
    count,
    in_order,
    instant,
    name,
    number,
    parse_table,
    refuse,
    text,
)
from lake.text import near_or_all
from lake.verdicts import SPAN, settled

COLUMNS: Mapping[str, Column] = {
    "draw": Column(count(0), "Int64"),
    "recorder": Column(name),
    "time_utc": Column(instant(UTC_TIME, UTC_TIME_HINT, is_required=True), "datetime64[ms]"),
    "duration_s": Column(number(0.001), "float64"),
    "probability": Column(number(0, 1), "float64"),
    "stratum": Column(text),
    "score": Column(number(), "float64"),
    "proposal": Column(text),
}
"""Columns of a batch: the number of the draw, from 0, the window, and how it was chosen.

``probability`` is that with which the window is among those of the batch, empty where the order is not random; the
order of such draws is random too, so that the first of them are a sample. ``stratum`` is the group of windows that it
was chosen from (a cluster, a sound), ``score`` the number that decided, and ``proposal`` a sound that it may be: by the
name of its cluster, never a verdict.
"""
VECTORS_ROLE = "windows"
"""Role in ``reads`` of the vectors whose windows were asked about, where those are not the cube's."""


@dataclass(frozen=True)
class Batch:
    """A batch as the lake keeps it.

    Attributes
    ----------
    name
        ``<order>-<digest>``; the digest is that of the windows and of what was asked.
    table
        With the columns :data:`COLUMNS`, by draw.
    asked
        What it was made from, as JSON values: ``order``, ``seed``, ``sounds``, ``every_sound`` (whether each window is
        to be answered for every sound), ``n_population`` (windows that it was drawn from), ``reads`` (run,
        ``config_id`` and ``content_id`` of each store), ``deliveries`` (of verdicts that were known) and others.
    made
        When and by what: ``created_at``, ``command``, versions, host and image.
    """

    name: str
    table: pd.DataFrame
    asked: Mapping[str, Any]
    made: Mapping[str, Any]

    @property
    def sounds(self) -> list[str]:
        """The sounds that were asked about."""
        return [str(sound) for sound in self.asked["sounds"]]

    @property
    def is_random(self) -> bool:
        """Return whether the probability of every window is known."""
        return bool(self.table["probability"].notna().all())


def keep_batch(lake: Lake, table: pd.DataFrame, asked: Mapping[str, Any], made: Mapping[str, Any]) -> Batch:
    """Keep a batch in a lake, and return it; one that is there already stays as it is, and is returned.

    Parameters
    ----------
    lake
        The lake.
    table, asked, made
        See :class:`Batch`; versions, host and image are added to ``made``.

    Notes
    -----
    The receipt ``batches/<name>.json`` is written before the table ``batches/<name>.csv``, and a batch is there when
    its table is: no reader sees half of one.
    """
    data = as_csv(table, COLUMNS)
    batch = f"{asked['order']}-{batch_digest(asked, data)}"
    folder = batches_folder(lake)
    if not folder.exists(f"{batch}.csv"):
        receipt = {"batch": batch, "asked": dict(asked), "made": {**made, **environment()}}
        if not folder.create(f"{batch}.json", seal(receipt, indent=2)):
            batch_receipt(folder, batch)  # of a command that was killed; a damaged one is refused, not believed
        folder.create(f"{batch}.csv", data)
    return read_batch(lake, batch)


def read_batch(lake: Lake, batch: str) -> Batch:
    """Return a batch.

    Raises
    ------
    InputError
        If the lake has no such batch.
    StoreError
        If it is not as it was written.
    """
    known = batch_names(lake)
    if batch not in known:
        raise InputError(f"batch {batch!r} is not in the lake {lake.storage.url}; {near_or_all(batch, known)}.")
    wrong = batch_damage(lake, batch)
    if wrong:
        raise StoreError(f"{wrong} {RESTORE}")
    folder = batches_folder(lake)
    where, receipt = folder.path(f"{batch}.csv"), batch_receipt(folder, batch)
    table, problems = parse_table(folder.read(f"{batch}.csv").decode(), COLUMNS, source=where, what="windows")
    refuse(where, "windows", in_order(problems))
    return Batch(batch, table.reset_index(drop=True), receipt["asked"], receipt["made"])


def sample_of(batch: Batch, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the part of a random batch that is a sample: its draws before the first that was not answered in full.

    Parameters
    ----------
    batch
        Whose windows have probabilities.
    verdicts
        As :func:`lake.verdicts.read_verdicts` gives them.

    Returns
    -------
    DataFrame
        One row for each draw and sound that was asked: the columns of :data:`COLUMNS` up to ``stratum``, ``sound``
        and ``verdict``, which is what holds of all reviewers. A draw is answered if somebody answered it in this batch
        for every sound; answers that a window got elsewhere do not make it so, since why it was heard there may depend
        on what is in it. A window that was marked as speech need not be answered: it is ``unsure`` where it was not.

    Raises
    ------
    InputError
        If the batch is not random: what was chosen for other reasons is no sample.
    """
    if not batch.is_random:
        raise InputError(
            f"batch {batch.name!r} is not random: its windows were chosen for other reasons and stand for no others. "
            "Draw one with `dawnchorus review MANIFEST --order random`."
        )
    here = verdicts[(verdicts["batch"] == batch.name) & verdicts["draw"].notna()]
    is_speech = (here["sound"] == SPEECH) & (here["verdict"] == "yes")
    heard_as_speech = set(here.loc[is_speech, "draw"])
    answers = here.groupby("draw")["sound"].agg(set).to_dict()
    wanted = set(batch.sounds)
    is_answered = [draw in heard_as_speech or wanted <= answers.get(draw, set()) for draw in batch.table["draw"]]
    n = is_answered.index(False) if False in is_answered else len(is_answered)
    rows = batch.table.iloc[:n][["draw", *SPAN, "probability", "stratum"]]
    asked = rows.merge(pd.DataFrame({"sound": batch.sounds}, dtype="str"), how="cross")
    found = asked.merge(settled(verdicts)[[*SPAN, "sound", "verdict"]], on=[*SPAN, "sound"], how="left")
    return found.assign(verdict=found["verdict"].fillna("unsure"))


def n_answered(batch: Batch, verdicts: pd.DataFrame) -> int:
    """Return how many windows of a batch have a verdict that was given in it."""
    here = verdicts.loc[verdicts["batch"] == batch.name, "draw"].dropna()
    return int(np.isin(batch.table["draw"].to_numpy(), here.to_numpy()).sum())
