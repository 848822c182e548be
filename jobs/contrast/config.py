"""Settings of the ``contrast`` job."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job
from jobs.common.training.alterations import Alterations, Equaliser, Floor, Gain, Mask, Mix, by_kind

ALGORITHM = 1
"""Raised when a change makes other weights from the same windows."""

DEFAULT_STEPS = 4_000
GROUP = 32
"""Windows whose views are normalised together, :data:`jobs.common.frames.network.GROUP`."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Span = Annotated[tuple[PositiveFloat, PositiveFloat], Field(strict=False)]


class Config(JobConfig):
    """Settings of the ``contrast`` job; ranges are the lowest and the highest value."""

    seed: int = Field(0, ge=0, lt=2**63, description="root of every random choice: weights, order of windows, views")
    partial: bool = Field(True, description="whether windows with gaps are trained on as well")
    n_statistics: PositiveInt = Field(
        2048,
        description="windows, drawn at most, from which the mean per mel band and the deviation are computed",
    )
    shuffle_shards: NonNegativeInt = Field(
        0,
        description="0 draws the windows of a pass from anywhere; otherwise shards are drawn, and the windows of so "
        "many shards are shuffled together, so that neighbours in the order lie in few files",
    )
    init: str = Field(
        "random",
        description="weights before the first step: 'random' draws them from `seed`, 'starter' takes those that came "
        "with the program; a run named as the input `init` takes the place of both",
    )
    steps: NonNegativeInt | None = Field(
        None,
        description="length of the training in steps, 4000 if `epochs` is left out as well; 0 uses the weights of "
        "`init` as they are, with the levels of this cube",
    )
    epochs: PositiveFloat | None = Field(
        None, description="length of the training in passes over the windows, in place of `steps`"
    )
    batch_size: PositiveInt = Field(
        64,
        description="windows of one step, over all processes: 8 to 32, or a multiple of 32; the others of a "
        "batch are the negatives of each",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="number format of the network's products; 'auto' takes bf16 where the processor has instructions "
        "for it, chosen when a training begins and kept until it ends",
    )

    bands: PositiveInt = Field(
        128, description="mel bands of the network's input at most, a multiple of 16; a cube with more is averaged"
    )
    frame_s: PositiveFloat = Field(
        0.02, description="shortest frame of the network's input; a cube's shorter ones are averaged, in whole numbers"
    )
    own_median: Share = Field(
        0.5, description="share of a window's own median per mel band that is subtracted, besides the mean of all"
    )
    view_frames: PositiveInt = Field(96, description="frames of a view, all bands high; time wraps around")
    active_share: Share = Field(
        0.7, description="share of the views centred where the window is loud; the others lie anywhere"
    )
    mel_span: Span = Field((0.9, 1.1), description="range of a view's height, as a share of the band")
    mel_shift: Share = Field(
        0.04, description="distance of a view's centre from the band's at most, as a share of the band"
    )
    views: Alterations = Field(
        (Mix(), Floor(), Gain(), Equaliser(), Mask()),
        description="how the two views of a window are made to differ: a list of tables, each with its `kind` "
        "(`docs/training.md`)",
    )

    temperature: PositiveFloat = Field(0.2, description="temperature of the loss")
    lr: PositiveFloat = Field(1e-3, description="learning rate after the warm-up, used as it is")
    final_lr_share: Share = Field(0.02, description="share of `lr` at the end of its half cosine")
    lr_warmup: Share = Field(0.08, description="share of the steps over which the learning rate rises linearly from 0")
    weight_decay: NonNegativeFloat = Field(0.04, description="weight decay, of matrices only")
    clip: NonNegativeFloat = Field(10.0, description="largest norm of the gradient; 0 does not clip")

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.init not in {"random", "starter"}:
            problems.append(
                f"init: expected 'random' or 'starter', found {self.init!r}. To begin with the weights of a run, "
                f"name it among the inputs: inputs = {{ ..., init = {self.init!r} }}"
            )
        if self.steps is not None and self.epochs is not None:
            problems.append(f"steps, epochs: expected one of the two, found {self.steps} and {self.epochs:g}")
        if self.batch_size < 8:
            problems.append(
                f"batch_size: expected 8 or more, found {self.batch_size}: each window is told from the others of its "
                "batch, and so few are too few. Set 64, or fewer where there are not so many windows"
            )
        elif self.batch_size > GROUP and self.batch_size % GROUP:
            problems.append(f"batch_size: expected 8 to {GROUP}, or a multiple of {GROUP}, found {self.batch_size}")
        if self.bands % 16:
            problems.append(f"bands: expected a multiple of 16, found {self.bands}")
        if self.mel_span[0] > self.mel_span[1]:
            problems.append(f"mel_span: expected [lowest, highest], found {list(self.mel_span)}")
        try:
            by_kind(self.views)
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def clip_mode(self) -> Literal["global"]:
        """All gradients are clipped together."""
        return "global"

    def steps_of(self, n_windows: int) -> int:
        """Return the number of steps of a training on so many windows."""
        if self.epochs is not None:
            return max(1, round(self.epochs * n_windows / self.batch_size))
        return DEFAULT_STEPS if self.steps is None else self.steps


JOB = Job(
    name="contrast", package=__package__, config=Config, algorithm=ALGORITHM, writes="models", extra="dino",
    inputs=(
        Input("spectrograms"), Input("init", ("models",), optional=True, jobs=("contrast", "adopt"), is_usual=False),
    ),
    processes="train together", follows=frozenset({"mix", "device"}),
)  # fmt: skip
