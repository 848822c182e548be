"""Options of an export: which spans, and the title, authors and licence that it names."""

from dataclasses import dataclass, field

from lake.query.events import Joining
from lake.query.find import Wanted


@dataclass(frozen=True)
class Choice:
    """Which spans are exported.

    Attributes
    ----------
    is_verified
        Only what people verified; with a threshold, only those of its events.
    threshold
        Events of a detector above it: ``best-f1``, ``precision`` or a probability; ``None`` for verdicts alone.
    run
        The run of detections; may be left out if there is but one.
    cube
        The run of spectrograms; may be left out if there is but one.
    sounds
        Only these; all if empty.
    joining
        How windows are joined to events.
    wanted
        Recorders, sites, days and hours.
    with_negatives
        Also the spans in which people heard none of the sounds that they were asked about.
    """

    is_verified: bool = False
    threshold: str | None = None
    run: str | None = None
    cube: str | None = None
    sounds: tuple[str, ...] = ()
    joining: Joining = field(default_factory=Joining)
    wanted: Wanted = field(default_factory=Wanted)
    with_negatives: bool = False

    @property
    def asks_for_sounds(self) -> bool:
        """Whether anything is asked for that only named sounds have."""
        return self.is_verified or self.threshold is not None or self.run is not None or bool(self.sounds)


@dataclass(frozen=True)
class Said:
    """Title, authors and licence of an export, as the user gives them: see :class:`lake.exports.collection.About`."""

    title: str = ""
    creators: tuple[str, ...] = ()
    licence: str = ""
    decimals: int | None = None
