"""The quick form of `make eval`: the targets hold on 3,000 starts, and the truth is nobody's formula."""

import pytest

from benchmarks.battery_eval import QUICK
from benchmarks.battery_judgement import Cell, Verdict, drawn_cars, is_within_targets, judge
from smartdrive_dagster.fleet.battery_model import (
    REFERENCE,
    Battery,
    Car,
    Conditions,
    Starter,
    steady_v,
    waveform,
)


@pytest.fixture(scope="module")
def cars() -> list[Car]:
    return drawn_cars(QUICK, seed=1)


@pytest.mark.parametrize(("rate_hz", "coverage"), [(10.0, 0.5), (20.0, 0.9)])
def test_from_10_hz_on_false_alarms_and_misses_keep_to_the_targets(
    cars: list[Car], rate_hz: float, coverage: float
):
    cell = judge(cars, rate_hz=rate_hz, noise_v=0.05, seed=1)
    assert (cell.starts, cell.invented) == (QUICK, 0)
    assert cell.found > 0.999 * QUICK
    assert cell.conclusive / cell.starts > coverage
    assert cell.false_alarms is not None
    assert cell.false_alarms < 0.02
    assert cell.misses is not None
    assert cell.misses < 0.05
    assert is_within_targets(cell)
    assert sum(map(abs, cell.soh_errors)) / len(cell.soh_errors) < 6
    assert abs(sum(cell.plateau_errors_v) / len(cell.plateau_errors_v)) < 0.03
    assert cell.held is not None
    assert cell.held > 0.9


def test_at_5_hz_nothing_is_conclusive(cars: list[Car]):
    cell = judge(cars[:4], rate_hz=5, noise_v=0.05, seed=1)
    assert cell.found > 0.95 * cell.starts
    assert (cell.plateaus, cell.conclusive, cell.decided) == (0, 0, [])


def test_alarms_misses_and_thin_plateaus_would_be_noticed():
    def cell(status: str, *, is_critical: bool, least: int = 5) -> Cell:
        one = Verdict(
            60.0, 50.0, 70.0, status, is_decided=True, true_soh_pct=60, is_critical=is_critical, temperature_c=9
        )
        other = Verdict(
            60.0, 50.0, 70.0, "critical" if not is_critical else "ok", True, 60, not is_critical, temperature_c=9
        )
        right = Verdict(60.0, 50.0, 70.0, status, True, 60, status == "critical", temperature_c=9)
        return Cell(10, 0.05, 3, 3, 0, 3, 3, least, (), (one, other, right))

    assert cell("critical", is_critical=False).false_alarms is not None
    assert not is_within_targets(cell("critical", is_critical=False))
    assert not is_within_targets(cell("ok", is_critical=True))
    assert not is_within_targets(cell("critical", is_critical=True, least=4))


def test_the_modelled_battery_sags_with_age_cold_and_emptiness():
    new, worn, starter = Battery(0.008), Battery(0.008, growth=2), Starter()
    fresh = steady_v(new, starter, REFERENCE)
    assert 10.8 < fresh < 11.6
    assert steady_v(worn, starter, REFERENCE) < fresh - 0.8
    assert steady_v(new, starter, Conditions(100, -10)) < fresh - 0.5
    assert steady_v(new, starter, Conditions(60, 25)) < fresh - 0.2


def test_the_modelled_start_has_an_inrush_and_settles_where_drive_and_drag_balance():
    battery, starter = Battery(0.008), Starter()
    volts = waveform(battery, starter, REFERENCE, duration_s=1.0, phase=0)
    settled = volts[25:150]
    assert min(volts[:5]) < min(settled) - 0.8
    assert sum(settled) / len(settled) == pytest.approx(steady_v(battery, starter, REFERENCE), abs=0.05)
    assert max(settled) - min(settled) > 0.3
