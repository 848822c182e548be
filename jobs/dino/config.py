"""Settings that decide the numbers of a DINO training. The defaults are those of the study with ViT-S."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from jobs.common.config import JobConfig
from jobs.common.job import Input, Job
from jobs.common.training.alterations import Gain, Mask, Mix, Tilt, by_kind

ALGORITHM = 3
"""Raised when a change makes other weights from the same windows."""

Size = Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]
Span = Annotated[tuple[PositiveFloat, PositiveFloat], Field(strict=False)]
Range = Annotated[tuple[FiniteFloat, FiniteFloat], Field(strict=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Shares = Annotated[tuple[Share, Share], Field(strict=False)]
Views = Annotated[tuple[Annotated[Mix | Gain | Tilt | Mask, Field(discriminator="kind")], ...], Field(strict=False)]
OF_VIEWS: Final = ("mix_share", "mix_snr_db", "gain_db", "tilt_db", "mask_share", "mask_width")
"""The settings that a list of ``views`` stands for."""
PLUS: Final = {"ibot": 1.0, "koleo": 0.1, "registers": 4}
"""Settings that the recipe ``dino-plus`` adds."""


class Config(JobConfig):
    """Settings of the ``dino`` job; sizes are mel bands and frames, ranges the lowest and the highest value."""

    seed: int = Field(0, ge=0, lt=2**63, description="root of every random choice: weights, order of windows, views")
    partial: bool = Field(True, description="whether windows with gaps are trained on as well")
    n_statistics: PositiveInt = Field(
        2048,
        description="windows, drawn at most, from which the mean per mel band and the deviation are computed",
    )
    background: Literal["none", "recorder"] = Field(
        "none",
        description="'recorder': each recorder's median level per mel band takes the place of the mean of all windows; "
        "the medians are kept with the model, which then knows these recorders alone",
        json_schema_extra={"introduced_as": "none"},
    )
    shuffle_shards: int = Field(
        0,
        ge=0,
        description="0 draws the windows of a pass from anywhere; otherwise shards are drawn, and the windows of so "
        "many shards are shuffled together, so that neighbours in the order lie in few files",
        json_schema_extra={"introduced_as": 0},
    )
    epochs: PositiveFloat = Field(50.0, description="length of the training in passes over the windows")
    steps: PositiveInt | None = Field(None, description="length of the training in steps; given, it replaces `epochs`")
    batch_size: PositiveInt = Field(512, description="windows of one step, over all processes")
    precision: Literal["fp32", "bf16"] = Field(
        "bf16",
        description="number format of the network's matrix products; loss, centre, temperatures and teacher are always "
        "fp32",
    )

    recipe: Literal["dino", "dino-plus"] = Field(
        "dino",
        description="'dino-plus' sets `ibot` to 1, `koleo` to 0.1 and `registers` to 4 where they are left out",
        json_schema_extra={"introduced_as": "dino"},
    )
    ibot: NonNegativeFloat | None = Field(
        None,
        description="weight of the loss of masked patches; that of the recipe if left out",
        json_schema_extra={"introduced_as": None},
    )
    ibot_share: Share = Field(
        0.5,
        description="share of the global views that have masked patches",
        json_schema_extra={"introduced_as": 0.5},
    )
    ibot_mask: Shares = Field(
        (0.1, 0.5),
        description="range of the share of such a view's patches that are masked",
        json_schema_extra={"introduced_as": [0.1, 0.5]},
    )
    koleo: NonNegativeFloat | None = Field(
        None,
        description="weight of the loss that keeps the windows' features apart; that of the recipe if left out",
        json_schema_extra={"introduced_as": None},
    )

    arch: str = Field("vit_small_patch16_224", description="name of a timm vision transformer")
    embed_dim: PositiveInt | None = Field(None, description="width of the network; the architecture's if left out")
    depth: PositiveInt | None = Field(None, description="number of blocks; the architecture's if left out")
    num_heads: PositiveInt | None = Field(None, description="number of heads; the architecture's if left out")
    patch_size: Size = Field(
        (16, 16),
        description="mel bands and frames of one token: square, or as high as the views for tokens of the full band",
    )
    registers: NonNegativeInt | None = Field(
        None,
        description="tokens that stand for no patch; those of the recipe if left out",
        json_schema_extra={"introduced_as": None},
    )
    drop_path: Share = Field(0.1, description="rate of stochastic depth in the student")
    pooling: Literal["class", "patch_mean"] = Field(
        "class", description="what the head sees of a view: the class token, or the mean of the patch tokens"
    )
    head_hidden: PositiveInt = Field(2048, description="width of the head's hidden layers")
    head_layers: PositiveInt = Field(3, description="number of the head's linear layers up to the bottleneck")
    head_bottleneck: PositiveInt = Field(256, description="width of the head's bottleneck")
    n_prototypes: PositiveInt = Field(65_536, description="prototypes behind the bottleneck")

    n_global: int = Field(2, ge=2, description="global views of one window")
    n_local: NonNegativeInt = Field(8, description="local views of one window")
    global_size: Size = Field(
        (224, 224),
        description="mel bands and frames (pixels) of a global view, and of a window when its features are computed; "
        "multiples of `patch_size`",
    )
    local_size: Size = Field(
        (96, 96), description="mel bands and frames (pixels) of a local view; multiples of `patch_size`"
    )
    global_time_span: Span = Field(
        (0.5, 1.0),
        description="range of a global view's duration, as a share of the window's, 1 at most; views wrap around the "
        "window's end",
    )
    local_time_span: Span = Field(
        (0.125, 0.4), description="range of a local view's duration, as a share of the window's, 1 at most"
    )
    global_mel_span: Span = Field(
        (0.8, 1.0),
        description="range of a global view's height, as a share of the band; above 1 it reaches beyond the band",
    )
    local_mel_span: Span = Field((0.3, 0.6), description="range of a local view's height, as a share of the band")
    mel_shift: Share = Field(
        0.0,
        description="distance of a view's centre from the band's at most, as a share of the band; a view that is low "
        "enough to stay inside the band may lie farther away",
    )
    active_share: Share = Field(
        0.0, description="share of the views centred where the window is loud; the others lie anywhere"
    )
    views: Views | None = Field(
        None,
        description="a list as that of `contrast`, of the kinds mix, gain, tilt and mask, in place of `mix_share` to "
        "`mask_width`, which it sets",
        json_schema_extra={"introduced_as": None},
    )
    mix_share: Share = Field(0.5, description="share of the views that another window's view is added to")
    mix_snr_db: Range = Field(
        (3.0, 25.0),
        description="range of the ratio of the mean powers of a view and the one that is added, which is never made "
        "louder than it is",
    )
    gain_db: NonNegativeFloat = Field(6.0, description="largest change of a view's level")
    tilt_db: NonNegativeFloat = Field(
        3.0, description="largest change of a view's level at the band's edges against its middle"
    )
    mask_share: Share = Field(0.5, description="share of the views that lose some neighbouring frames and mel bands")
    mask_width: Share = Field(0.15, description="largest share of a view's frames, and of its bands, that is lost")
    mask_teacher: bool = Field(False, description="whether the teacher's views lose them as well")

    student_temperature: PositiveFloat = Field(0.1, description="temperature of the student's softmax")
    teacher_temperature: PositiveFloat = Field(0.04, description="temperature of the teacher's softmax")
    teacher_temperature_start: PositiveFloat = Field(
        0.04, description="temperature from which the teacher's goes linearly to `teacher_temperature`"
    )
    teacher_temperature_warmup: Share = Field(0.3, description="share of the steps over which it does so")
    center_momentum: Share = Field(0.9, description="momentum of the running mean of the teacher's outputs")
    teacher_momentum: Share = Field(
        0.996, description="momentum of the teacher's weights at the start; rises to 1 as a half cosine"
    )
    lr: PositiveFloat = Field(
        5e-4, description="learning rate for a batch of 256 windows; used in proportion to `batch_size`"
    )
    final_lr: NonNegativeFloat = Field(1e-6, description="learning rate at the end of its half cosine, used as it is")
    lr_warmup: Share = Field(0.1, description="share of the steps over which the learning rate rises linearly from 0")
    weight_decay: NonNegativeFloat = Field(0.04, description="weight decay at the start; of matrices only")
    final_weight_decay: NonNegativeFloat = Field(0.4, description="weight decay at the end of its half cosine")
    clip: NonNegativeFloat = Field(3.0, description="largest norm of a gradient; 0 does not clip")
    clip_mode: Literal["per_parameter", "global"] = Field(
        "per_parameter", description="whether `clip` holds for the gradient of each parameter, or of all together"
    )
    freeze_last_layer: Share = Field(
        0.02, description="share of the steps during which the prototypes stay as they were drawn"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_views(cls, values: Any) -> Any:  # noqa: ANN401 (what pydantic was given)
        """Put the settings that a list of views stands for in its place, so that either way gives one identity."""
        if not isinstance(values, dict) or values.get("views") is None:
            return values
        try:
            found = by_kind(TypeAdapter(Views).validate_python(values["views"]))
        except ValidationError:
            return values  # the field itself says what is wrong
        both = [name for name in OF_VIEWS if name in values]
        if both:
            raise ValueError(f"views: expected the list or single settings, found both: leave out {', '.join(both)}")
        mix, mask = found.get("mix", Mix(share=0.0)), found.get("mask", Mask(share=0.0))
        gain, tilt = found.get("gain", Gain(db=0.0)), found.get("tilt", Tilt(db=0.0))
        own = (mix.share, mix.snr_db, gain.db, tilt.db, mask.share, mask.width)
        others = {name: value for name, value in values.items() if name != "views"}
        return {**others, **dict(zip(OF_VIEWS, own, strict=True))}

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

    def steps_of(self, n_windows: int) -> int:
        """Return the number of steps of a training on so many windows."""
        if self.steps is not None:
            return self.steps
        return max(1, round(self.epochs * n_windows / self.batch_size))

    def _by_recipe(self, name: str, value: float | None) -> float:
        if value is not None:
            return value
        return PLUS[name] if self.recipe == "dino-plus" else 0.0


JOB = Job(
    name="dino", package=__package__, config=Config, algorithm=ALGORITHM, writes="models", extra="dino",
    inputs=(Input("spectrograms"), Input("init", ("models",), optional=True, jobs=("dino", "adopt"), is_usual=False)),
    processes="train together",
    follows=frozenset({"mix", "device"}),
)  # fmt: skip
