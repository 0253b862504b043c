"""The doctor as a process, before a simulated car and a real broker, well and ill."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from smartdrive_edge.broker_connection import BrokerConnection
from smartdrive_edge.certificates import Authority
from smartdrive_edge.messages import Event
from smartdrive_edge.simulator import FaultKind, Simulator
from smartdrive_edge.spool import Spool
from smartdrive_edge.status_file import AdapterStatus, BrokerStatus, CarStatus, Status, write

from edge.tests.publisher.broker import Mosquitto, Peer, eventually
from edge.tests.running.conftest import DEVICE, WITHOUT_POWERS, Bench

VIN = "XSMZZZDRVEX000001"


def test_all_is_well_with_a_car_that_drives(bench: Bench, car: Simulator, mosquitto: Mosquitto) -> None:
    bench.set("adapter", port=car.port)
    bench.use(mosquitto, mosquitto.authority.issue_device(DEVICE))
    ran = bench.run("doctor", "--json")
    assert ran.code == 0, ran.text
    assert "FAIL" not in ran.verdicts().values()
    assert ran.finding("adapter") == (
        "warn",
        "ELM327 v1.5, a clone: Elm Electronics released no v1.5",
        "clones work as far as the lines below are ok; expect lower rates",
    )
    assert "CAN, 11 bits, 500 kbit/s; 23 PIDs supported" in ran.finding("car")[1]
    assert float(ran.finding("request rate")[1].split()[0]) > 5
    assert float(ran.finding("voltage rate")[1].split()[0]) > 10
    assert ran.finding("broker")[1].endswith(f"takes {DEVICE} in, MQTT 5")
    assert ran.finding("broker's TLS", "TLSv1.3")[0] == "ok"
    assert ran.finding("key")[0] == "ok"
    assert VIN not in ran.text + ran.errors
    assert not bench.state.exists()


def test_the_text_has_a_line_for_each_finding_and_for_each_next_step(bench: Bench) -> None:
    ran = bench.run("doctor", "--no-car")
    assert ran.code == 1
    lines = ran.text.splitlines()
    assert lines[0] == f"ok    configuration        device {DEVICE}, state in {bench.state}"
    place = next(i for i, line in enumerate(lines) if line.startswith("FAIL  serial port"))
    assert "no-adapter is not there; " in lines[place]
    assert lines[place + 1].strip().startswith("-> plug the adapter in")


def test_a_faulty_configuration_is_the_only_finding(bench: Bench) -> None:
    bench.set("broker", port=99_999)
    ran = bench.run("doctor", "--json")
    assert ran.code == 1
    assert ran.verdicts() == {"configuration": "FAIL"}
    assert "broker.port" in ran.finding("configuration")[1]


def test_a_parked_car_is_not_woken(bench: Bench, parked: Simulator) -> None:
    bench.set("adapter", port=parked.port)
    ran = bench.run("doctor", "--json")
    verdict, text, step = ran.finding("car")
    assert (verdict, "wakes" in text, "--car" in step) == ("warn", True, True)
    assert [line.request for line in parked.log if not line.request.startswith("AT")] == []


def test_a_parked_car_is_asked_where_that_is_wanted(bench: Bench, parked: Simulator) -> None:
    bench.set("adapter", port=parked.port)
    ran = bench.run("doctor", "--json", "--car")
    assert ran.code == 1
    assert ran.finding("car")[:2] == (
        "FAIL",
        "does not answer: no protocol works: ignition off, or no OBD-II car",
    )
    assert "0100" in [line.request for line in parked.log]


def test_a_driving_car_is_left_alone_where_that_is_wanted(bench: Bench, car: Simulator) -> None:
    bench.set("adapter", port=car.port)
    ran = bench.run("doctor", "--json", "--no-car")
    assert ran.finding("car")[0] == "ok"
    assert [line.request for line in car.log if not line.request.startswith("AT")] == []


def test_a_car_without_a_vin_needs_it_from_the_configuration(bench: Bench, car: Simulator) -> None:
    car.fault(FaultKind.NO_DATA, only="0902")
    bench.set("adapter", port=car.port)
    ran = bench.run("doctor", "--json")
    assert ran.finding("VIN")[0] == "FAIL"
    assert "vehicle.vin" in ran.finding("VIN")[2]
    bench.set("vehicle", vin=VIN)
    ran = bench.run("doctor", "--json")
    assert ran.finding("VIN")[0] == "ok"
    assert VIN not in ran.text + ran.errors


def test_a_dead_dongle_is_told_within_seconds(bench: Bench, car: Simulator) -> None:
    car.fault(FaultKind.DEAD)
    bench.set("adapter", port=car.port)
    began = time.monotonic()
    ran = bench.run("doctor", "--json")
    assert time.monotonic() - began < 15
    assert ran.code == 1
    verdict, text, step = ran.finding("adapter")
    assert (verdict, text) == ("FAIL", "does not answer")
    assert "unplug it" in step
    assert "car" not in ran.verdicts()


def test_a_slow_adapter_is_warned_of(bench: Bench) -> None:
    with Simulator("drive", latency="150/400") as slow:
        slow.clock.skip(60)
        bench.set("adapter", port=slow.port)
        ran = bench.run("doctor", "--json")
    assert ran.finding("voltage rate")[0] == "warn"
    assert ran.finding("request rate")[0] == "warn"


def test_a_port_that_may_not_be_opened_is_told_with_its_group(bench: Bench, car: Simulator) -> None:
    bench.set("adapter", port=car.port)
    Path(car.port).chmod(0o000)
    ran = bench.run("doctor", "--json", prefix=WITHOUT_POWERS)
    verdict, text, step = ran.finding("serial port")
    assert (verdict, "may not be opened by" in text, "udev" in step) == ("FAIL", True, True)
    assert "adapter" not in ran.verdicts()
    assert car.log == []


def test_who_holds_the_port_is_named(bench: Bench, car: Simulator) -> None:
    bench.set("adapter", port=car.port)
    with Path(car.port).open("rb", buffering=0) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = bench.run("doctor", "--json")
    assert ran.finding("serial port")[:2] == (
        "FAIL",
        f"{car.port} is held by process {os.getpid()} ({_own_name()})",
    )
    assert car.log == []


def test_what_is_no_serial_port_is_told(bench: Bench) -> None:
    file = bench.folder / "file"
    file.touch()
    bench.set("adapter", port=file)
    assert "is no serial port" in bench.run("doctor", "--json").finding("serial port")[1]


def test_the_voltage_is_the_calibrated_one(bench: Bench, parked: Simulator) -> None:
    bench.set("adapter", port=parked.port, voltage_offset_v=1.5)
    volts = parked.car.voltage_at(parked.clock.now()) + 1.5
    verdict, text, _ = bench.run("doctor", "--json", "--no-car").finding("voltage")
    assert verdict == "ok"
    assert float(text.split()[0]) == pytest.approx(volts, abs=0.1)


@pytest.mark.parametrize(
    ("scenario", "wired", "verdict", "told"),
    [("parked", True, "ok", "OFF, so the pin is wired"), ("parked", False, "warn", "says ON for ever")],
)
def test_an_ignition_pin_that_says_on_is_not_believed(
    bench: Bench, scenario: str, wired: bool, verdict: str, told: str
) -> None:
    bench.set("ignition", source="adapter")
    with Simulator(scenario, ignition_wired=wired) as simulator:
        bench.set("adapter", port=simulator.port)
        found = bench.run("doctor", "--json", "--no-car").finding("adapter's ignition")
    assert found[0] == verdict
    assert told in found[1]


def test_a_gpio_chip_that_is_not_there_is_told(bench: Bench) -> None:
    bench.set("ignition", source="gpio", gpio_chip="/dev/gpiochip99")
    verdict, text, _ = bench.run("doctor", "--json").finding("ignition")
    assert (verdict, text) == (
        "FAIL",
        "line 17 of /dev/gpiochip99: no such chip; `gpiodetect` lists those that there are",
    )


@pytest.mark.parametrize(
    ("days", "verdict", "told"), [(-1, "FAIL", "ended on"), (20, "warn", "ends on"), (300, "ok", "ends on")]
)
def test_a_certificate_is_judged_by_its_end(
    bench: Bench, mosquitto: Mosquitto, days: int, verdict: str, told: str
) -> None:
    now = datetime.now(UTC)
    folder = mosquitto.authority.certificate_path.parent
    issued = Authority(folder, now=now - timedelta(days=100)).issue_device(DEVICE, days=100 + days)
    bench.use(mosquitto, issued)
    ran = bench.run("doctor", "--json")
    found = ran.finding("certificate")
    assert (found[0], told in found[1]) == (verdict, True)
    assert f"{now + timedelta(days=days):%Y-%m-%d}" in found[1]
    broker = ran.finding("broker", DEVICE)
    assert broker[0] == ("FAIL" if days < 0 else "ok")


def test_a_certificate_of_tomorrow_makes_the_clock_suspect(bench: Bench, mosquitto: Mosquitto) -> None:
    folder = mosquitto.authority.certificate_path.parent
    bench.use(mosquitto, Authority(folder, now=datetime.now(UTC) + timedelta(days=1)).issue_device(DEVICE))
    found = bench.run("doctor", "--json").finding("certificate")
    assert (found[0], "and the clock says" in found[1], found[2]) == ("FAIL", True, "set the clock: timedatectl")


def test_files_that_do_not_fit_together_are_told(bench: Bench, mosquitto: Mosquitto) -> None:
    one, other = mosquitto.authority.issue_device(DEVICE), mosquitto.authority.issue_device("edge-2")
    bench.use(mosquitto, one)
    bench.set("broker", key=other.key)
    ran = bench.run("doctor", "--json")
    assert "the key does not belong to the certificate" in ran.finding("certificate")[1]
    assert "was not tried" in ran.finding("broker")[1]
    bench.use(mosquitto, other)
    assert (
        f"its common name is edge-2, not {DEVICE}"
        in bench.run("doctor", "--json").finding("certificate", "name")[1]
    )
    bench.use(mosquitto, one)
    bench.set("broker", authority=one.certificate)
    assert "no authority's" in bench.run("doctor", "--json").finding("authority")[1]


def test_a_key_that_others_may_read_and_a_file_that_is_missing_are_told(
    bench: Bench, mosquitto: Mosquitto
) -> None:
    issued = mosquitto.authority.issue_device(DEVICE)
    bench.use(mosquitto, issued)
    issued.key.chmod(0o640)
    ran = bench.run("doctor", "--json")
    assert ran.code == 1
    assert ran.finding("key") == (
        "FAIL",
        f"{issued.key} may be read by others (mode 0640)",
        f"chmod 600 {issued.key}",
    )
    issued.key.chmod(0o000)
    found = bench.run("doctor", "--json", prefix=WITHOUT_POWERS).finding("certificate")
    assert found[:2] == ("FAIL", f"{issued.key} cannot be read by this user")
    issued.key.unlink()
    assert bench.run("doctor", "--json").finding("certificate")[1] == f"{issued.key} is not there"


def test_a_broker_of_another_authority_is_not_trusted(bench: Bench, mosquitto: Mosquitto, tmp_path: Path) -> None:
    bench.use(mosquitto, mosquitto.authority.issue_device(DEVICE))
    other = Authority.create(tmp_path / "other")
    bench.set("broker", authority=other.certificate_path)
    found = bench.run("doctor", "--json").finding("broker's TLS")
    assert found[0] == "FAIL"
    assert re.search("self-signed certificate|unable to get local issuer", found[1])
    assert "broker.authority must be" in found[2]


def test_a_device_of_another_authority_is_not_taken_in(bench: Bench, mosquitto: Mosquitto, tmp_path: Path) -> None:
    issued = Authority.create(tmp_path / "other").issue_device(DEVICE)
    bench.use(mosquitto, issued)
    verdict, _, step = bench.run("doctor", "--json").finding("broker", "does not take")
    assert (verdict, "its log says why" in step) == ("FAIL", True)


def test_a_broker_that_is_away_is_told(bench: Bench, mosquitto: Mosquitto) -> None:
    bench.use(mosquitto, mosquitto.authority.issue_device(DEVICE))
    mosquitto.kill()
    assert "nothing listens there" in bench.run("doctor", "--json").finding("broker")[1]
    bench.set("broker", host="no-such-host.invalid")
    assert "the name is not known" in bench.run("doctor", "--json").finding("broker")[1]


def test_what_the_broker_keeps_for_the_collector_is_left_to_it(bench: Bench, mosquitto: Mosquitto) -> None:
    address = mosquitto.address(DEVICE)
    wake = threading.Event()
    collector = BrokerConnection(address, DEVICE, MQTTProtocolVersion.MQTTv5, wake)
    lander = Peer(mosquitto, "lander", "vehicle/+/events")
    ack = json.dumps({"schema": "ack.v1", "sha256": ["0" * 64]}).encode()
    assert lander.publish(f"vehicle/{DEVICE}/ack", ack)
    assert eventually(lambda: bool(collector.take_digests()))
    collector.close()
    assert lander.publish(f"vehicle/{DEVICE}/ack", ack)
    bench.use(mosquitto, mosquitto.authority.issue_device(DEVICE))
    assert bench.run("doctor", "--json").finding("broker", DEVICE)[0] == "ok"
    collector = BrokerConnection(address, DEVICE, MQTTProtocolVersion.MQTTv5, wake)
    assert eventually(lambda: collector.take_digests() == ["0" * 64])
    collector.close()
    lander.close()


def running(**changes: object) -> Status:
    """A status as this process would write it, were it a collector."""
    values: dict[str, object] = {
        "pid": os.getpid(),
        "started_at": time.time(),
        "written_at": time.time(),
        "phase": "running",
        "voltage_v": 14.2,
        "adapter": AdapterStatus("open", "ELM327 v1.5", "/dev/ttyUSB0"),
        "car": CarStatus("6", 23, vin_known=True),
        "clock_synced": True,
        "rates_hz": {"RPM": 1.0, "SPEED": 0.9},
        "broker": BrokerStatus(connected=True, protocol="MQTT 5"),
    }
    return Status(**(values | changes))  # type: ignore[arg-type]


def test_a_running_collector_keeps_its_adapter_and_its_session(
    bench: Bench, car: Simulator, mosquitto: Mosquitto
) -> None:
    bench.set("adapter", port=car.port)
    bench.use(mosquitto, mosquitto.authority.issue_device(DEVICE))
    connection = BrokerConnection(mosquitto.address(DEVICE), DEVICE, MQTTProtocolVersion.MQTTv5, threading.Event())
    bench.state.mkdir(mode=0o700)
    write(bench.state / "status.json", running())
    ran = bench.run("doctor", "--json")
    assert ran.code == 0, ran.text
    assert ran.finding("adapter")[1] == "ELM327 v1.5 at /dev/ttyUSB0"
    assert ran.finding("broker")[1] == "connected, MQTT 5"
    assert car.log == []
    assert connection.is_open
    connection.close()


def test_a_collector_that_hangs_is_told_and_left_alone(bench: Bench, car: Simulator) -> None:
    bench.set("adapter", port=car.port)
    spool = Spool(bench.state / "spool.db", DEVICE)
    write(bench.state / "status.json", running(written_monotonic_s=time.monotonic() - 600))
    ran = bench.run("doctor", "--json")
    spool.close()
    assert ran.code == 1
    assert f"hangs: process {os.getpid()}" in ran.finding("collector")[1]
    assert not {"adapter", "broker"} & ran.verdicts().keys()
    assert car.log == []


def test_a_status_that_may_not_be_read_leaves_all_alone(bench: Bench, car: Simulator) -> None:
    bench.set("adapter", port=car.port)
    bench.state.mkdir()
    write(bench.state / "status.json", running())
    (bench.state / "status.json").chmod(0o000)
    ran = bench.run("doctor", "--json", prefix=WITHOUT_POWERS)
    assert "may run, but" in ran.finding("collector")[1]
    assert car.log == []


def test_the_spool_of_a_killed_collector_is_counted_and_not_changed(bench: Bench, tmp_path: Path) -> None:
    bench.state.mkdir()
    spool = Spool(tmp_path / "live" / "spool.db", DEVICE)
    for number in range(3):
        spool.append(Event(VIN, number * 1000, "ignition_on", {}))
    with sqlite3.connect(tmp_path / "live" / "spool.db") as database:
        database.execute("INSERT INTO drops VALUES ('running', 7)")
    for name in ("spool.db", "spool.db-wal"):  # as a kill leaves them: the journal is not folded in
        shutil.copy(tmp_path / "live" / name, bench.state)
    database.close()
    spool.close()
    (bench.state / "spool.db.damaged-20260101T000000-ab12").touch()
    bench.state.chmod(0o700)
    before = [(bench.state / name).read_bytes() for name in ("spool.db", "spool.db-wal")]
    ran = bench.run("doctor", "--json")
    verdict, text, _ = ran.finding("spool", "messages")
    assert (verdict, text[:32]) == ("warn", "3 messages, 3 of them waiting fo")
    assert text.endswith("since it was made: 7 running")
    assert ran.finding("spool", "damaged")[0] == "warn"
    assert [(bench.state / name).read_bytes() for name in ("spool.db", "spool.db-wal")] == before
    assert ran.finding("disk")[0] == "ok"


def test_a_damaged_spool_and_an_open_folder_are_told(bench: Bench) -> None:
    bench.state.mkdir()
    bench.state.chmod(0o755)
    (bench.state / "spool.db").write_bytes(b"no database" * 100)
    ran = bench.run("doctor", "--json")
    assert ran.finding("spool", "cannot be read: file is not a database")[0] == "FAIL"
    assert ran.finding("spool", "may be entered by anyone")[0] == "warn"
    bench.state.chmod(0o500)
    ran = bench.run("doctor", "--json", prefix=WITHOUT_POWERS)
    assert "may not be written by this user" in ran.finding("spool")[1]


def test_a_wi_fi_adapter_that_is_away_is_told(bench: Bench) -> None:
    bench.set("adapter", port="socket://127.0.0.1:9")
    ran = bench.run("doctor", "--json")
    assert ran.finding("serial port", "network")[0] == "ok"
    assert ran.finding("serial port", "cannot open")[0] == "FAIL"


def _own_name() -> str:
    return Path("/proc/self/comm").read_text(encoding="ascii").strip()
