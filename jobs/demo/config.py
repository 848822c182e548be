"""Settings of the demo study, and the digest that the default study has."""

from pydantic import Field

from jobs.common.config import JobConfig

ALGORITHM = 1
"""Raised when a change alters a sample, a name or a row of truth for the same settings."""


class StudyConfig(JobConfig):
    """Settings of a synthetic study."""

    seed: int = Field(
        20210622, ge=0, description="root of every random stream; each take and each deployment has one of its own"
    )
    n_days: int = Field(
        3,
        ge=1,
        le=7,
        description="days of recording, from 2021-06-22 local time on; one recorder moves on day n_days // 2",
    )
    scale: float = Field(
        1.0,
        gt=0.0,
        le=4.0,
        description="factor on the length of every take; 1 is 53 minutes a day over all recorders. A take lasts 15 s "
        "or more, and every irregularity is there at any scale",
    )


DEMO = StudyConfig()
"""The demo's study."""

STUDY_SHA256 = "b1ff4571e0eb54c71d18411a772078c0e85b9e72a5754cba1254c7b933da9f05"
"""Digest (`jobs.demo.study.StudySummary`) of `DEMO`, fixed before any model was trained on it."""

SMALL = StudyConfig(n_days=1, scale=0.05)
"""One day in takes of 15 s (6.5 minutes of sound): every irregularity, made in seconds."""
SMALL_SHA256 = "044e4a30b5ebca1c0b56a2beeaa87cfdb852b331fb95e167ddda1904f992a684"
"""Digest of `SMALL`."""
