"""Who sings when, and that the truth says what the samples hold."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from jobs.demo.calls import CALL_TYPES, Samples
from jobs.demo.config import SMALL
from jobs.demo.plan import RECORDERS, SESSIONS, WEATHER_PLAN, Take, plan_takes, response_of
from jobs.demo.scene import ACTIVITY, LABELS, Event, draw_singers, render, stream
from jobs.demo.soundscape import DISTANCES, HUMS, QUIET_WOOD, curve_db, microphone_db

SMALL_TAKES = plan_takes(SMALL)


@cache
def rendered(take: Take) -> tuple[npt.NDArray[np.int16], list[Event]]:
    return render(SMALL, take)


def find_take(recorder: str, session: int) -> Take:
    return next(t for t in SMALL_TAKES if RECORDERS[t.recorder].name == recorder and t.session == session)


def band_power(samples: Samples, rate: int, low_hz: float, high_hz: float) -> float:
    """Return the mean square in a band, over all channels; samples of shape (n, n_channels)."""
    power = 2.0 * np.abs(np.fft.rfft(samples, axis=0)) ** 2 / len(samples) ** 2
    frequency_hz = np.arange(len(power)) * rate / len(samples)
    return float(power[(frequency_hz >= low_hz) & (frequency_hz <= high_hz)].sum(axis=0).mean())


def background_power(take: Take, low_hz: float, high_hz: float) -> float:
    """Return what the background's densities integrate to in a band."""
    recorder = RECORDERS[take.recorder]
    site = recorder.deployments[take.deployment]
    at_hz = np.linspace(low_hz, high_hz, 400)
    wood_db = site.ambient_db + curve_db(QUIET_WOOD, at_hz) + curve_db(HUMS[SESSIONS[take.session].part], at_hz)
    density = 10.0 ** ((wood_db + microphone_db(response_of(recorder, site), at_hz)) / 10.0)
    return float(0.5 * (density + 10.0 ** (recorder.noise_db / 10.0)).mean() * (high_hz - low_hz))


def alone(event: Event, events: list[Event]) -> bool:
    """Tell whether no other event sounds during it, or ended less than a reverberation ago."""
    return not any(
        other is not event and other.start_ms < event.end_ms and other.end_ms > event.start_ms - 600 for other in events
    )


def test_events_have_the_band_power_that_the_truth_says() -> None:
    checked: dict[str, int] = {}
    for take in SMALL_TAKES:
        rate = RECORDERS[take.recorder].sample_rate_hz
        codes, events = rendered(take)
        samples = codes / 32768.0
        for event in events:
            kind = CALL_TYPES.get(event.label)
            if kind is None or event.end_ms - event.start_ms < 300 or not alone(event, events):
                continue
            noise = background_power(take, kind.low_hz, kind.high_hz)
            if event.level_db < 10.0 * np.log10(noise / 0.5) + 6.0:
                continue
            span = samples[event.start_ms * rate // 1000 : event.end_ms * rate // 1000]
            power = band_power(span, rate, kind.low_hz, kind.high_hz) - noise
            assert 10.0 * np.log10(power / 0.5) == pytest.approx(event.level_db, abs=1.0), event
            checked[event.label] = checked.get(event.label, 0) + 1
    assert sum(checked.values()) >= 25
    assert len(checked) >= 6


def test_before_an_event_there_is_only_background() -> None:
    n_checked = 0
    for take in SMALL_TAKES:
        rate = RECORDERS[take.recorder].sample_rate_hz
        if any(file.fault for file in take.files):
            continue
        codes, events = rendered(take)
        first = min((event.start_ms for event in events), default=take.n_ms)
        if first < 1000:
            continue
        quiet = codes[: first * rate // 1000] / 32768.0
        measured = band_power(quiet, rate, 1500.0, 9000.0)
        assert 10.0 * np.log10(measured / background_power(take, 1500.0, 9000.0)) == pytest.approx(0.0, abs=2.0)
        n_checked += 1
    assert n_checked >= 5


@pytest.mark.parametrize(("kind", "session"), [("rain", 4), ("wind", 3)])
def test_weather_comes_over_the_whole_wood(kind: str, session: int) -> None:
    takes = [take for take in SMALL_TAKES if take.session == session]
    assert len(takes) >= 4
    for take in takes:
        _, events = rendered(take)
        spells = [event for event in events if event.label == kind]
        kept_ms = take.files[0].kept_ms
        assert sum(event.end_ms - event.start_ms for event in spells) >= min(0.25 * take.n_ms, kept_ms)
        others = {event.label for event in events} & (set(WEATHER_PLAN.values()) - {kind})
        assert not others


def test_each_part_of_the_day_has_its_voices() -> None:
    for take in SMALL_TAKES:
        _, events = rendered(take)
        part = SESSIONS[take.session].part
        assert {event.label for event in events} <= {*ACTIVITY[part], *WEATHER_PLAN.values()}
    assert not {"cricket", "katydid"} & set(ACTIVITY["dawn"])
    assert not {"up_sweep", "fast_trill", "caw"} & set(ACTIVITY["night"])
    assert set(LABELS) == {*CALL_TYPES, "rain", "wind"}
    assert len(LABELS) == 12
    assert {label for part in ACTIVITY.values() for label in part} == set(CALL_TYPES)


def test_a_take_depends_on_the_settings_and_itself_alone() -> None:
    take = find_take("00004862", 1)
    codes, events = render(SMALL, take)
    for other in (find_take("00023764", 0), find_take("00004862", 3)):
        render(SMALL, other)
    again, events_again = render(SMALL, take)
    np.testing.assert_array_equal(codes, again)
    assert events == events_again
    reseeded, _ = render(SMALL.model_copy(update={"seed": 1}), take)
    assert not np.array_equal(codes, reseeded)


def test_channels_hold_the_same_songs_over_their_own_noise() -> None:
    take = find_take("00023788", 1)
    codes, _ = rendered(take)
    assert codes.shape == (take.n_ms * 24, 2)
    correlation = np.corrcoef(codes[:, 0], codes[:, 1])[0, 1]
    assert 0.3 < correlation < 0.999


def test_truth_is_told_file_by_file_in_what_can_be_decoded() -> None:
    for take in SMALL_TAKES:
        _, events = rendered(take)
        for event in events:
            file = take.files[event.file]
            assert file.offset_ms <= event.start_ms < event.end_ms <= file.offset_ms + file.kept_ms
    _, events = rendered(find_take("AM07", 4))
    assert events == []


def test_an_event_across_a_join_is_told_twice_and_meets_itself() -> None:
    met = 0
    for take in SMALL_TAKES:
        _, events = rendered(take)
        for i, file in enumerate(take.files[1:]):
            if take.files[i].offset_ms + take.files[i].n_ms < file.offset_ms:
                continue
            before = {e.label for e in events if e.file == i and e.end_ms == file.offset_ms}
            after = {e.label for e in events if e.file == i + 1 and e.start_ms == file.offset_ms}
            assert before == after
            met += len(before)
    assert met >= 2


def test_individuals_stay_where_they_are() -> None:
    one, again = (draw_singers(stream(SMALL, 1001, 0)) for _ in range(2))
    assert one == again
    assert set(one) == set(CALL_TYPES)
    assert one != draw_singers(stream(SMALL, 1001, 1))
    distances = {singer.distance for singers in one.values() for singer in singers}
    assert distances == set(DISTANCES)
    losses = [distance.loss_db for distance in DISTANCES]
    assert losses == sorted(losses)
    assert losses[-1] - losses[0] >= 15.0
