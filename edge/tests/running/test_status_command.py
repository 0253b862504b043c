"""`smartdrive-edge status` as a process, before the status file of this process, which plays the collector."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from smartdrive_edge import status_file
from smartdrive_edge.spool import Spool
from smartdrive_edge.status_file import AdapterStatus, BrokerStatus, CarStatus, SpoolStatus, Status

from edge.tests.running.conftest import DEVICE, WITHOUT_POWERS, Bench, Ran

HEALTHY = Status(
    pid=os.getpid(),
    started_at=1_790_000_000.0,
    written_at=1_790_000_100.0,
    phase="running",
    phase_for_s=3_725.0,
    voltage_v=14.21,
    ignition=True,
    adapter=AdapterStatus("open", "ELM327 v1.5", "/dev/ttyUSB0"),
    car=CarStatus("ISO 15765-4 (CAN 11/500)", 23, vin_known=True),
    clock_synced=True,
    rates_hz={"RPM": 0.9, "COOLANT_TEMP": 0.30000000000000004},
    samples=812,
    spool=SpoolStatus(messages=4, used_bytes=1_250_000, oldest_age_s=61.0, drops={"running": 7}),
    broker=BrokerStatus(connected=True, protocol="MQTT 5"),
)


def told(bench: Bench, status: Status, *arguments: str) -> Ran:
    bench.state.mkdir(mode=0o700, exist_ok=True)
    status_file.write(bench.state / "status.json", replace(status, written_monotonic_s=time.monotonic()))
    return bench.run("status", *arguments)


def test_a_healthy_collector_is_shown_in_a_few_lines(bench: Bench) -> None:
    ran = told(bench, HEALTHY)
    assert (ran.code, ran.errors) == (0, "")
    assert [line.strip() for line in ran.text.splitlines()] == [
        "phase     running for 1 h 2 min",
        "battery   14.21 V",
        "ignition  on",
        "adapter   open: ELM327 v1.5 at /dev/ttyUSB0",
        "car       ISO 15765-4 (CAN 11/500), 23 PIDs, VIN known",
        "clock     synced",
        "samples   812 since the start",
        "0.30 Hz  COOLANT_TEMP",
        "0.90 Hz  RPM",
        "spool     4 messages, 1.2 MB, the oldest 1 min 1 s old",
        "dropped   7 running",
        "broker    connected, MQTT 5",
    ]


def test_a_collector_is_scraped_by_names_that_stay(bench: Bench) -> None:
    ran = told(bench, HEALTHY, "--metrics")
    assert (ran.code, ran.errors) == (0, "")
    read = {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(ran.text)
        for sample in family.samples
    }
    assert read == {
        "smartdrive_edge_up": 1.0,
        "smartdrive_edge_spool_messages": 4.0,
        "smartdrive_edge_spool_bytes": 1_250_000.0,
        "smartdrive_edge_spool_age_seconds": 61.0,
        "smartdrive_edge_dropped_messages_totalrunning": 7.0,
        "smartdrive_edge_restarts_total": 0.0,
        "smartdrive_edge_samples_total": 812.0,
        "smartdrive_edge_broker_connected": 1.0,
        "smartdrive_edge_uploading": 1.0,
        "smartdrive_edge_adapter_open": 1.0,
        "smartdrive_edge_clock_synced": 1.0,
        "smartdrive_edge_battery_volts": 14.21,
        "smartdrive_edge_values_per_second": 1.2000000000000002,
    }


def test_where_no_collector_runs_that_is_a_number_too(bench: Bench) -> None:
    ran = bench.run("status", "--metrics")
    assert (ran.code, ran.text.splitlines()[-1]) == (0, "smartdrive_edge_up 0.0")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"adapter": AdapterStatus("gone", None, "/dev/ttyUSB0")}, "adapter: /dev/ttyUSB0 is gone"),
        ({"adapter": AdapterStatus("silent", None, "/dev/ttyUSB0")}, "adapter: /dev/ttyUSB0 is silent"),
        ({"car": CarStatus("6", 23)}, "VIN: the car does not tell it"),
        ({"clock_synced": False}, "clock: not synced"),
        ({"broker": BrokerStatus(last_error="home:8883: refused")}, "broker: not connected: home:8883: refused"),
        ({"spool": SpoolStatus(set_aside=1)}, "spool: was found damaged 1 times"),
        ({"last_error": "OSError: no space"}, "last error: OSError: no space"),
    ],
)
def test_what_is_wrong_is_said_and_ends_with_1(bench: Bench, change: dict[str, object], wrong: str) -> None:
    ran = told(bench, replace(HEALTHY, **change))  # type: ignore[arg-type]
    assert ran.code == 1
    (line,) = [line for line in ran.text.splitlines() if line.startswith("WRONG")]
    assert wrong in line
    ran = told(bench, replace(HEALTHY, **change), "--json")  # type: ignore[arg-type]
    assert [wrong in text for text in ran.report["wrong"]] == [True]


def test_a_broker_that_is_left_alone_to_spare_the_battery_is_not_wrong(bench: Bench) -> None:
    ran = told(bench, replace(HEALTHY, uploading=False, broker=BrokerStatus()))
    assert ran.code == 0
    assert "upload    stopped, to spare the battery" in ran.text


def test_json_holds_the_whole_status(bench: Bench) -> None:
    report = told(bench, HEALTHY, "--json").report
    assert report["wrong"] == []
    assert report["status"]["rates_hz"] == HEALTHY.rates_hz
    assert report["status"]["pid"] == os.getpid()


def test_no_vin_reaches_the_file(bench: Bench) -> None:
    ran = told(bench, replace(HEALTHY, last_error="car WVWZZZ1JZXW000001"), "--json")
    assert "[VIN]" in ran.text
    assert "WVWZZZ1JZXW000001" not in ran.text + (bench.state / "status.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_collector_ends_with_2(bench: Bench, arguments: tuple[str, ...]) -> None:
    ran = bench.run("status", *arguments)
    assert ran.code == 2
    assert "no collector runs" in ran.text


def test_a_collector_that_died_ends_with_2(bench: Bench) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ran = told(bench, replace(HEALTHY, pid=dead.pid))
    assert ran.code == 2


def test_a_collector_that_hangs_ends_with_1_and_a_file_that_was_left_behind_with_2(bench: Bench) -> None:
    spool = Spool(bench.state / "spool.db", DEVICE)
    old = replace(HEALTHY, written_monotonic_s=time.monotonic() - 600)
    status_file.write(bench.state / "status.json", old)
    ran = bench.run("status")
    assert ran.code == 1
    assert f"hangs: process {os.getpid()}" in ran.text
    spool.close()
    assert bench.run("status").code == 2


def test_a_status_that_may_not_be_read_is_no_status(bench: Bench) -> None:
    told(bench, HEALTHY)
    (bench.state / "status.json").chmod(0o000)
    ran = bench.run("status", prefix=WITHOUT_POWERS)
    assert ran.code == 1
    assert "ask as the user that runs it" in ran.text


def test_a_damaged_status_is_told(bench: Bench) -> None:
    bench.state.mkdir()
    (bench.state / "status.json").write_text("{", encoding="utf-8")
    ran = bench.run("status")
    assert ran.code == 1
    assert "is no status of this version" in ran.text


def test_a_faulty_configuration_is_told(bench: Bench) -> None:
    bench.set("broker", port=99_999)
    ran = bench.run("status")
    assert (ran.code, "broker.port" in ran.errors) == (1, True)
