"""What decides the numbers of a DINO training. The defaults are those of the study with ViT-S."""

from typing import Annotated, Final, Literal, Self, cast

from pydantic import (
    Field,
    FiniteFloat,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.fields import FieldInfo

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job

ALGORITHM = 3
"""Raised when a change makes other weights from the same windows."""

Size = Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]
Span = Annotated[tuple[PositiveFloat, PositiveFloat], Field(strict=False)]
Range = Annotated[tuple[FiniteFloat, FiniteFloat], Field(strict=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PLUS: Final = {"ibot": 1.0, "koleo": 0.1, "registers": 4}
"""What the recipe ``dino-plus`` adds."""


def introduced_as(value: JsonValue) -> FieldInfo:
    """Describe a field that runs stored without it had at a value."""
    return cast("FieldInfo", Field(json_schema_extra={"introduced_as": value}))


class Config(JobConfig):
    """Settings of the training.

    Attributes
    ----------
    seed
        Of everything that is drawn: weights, order of windows, views.
    partial
        Whether partial windows are trained on.
    n_statistics
        Windows, drawn at most, from which the mean per mel band and the deviation are computed.
    background
        ``recorder``: each recorder's median level per mel band takes the place of the mean of all windows. The
        medians are kept with the model, which then knows these recorders alone.
    shuffle_shards
        0 draws the windows of a pass from anywhere. Otherwise shards are drawn, and the windows of so many
        shards are shuffled together: neighbours in the order then lie in few files.
    epochs, steps
        Length of the training in passes over the windows, or in steps, which goes first when given.
    batch_size
        Windows of one step, over all processes.
    precision
        Of the network's matrix products; loss, centre, temperatures and teacher are always fp32.

    recipe
        ``dino``, or ``dino-plus``, which sets ``ibot`` to 1, ``koleo`` to 0.1 and ``registers`` to 4 where they are
        not set themselves.
    ibot, ibot_share, ibot_mask
        Weight of the loss of masked patches; share of the global views that have any, and the range of their
        share of such a view's patches.
    koleo
        Weight of the loss that keeps the windows' features apart.

    arch
        Name of a timm vision transformer.
    embed_dim, depth, num_heads
        Replace the architecture's own width, number of blocks and heads.
    patch_size
        Mel bands and frames of one token: square, or as high as the views for tokens of the full band.
    registers
        Tokens that stand for no patch.
    drop_path
        Rate of stochastic depth in the student.
    pooling
        What the head sees of a view: the class token or the mean of the patch tokens.
    head_hidden, head_layers, head_bottleneck, n_prototypes
        Width of the head's hidden layers, number of linear layers up to the bottleneck, width of the
        bottleneck, and number of prototypes behind it.

    n_global, n_local
        Views of each kind for one window.
    global_size, local_size
        Mel bands and frames (pixels) of a view; the global size is what features are computed at.
    global_time_span, local_time_span
        Range of a view's duration, as a share of the window's. Views wrap around the window's end.
    global_mel_span, local_mel_span
        Range of a view's height, as a share of the band; above 1 it reaches beyond it.
    mel_shift
        A view's centre lies this far from the band's at most (share of the band), or farther where the
        view is low enough to stay inside the band.
    active_share
        Share of views centred where the window is loud; the others lie anywhere.
    mix_share, mix_snr_db
        Share of views that another window's view is added to, and the range of the ratio of their
        mean powers, dB. The other window is never made louder than it is.
    gain_db, tilt_db
        Largest change of a view's level, and of its level at the band's edges against its middle, dB.
    mask_share, mask_width, mask_teacher
        Share of views that lose a stretch of frames, and one of bands; largest width of each as a
        share of the view; whether the teacher's views lose them as well.

    student_temperature, teacher_temperature
        Of the two softmaxes.
    teacher_temperature_start, teacher_temperature_warmup
        Temperature that the teacher's rises from, linearly over this share of the steps.
    center_momentum
        Of the running mean of the teacher's outputs.
    teacher_momentum
        Of the teacher's weights at the start; rises to 1 as a half cosine.
    lr, final_lr
        Learning rate for a batch of 256 windows (used in proportion to ``batch_size``), and the one
        at the end of its half cosine, which is used as it is.
    lr_warmup
        Share of the steps over which the learning rate rises linearly from 0.
    weight_decay, final_weight_decay
        At the start and at the end of a half cosine; of matrices only.
    clip, clip_mode
        Largest norm of the gradient of each parameter, or of all together; 0 does not clip.
    freeze_last_layer
        Share of the steps during which the prototypes stay as they were drawn.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    partial: bool = True
    n_statistics: PositiveInt = 2048
    background: Annotated[Literal["none", "recorder"], introduced_as("none")] = "none"
    shuffle_shards: Annotated[int, Field(ge=0), introduced_as(0)] = 0
    epochs: PositiveFloat = 50.0
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 512
    precision: Literal["fp32", "bf16"] = "bf16"

    recipe: Annotated[Literal["dino", "dino-plus"], introduced_as("dino")] = "dino"
    ibot: Annotated[NonNegativeFloat | None, introduced_as(None)] = None
    ibot_share: Annotated[Share, introduced_as(0.5)] = 0.5
    ibot_mask: Annotated[tuple[Share, Share], Field(strict=False), introduced_as([0.1, 0.5])] = (0.1, 0.5)
    koleo: Annotated[NonNegativeFloat | None, introduced_as(None)] = None

    arch: str = "vit_small_patch16_224"
    embed_dim: PositiveInt | None = None
    depth: PositiveInt | None = None
    num_heads: PositiveInt | None = None
    patch_size: Size = (16, 16)
    registers: Annotated[NonNegativeInt | None, introduced_as(None)] = None
    drop_path: Share = 0.1
    pooling: Literal["class", "patch_mean"] = "class"
    head_hidden: PositiveInt = 2048
    head_layers: PositiveInt = 3
    head_bottleneck: PositiveInt = 256
    n_prototypes: PositiveInt = 65_536

    n_global: Annotated[int, Field(ge=2)] = 2
    n_local: NonNegativeInt = 8
    global_size: Size = (224, 224)
    local_size: Size = (96, 96)
    global_time_span: Span = (0.5, 1.0)
    local_time_span: Span = (0.125, 0.4)
    global_mel_span: Span = (0.8, 1.0)
    local_mel_span: Span = (0.3, 0.6)
    mel_shift: Share = 0.0
    active_share: Share = 0.0
    mix_share: Share = 0.5
    mix_snr_db: Range = (3.0, 25.0)
    gain_db: NonNegativeFloat = 6.0
    tilt_db: NonNegativeFloat = 3.0
    mask_share: Share = 0.5
    mask_width: Share = 0.15
    mask_teacher: bool = False

    student_temperature: PositiveFloat = 0.1
    teacher_temperature: PositiveFloat = 0.04
    teacher_temperature_start: PositiveFloat = 0.04
    teacher_temperature_warmup: Share = 0.3
    center_momentum: Share = 0.9
    teacher_momentum: Share = 0.996
    lr: PositiveFloat = 5e-4
    final_lr: NonNegativeFloat = 1e-6
    lr_warmup: Share = 0.1
    weight_decay: NonNegativeFloat = 0.04
    final_weight_decay: NonNegativeFloat = 0.4
    clip: NonNegativeFloat = 3.0
    clip_mode: Literal["per_parameter", "global"] = "per_parameter"
    freeze_last_layer: Share = 0.02

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [
            f"{name}: expected a multiple of patch_size {self.patch_size}, found {size}"
            for name, size in (("global_size", self.global_size), ("local_size", self.local_size))
            if size[0] % self.patch_size[0] or size[1] % self.patch_size[1]
        ]
        ranges = ("global_time_span", "local_time_span", "global_mel_span", "local_mel_span", "mix_snr_db", "ibot_mask")
        for name in ranges:
            low, high = getattr(self, name)
            if low > high:
                problems.append(f"{name}: expected [lowest, highest], found [{low}, {high}]")
            if name.endswith("time_span") and high > 1.0:
                problems.append(f"{name}: expected a share of the window up to 1, found {high}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def ibot_weight(self) -> float:
        """Weight of the loss of masked patches, by the recipe where it is not set."""
        return self._by_recipe("ibot", self.ibot)

    @property
    def koleo_weight(self) -> float:
        """Weight of the loss that keeps features apart, by the recipe where it is not set."""
        return self._by_recipe("koleo", self.koleo)

    @property
    def n_registers(self) -> int:
        """Tokens that stand for no patch, by the recipe where they are not set."""
        return int(self._by_recipe("registers", self.registers))

    def _by_recipe(self, name: str, value: float | None) -> float:
        if value is not None:
            return value
        return PLUS[name] if self.recipe == "dino-plus" else 0.0


JOB = Job(
    name="dino", package=__package__, config=Config, algorithm=ALGORITHM, writes="models", extra="dino",
    inputs=(Input("spectrograms"),), processes="train together",
)  # fmt: skip
