from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smartdrive_edge.collector.rates import Rates


def test_a_rate_is_values_by_seconds_since_the_phase_began() -> None:
    rates = Rates(100.0)
    for _ in range(30):
        rates.count(["RPM"])
    rates.count(["RPM", "MAF"])
    assert rates.hz(110.0) == {"MAF": 0.1, "RPM": 3.1}
    assert rates.hz(120.0)["RPM"] == pytest.approx(1.55)


def test_a_phase_begins_with_nothing() -> None:
    rates = Rates(0.0)
    rates.count(["RPM"])
    rates.begin(50.0)
    assert rates.hz(60.0) == {}
    rates.count(["SPEED"])
    assert rates.hz(60.0) == {"SPEED": 0.1}


@pytest.mark.parametrize(("after_s", "told"), [(0.0, False), (0.99, False), (1.0, True)])
def test_the_first_second_tells_nothing(after_s: float, told: bool) -> None:
    rates = Rates(7.0)
    rates.count(["RPM"])
    assert bool(rates.hz(7.0 + after_s)) is told


def test_values_are_counted_and_not_added() -> None:
    rates = Rates(0.0)
    rates.count({"RPM": 812.0})
    assert rates.hz(2.0) == {"RPM": 0.5}


@given(st.lists(st.sets(st.sampled_from(["RPM", "SPEED", "MAF"])), max_size=60), st.floats(1.0, 1e4))
def test_rates_times_seconds_are_all_values_whatever_came(answers: list[set[str]], duration_s: float) -> None:
    rates = Rates(0.0)
    for names in answers:
        rates.count(names)
    assert sum(rates.hz(duration_s).values()) * duration_s == pytest.approx(
        sum(map(len, answers)), abs=0.0015 * duration_s
    )
