from __future__ import annotations

import os
import time
import tomllib

import pytest
from smartdrive_edge.calibration import CalibrationError, calibrated
from smartdrive_edge.simulator import FaultKind, Simulator
from smartdrive_edge.status_file import Status, write

from edge.tests.running.conftest import Bench


def test_the_printed_lines_make_the_adapter_show_what_the_multimeter_showed(
    bench: Bench, parked: Simulator
) -> None:
    bench.set("adapter", port=parked.port)
    ran = bench.run("calibrate", "--measured", "12.93")
    assert (ran.code, ran.errors) == (0, "")
    printed = tomllib.loads(ran.text)["adapter"]
    mean = float(ran.text.partition("mean ")[2].split()[0])
    assert printed["voltage_offset_v"] == pytest.approx(12.93 - mean, abs=0.001)
    assert "20 readings, " in ran.text
    bench.set("adapter", **printed)
    shown = bench.run("doctor", "--json", "--no-car").finding("voltage")
    assert float(shown[1].split()[0]) == pytest.approx(12.93, abs=0.11)


def test_a_scale_that_was_set_stays(bench: Bench, parked: Simulator) -> None:
    bench.set("adapter", port=parked.port, voltage_scale=1.02)
    ran = bench.run("calibrate", "--measured", "12.8")
    printed = tomllib.loads(ran.text)["adapter"]
    mean = float(ran.text.partition("mean ")[2].split()[0])
    assert printed["voltage_scale"] == 1.02
    assert printed["voltage_offset_v"] == pytest.approx(12.8 - 1.02 * mean, abs=0.002)


def test_a_running_engine_is_refused(bench: Bench, car: Simulator) -> None:
    bench.set("adapter", port=car.port)
    ran = bench.run("calibrate", "--measured", "12.5")
    assert (ran.code, ran.text) == (1, "")
    assert "engine" in ran.errors


def test_a_dead_adapter_and_a_missing_port_are_told_in_time(bench: Bench, parked: Simulator) -> None:
    assert "cannot open" in bench.run("calibrate", "--measured", "12.5").errors
    parked.fault(FaultKind.DEAD)
    bench.set("adapter", port=parked.port)
    began = time.monotonic()
    ran = bench.run("calibrate", "--measured", "12.5")
    assert time.monotonic() - began < 20
    assert (ran.code, ran.text) == (1, "")
    assert "gave 0 readings: smartdrive-edge doctor says more" in ran.errors


def test_a_running_collector_is_to_be_stopped_first(bench: Bench, parked: Simulator) -> None:
    bench.set("adapter", port=parked.port)
    bench.state.mkdir()
    write(bench.state / "status.json", Status(os.getpid(), time.time(), time.time(), "sentinel"))
    ran = bench.run("calibrate", "--measured", "12.5")
    assert ran.code == 1
    assert "holds the adapter; stop it first: sudo systemctl stop smartdrive-edge" in ran.errors
    assert parked.log == []


@pytest.mark.parametrize(
    ("readings", "measured_v", "told"),
    [
        ([12.1] * 20, 0.0, "no 12 V battery at rest"),
        ([12.1] * 20, float("nan"), "no 12 V battery at rest"),
        ([14.1] * 20, 14.2, "no 12 V battery at rest"),
        ([12.1] * 19 + [12.5], 12.4, "moves by 0.40 V"),
        ([14.1] * 20, 12.4, "the engine runs"),
        ([9.1] * 20, 12.4, "not the same battery"),
    ],
)
def test_nonsense_is_refused(readings: list[float], measured_v: float, told: str) -> None:
    with pytest.raises(CalibrationError, match=told):
        calibrated(readings, measured_v)


def test_the_offset_is_what_is_missing_after_scaling() -> None:
    assert calibrated([12.1, 12.2], 12.43).offset_v == 0.28
    assert calibrated([12.0, 12.0], 12.0, scale=1.02).offset_v == -0.24
