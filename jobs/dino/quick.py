"""Views of large windows on a CPU, without gaps in between: window by window through the processor's caches."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.network.card import ModelCard
from jobs.common.network.inputs import levels_taken_off, prepare, resize
from jobs.dino import kernels
from jobs.dino.config import Config
from jobs.dino.draws import MIX_GROUP, Plan, plans
from jobs.dino.views import Views, make_views, shrunk_size
from lake.constants import CODE_OFFSET_DB, CODE_STEP_DB
from lake.threads import in_threads


def views_of(
    codes: Tensor,
    samples: NDArray[np.int64],
    card: ModelCard,
    config: Config,
    *,
    recorder: Sequence[str] | None = None,
    has_gap: NDArray[np.bool_] | None = None,
) -> Views:
    """Return the views of windows.

    Parameters
    ----------
    codes
        uint8, shape (B, n_mels, n_frames), on the device that trains; 0 is missing.
    samples
        The windows' numbers in the training, shape (B,).
    card, config
        Statistics, and how views are made.
    recorder, has_gap
        As for :func:`~jobs.common.network.inputs.prepare`.

    Notes
    -----
    Elsewhere than on a CPU, and for windows that are not shrunk, tensors do it (:func:`~jobs.dino.views.make_views`).
    Shrinking by means and taking off each band's mean can change places, so a window without a gap is summed as codes
    and only the smaller one is made of floats.
    """
    now = (int(codes.shape[1]), int(codes.shape[2]))
    size = shrunk_size(now, config.global_size)
    is_whole = size != now and not now[0] % size[0] and not now[1] % size[1] and now[0] // size[0] <= kernels.MOST_ROWS
    if codes.device.type != "cpu" or not is_whole:
        return make_views(prepare(codes, card, recorder, has_gap), samples, card.deviation_db, config)
    of_global, of_local = (
        _Group(plan, len(samples)) for plan in plans(samples, card.deviation_db, config, codes.device)
    )
    clean = np.empty(of_global.shape, dtype=np.float32)
    masked = clean if config.mask_teacher else np.empty(of_global.shape, dtype=np.float32)
    local = np.empty(of_local.shape, dtype=np.float32)
    smaller = _Smaller(card, recorder, len(samples), size, now)

    def make(first: int) -> None:
        group = slice(first, min(first + MIX_GROUP, len(samples)))
        for i in range(group.start, group.stop):
            x = smaller(i, codes[i])
            cdf = kernels.loudness(x)
            of_global.crop(x, cdf, i, clean)
            of_local.crop(x, cdf, i, local)
        of_global.finish(clean, masked, group, card.deviation_db)
        of_local.finish(local, local, group, card.deviation_db)

    for _ in in_threads(make, range(0, len(samples), MIX_GROUP), torch.get_num_threads()):
        pass
    student = (masked, local) if config.n_local else (masked,)
    return Views(torch.from_numpy(clean), tuple(torch.from_numpy(views) for views in student))


class _Smaller:
    """Prepare and shrink windows of codes."""

    def __init__(
        self, card: ModelCard, recorder: Sequence[str] | None, n: int, size: tuple[int, int], now: tuple[int, int]
    ) -> None:
        self._card, self._recorder, self._size = card, recorder, size
        n_codes = now[0] // size[0] * (now[1] // size[1])
        off = levels_taken_off(card, recorder, n).reshape(-1, size[0], now[0] // size[0]).mean(dim=2)
        self._offset = ((CODE_OFFSET_DB - off) / card.deviation_db).expand(n, -1).numpy()
        self._scale = np.float32(CODE_STEP_DB / card.deviation_db / n_codes)

    def __call__(self, i: int, codes: Tensor) -> NDArray[np.float32]:
        x = np.empty(self._size, dtype=np.float32)
        if kernels.shrink(codes.numpy(), self._scale, self._offset[i], x):
            own = None if self._recorder is None else self._recorder[i : i + 1]
            return np.ascontiguousarray(resize(prepare(codes[None], self._card, own), self._size)[0, 0].numpy())
        return x


class _Group:
    """A plan as the kernels take it."""

    def __init__(self, plan: Plan, n_windows: int) -> None:
        self.shape = (len(plan.gain), n_windows, *plan.size)
        where = (plan.centre, plan.is_active, plan.duration, plan.mel_centre, plan.height)
        self._where = kernels.Where(*(np.ascontiguousarray(each.numpy()) for each in where))
        bands, frames = plan.first_lost_band, plan.first_lost_frame
        lost = (bands, bands + plan.n_lost_bands, frames, frames + plan.n_lost_frames)
        how = (plan.is_mixed, plan.partner, plan.ratio, plan.gain, plan.tilt, torch.stack(lost).long())
        self._how = kernels.How(*(np.ascontiguousarray(each.numpy()) for each in how))

    def crop(self, x: NDArray[np.float32], cdf: NDArray[np.float32], window: int, out: NDArray[np.float32]) -> None:
        kernels.crop(x, cdf, window, self._where, out)

    def finish(
        self, views: NDArray[np.float32], masked: NDArray[np.float32], group: slice, deviation_db: float
    ) -> None:
        exponent = np.float32(deviation_db * math.log2(10.0) / 10.0)
        kernels.finish(views, masked, (group.start, group.stop), exponent, self._how)
