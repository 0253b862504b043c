from __future__ import annotations

import dataclasses
import itertools

import pytest
from smartdrive_edge.simulator import Battery, Car, Engine, Key, Scenario, Segment, names, scenario


def started(
    ambient_c: float = 25.0, *, soc_pct: float = 90.0, ageing: float = 1.0, duration_s: float = 1.0
) -> Car:
    segments = (
        Segment(10.0),
        Segment(duration_s, Key.ON, Engine.CRANKING),
        Segment(60.0, Key.ON, Engine.RUNNING),
        Segment(3600.0),
    )
    return Car(
        Scenario("start", "", segments, ambient_c=ambient_c, battery=Battery(soc_pct=soc_pct, ageing=ageing))
    )


def sampled(car: Car, start_s: float, end_s: float, step_s: float = 0.001) -> list[float]:
    return [car.voltage_at(start_s + i * step_s) for i in range(round((end_s - start_s) / step_s))]


def plateau(car: Car) -> float:
    found = car.cranks[0].plateau_v
    assert found is not None
    return found


@pytest.mark.parametrize("ambient_c", [-20.0, 25.0])
@pytest.mark.parametrize("ageing", [1.0, 2.0])
def test_the_stated_truth_of_a_start_is_what_its_waveform_shows(ambient_c: float, ageing: float) -> None:
    car = started(ambient_c, ageing=ageing)
    crank = car.cranks[0]
    assert crank.at_s == 10.0
    assert min(sampled(car, 10.0, 11.0)) == pytest.approx(crank.inrush_v, abs=1e-6)
    window = sampled(car, 10.1, 10.6)
    assert sum(window) / len(window) == pytest.approx(crank.plateau_v, abs=0.002)


def test_inrush_is_deeper_than_the_plateau_and_over_after_100_ms() -> None:
    car = started()
    crank = car.cranks[0]
    assert crank.inrush_v < plateau(car) - 1.0
    deep = [v for v in sampled(car, 10.1, 11.0) if v < (crank.inrush_v + plateau(car)) / 2]
    assert deep == []


def test_compression_ripples_the_plateau() -> None:
    window = sampled(started(), 10.1, 10.6)
    mean = sum(window) / len(window)
    crossings = sum((a < mean) != (b < mean) for a, b in itertools.pairwise(window))
    assert 5 <= crossings <= 8  # 200 rpm, two compressions a turn: 6.7 Hz in half a second
    assert 0.4 < max(window) - min(window) < 0.6


def test_cold_age_and_discharge_each_lower_the_plateau() -> None:
    healthy = plateau(started())
    assert plateau(started(ambient_c=-15.0)) < healthy - 0.5
    assert plateau(started(ageing=2.0)) < healthy - 1.0
    assert plateau(started(soc_pct=60.0)) < healthy - 0.1


def test_only_the_weak_battery_falls_below_the_line_of_a_failing_start() -> None:
    def margin(name: str) -> float:
        car = Car(scenario(name))
        return plateau(car) - (9.6 - 0.018 * (25 - car.scenario.ambient_c))

    assert margin("weak-battery") < -0.2
    assert margin("winter-start") > 0.5
    assert margin("drive") > 0.5


def test_a_start_too_short_for_a_plateau_has_none() -> None:
    assert started(duration_s=0.5).cranks[0].plateau_v is None


def test_the_alternator_takes_over_within_two_seconds_and_holds_14_volts() -> None:
    car = started()
    assert car.voltage_at(11.0) < 11.5
    assert all(14.1 < v < 14.3 for v in sampled(car, 13.0, 70.0, 0.1))


def test_voltage_jumps_nowhere_but_where_the_starter_lets_go() -> None:
    car = started()
    steps = [abs(b - a) for a, b in itertools.pairwise(sampled(car, 5.0, 80.0))]
    assert max(steps) < 0.5


def test_after_half_an_hour_the_resting_voltage_tells_the_state_of_charge() -> None:
    car = started()
    just_off, rested = car.state_at(75.0), car.state_at(71.0 + 1800.0)
    assert just_off.voltage_v > rested.voltage_v + 0.3
    assert (rested.voltage_v - 11.89) / 0.76 * 100 == pytest.approx(rested.soc_pct, abs=5)


def test_lights_flatten_the_battery_below_the_cut_off_and_a_push_start_revives_it() -> None:
    car = Car(scenario("lights-left-on"))
    assert car.voltage_at(600.0) > 12.3
    assert car.voltage_at(120.0 + 6.5 * 3600) < 11.5
    assert car.voltage_at(120.0 + 7 * 3600 + 1800 + 60) > 13.9
    soc = [car.state_at(300.0 * i).soc_pct for i in range(1, 84)]
    assert soc == sorted(soc, reverse=True)


def test_a_parked_car_loses_little_in_a_night() -> None:
    car = Car(scenario("parked"))
    assert car.voltage_at(0) - car.voltage_at(12 * 3600) == pytest.approx(0.0046, abs=0.001)


@pytest.mark.parametrize("name", names())
def test_odometer_agrees_with_speed(name: str) -> None:
    car = Car(scenario(name, seed=3), seed=3)
    end = min(car.scenario.duration_s, 3000.0)
    step = 0.05
    speeds = [car.state_at(i * step).speed_kmh for i in range(round(end / step) + 1)]
    trapezoid = sum((a + b) / 2 * step / 3600 for a, b in itertools.pairwise(speeds))
    assert car.state_at(end).distance_km == pytest.approx(trapezoid, abs=0.001)


def test_fuel_agrees_with_the_air_that_was_breathed() -> None:
    car = Car(scenario("drive", seed=3), seed=3)
    rates = [car.state_at(i / 4).fuel_rate_lph for i in range(round(car.scenario.duration_s) * 4)]
    assert car.fuel_used_l(car.scenario.duration_s) == pytest.approx(sum(rates) / 4 / 3600, rel=0.01)
    assert car.fuel_used_l(car.cranks[0].at_s) == 0
    assert car.fuel_used_l(car.scenario.duration_s + 3600) == car.fuel_used_l(car.scenario.duration_s)


def test_a_drive_has_one_harsh_start_and_one_harsh_stop() -> None:
    car = Car(scenario("drive", seed=5), seed=5)
    g = [car.state_at(i / 2).acceleration_mps2 / 9.81 for i in range(round(car.scenario.duration_s) * 2)]
    assert [sign for sign, _ in itertools.groupby((x >= 0.25) - (x <= -0.3) for x in g) if sign] == [1, -1]


def test_an_engine_that_stops_at_lights_starts_again_with_the_key_on() -> None:
    car = Car(scenario("stop-start", seed=1), seed=1)
    assert len(car.cranks) == 5
    for crank in car.cranks[1:]:
        before, after = car.state_at(crank.at_s - 1), car.state_at(crank.at_s + 3)
        assert (before.key, before.rpm, before.speed_kmh) == (Key.ON, 0.0, 0.0)
        assert after.rpm > 600


def test_rpm_is_zero_off_slow_when_cranking_and_never_below_idle_when_running() -> None:
    car = Car(scenario("winter-start"))
    crank = car.cranks[0]
    assert car.state_at(5.0).rpm == 0
    assert 80 < car.state_at(crank.at_s + 0.5).rpm < 250
    assert all(car.state_at(crank.at_s + crank.duration_s + i).rpm > 750 for i in range(200))


def test_codes_appear_when_the_script_says_so() -> None:
    car = Car(scenario("drive"))
    assert {code.code for code in car.codes_at(60)} == {"P0420"}
    assert {(code.code, code.memory) for code in car.codes_at(400)} >= {("P0301", "stored"), ("P0301", "pending")}


@pytest.mark.parametrize("name", names())
def test_the_same_seed_is_the_same_car_and_another_is_not(name: str) -> None:
    one, same, other = (Car(scenario(name, seed), seed) for seed in (7, 7, 8))
    times = [i * 7.3 for i in range(200)]
    assert [one.state_at(t) for t in times] == [same.state_at(t) for t in times]
    if name != "parked":  # nothing varies in a car that sleeps
        assert [one.state_at(t) for t in times] != [other.state_at(t) for t in times]


def test_what_was_asked_before_does_not_change_the_answer() -> None:
    forwards, backwards = (Car(scenario("drive"), 1) for _ in range(2))
    times = [i * 11.0 for i in range(100)]
    assert [forwards.state_at(t) for t in times] == [backwards.state_at(t) for t in reversed(times)][::-1]


def test_an_unknown_scenario_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="winter-start"):
        scenario("moon-landing")


def test_the_last_segment_lasts_for_ever() -> None:
    car = Car(dataclasses.replace(scenario("parked"), segments=(Segment(1.0, Key.ON, Engine.RUNNING, 36.0),)))
    assert car.state_at(101.0).speed_kmh == 36.0
    assert car.state_at(101.0).distance_km == pytest.approx(0.005 + 1.0)
