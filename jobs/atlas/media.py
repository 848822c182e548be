"""Pictures and sounds of the windows that are shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from jobs.atlas.config import Config
from jobs.atlas.describe import put
from jobs.atlas.facts import attention_key, clip_key, image_key
from jobs.atlas.levels import Levels
from jobs.atlas.shown import Shown, places_of
from jobs.atlas.study import Stores
from jobs.common.pages.pictures import picture, veil
from jobs.common.progress import progress
from jobs.common.run import Run
from lake.query.across import ReadSpans
from lake.read import open_array, open_embeddings, recorder_names
from lake.threads import in_threads

if TYPE_CHECKING:
    from jobs.common.pages.clips import Clip


@dataclass(frozen=True)
class Attention:
    """Maps of attention in the embedding store, and each recorder's row there."""

    array: zarr.Array[Any]
    row: Mapping[str, int]


@dataclass(frozen=True)
class Media:
    """How pictures are drawn and sounds are cut.

    Attributes
    ----------
    levels, width_px, height_px
        Of the pictures.
    cut_window
        From a recorder and the start of a window to its sound; ``None`` without sound.
    attention
        Where the attention of the class token is, if it was stored.
    note
        Why there is no sound, in a sentence; empty if there is.
    """

    levels: Levels
    width_px: int
    height_px: int
    cut_window: "Callable[[str, int], Clip | None] | None"
    note: str
    attention: Attention | None


def media_of(run: Run[Config], stores: Stores, levels: Levels, *, audio: bool) -> Media:
    """Find out how pictures are drawn, and what there is to cut sound from."""
    cut_window, note = None, "" if audio else "Sound was left out on purpose."
    if audio:
        from jobs.common.pages.clips import cutter  # noqa: PLC0415 (decoders are loaded only where sound is cut)

        cut_window = cutter(run.recordings, stores.cube, stores.grid.window_ms)
        note = "" if cut_window else "There is no sound: the recordings were not at hand when this page was made."
    return Media(
        levels=levels,
        width_px=run.config.image_width_px,
        height_px=run.config.image_height_px,
        cut_window=cut_window,
        note=note,
        attention=attention_of(run),
    )


def attention_of(run: Run[Config]) -> Attention | None:
    """Return where the maps of attention of the clustered windows are, if they were stored."""
    source = run.inputs["clusters"].inputs.get("embeddings")
    if source is None or not source.output.exists(""):
        return None
    with open_embeddings(source.output.url) as dataset:
        if "attention" not in dataset:
            return None
        row = {name: i for i, name in enumerate(recorder_names(dataset))}
    return Attention(open_array(source.output.url, "attention"), row)


def make_media(
    run: Run[Config], media: Media, pages: Sequence[tuple[int | str, Sequence[Shown]]], folder: Path, *,
    read_codes: ReadSpans, recorders: Sequence[str], threads: int,
) -> list[dict[str, float]]:  # fmt: skip
    """Write the pictures and sounds of pages.

    Parameters
    ----------
    run, media
        The atlas, and how pictures are drawn.
    pages
        Name of each page's files, and the windows on it.
    folder
        Where to.
    read_codes, recorders
        What pictures are read from, and the recorders of the clustering.
    threads
        How many at once.

    Returns
    -------
    list of dict
        For each page, the gain in dB of each sound by tag.
    """
    number = {name: i for i, name in enumerate(recorders)}

    def one(page: tuple[int | str, Sequence[Shown]]) -> dict[str, float]:
        name, group, gains = *page, dict[str, float]()
        for shown, window in zip(group, read_codes(*places_of(group)) if group else (), strict=True):
            levels = media.levels.of(number[shown.recorder])
            data = picture(window, levels, width_px=media.width_px, height_px=media.height_px)
            put(folder, image_key(name, shown.tag), data)
            if media.attention is not None:
                found = media.attention.array[media.attention.row[shown.recorder], shown.cell]
                put(folder, attention_key(name, shown.tag), veil(np.asarray(found)))
            clip = media.cut_window(shown.recorder, shown.start_ms) if media.cut_window else None
            if clip is not None:
                put(folder, clip_key(name, shown.tag), clip.data)
                gains[shown.tag] = clip.gain_db
        return gains

    with progress(f"{run.name}: pictures", sum(len(group) for _, group in pages), "pictures") as advance:
        found = []
        for gains, (_, group) in zip(in_threads(one, pages, threads), pages, strict=True):
            found.append(gains)
            advance(len(group))
    return found
