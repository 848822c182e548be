"""What changes the samples of the demo study, and the digest that the default study has."""

from typing import Annotated

from pydantic import Field

from jobs.common.config import JobConfig

ALGORITHM = 1
"""Raised when a change alters a sample, a name or a row of truth for the same settings."""


class StudyConfig(JobConfig):
    """Settings of a synthetic study.

    Attributes
    ----------
    seed
        Root of every random stream. Each take and each deployment has a stream of its own.
    n_days
        Days of recording, from 2021-06-22 local time on. One recorder moves on day ``n_days // 2``.
    scale
        Factor on the length of every take (1 is the demo's, 53 minutes a day over all recorders).
        Whatever the scale, a take lasts 15 s or more and every irregularity is there.
    """

    seed: Annotated[int, Field(ge=0, description="root of every random stream")] = 20210622
    n_days: Annotated[int, Field(ge=1, le=7, description="days of recording")] = 3
    scale: Annotated[float, Field(gt=0.0, le=4.0, description="factor on the length of every take")] = 1.0


DEMO = StudyConfig()
"""The demo's study."""

STUDY_SHA256 = "b1ff4571e0eb54c71d18411a772078c0e85b9e72a5754cba1254c7b933da9f05"
"""`jobs.demo.study.study_digest` of `DEMO`, fixed before any model was trained on it."""

SMALL = StudyConfig(n_days=1, scale=0.05)
"""One day in takes of 15 s (6.5 minutes of sound): every irregularity, made in seconds."""
SMALL_SHA256 = "044e4a30b5ebca1c0b56a2beeaa87cfdb852b331fb95e167ddda1904f992a684"
"""`jobs.demo.study.study_digest` of `SMALL`."""
