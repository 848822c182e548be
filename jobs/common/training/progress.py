"""How far a training is: what each of its states holds besides its networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jobs.common.training.optim import parameter_groups, set_rates, step_if


@dataclass(kw_only=True)
class Progress:
    """The optimiser, the steps done, and whether all of them were sound.

    Attributes
    ----------
    optimizer
        Of the network that is trained.
    is_sound
        False, for good, from the first step on whose loss or gradient was no finite number; nothing is changed by that
        step nor by any after it. A scalar on the device, so that no step waits to know.
    step
        Number of steps done.
    """

    optimizer: torch.optim.AdamW
    is_sound: Tensor
    step: int = 0

    def update(self, loss: Tensor, gradient_norm: Tensor, *, lr: float, weight_decay: float) -> None:
        """Take the optimiser's step, if the loss and the gradient's norm, and all before, are finite."""
        self.is_sound = self.is_sound & loss.isfinite() & gradient_norm.isfinite()
        set_rates(self.optimizer, lr=lr, weight_decay=weight_decay)
        step_if(self.is_sound, self.optimizer)
        self.step += 1

    def packed(self, trained: nn.Module) -> dict[str, Any]:
        """Return what a checkpoint keeps of it; ``trained`` is the network that the optimiser is of."""
        decayed, others = parameter_groups(trained)
        return {"step": self.step, "optimizer": self.optimizer.state_dict(), "parameters": [*decayed, *others]}

    def restore(self, content: Mapping[str, Any], trained: nn.Module) -> None:
        """Put back what :meth:`packed` returned.

        Raises
        ------
        ValueError
            If the content is another network's.
        """
        decayed, others = parameter_groups(trained)
        if content.get("parameters") != [*decayed, *others]:
            raise ValueError("its parameters have other names")
        self.optimizer.load_state_dict(content["optimizer"])
        self.step = content["step"]
