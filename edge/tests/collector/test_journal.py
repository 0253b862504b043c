from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.collector import journal as journals
from smartdrive_edge.collector.journal import AWAY_S, Journal, first_state
from smartdrive_edge.collector.known_car import KnownCar
from smartdrive_edge.messages import Event, Identity, Kind, Message
from smartdrive_edge.policy import Phase, State, to_json
from smartdrive_edge.spool import Spool

VIN = "WVWZZZ1JZXW000001"
OTHER = "WVWZZZ1JZXW000002"
BATCH_S = 30.0


def car(vin: str | None = VIN, *pids: int) -> KnownCar:
    return KnownCar(Car(Dialect("6"), 0, frozenset(pids or (0x0C, 0x0D)), vin), vin)


class WatchedSpool(Spool):
    """A real spool that also keeps what was committed together."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.commits: list[tuple[list[Message], dict[str, str]]] = []

    def commit(self, messages: Sequence[Message], facts: Mapping[str, str] | None = None) -> list[Identity | None]:
        self.commits.append((list(messages), dict(facts or {})))
        return super().commit(messages, facts)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[WatchedSpool]:
    with closing(WatchedSpool(tmp_path / "spool.db", "edge-00001", machine_boot="boot")) as spool:
        spool.stamp(0)
        yield spool


def journal(spool: Spool, known: KnownCar | None = None, *, vin: str | None = None) -> Journal:
    if known is not None:
        spool.commit([], {"car": known.to_json()})
    made = Journal(spool, batch_s=BATCH_S, configured_vin=vin)
    made.enter("ready")
    return made


def kept(spool: Spool) -> list[dict[str, Any]]:
    return [json.loads(row.payload) for row in spool.unsent(1 << 40, 100_000)]


def vins(spool: Spool, signal: str) -> dict[float, str]:
    """Whose each value is."""
    return {
        value: message["vin"]
        for message in kept(spool)
        if "signals" in message
        for value in message["signals"].get(signal, [])
        if value is not None
    }


def test_an_event_and_the_state_of_its_moment_are_one_transaction(spool: WatchedSpool) -> None:
    it = journal(spool)
    it.meet(car())
    state = State(phase=Phase.SUSPENDED, uploading=False, last_gasp_sent=True)
    spool.commits.clear()
    it.notice([("external_drain", {"voltage_v": 11.4})], 100.0, state)
    assert [([m.type for m in ms if isinstance(m, Event)], facts) for ms, facts in spool.commits] == [
        (["external_drain"], {"policy": to_json(state)})
    ]
    assert first_state(spool) == state


def test_while_nobody_knows_whose_it_is_an_event_waits_and_the_state_that_says_it_was_sent_waits_with_it(
    spool: WatchedSpool,
) -> None:
    it = journal(spool)
    state = State(phase=Phase.SUSPENDED, uploading=False, last_gasp_sent=True)
    it.notice([("power_saving", {})], 100.0, state)
    it.notice([], 101.0, State(phase=Phase.READY))
    assert spool.fact("policy") is None
    assert kept(spool) == []
    it.meet(car())
    assert [(message["type"], message["vin"], message["t"]) for message in kept(spool)] == [
        ("power_saving", VIN, 100_000)
    ]
    assert first_state(spool).phase is Phase.READY
    assert "policy" in next(facts for messages, facts in spool.commits if messages)


def test_a_state_without_an_event_is_kept_at_once_whether_or_not_a_vin_is_known(spool: WatchedSpool) -> None:
    it = journal(spool)
    it.notice([], 1.0, State(phase=Phase.SENTINEL))
    assert first_state(spool).phase is Phase.SENTINEL


def test_events_that_wait_are_bounded_and_the_oldest_lost_are_counted(
    spool: WatchedSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MOST_EVENTS", 5)
    it = journal(spool)
    for number in range(8):
        it.notice([("health", {"number": number})], float(number))
    assert spool.health().drops == {"event": 3}
    it.meet(car())
    assert [message["detail"]["number"] for message in kept(spool)] == [3, 4, 5, 6, 7]


def test_an_event_too_large_to_be_sent_is_counted_and_takes_nothing_else_with_it(spool: WatchedSpool) -> None:
    it = journal(spool)
    it.notice([("ignition_on", {}), ("dtc_scan", {"stored": ["P0301"] * 20_000})], 1.0, State(ignition=True))
    it.notice([("ignition_off", {})], 2.0)
    it.meet(car())
    assert [message["type"] for message in kept(spool)] == ["ignition_on", "ignition_off"]
    assert spool.health().drops == {"event": 1}
    assert first_state(spool).ignition is True
    assert KnownCar.from_json(spool.fact("car")) == car()


def test_a_car_that_told_its_vin_is_remembered_by_the_next_process(spool: WatchedSpool) -> None:
    journal(spool).meet(car())
    again = journal(spool)
    assert again.known == car()
    assert again.knows_vin
    assert again.vin is None  # in doubt until the adapter says so


def test_samples_wait_for_the_vin_and_go_out_under_the_one_that_was_told(spool: WatchedSpool) -> None:
    it = journal(spool, car())
    it.doubt(0.0)
    it.enter("running")
    it.sample("running", 10.0, {"RPM": 1.0})
    it.settle(100.0)
    assert kept(spool) == []
    it.meet(car(OTHER))
    it.sample("running", 101.0, {"RPM": 2.0})
    it.close()
    assert vins(spool, "RPM") == {1.0: OTHER, 2.0: OTHER}
    assert it.known.vin == OTHER


def test_a_resting_cars_voltage_is_the_remembered_cars_and_the_next_start_is_in_doubt_again(
    spool: WatchedSpool,
) -> None:
    it = journal(spool, car())
    it.doubt(0.0)
    it.enter("sentinel")
    it.trust()
    it.sample("sentinel", 10.0, {"ELM_VOLTAGE": 12.5})
    it.notice([("low_voltage", {})], 11.0)
    it.settle(10.0 + BATCH_S)
    assert {message["vin"] for message in kept(spool)} == {VIN}
    assert len(kept(spool)) == 2
    it.enter("ready")
    it.enter("running")
    assert not it.is_confirmed
    it.sample("running", 900.0, {"RPM": 800.0})
    it.notice([("ignition_on", {})], 900.0)
    it.settle(2000.0)
    assert len(kept(spool)) == 2
    it.meet(car(OTHER))
    it.close()
    assert vins(spool, "RPM") == {800.0: OTHER}
    assert vins(spool, "ELM_VOLTAGE") == {12.5: VIN}
    assert [message["vin"] for message in kept(spool) if message.get("type") == "ignition_on"] == [OTHER]


def test_trust_in_mid_drive_lasts_until_the_adapter_was_away(spool: WatchedSpool) -> None:
    it = journal(spool, car())
    it.doubt(0.0)
    it.enter("running")
    it.trust()
    assert it.is_confirmed
    it.enter("post_drive")
    it.enter("ready")
    assert it.vin == VIN
    it.doubt(1e6)
    assert it.vin is None


def test_a_confirmed_car_stays_confirmed_from_drive_to_drive(spool: WatchedSpool) -> None:
    it = journal(spool)
    it.meet(car())
    for phase in ("running", "post_drive", "sentinel", "ready"):
        it.enter(phase)  # type: ignore[arg-type]
        assert it.vin == VIN


def test_trust_is_nothing_where_no_vin_is_remembered(spool: WatchedSpool) -> None:
    it = journal(spool)
    it.trust()
    assert it.vin is None
    assert not it.is_confirmed


@pytest.mark.parametrize(("away_s", "is_doubted"), [(AWAY_S - 1.0, False), (AWAY_S + 1.0, True), (-5.0, True)])
def test_a_loose_plug_is_no_doubt_and_a_minutes_absence_is(
    spool: WatchedSpool, away_s: float, is_doubted: bool
) -> None:
    it = journal(spool)
    it.meet(car())
    it.enter("running")
    it.sample("running", 500.0, {"RPM": 800.0})
    it.enter("post_drive")
    again = journal(spool)
    again.enter("running")
    again.doubt(500.0 + away_s)
    assert (again.vin is None) is is_doubted
    assert again.is_confirmed is not is_doubted


def test_after_another_boot_of_the_machine_every_car_is_in_doubt(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db", "edge-00001", machine_boot="one")) as spool:
        it = journal(spool)
        it.meet(car())
        it.enter("sentinel")
        it.sample("sentinel", 500.0, {"ELM_VOLTAGE": 12.5})
        it.close()
    with closing(Spool(tmp_path / "spool.db", "edge-00001", machine_boot="two")) as spool:
        again = journal(spool)
        again.doubt(501.0)
        assert again.vin is None


def test_an_adapter_that_restarts_while_the_car_is_in_doubt_settles_nothing(spool: WatchedSpool) -> None:
    it = journal(spool, car())
    it.enter("sentinel")
    it.doubt(0.0)
    it.trust()
    it.sample("sentinel", 10.0, {"ELM_VOLTAGE": 12.5})
    it.settle(10.0 + BATCH_S)
    it.enter("ready")
    it.doubt(45.0)  # a cheap one restarts when the voltage dips
    assert it.vin is None
    it.sample("ready", 46.0, {"ELM_VOLTAGE": 9.0})
    it.meet(car(OTHER))
    it.close()
    assert vins(spool, "ELM_VOLTAGE") == {12.5: VIN, 9.0: OTHER}


def test_another_car_met_gets_nothing_of_the_batch_of_the_first(spool: WatchedSpool) -> None:
    it = journal(spool)
    it.meet(car())
    it.enter("post_drive")
    it.sample("post_drive", 1.0, {"ELM_VOLTAGE": 12.1})
    it.meet(car(OTHER))
    it.sample("post_drive", 2.0, {"ELM_VOLTAGE": 12.2})
    it.close()
    assert vins(spool, "ELM_VOLTAGE") == {12.1: VIN, 12.2: OTHER}


def test_a_car_that_does_not_tell_its_vin_keeps_the_one_it_told_before(spool: WatchedSpool) -> None:
    it = journal(spool, car())
    it.doubt(0.0)
    it.enter("running")
    it.meet(car(None, 0x0C, 0x05))
    assert it.vin is None  # it may be another: whoever asks decides when it was asked often enough
    assert it.known.vin == VIN
    assert it.known.car is not None
    assert 0x05 in it.known.car.supported
    it.trust()
    assert it.vin == VIN


def test_a_car_that_does_not_tell_its_vin_is_the_configured_one(spool: WatchedSpool) -> None:
    it = journal(spool, vin=OTHER)
    it.doubt(0.0)
    it.meet(car(None))
    assert it.vin == OTHER
    assert it.is_confirmed


def test_an_orderly_end_keeps_what_waits_under_the_remembered_vin(spool: WatchedSpool) -> None:
    it = journal(spool, car())
    it.doubt(0.0)
    it.enter("running")
    it.sample("running", 5.0, {"RPM": 900.0})
    it.close()
    assert vins(spool, "RPM") == {900.0: VIN}


def test_rows_lost_for_want_of_a_vin_are_counted_in_the_spool(
    spool: WatchedSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartdrive_edge.collector.samples.MOST_UNATTRIBUTED", 3)
    it = journal(spool)
    it.enter("post_drive")
    for number in range(5):
        it.sample("post_drive", float(number), {"ELM_VOLTAGE": 12.0})
    it.settle(10.0)
    it.settle(11.0)
    assert spool.health().drops == {Kind.SENTINEL: 2}


def test_a_lost_spool_makes_the_policy_careful_and_a_new_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with closing(Spool(path, "edge-00001")) as spool:
        assert first_state(spool) == State()
    path.write_bytes(b"\xff" * 8192)
    with closing(Spool(path, "edge-00001")) as spool:
        assert spool.set_aside
        assert first_state(spool).phase is Phase.SUSPENDED


def test_what_never_found_a_vin_is_counted_at_the_end(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db", "edge-00001")) as spool:
        journal = Journal(spool, batch_s=30, configured_vin=None)
        journal.sample("sentinel", 1.0, {"ELM_VOLTAGE": 12.5})
        journal.sample("sentinel", 601.0, {"ELM_VOLTAGE": 12.5})
        journal.close()
    with closing(Spool(tmp_path / "spool.db", "edge-00001")) as spool:
        assert spool.health().drops == {"sentinel": 2}


def test_events_that_never_found_a_vin_are_counted_at_the_end(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool.db", "edge-00001")) as spool:
        journal = Journal(spool, batch_s=30, configured_vin=None)
        journal.notice([("ignition_on", {})], 1.0)
        journal.close()
        assert spool.health().drops == {"event": 1}
