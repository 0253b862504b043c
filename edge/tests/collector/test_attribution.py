"""A dongle moves from car to car: whose samples are these?"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.collector.known_car import KnownCar
from smartdrive_edge.policy import Phase, State, to_json
from smartdrive_edge.simulator import Engine, Key, Scenario, Segment, Simulator
from smartdrive_edge.spool import Spool

from edge.tests.collector.collecting import OTHER_VIN, Running, messages

FORMER_VIN = "WVWZZZ1JZXW000001"
FORMER = KnownCar(Car(Dialect("6"), 0, frozenset({0x05, 0x0C, 0x0D}), FORMER_VIN), FORMER_VIN)
PARKED_THEN_DRIVEN = (
    Segment(8.0),
    Segment(4.0, Key.ON),
    Segment(1.0, Key.ON, Engine.CRANKING),
    Segment(60.0, Key.ON, Engine.RUNNING, 30.0),
    Segment(3600.0),
)


@pytest.mark.parametrize("phase", [Phase.READY, Phase.POST_DRIVE, Phase.SENTINEL])
def test_a_dongle_moved_while_the_collector_slept_writes_no_drive_into_the_former_cars_history(
    tmp_path: Path, phase: Phase
) -> None:
    with closing(Spool(tmp_path / "spool.db", "edge-00001")) as spool:
        facts = {"car": FORMER.to_json(), "policy": to_json(State(phase=phase, ignition=False))}
        spool.commit([], facts)
    script = Scenario("moved", "another car", PARKED_THEN_DRIVEN, vin=OTHER_VIN)
    with Simulator(script, speed=5) as simulator, Running(simulator, tmp_path, skips=False) as it:
        it.until(lambda: it.collector.phase is Phase.RUNNING and simulator.clock.now() > 26.0)
    found = messages(tmp_path)
    driven = {
        m["vin"] for m in found if m.get("phase") in {"cranking", "running"} or m.get("type") == "ignition_on"
    }
    assert driven == {OTHER_VIN}
    # What was read while the car rested, before anything could be asked of it, is the remembered car's.
    former = [message for message in found if message["vin"] == FORMER_VIN]
    assert {message.get("phase") for message in former} <= {"post_drive", "sentinel"}
