"""Estimate what an atlas needs: pictures, sounds and pages."""

from jobs.atlas.config import Config
from jobs.atlas.judged import MOST_LISTED, sounds_of
from jobs.atlas.media import attention_of
from jobs.atlas.members import PER_SCRIPT
from jobs.atlas.shown import exemplar_picks
from jobs.atlas.study import Stores
from jobs.atlas.thumbs import PER_SHEET, THUMB_HEIGHT_PX, THUMB_WIDTH_PX
from jobs.common.needs import LIBRARIES_BYTES, described
from jobs.common.phenology import MOST_SITES
from jobs.common.run import Options, Run
from jobs.common.space import Space
from lake.read import usable_windows
from lake.verdicts import read_verdicts

PICTURE_BYTES = 600
"""Of a picture beside its pixels."""
CLIP_BYTES = 8_000
"""Of a sound beside its samples: the tables of the codec."""
CLIP_BYTES_PER_S = 24_000
"""Of a second of sound, one channel at 48 kHz at most."""
PAGE_BYTES = 60_000
"""Of a cluster's page beside what it says of each of its windows, and of its days and hours."""
STUDY_BYTES = 400_000
"""Of what the page has once: scripts, styles, the overview, calendars of the study."""
N_STUDY_FILES = 21
"""Files that the page has once: scripts, styles, calendars, survey, and pictures of the runs above."""
MEMBER_BYTES = 40
"""Of each window in the list of a cluster's windows, and of the path of its recording."""
SITE_BYTES = 40_000
"""Of a sound's picture of local hour by date, for each site."""
WINDOW_BYTES = 140
"""Of each clustered window, in memory."""


def needed(run: Run[Config], stores: Stores, *, n_days: int, options: Options) -> list[str]:
    """Return the lines of a dry run.

    Parameters
    ----------
    run, stores
        The run, and what it shows.
    n_days
        Days of a recorder that have clustered windows.
    options
        Threads, and whether sound is left out.
    """
    n_windows, n_clusters = len(usable_windows(stores.clusters, status="cluster_status")), stores.n_clusters
    n_sounds, n_sites = len(sounds_of(run, read_verdicts(run.lake))), len({*stores.texts("site"), ""})
    n_pictures = _n_pictures(run.config, stores, n_windows) + n_sounds * min(2 * run.config.n_exemplars, n_windows)
    n_mapped = min(run.config.n_map_windows, n_windows)
    n_clips = n_pictures if run.config.audio and options.audio and run.recordings is not None else 0
    media = _media_space(run, stores, n_pictures, n_clips)
    n_sheets = -(-n_mapped // PER_SHEET)
    n_scripts = -(-stores.cube.sizes["recordings"] // PER_SCRIPT)
    n_bytes = media.n_bytes + n_sheets * PER_SHEET * THUMB_WIDTH_PX * THUMB_HEIGHT_PX + STUDY_BYTES
    n_bytes += n_clusters * PAGE_BYTES + 2_000 * n_pictures + 100 * n_mapped + 24 * 400 * n_days
    n_bytes += MEMBER_BYTES * (n_windows + n_sounds * min(n_windows, MOST_LISTED))
    n_bytes += n_sounds * (PAGE_BYTES + n_sites * SITE_BYTES)
    n_files = media.n_files + n_sheets + 3 * n_clusters + n_sounds * (2 + -(-n_sites // MOST_SITES)) + n_scripts
    n_levels = stores.cube.sizes["mel"] * stores.cube.sizes["frame"]
    name = run.inputs["clusters"].name
    return described(
        run,
        read=[f"{n_windows} windows in {n_clusters} clusters of {name}, in {n_days} partitions (a recorder's day)"],
        written=f"a page with {n_pictures} pictures, {n_clips} clips, and {n_mapped} windows on a map, at most"
        f"; a page for each of {n_sounds} sounds",
        takes=Space(n_bytes, n_files + N_STUDY_FILES),
        memory_bytes=LIBRARIES_BYTES + WINDOW_BYTES * n_windows + 16 * options.workers * n_levels,
    )


def _n_pictures(config: Config, stores: Stores, n_windows: int) -> int:
    """Return how many windows are shown at most."""
    n_more = stores.n_clusters * (config.n_borders + config.n_outliers)
    return min(len(exemplar_picks(stores, config.n_exemplars)) + n_more, n_windows)


def _media_space(run: Run[Config], stores: Stores, n_pictures: int, n_clips: int) -> Space:
    """Return what pictures and sounds take at most."""
    width = min(run.config.image_width_px, stores.cube.sizes["frame"])
    height = min(run.config.image_height_px, stores.cube.sizes["mel"])
    n_drawn = n_pictures * (1 if attention_of(run) is None else 2)
    clip_bytes = CLIP_BYTES + stores.grid.window_ms * CLIP_BYTES_PER_S // 1000
    return Space(n_drawn * (PICTURE_BYTES + width * height) + n_clips * clip_bytes, n_drawn + n_clips)
