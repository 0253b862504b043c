from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.adapter.crank import Sample, dips, estimate

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


def dipping(samples: list[Sample]) -> list[float]:
    return [sample[0] for place, sample in enumerate(samples) if dips(samples[:place], sample)]


def test_the_plateau_is_the_mean_after_the_inrush() -> None:
    found = estimate(sampled(20.0))
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


@pytest.mark.parametrize(("drop_v", "is_dip"), [(0.79, False), (0.8, True)])
def test_a_dip_is_eight_tenths_of_a_volt_under_the_median(drop_v: float, is_dip: bool) -> None:
    samples = [(n / 10, 12.6 - (drop_v if n >= 80 else 0.0)) for n in range(160)]
    assert (dipping(samples)[:1] == [8.0]) is is_dip


def test_a_slow_sag_and_single_spikes_upwards_are_no_dip() -> None:
    assert dipping([(n / 10, 12.6 - 0.02 * n) for n in range(150)]) == []
    assert dipping([(n / 10, 14.9 if n % 7 == 0 else 12.6) for n in range(150)]) == []


def test_the_first_two_readings_say_nothing_yet() -> None:
    assert dipping([(0.0, 12.6), (0.1, 12.6), (0.2, 9.0)]) == []
    assert dipping([(0.0, 12.6), (0.1, 12.6), (0.2, 12.6), (0.3, 9.0)]) == [0.3]


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
    found = estimate([(at, true_voltage(at - 8.0)) for at in times])
    assert found is not None
    assert found.dip_at - 8.0 <= 1.2 / rate_hz
    if found.plateau_v is not None:
        assert found.plateau_v == pytest.approx(PLATEAU_V)


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(0.0, 36.0)), max_size=200))
def test_whatever_was_measured_the_minimum_is_one_of_the_readings_and_the_plateau_lies_among_them(
    steps: list[tuple[float, float]],
) -> None:
    at, samples = 0.0, list[Sample]()
    for step, volts in steps:
        at += step
        samples.append((at, volts))
    found = estimate(samples)
    if found is None:
        assert dipping(samples) == []
        return
    assert found.dip_at == dipping(samples)[0]
    assert found.inrush_min_v in [volts for when, volts in samples if when >= found.dip_at]
    if found.plateau_v is not None:
        later = [volts for when, volts in samples if found.dip_at < when <= found.dip_at + 0.7]
        assert min(later) - 1e-9 <= found.plateau_v <= max(later) + 1e-9
