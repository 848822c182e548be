"""The plan of the demo study: which recorder stood where, when it recorded, and into which files.

Five recorders of four conventions around two clearings in a wood. What is irregular about them is listed in
`plan_takes`; nothing here is drawn at random.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from jobs.demo.config import StudyConfig
from jobs.demo.soundscape import Response

FIRST_DAY = datetime(2021, 6, 22, tzinfo=UTC)
LOCAL = timezone(timedelta(hours=-5))
ZONE = "America/Chicago"
NOMINAL_GAIN_DB = 36.0
MIN_TAKE_S = 15
OVERLAPS_MS = (300, 800, 1500, 2400)
"""By how much a file of the drifting recorder runs into the next one, first to last of a take."""


@dataclass(frozen=True)
class Session:
    """A time of day at which every recorder records: local hour and minute, length, and what part of the day it is."""

    hour: int
    minute: int
    length_s: int
    part: str


SESSIONS = (
    Session(0, 45, 90, "night"),
    Session(4, 50, 175, "dawn"),
    Session(5, 40, 140, "dawn"),
    Session(12, 20, 90, "day"),
    Session(20, 40, 85, "dusk"),
    Session(22, 50, 75, "night"),
)
WEATHER_PLAN = {(0, 4): "rain", (1, 2): "rain", (2, 0): "rain", (0, 3): "wind", (1, 3): "wind", (2, 4): "wind"}
"""(day modulo 3, session) to weather: the same over the whole wood."""


@dataclass(frozen=True)
class Deployment:
    """One recorder at one site with one gain for a period (the words of deployments.csv)."""

    name: str
    site: str
    latitude: float
    longitude: float
    gain_db: float
    habitat: str
    tilt_db: float
    ambient_db: float
    decay_s: float


@dataclass(frozen=True)
class Recorder:
    """One recorder.

    Attributes
    ----------
    name
        Its folder under ``audio``.
    path
        Name of a file, a `strftime` pattern.
    utc_offset_h
        Offset of the clock that the names follow, hours.
    sample_rate_hz, n_channels, noise_db
        Its converter: samples per second, channels, density of its own noise (dBFS/Hz).
    late_s
        Seconds after the planned minute at which it starts.
    deployments
        One, or two where it was moved.
    """

    name: str
    path: str
    utc_offset_h: int
    sample_rate_hz: int
    n_channels: int
    noise_db: float
    late_s: int
    deployments: tuple[Deployment, ...]


RECORDERS = (
    Recorder(
        "00023764",
        "20210622_STUDY/%Y%m%dT%H%M%S+0000_REC.flac",
        0,
        32_000,
        1,
        -104.0,
        4,
        (Deployment("00023764-1", "oak-ridge", 41.8141, -88.0712, 37.0, "oak wood", 0.3, 1.5, 0.55),),
    ),
    Recorder(
        "00004862",
        "20210622_STUDY/%Y%m%dT%H%M%S-0500_Rec.wav",
        -5,
        24_000,
        1,
        -101.0,
        0,
        (
            Deployment("00004862-1", "creek", 41.8163, -88.0688, 35.0, "streamside", -0.4, 4.0, 0.4),
            Deployment("00004862-2", "meadow", 41.8209, -88.0641, 35.0, "meadow edge", -0.4, -1.0, 0.2),
        ),
    ),
    Recorder(
        "00023788",
        "%Y%m%d_schedule/%Y%m%dT%H%M%S-0500_REC.flac",
        -5,
        24_000,
        2,
        -103.0,
        0,
        (Deployment("00023788-1", "maple-hollow", 41.8125, -88.0745, 40.0, "maple wood", -0.2, 0.0, 0.7),),
    ),
    Recorder(
        "AM07",
        "%Y%m%d_%H%M%S.WAV",
        -5,
        24_000,
        1,
        -99.0,
        2,
        (Deployment("AM07-1", "pine-stand", 41.8188, -88.0760, 32.0, "pine plantation", 0.9, 0.5, 0.45),),
    ),
    Recorder(
        "S4A01207",
        "Data/S4A01207_%Y%m%d_%H%M%S.flac",
        -5,
        24_000,
        1,
        -102.0,
        0,
        (Deployment("S4A01207-1", "old-field", 41.8230, -88.0702, 33.0, "old field", -0.9, 2.0, 0.25),),
    ),
)
ZONES = {"AM07": ZONE, "S4A01207": ZONE}
"""The recorders whose file names carry local time without an offset."""


@dataclass(frozen=True)
class PlannedFile:
    """One file of a take: its path under ``audio``, the time in its name, its samples, and what is wrong with it.

    `offset_ms` and `n_ms` say which part of the take it holds; `fault` is empty, ``truncated`` or ``empty``.
    """

    path: str
    start_utc: datetime
    offset_ms: int
    n_ms: int
    fault: str

    @property
    def kept_ms(self) -> int:
        """The part of it that can be decoded, whole milliseconds."""
        return {"": self.n_ms, "truncated": self.n_ms * 3 // 5, "empty": 0}[self.fault]


@dataclass(frozen=True)
class Take:
    """A span of continuous sound at one recorder, recorded into one or more files."""

    recorder: int
    deployment: int
    day: int
    session: int
    n_ms: int
    files: tuple[PlannedFile, ...]


def response_of(recorder: Recorder, deployment: Deployment) -> Response:
    """Return what a recorder at a site does to sound; the site's reflections follow from its position."""
    return Response(
        sample_rate_hz=recorder.sample_rate_hz,
        gain_db=deployment.gain_db - NOMINAL_GAIN_DB,
        tilt_db=deployment.tilt_db,
        noise_db=recorder.noise_db,
        decay_s=deployment.decay_s,
        seed=round(deployment.latitude * 10_000) * 10_000_000 - round(deployment.longitude * 10_000),
    )


def moved_utc(config: StudyConfig) -> datetime:
    """Return when the recorder that moves was taken down: 10:00 local time of day ``n_days // 2``."""
    return FIRST_DAY + timedelta(days=config.n_days // 2, hours=10) - (LOCAL.utcoffset(None) or timedelta())


def _cuts(recorder: Recorder, session: int, length_s: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the step between the files' names, seconds, and each file's (offset_ms, n_ms) within the take."""
    if recorder.name == "00023788" and SESSIONS[session].part == "dawn":
        step_s = length_s // (len(OVERLAPS_MS) + 1)
        lengths = [step_s * 1000 + more for more in (*OVERLAPS_MS, 0)]
        return step_s, [(sum(lengths[:i]), n_ms) for i, n_ms in enumerate(lengths)]
    n_files = {("00023764", 1): 2, ("00004862", 2): 3, ("AM07", 1): 3, ("AM07", 2): 2}.get((recorder.name, session), 1)
    step_s = length_s // n_files
    pause_ms = 5000 if recorder.name == "AM07" and n_files > 1 and step_s > 9 else 0
    return step_s, [(i * step_s * 1000, step_s * 1000 - pause_ms) for i in range(n_files)]


def _take(config: StudyConfig, i_recorder: int, day: int, i_session: int) -> Take:
    recorder, session = RECORDERS[i_recorder], SESSIONS[i_session]
    start_local = FIRST_DAY + timedelta(days=day, hours=session.hour, minutes=session.minute, seconds=recorder.late_s)
    start_utc = start_local - (LOCAL.utcoffset(None) or timedelta())
    step_s, cuts = _cuts(recorder, i_session, max(MIN_TAKE_S, round(config.scale * session.length_s)))
    fault = {("AM07", 0, 3): "truncated", ("AM07", 0, 4): "empty"}.get((recorder.name, day, i_session), "")
    files = []
    for i, (offset_ms, n_ms) in enumerate(cuts):
        file_utc = start_utc + timedelta(seconds=i * step_s)
        name = (file_utc + timedelta(hours=recorder.utc_offset_h)).strftime(recorder.path)
        files.append(PlannedFile(f"{recorder.name}/{name}", file_utc, offset_ms, n_ms, fault))
    moved = len(recorder.deployments) > 1 and start_utc >= moved_utc(config)
    return Take(i_recorder, int(moved), day, i_session, cuts[-1][0] + cuts[-1][1], tuple(files))


def plan_takes(config: StudyConfig) -> list[Take]:
    """Return every take of a study, by recorder, then time.

    What is irregular: ``00023764`` names its files in UTC, all others in local time. It starts 4 s late and AM07
    2 s late, off a 5-s grid. The first dawn take of ``00023764`` is two files that join, the second of ``00004862``
    three. ``00004862`` moves. The clock that names the files of ``00023788`` (stereo) loses time, so in its dawn
    takes each file runs on into the next by more and more. AM07 sleeps 5 s between the files of a dawn; its
    first noon file is truncated and its first dusk file empty. S4A01207 falls silent after the second dawn
    take of the last day.
    """
    takes = []
    for i_recorder, recorder in enumerate(RECORDERS):
        for day in range(config.n_days):
            last = 3 if recorder.name == "S4A01207" and day == config.n_days - 1 else len(SESSIONS)
            takes += [_take(config, i_recorder, day, i_session) for i_session in range(last)]
    return takes
