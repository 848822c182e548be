"""Contrast as the loop of a training sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jobs.common.frames.card import FrameCard
from jobs.common.frames.inputs import standardised
from jobs.common.frames.network import GROUP, FrameNet, calibrate, readout
from jobs.common.frames.stored import save_network
from jobs.common.network.card import Weights
from jobs.common.network.devices import chosen_precision
from jobs.common.training import group
from jobs.common.training.data import Batch, Source
from jobs.common.training.learner import Method
from jobs.common.training.probe import Encode, sample
from jobs.common.training.watch import Surroundings
from jobs.contrast import step
from jobs.contrast.config import Config
from jobs.contrast.sizes import checkpoint_bytes, flops_per_window
from jobs.contrast.step import Seen, State, new_state
from jobs.contrast.views import draws_of, make_views, settings_of
from lake.errors import InputError

N_CALIBRATION: Final = 16
"""Groups of windows that the network's moments are measured on."""
LEAST_INFORMATION: Final = 0.05
"""Nats; below this a view says no more of which window it is of than guessing."""
LEAST_FEATURE_STD: Final = 0.15
"""Of vectors of length one times the root of their number; 1 when they point everywhere."""

Begin = Callable[[], FrameNet]


def method(
    source: Source, config: Config, make_card: Callable[[], FrameCard], around: Surroundings, begin: Begin | None
) -> Method[FrameCard, Seen]:
    """Return how the network is trained.

    Parameters
    ----------
    source, config, around
        The windows at the network's bands and frames, settings, and how the training is executed.
    make_card
        Computes the model's card.
    begin
        Returns the network whose weights are those before the first step; ``None`` draws them.
    """
    require_groups(config, group.n_ranks(), around.n_micro)

    def learner(card: FrameCard, n_steps: int, is_new: bool) -> Contrast:
        precision = chosen_precision(config.precision, str(around.device))
        chosen = "bf16" if all(group.of_all(precision == "bf16")) else "fp32"
        state = new_state(card.n_bands, config.seed, around.device, "bf16" if chosen == "bf16" else "fp32")
        made = Contrast(state, source, card, config, around.device, n_steps, around.n_micro)
        if is_new and begin is not None:
            state.model.net.load_state_dict(begin().state_dict(), strict=True)
        elif is_new:
            made.measure()
        return made

    def checked() -> int:
        if begin is not None:
            begin()
        return checkpoint_bytes(source.n_mels)

    return Method(FrameCard, make_card, learner, checked)


def require_groups(config: Config, n_ranks: int, n_micro: int) -> None:
    """Refuse processes, and parts of their shares, that would cut through windows that are normalised together.

    Raises
    ------
    InputError
        If a share is no multiple of a group.
    """
    n = n_ranks * n_micro
    if n > 1 and config.batch_size % (GROUP * n):
        raise InputError(
            f"batch_size: expected a multiple of {GROUP * n} for {n_ranks} processes of {n_micro} parts, found"
            f" {config.batch_size}: {GROUP} windows are normalised together, so that the weights do not depend on the"
            " number of processes. Change batch_size, or take fewer processes."
        )


@dataclass
class Contrast:
    """The network and its head; see :class:`jobs.common.training.learner.Learner`."""

    state: State
    source: Source
    card: FrameCard
    config: Config
    device: torch.device
    n_steps: int
    n_micro: int
    mean_db: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.mean_db = torch.tensor(self.card.mean_db, dtype=torch.float32, device=self.device)

    @property
    def width(self) -> int:
        """Numbers of the output's mean and deviation."""
        return 2 * self.card.n_output

    @property
    def needs_recorders(self) -> bool:
        """Not at all."""
        return False

    @property
    def n_parameters(self) -> int:
        """Numbers of the network."""
        return sum(value.numel() for value in self.state.model.net.parameters())

    @property
    def flops_per_window(self) -> float:
        """Operations that a step takes for one window."""
        return flops_per_window(self.card.n_bands, self.config.view_frames)

    @property
    def facts(self) -> dict[str, Any]:
        """Return the number format, and in words why it is this one."""
        return {"precision": self.state.precision, "began_with": self.card.began_with, "notes": self._notes()}

    def _notes(self) -> list[str]:
        if self.config.precision != "auto" or not self.n_steps:
            return []
        why = "the processor multiplies" if self.state.precision == "bf16" else "the processor does not multiply"
        return [f"trained in {self.state.precision}: where the training began, {why} bf16 in one instruction"]

    def advance(self, batch: Batch, recorder: Sequence[str] | None) -> Seen:  # noqa: ARG002 (Learner)
        """Do one step."""
        codes = torch.from_numpy(batch.codes).to(self.device, non_blocking=True)
        windows = torch.from_numpy(batch.windows).to(self.device, non_blocking=True)
        how = settings_of(self.config)

        def views_of(part: slice) -> Tensor:
            x = self._standardised(codes[part])
            draws = draws_of(self.config.seed, batch.samples[part])
            draws = {name: value.to(self.device, non_blocking=True) for name, value in draws.items()}
            return make_views(x, draws, self.card.deviation_db, how)

        return step.advance(self.state, views_of, windows, self.config, n_steps=self.n_steps, n_micro=self.n_micro)

    def signals(self, seen: Seen) -> dict[str, float]:
        """Return measures that separate a healthy training from a collapsed one."""
        return step.signals(seen)

    def rates(self, seen: Seen) -> dict[str, float]:
        """Return the learning rate of the step that was just done, and the gradient's norm."""
        lr = step.rate(self.state.step - 1, self.n_steps, self.config)
        return {"lr": lr, "gradient_norm": seen.gradient_norm.item()}

    def diagnosis(self, signals: dict[str, float]) -> str | None:
        """Return what is wrong, or ``None``."""
        if signals["information"] >= LEAST_INFORMATION and signals["feature_std"] >= LEAST_FEATURE_STD:
            return None
        found = f"information {signals['information']:.3f} nats, feature deviation {signals['feature_std']:.2f}"
        if signals["feature_std"] < LEAST_FEATURE_STD:
            return f"collapse: all views have nearly one vector ({found}). Lower lr, or see whether the windows differ"
        return f"views tell no window from another ({found}). Raise temperature, or make `views` differ less"

    def encoder(self) -> Encode:
        """Return mean and deviation of the output over a window's frames, by moments that are measured now."""
        self.measure()
        net = self.state.model.net

        def features(codes: NDArray[np.uint8], _recorder: Sequence[str] | None) -> Tensor:
            net.eval()
            with torch.no_grad():
                found = readout(*net(self._standardised(torch.from_numpy(codes).to(self.device))))
            net.train()
            return found[:, : self.width].float().cpu()

        return features

    def measure(self) -> None:
        """Set the moments that the network normalises by once it is trained, on a fixed sample of windows."""
        chosen = sample(self.source, self.config, 0)
        chosen = np.random.default_rng([self.config.seed, len(chosen)]).permutation(chosen)[: N_CALIBRATION * GROUP]
        if len(chosen) > GROUP:
            chosen = chosen[: len(chosen) // GROUP * GROUP]
        parts = (chosen[first : first + GROUP] for first in range(0, len(chosen), GROUP))
        windows = (self._standardised(torch.from_numpy(self.source.read(part)).to(self.device)) for part in parts)
        calibrate(self.state.model.net, windows)
        self.state.model.net.train()

    def packed(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return step.packed(self.state)

    def restore(self, content: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        step.restore(self.state, content)

    def save(self, folder: str, weights: Weights = "teacher") -> str:
        """Write the network, without its head."""
        if weights == "teacher" and self.n_steps:
            self.measure()
        return save_network(folder, self.state.model.net, self.card, weights)

    def _standardised(self, codes: Tensor) -> Tensor:
        return standardised(codes, self.mean_db, self.card.deviation_db, self.card.own_median)
