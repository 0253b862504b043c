"""The whole collector against the simulated car, whose truth is known."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from smartdrive_edge.adapter.crank import estimate
from smartdrive_edge.collector.known_car import KnownCar
from smartdrive_edge.policy import Phase, State, to_json
from smartdrive_edge.simulator import (
    Battery,
    Engine,
    FaultKind,
    Key,
    Scenario,
    Segment,
    Simulator,
    TroubleCode,
)
from smartdrive_edge.spool import Spool

from edge.tests.collector.collecting import (
    BEGAN_MS,
    OTHER_VIN,
    Running,
    asked_of_the_car,
    asks_for_rpm,
    events,
    messages,
    telemetry,
    values,
)

CONTRACTS = Path(__file__).parents[3] / "contracts"
SPEED = 10.0
PARKED = Segment(3600.0)


def car(*segments: Segment, vin: str = "WVWZZZ1JZXW000001", **settings: object) -> Scenario:
    return Scenario("test", "for a test", segments, vin=vin, **settings)  # type: ignore[arg-type]


def drive(seconds: float = 60.0) -> tuple[Segment, ...]:
    return (
        Segment(8.0),
        Segment(6.0, Key.ON),
        Segment(1.0, Key.ON, Engine.CRANKING),
        Segment(seconds, Key.ON, Engine.RUNNING, 30.0),
        Segment(5.0, Key.ON, Engine.RUNNING),
    )


def learn(folder: Path, vin: str = "WVWZZZ1JZXW000001") -> None:
    """Let a collector meet a car, so that the next one remembers it."""
    with Simulator(car(*drive(8.0), PARKED, vin=vin), speed=SPEED) as simulator, Running(simulator, folder) as it:
        it.until(lambda: it.collector.phase is Phase.RUNNING and it.collector.status().car.vin_known)
    with closing(Spool(folder / "spool.db", "edge-00001")) as spool:
        assert KnownCar.from_json(spool.fact("car")).vin == vin


def leave_in(folder: Path, phase: Phase) -> None:
    """As if the last collector had ended in this phase."""
    with closing(Spool(folder / "spool.db", "edge-00001")) as spool:
        spool.commit([], {"policy": to_json(State(phase=phase, ignition=False))})


def until_sampling(it: Running, *, since_s: float) -> float:
    """Simulated seconds until the car was asked for its RPM again."""

    def times() -> list[float]:
        return [e.at_s for e in list(it.simulator.log) if e.at_s > since_s and asks_for_rpm(e.request)]

    it.until(times)
    return times()[0] - since_s


def test_a_drive_becomes_messages_of_the_contract_and_they_are_true(tmp_path: Path) -> None:
    schemas = {
        name: Draft202012Validator(json.loads((CONTRACTS / f"{name}.schema.json").read_text()))
        for name in ("telemetry.v1", "events.v1")
    }
    scenario = car(*drive(45.0), Segment(200.0), codes=(TroubleCode("P0301", "stored"),))
    with Simulator(scenario, speed=SPEED) as simulator:
        it = Running(simulator, tmp_path)
        with it:
            it.end(after_scenario=True)
        assert simulator.forbidden_requests == []
        assert simulator.eeprom_writes == []
        found = messages(tmp_path)
        for message in found:
            schemas[message["schema"]].validate(message)
        assert [message["seq"] for message in found] == sorted({message["seq"] for message in found})
        phases = list(dict.fromkeys(message["phase"] for message in telemetry(tmp_path)))
        assert phases == ["ready", "cranking", "running", "post_drive"]
        assert [kind for kind in events(tmp_path) if kind != "health"] == [
            "ignition_on",
            "dtc_scan",
            "ignition_off",
        ]
        (scan,) = [message["detail"] for message in found if message.get("type") == "dtc_scan"]
        assert [code["code"] for code in scan["stored"]] == ["P0301"]
        assert scan["pending"] == []
        assert scan["mil"] is True  # SAE J1979: a stored code lights it in the simulator
        (health,) = [message["detail"] for message in found if message.get("type") == "health"]
        assert 0.5 < health["achieved_hz"]["RPM"] < 2.5
        compared = 0
        for message in telemetry(tmp_path, "running"):
            for t, speed in values(message, "SPEED"):
                # A row's time is its first value's; the others follow within a second.
                truth = [simulator.car.state_at(t + late / 4).speed_kmh for late in range(-2, 7)]
                assert min(truth) - 1.5 <= speed <= max(truth) + 1.5
                compared += 1
        assert compared > 30


def test_a_start_is_one_message_with_the_five_seconds_before_it(tmp_path: Path) -> None:
    learn(tmp_path)
    with Simulator(car(*drive(20.0), PARKED)) as simulator, Running(simulator, tmp_path) as it:
        simulator.clock.skip(5.0)
        it.until(lambda: simulator.clock.now() > 22.0)
        it.end()
        (start,) = telemetry(tmp_path, "cranking")[-1:]
        samples = values(start, "ELM_VOLTAGE")
        (truth,) = simulator.car.cranks
        assert 4.0 <= truth.at_s - samples[0][0] <= 5.5
        gaps = [after - before for (before, _), (after, _) in pairwise(samples)]
        assert len(samples) / (samples[-1][0] - samples[0][0]) > 20
        assert max(gaps) < 1.0
        measured = estimate(samples)
        assert measured is not None
        assert measured.plateau_v is not None
        assert truth.plateau_v is not None
        assert measured.plateau_v == pytest.approx(truth.plateau_v, abs=0.2)


def test_a_resting_car_is_left_alone(tmp_path: Path) -> None:
    learn(tmp_path)
    parked = car(Segment(5.0, Key.ON), Segment(4 * 3600.0))
    with Simulator(parked, speed=60) as simulator, Running(simulator, tmp_path) as it:
        it.until(lambda: it.collector.phase is Phase.SENTINEL)
        asleep = simulator.clock.now()
        it.end(after_scenario=True)
        assert asked_of_the_car(simulator, since_s=asleep) == []
        # Ten minutes apart, and nothing else is asked of the adapter either: the line is a wire of its own.
        pulses = [exchange.at_s for exchange in simulator.log if exchange.at_s > asleep]
        assert len(pulses) > 18
        assert all(590 < after - before < 615 for before, after in pairwise(pulses))
        readings = [t for message in telemetry(tmp_path, "sentinel") for t, _ in values(message, "ELM_VOLTAGE")]
        assert len([t for t in readings if t > asleep]) == len(pulses)


@pytest.mark.parametrize("source", ["wire", "adapter"])
def test_the_key_leads_from_sentinel_to_10_hz_within_one_look(tmp_path: Path, source: str) -> None:
    learn(tmp_path)
    leave_in(tmp_path, Phase.SENTINEL)
    script = car(Segment(400.0), Segment(30.0, Key.ON), PARKED)
    with (
        Simulator(script) as simulator,
        Running(
            simulator, tmp_path, has_line=source == "wire", source="none" if source == "wire" else "adapter"
        ) as it,
    ):
        it.until(lambda: simulator.clock.now() > 405.0, within_s=60)
        asked = [e.at_s for e in simulator.log if e.request.upper() == "ATRV" and e.at_s >= 400.0]
        assert asked[0] - 400.0 < 0.7
        assert sum(401.0 <= at < 404.0 for at in asked) >= 30


def test_a_dongle_that_moved_writes_into_the_new_cars_history_alone(tmp_path: Path) -> None:
    learn(tmp_path)
    before = len(messages(tmp_path))
    moved = car(*drive(12.0), PARKED, vin=OTHER_VIN)
    with Simulator(moved, speed=5) as simulator, Running(simulator, tmp_path) as it:
        it.until(lambda: it.collector.phase is Phase.RUNNING and simulator.clock.now() > 24.0)
    after = messages(tmp_path)[before:]
    assert {message["vin"] for message in after} == {OTHER_VIN}
    phases = {message.get("phase") for message in after}
    assert {"ready", "cranking", "running"} <= phases
    assert "ignition_on" in [message.get("type") for message in after]


def test_a_car_that_does_not_tell_its_vin_needs_the_configured_one(tmp_path: Path) -> None:
    with Simulator(car(*drive(40.0), PARKED), speed=SPEED) as simulator:
        simulator.fault(FaultKind.NO_DATA, only="0902")
        with Running(simulator, tmp_path) as it:
            it.until(lambda: it.collector.phase is Phase.RUNNING and simulator.clock.now() > 30)
            assert not it.collector.status().car.vin_known
    assert messages(tmp_path) == []
    with Simulator(car(*drive(40.0), PARKED), speed=SPEED) as simulator:
        simulator.fault(FaultKind.NO_DATA, only="0902")
        with Running(simulator, tmp_path, vin=OTHER_VIN) as it:
            it.until(lambda: it.collector.phase is Phase.RUNNING and simulator.clock.now() > 30)
    assert {message["vin"] for message in messages(tmp_path)} == {OTHER_VIN}


def test_an_adapter_that_is_pulled_out_is_read_again_when_it_is_back(tmp_path: Path) -> None:
    with Simulator("drive") as simulator, Running(simulator, tmp_path, skips=False) as it:
        simulator.clock.skip(60.0)
        it.until(lambda: it.collector.phase is Phase.RUNNING)
        for _ in range(3):
            simulator.fault(FaultKind.UNPLUG, for_s=1.0)
            it.until(lambda: it.collector.status().adapter.state == "gone")
            assert until_sampling(it, since_s=simulator.clock.now() + 1.0) < 10.0
        assert it.collector.phase is Phase.RUNNING


def test_a_dead_dongle_is_told_apart_and_recovered_from(tmp_path: Path) -> None:
    with Simulator("drive") as simulator, Running(simulator, tmp_path, skips=False) as it:
        simulator.clock.skip(60.0)
        it.until(lambda: it.collector.phase is Phase.RUNNING)
        simulator.fault(FaultKind.DEAD)
        it.until(lambda: it.collector.status().adapter.state == "silent")
        assert "does not answer" in str(it.collector.status().last_error) or "did not answer" in str(
            it.collector.status().last_error
        )
        simulator.heal()
        healed = simulator.clock.now()
        it.until(lambda: it.collector.status().adapter.state == "open", within_s=20)
        assert until_sampling(it, since_s=healed) < 10.0


def test_truncated_frames_are_gaps_and_never_zeros(tmp_path: Path) -> None:
    with Simulator("drive", speed=5) as simulator, Running(simulator, tmp_path) as it:
        simulator.clock.skip(60.0)
        it.until(lambda: it.collector.phase is Phase.RUNNING and it.collector.status().car.vin_known)
        it.until(lambda: telemetry(tmp_path, "running"))
        simulator.fault(FaultKind.TRUNCATED, for_s=20.0)
        until = simulator.clock.now() + 30.0
        it.until(lambda: simulator.clock.now() > until)
    rpm = [value for message in telemetry(tmp_path, "running") for _, value in values(message, "RPM")]
    assert len(rpm) > 15
    assert min(rpm) > 500


def test_lights_left_on_end_in_one_last_gasp_across_a_restart(tmp_path: Path) -> None:
    learn(tmp_path)
    before = len(messages(tmp_path))
    flat = car(
        Segment(120.0, Key.ON, Engine.RUNNING),
        Segment(7 * 3600.0, load_a=10.0),
        Segment(7200.0),
        Segment(5.0, Key.ON),
        Segment(900.0, Key.ON, Engine.RUNNING),
        PARKED,
        battery=Battery(soc_pct=70.0),
    )
    with Simulator(flat, speed=60) as simulator:
        first = Running(simulator, tmp_path)
        with first:
            first.until(lambda: "stop" in first.uploads.told)
            assert first.collector.phase is Phase.SUSPENDED
        assert first.uploads.told.count("stop") == 1
        assert first.uploads.told[-1] == "stop"
        gasps = [kind for kind in events(tmp_path) if kind in {"external_drain", "power_saving"}]
        assert len(gasps) == 1
        suspended_at = simulator.clock.now()
        second = Running(simulator, tmp_path)
        with second:
            second.until(lambda: second.uploads.told)
            assert second.uploads.told[0] == "stop"  # a restart knows that uploading is stopped
            second.until(lambda: "resume" in second.uploads.told, within_s=60)
        kinds = events(tmp_path)
        assert [kind for kind in kinds if kind in {"external_drain", "power_saving"}] == gasps
        assert "resumed" in kinds
        charged = [m for m in messages(tmp_path)[before:] if m.get("type") == "resumed"]
        assert (charged[0]["t"] - BEGAN_MS) / 1000 > suspended_at
        assert charged[0]["detail"]["voltage_v"] >= 13.0


def test_samples_wait_for_the_clock_and_are_stamped_when_it_is_right(tmp_path: Path) -> None:
    synced = threading.Event()
    with (
        Simulator("drive", speed=5) as simulator,
        Running(simulator, tmp_path, is_synced=synced.is_set) as it,
    ):
        simulator.clock.skip(60.0)
        it.until(lambda: it.spool.health().waiting >= 3)
        assert messages(tmp_path) == []
        synced.set()
        it.until(lambda: it.spool.health().waiting == 0)
        found = messages(tmp_path)
        assert {message.get("clock", "synced") for message in found} == {"synced"}
        first = min(message["t"][0] for message in telemetry(tmp_path))
        assert 0 <= first - BEGAN_MS < 120_000


def test_without_a_line_the_voltage_tells_and_the_ecu_confirms(tmp_path: Path) -> None:
    learn(tmp_path)
    leave_in(tmp_path, Phase.SENTINEL)
    before = len(messages(tmp_path))
    with Simulator(car(Segment(1000.0), *drive(700.0), PARKED), speed=30) as simulator:
        with Running(simulator, tmp_path, has_line=False) as it:
            it.until(lambda: it.collector.phase is Phase.RUNNING, within_s=60)
        found = [m for m in messages(tmp_path)[before:] if m.get("type") == "ignition_on"]
        assert found
        assert found[0]["detail"]["source"] == "ecu"


def test_an_orderly_end_keeps_what_is_under_way(tmp_path: Path) -> None:
    with Simulator("drive") as simulator, Running(simulator, tmp_path) as it:
        simulator.clock.skip(60.0)
        it.until(lambda: it.collector.phase is Phase.RUNNING and it.collector.status().car.vin_known)
        time.sleep(2.0)
        ended = simulator.clock.now()
        it.end()
    last = telemetry(tmp_path, "running")[-1]
    assert ended - (last["t"][-1] - BEGAN_MS) / 1000 < 2.0


def test_what_is_remembered_outlives_a_damaged_spool(tmp_path: Path) -> None:
    with Simulator("drive", speed=5) as simulator, Running(simulator, tmp_path) as it:
        simulator.clock.skip(60.0)
        it.until(lambda: it.collector.phase is Phase.RUNNING and it.collector.status().car.vin_known)
        it.until(lambda: telemetry(tmp_path, "running"))
        with sqlite3.connect(tmp_path / "spool.db") as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        content = (tmp_path / "spool.db").read_bytes()
        with (tmp_path / "spool.db").open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (len(content) - 4096))
        it.until(lambda: it.spool.set_aside, within_s=60)
        it.until(lambda: it.spool.fact("car") is not None)
        assert KnownCar.from_json(it.spool.fact("car")).vin == simulator.car.scenario.vin
        it.until(lambda: telemetry(tmp_path, "running"), within_s=60)
