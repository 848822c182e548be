"""The ways in which a window's vector is read off a network's tokens, or its frames."""

from typing import Final, Literal

Readout = Literal["class", "patch_mean", "patch_mean_std", "output", "stem"]

WIDTHS: Final[dict[Readout, int]] = {"class": 1, "patch_mean": 1, "patch_mean_std": 2}
"""Length of the vector of tokens, in widths of the network."""
OF_FRAMES: Final[tuple[Readout, ...]] = ("output", "stem")
"""Mean and deviation over time of what a network of frames gives."""
