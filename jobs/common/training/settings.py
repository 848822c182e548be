"""The settings that every training has."""

from typing import Literal, Protocol


class Settings(Protocol):
    """The settings that the loop of a training reads; the job's own configuration explains each."""

    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def partial(self) -> bool: ...  # noqa: D102
    @property
    def n_statistics(self) -> int: ...  # noqa: D102
    @property
    def shuffle_shards(self) -> int: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def precision(self) -> Literal["auto", "fp32", "bf16"]: ...  # noqa: D102
    @property
    def lr_warmup(self) -> float: ...  # noqa: D102
    @property
    def clip(self) -> float: ...  # noqa: D102
    @property
    def clip_mode(self) -> Literal["per_parameter", "global"]: ...  # noqa: D102

    def steps_of(self, n_windows: int) -> int: ...  # noqa: D102
