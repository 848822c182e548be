"""The ways in which a window's vector is read off a network's tokens; :func:`jobs.common.backbone.pool` does it."""

from typing import Final, Literal

Readout = Literal["class", "patch_mean", "patch_mean_std"]

WIDTHS: Final[dict[Readout, int]] = {"class": 1, "patch_mean": 1, "patch_mean_std": 2}
"""Length of the vector, in widths of the network."""
