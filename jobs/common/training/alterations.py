"""Alterations of views, listed in a manifest: the same kinds for every training."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Range = Annotated[tuple[FiniteFloat, FiniteFloat], Field(strict=False)]


class Alteration(BaseModel):
    """One entry of ``views``; each kind once at most. Whatever their order, sounds are added first and masks come last.

    Attributes
    ----------
    kind
        Which it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    kind: str

    @model_validator(mode="after")
    def _check(self) -> "Alteration":
        snr_db = getattr(self, "snr_db", None)
        if snr_db is not None and snr_db[0] > snr_db[1]:
            raise ValueError(f"snr_db: expected [lowest, highest], found {list(snr_db)}")
        return self


class Mix(Alteration):
    """Another window's view is added to a share of the views, ``snr_db`` below it, and never louder than it is."""

    kind: Literal["mix"] = "mix"
    share: Share = 0.5
    snr_db: Range = (3.0, 25.0)


class Floor(Alteration):
    """Steady noise is added to a share of the views, ``snr_db`` below the view's mean power."""

    kind: Literal["floor"] = "floor"
    share: Share = 0.5
    snr_db: Range = (5.0, 25.0)


class Gain(Alteration):
    """The level changes by up to ``db``."""

    kind: Literal["gain"] = "gain"
    db: NonNegativeFloat = 6.0


class Tilt(Alteration):
    """The band's edges change by up to ``db``, in opposite directions; its middle stays."""

    kind: Literal["tilt"] = "tilt"
    db: NonNegativeFloat = 3.0


class Equaliser(Alteration):
    """Levels change at 6 places of the band by normal numbers of deviation ``db``, linearly in between."""

    kind: Literal["eq"] = "eq"
    db: NonNegativeFloat = 3.0


class Mask(Alteration):
    """A share of the views loses neighbouring frames, and a share neighbouring bands, up to ``width`` of them."""

    kind: Literal["mask"] = "mask"
    share: Share = 0.5
    width: Share = 0.15


AnyAlteration = Annotated[Mix | Floor | Gain | Tilt | Equaliser | Mask, Field(discriminator="kind")]
Alterations = Annotated[tuple[AnyAlteration, ...], Field(strict=False)]
KINDS: dict[str, type[Alteration]] = {
    "mix": Mix, "floor": Floor, "gain": Gain, "tilt": Tilt, "eq": Equaliser, "mask": Mask,
}  # fmt: skip


def by_kind(views: Sequence[Alteration]) -> dict[str, Any]:
    """Return the alterations of a list by their kind.

    Raises
    ------
    ValueError
        If a kind is there twice.
    """
    found: dict[str, Any] = {}
    for each in views:
        if each.kind in found:
            raise ValueError(f"views: expected each kind once at most, found {each.kind!r} twice")
        found[each.kind] = each
    return found
