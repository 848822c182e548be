"""DINO as the loop of a training sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jobs.common.network.backbone import save_backbone
from jobs.common.network.card import ModelCard, Weights
from jobs.common.network.inputs import gaps_of
from jobs.common.training import loop
from jobs.common.training.data import Batch, Source
from jobs.common.training.learner import Method
from jobs.common.training.probe import Encode
from jobs.common.training.watch import Surroundings
from jobs.dino.begin import begin_with, require_same_network
from jobs.dino.config import Config
from jobs.dino.flops import flops_per_window
from jobs.dino.health import diagnosis, signals
from jobs.dino.probe import features
from jobs.dino.schedule import pace
from jobs.dino.sizes import parameters
from jobs.dino.train import Seen, State, advance, new_state, packed, restore
from lake.storage import Storage


def fit(
    storage: Storage,
    source: Source,
    config: Config,
    *,
    make_card: Callable[[], ModelCard],
    around: Surroundings,
) -> dict[str, Any]:
    """Train a backbone; see :func:`jobs.common.training.loop.fit`.

    Parameters
    ----------
    storage, source, config, around
        As there.
    make_card
        Computes the model's card; called only where no checkpoint holds it.
    """
    return loop.fit(storage, source, config, method(config, make_card, around), around)


def method(
    config: Config, make_card: Callable[[], ModelCard], around: Surroundings, init: str | None = None
) -> Method[ModelCard, Seen]:
    """Return how student and teacher are made; ``init`` is the folder of a backbone that both begin with."""

    def learner(card: ModelCard, n_steps: int, is_new: bool) -> "Dino":
        state = new_state(card, config, around.device, compiled=around.compiled)
        if is_new and init is not None:
            begin_with(state.pair, init)
        return Dino(state, card, config, around.device, n_steps, around.n_micro)

    def checked() -> int:
        if init is not None:
            require_same_network(init, config)
        backbone, head, *_ = parameters(config)
        return 4 * 4 * (backbone + head)  # student, teacher and two moments

    return Method(ModelCard, make_card, learner, checked)


@dataclass
class Dino:
    """A student and its teacher; see :class:`jobs.common.training.learner.Learner`."""

    state: State
    card: ModelCard
    config: Config
    device: torch.device
    n_steps: int
    n_micro: int

    @property
    def width(self) -> int:
        """Width of the backbone."""
        return int(self.state.pair.teacher.backbone.num_features)

    @property
    def needs_recorders(self) -> bool:
        """Return whether recorders' backgrounds are taken off."""
        return self.card.background_db is not None

    @property
    def n_parameters(self) -> int:
        """Numbers of the backbone."""
        return sum(value.numel() for value in self.state.pair.teacher.backbone.parameters())

    @property
    def flops_per_window(self) -> float:
        """Operations that a step takes for one window."""
        return flops_per_window(self.config, self.width, len(self.state.pair.teacher.backbone.blocks))

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing else."""
        return {}

    def advance(self, batch: Batch, recorder: Sequence[str] | None) -> Seen:
        """Do one step."""
        return advance(
            self.state,
            torch.from_numpy(batch.codes).to(self.device, non_blocking=True),
            batch.samples,
            card=self.card,
            config=self.config,
            n_steps=self.n_steps,
            recorder=recorder,
            has_gap=None if self.device.type == "cpu" else gaps_of(batch.codes),
            n_micro=self.n_micro,
        )

    def signals(self, seen: Seen) -> dict[str, float]:
        """Return the signs that separate a healthy training from a collapsed one."""
        return signals(seen.loss, seen.teacher, seen.features)

    def rates(self, seen: Seen) -> dict[str, float]:
        """Return the rates and norms of the step that was just done."""
        now = pace(self.state.step - 1, self.n_steps, self.config)
        return {
            "lr": now.lr,
            "weight_decay": now.weight_decay,
            "teacher_momentum": now.teacher_momentum,
            "teacher_temperature": now.teacher_temperature,
            "gradient_norm": seen.gradient_norm.item(),
            "center_norm": self.state.center.norm().item(),
        }

    def diagnosis(self, signals: dict[str, float]) -> str | None:
        """Return what is wrong, or ``None``."""
        return diagnosis(signals, self.config.n_prototypes)

    def encoder(self) -> Encode:
        """Return what gives the teacher's features of windows."""
        return lambda codes, recorder: features(self.state.pair.teacher, codes, recorder, self.card, self.config)

    def packed(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return packed(self.state, self.device)

    def restore(self, content: dict[str, Any]) -> None:
        """Go on where a checkpoint was written."""
        restore(self.state, content, self.device)

    def save(self, folder: str, weights: Weights = "teacher") -> str:
        """Write the teacher's backbone; before the first step it is the student's too."""
        return save_backbone(folder, self.state.pair.teacher.backbone, self.card, weights)
