from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.adapter.crank import Capture, CrankRecorder, Sample, estimate

RESTING_V = 12.6
INRUSH_V = 7.2
PLATEAU_V = 9.8


def true_voltage(since_dip: float) -> float:
    """A start: 80 ms of inrush, 0.9 s of cranking, then the alternator."""
    if since_dip < 0:
        return RESTING_V
    if since_dip < 0.08:
        return INRUSH_V
    return PLATEAU_V if since_dip < 0.9 else 14.2


def sampled(rate_hz: float, dip_at: float = 8.0, until: float = 16.0) -> list[Sample]:
    return [(n / rate_hz, true_voltage(n / rate_hz - dip_at)) for n in range(int(until * rate_hz))]


def record(samples: list[Sample], recorder: CrankRecorder | None = None) -> list[Capture]:
    recorder = recorder or CrankRecorder()
    return [capture for sample in samples if (capture := recorder.feed(*sample))]


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 12.5, 50.0])
def test_a_start_is_captured_with_five_seconds_before_and_after(rate_hz: float) -> None:
    (capture,) = record(sampled(rate_hz))
    assert 8.0 <= capture.triggered_at <= 8.0 + 1 / rate_hz
    assert capture.triggered_at - capture.samples[0][0] >= 5.0
    assert capture.samples[-1][0] - capture.triggered_at >= 5.0
    assert capture.rate_hz == pytest.approx(rate_hz, rel=0.01)


def test_the_plateau_is_the_mean_after_the_inrush() -> None:
    (capture,) = record(sampled(20.0))
    found = estimate(capture.samples)
    assert found is not None
    assert found.is_conclusive
    assert (found.inrush_min_v, found.plateau_v) == (INRUSH_V, pytest.approx(PLATEAU_V))
    assert found.plateau_samples == 10
    assert found.dip_at == pytest.approx(8.0)


def test_the_first_hundred_milliseconds_are_no_part_of_the_plateau_and_the_rest_after_600_is_not() -> None:
    quiet = [(n / 10, 12.6) for n in range(30)]
    dip = [(3.0, 6.0), (3.099, 6.0), (3.1, 9.0), (3.2, 9.0), (3.3, 9.0), (3.4, 9.0), (3.599, 9.5), (3.6, 14.0)]
    found = estimate(quiet + dip)
    assert found is not None
    assert (found.inrush_min_v, found.plateau_samples, found.plateau_v) == (6.0, 5, pytest.approx(9.1))


@pytest.mark.parametrize(("samples", "conclusive"), [(4, False), (5, True)])
def test_fewer_than_five_samples_are_inconclusive(samples: int, conclusive: bool) -> None:
    quiet = [(n / 10, 12.6) for n in range(30)]
    found = estimate([*quiet, (3.0, 7.0), *((3.1 + 0.1 * n, 9.5) for n in range(samples)), (3.7, 14.0)])
    assert found is not None
    assert (found.plateau_samples, found.is_conclusive) == (samples, conclusive)
    assert (found.plateau_v is None) is not conclusive


def test_a_capture_without_a_dip_has_no_estimate() -> None:
    assert estimate([(n / 10, 12.6 - 0.05 * (n % 3)) for n in range(100)]) is None
    assert estimate([]) is None


@pytest.mark.parametrize(("drop_v", "captured"), [(0.79, False), (0.8, True)])
def test_the_trigger_is_eight_tenths_of_a_volt_under_the_median(drop_v: float, captured: bool) -> None:
    samples = [(n / 10, 12.6 - (drop_v if n >= 80 else 0.0)) for n in range(160)]
    assert bool(record(samples)) is captured


def test_a_slow_sag_and_single_spikes_upwards_trigger_nothing() -> None:
    sag = [(n / 10, 12.6 - 0.02 * n) for n in range(150)]
    assert record(sag) == []
    spikes = [(n / 10, 14.9 if n % 7 == 0 else 12.6) for n in range(150)]
    assert record(spikes) == []


def test_a_trigger_from_outside_records_what_was_before_it() -> None:
    recorder = CrankRecorder()
    assert record([(n / 10, 12.6) for n in range(100)], recorder) == []
    recorder.trigger(10.0)
    recorder.trigger(12.0)
    assert recorder.is_recording
    (capture,) = record([(10 + n / 10, 12.5) for n in range(60)], recorder)
    assert capture.triggered_at == 10.0
    assert capture.samples[0][0] <= 5.0
    assert not recorder.is_recording


def test_a_recording_ends_although_the_adapter_fell_silent() -> None:
    recorder = CrankRecorder()
    assert record(sampled(10.0, until=8.4), recorder) == []
    assert recorder.finish(12.9) is None
    capture = recorder.finish(13.1)
    assert capture is not None
    assert capture.samples[-1][0] < 8.5
    assert recorder.finish(20.0) is None


def test_two_starts_are_two_captures() -> None:
    first = sampled(10.0)
    second = [(20.0 + at, volts) for at, volts in sampled(10.0)]
    between = [(16.0 + n / 10, 14.2 - 0.04 * n) for n in range(40)]
    assert [round(capture.triggered_at, 1) for capture in record(first + between + second)] == [8.0, 28.0]


@given(
    rate_hz=st.floats(10.5, 40.0),
    phase=st.floats(0.0, 1.0),
    seed=st.integers(0, 1000),
)
def test_a_plateau_sampled_at_more_than_ten_hertz_is_found_within_what_the_rate_allows(
    rate_hz: float, phase: float, seed: int
) -> None:
    rng = random.Random(seed)
    times = [(n + phase + rng.uniform(-0.05, 0.05)) / rate_hz for n in range(int(16 * rate_hz))]
    (capture,) = record([(at, true_voltage(at - 8.0)) for at in times])
    found = estimate(capture.samples)
    assert found is not None
    assert found.dip_at - 8.0 <= 1.2 / rate_hz
    if found.plateau_v is not None:
        assert found.plateau_v == pytest.approx(PLATEAU_V)


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(0.0, 36.0)), max_size=200))
def test_memory_is_bounded_and_captures_are_in_order_whatever_comes(steps: list[tuple[float, float]]) -> None:
    recorder, at = CrankRecorder(), 0.0
    for step, volts in steps:
        at += step
        capture = recorder.feed(at, volts)
        assert all(at - when <= 6.0 + 5.0 + 2.0 for when, _ in recorder._ring)
        if capture:
            assert list(capture.samples) == sorted(capture.samples)
            estimate(capture.samples)
