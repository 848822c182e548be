"""Protocol between the training loop and a job's own networks, loss and step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from jobs.common.network.card import Weights
from jobs.common.training.data import Batch
from jobs.common.training.probe import Encode
from jobs.common.training.progress import Progress

Seen = TypeVar("Seen")
Card = TypeVar("Card", bound=BaseModel)


class Learner(Protocol[Seen]):
    """Networks, their optimiser and all else that a step changes.

    ``Seen`` is what one step leaves to be looked at, on the device.
    """

    @property
    def state(self) -> Progress:
        """The steps done, the optimiser and the networks."""

    @property
    def width(self) -> int:
        """Length of the vectors of :meth:`encoder`."""

    @property
    def needs_recorders(self) -> bool:
        """Whether the windows' recorders have to be named."""

    @property
    def n_parameters(self) -> int:
        """Numbers of the network that is kept."""

    @property
    def flops_per_window(self) -> float | None:
        """Operations that a step takes for one window; ``None`` where unknown."""

    @property
    def facts(self) -> dict[str, Any]:
        """Further entries of the training's summary."""

    def advance(self, batch: Batch, recorder: Sequence[str] | None) -> Seen:
        """Do one step with this process's share of a batch."""

    def signals(self, seen: Seen) -> dict[str, float]:
        """Return measures of a healthy training, ``loss`` first; every process must call it."""

    def rates(self, seen: Seen) -> dict[str, float]:
        """Return the rates and norms of a step."""

    def diagnosis(self, signals: dict[str, float]) -> str | None:
        """Return what is wrong with a training that shows such signals, or ``None``."""

    def encoder(self) -> Encode:
        """Return the function from codes, and recorders' names if they are needed, to vectors, shape (n, width)."""

    def packed(self) -> dict[str, Any]:
        """Return all that the next step depends on, ``step`` among it; every process must call it."""

    def restore(self, content: dict[str, Any]) -> None:
        """Go on where :meth:`packed` was called; ``RuntimeError`` or ``ValueError`` if it is another network's."""

    def save(self, folder: str, weights: Weights = "teacher") -> str:
        """Write the network that is kept, and its card; return the SHA-256 of the weights' file."""


@dataclass(frozen=True)
class Method(Generic[Card, Seen]):
    """How a job makes its learner.

    Attributes
    ----------
    card
        The model of its cards.
    make_card
        Computes the card; called where no checkpoint holds one.
    make_learner
        Makes the learner of a card, for so many steps, before the first one; with ``True`` as a new training begins.
    checked
        Called before a new training first writes: returns what a checkpoint takes on disk; raises ``InputError`` for a
        network that cannot be built, or not begin with the weights that it is to begin with.
    """

    card: type[Card]
    make_card: Callable[[], Card]
    make_learner: Callable[[Card, int, bool], Learner[Seen]]
    checked: Callable[[], int]
