"""The optimiser: which parameters decay, how gradients are clipped."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from jobs.common.training.settings import Settings

NEVER_DECAYED = ("pos_embed", "cls_token", "reg_token")
"""Parameters of timm's vision transformers that are no matrices although they have three axes."""


def decays(name: str, parameter: Tensor) -> bool:
    """Return whether weight decay acts on a parameter: on matrices and filters, not on biases and gains."""
    return parameter.ndim > 1 and name.rsplit(".", 1)[-1] not in NEVER_DECAYED


def parameter_groups(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a model's trained parameters by name: those that decay, and the others."""
    trained: dict[str, Tensor] = {name: value for name, value in model.named_parameters() if value.requires_grad}
    decayed = {name: value for name, value in trained.items() if decays(name, value)}
    return decayed, {name: value for name, value in trained.items() if name not in decayed}


def build_optimizer(model: nn.Module) -> torch.optim.AdamW:
    """Make AdamW with two groups, the decayed parameters first; rates are set before every step."""
    decayed, others = parameter_groups(model)
    groups: list[dict[str, Any]] = [
        {"params": list(decayed.values())},
        {"params": list(others.values()), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), fused=True)


def set_rates(optimizer: torch.optim.Optimizer, *, lr: float, weight_decay: float) -> None:
    """Set the learning rate of both groups and the weight decay of the first."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.param_groups[0]["weight_decay"] = weight_decay


def step_if(condition: Tensor, optimizer: torch.optim.AdamW) -> None:
    """Take the optimiser's step if a tensor on the device says so, without reading it here.

    ``found_inf`` is how ``torch.amp.GradScaler`` has a fused optimiser leave out a step.
    """
    optimizer.found_inf = (~condition).float()  # type: ignore[attr-defined]  # set by GradScaler the same way
    optimizer.step()


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], config: Settings) -> Tensor:
    """Scale gradients down to the largest norm allowed, without asking the device for a number.

    Parameters
    ----------
    parameters
        Those without a gradient are left out.
    config
        ``clip`` and ``clip_mode``; see there. As in facebookresearch/dino (``utils.clip_gradients``)
        a gradient is scaled by ``clip / (norm + 1e-6)`` where that is below 1.

    Returns
    -------
    Tensor
        Norm of all gradients together before clipping, a scalar.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch._foreach_norm(gradients)
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    if config.clip == 0:
        return total
    if config.clip_mode == "global":
        torch._foreach_mul_(gradients, torch.clamp(config.clip / (total + 1e-6), max=1.0))
        return total
    factors = torch.clamp(config.clip / (torch.stack(norms) + 1e-6), max=1.0)
    torch._foreach_mul_(gradients, list(factors.unbind()))
    return total
