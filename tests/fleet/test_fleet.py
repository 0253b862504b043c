from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator

from smartdrive_dagster.fleet import Delivery, Truth, fleet
from smartdrive_dagster.fleet.period import instant
from smartdrive_dagster.landing.envelope import decode, encode
from smartdrive_dagster.tables.signals import COLUMN_OF_SIGNAL

UNTIL = date(2025, 12, 4)
DAYS = 6
SCHEMAS = {
    name: Draft202012Validator(
        msgspec.json.decode((Path(__file__).parents[2] / "contracts" / f"{name}.schema.json").read_bytes())
    )
    for name in ("telemetry.v0", "telemetry.v1", "events.v1")
}


def is_duplicate_of(message: dict, earlier: dict[tuple, dict]) -> bool | None:
    """True for a redelivery, False for other content under the same identity, None for a new identity."""
    first = earlier.get(identity(message))
    return None if first is None else first == message


def identity(message: dict) -> tuple:
    if "schema" not in message:
        return (msgspec.json.encode(message),)
    return message["device_id"], message["boot_id"], message["seq"]


def times(message: dict) -> list[int]:
    if "schema" not in message:
        return [int(datetime.fromisoformat(message["timestamp"]).replace(tzinfo=UTC).timestamp()) * 1000]
    return message["t"] if message["schema"] == "telemetry.v1" else [message["t"]]


def fault_of(payload: bytes, *, thin: bool) -> tuple[str | None, dict]:
    """Why a payload is malformed, if it is, and what it decodes to; `thin` validates two samples of each list."""
    try:
        message = msgspec.json.decode(payload.decode())
    except UnicodeDecodeError:
        return "not_utf8", {}
    except msgspec.DecodeError:
        return "not_json", {}
    name = message.get("schema", "telemetry.v0")
    if name not in SCHEMAS:
        return "schema_unknown", message
    shown = message
    if thin and name == "telemetry.v1":
        signals = {signal: values[:2] for signal, values in message["signals"].items()}
        shown = {**message, "t": message["t"][:2], "signals": signals}
    errors = list(SCHEMAS[name].iter_errors(shown))
    if errors:
        return ("vin_invalid" if errors[0].path and errors[0].path[0] == "vin" else "schema_violated"), message
    if any(len(values) != len(times(message)) for values in message.get("signals", {}).values()):
        return "length_mismatch", message
    return None, message


@dataclass
class Recount:
    counts: Counter = field(default_factory=Counter)
    malformed: Counter = field(default_factory=Counter)
    events: Counter = field(default_factory=Counter)
    accepted: dict[tuple, dict] = field(default_factory=dict)
    running: defaultdict = field(default_factory=lambda: defaultdict(list))

    def take(self, received_at_ms: int, payload: bytes) -> None:
        self.counts["lines"] += 1
        reason, message = fault_of(payload, thin=True)
        if reason:
            self.malformed[reason] += 1
            return
        t = times(message)
        if message.get("clock") == "unsynced":
            self.count("unsynced_lines", "unsynced_samples", len(t))
            return
        duplicate = is_duplicate_of(message, self.accepted)
        if duplicate is not None:
            kind = "duplicate" if duplicate else "conflict"
            self.count(f"{kind}_lines", f"{kind}_samples", len(t))
            return
        self.accepted[identity(message)] = message
        self.accept(received_at_ms, message, t)

    def accept(self, received_at_ms: int, message: dict, t: list[int]) -> None:
        ahead = [at > received_at_ms + 300_000 for at in t]
        self.count("messages", "samples", len(t) - sum(ahead))
        if any(ahead):
            self.count("skewed_messages", "skewed_samples", sum(ahead))
        self.counts["late_messages"] += received_at_ms // 86_400_000 > t[-1] // 86_400_000
        self.counts["telemetry_v0_messages"] += "schema" not in message
        if "type" in message:
            self.events[message["type"]] += 1
            return
        signals = message.get("signals") or {"RPM": [message["rpm"]], "SPEED": [message["speed"]]}
        for n, at in enumerate(t):
            if (
                not ahead[n]
                and "RPM" in signals
                and (signals["RPM"][n] or signals.get("IGNITION", [0] * len(t))[n])
            ):
                self.running[message["vin"]].append((at, signals["SPEED"][n]))

    def count(self, lines: str, samples: str, number: int) -> None:
        self.counts[lines] += 1
        self.counts[samples] += number


def trips_in(samples: list[tuple[int, float]]) -> list[tuple[datetime, datetime, float, int]]:
    """Start, end, distance (km) and samples of each run of samples without a gap over 300 s."""
    trips: list[list[tuple[int, float]]] = []
    for sample in sorted(samples):
        if not trips or sample[0] - trips[-1][-1][0] > 300_000:
            trips.append([])
        trips[-1].append(sample)
    return [(instant(trip[0][0]), instant(trip[-1][0]), distance_km(trip), len(trip)) for trip in trips]


def distance_km(samples: list[tuple[int, float]]) -> float:
    steps = [(b[0] - a[0], a[1] + b[1]) for a, b in pairwise(samples)]
    return sum(speeds / 2 * ms / 3_600_000 for ms, speeds in steps if ms <= 10_000)


@pytest.fixture(scope="module")
def generated() -> tuple[list[Delivery], Truth]:
    return fleet(7, days=DAYS, until=UNTIL)


@pytest.fixture(scope="module")
def recount(generated) -> Recount:
    found = Recount()
    for delivery in generated[0]:
        for envelope in delivery.envelopes:
            found.take(envelope.received_at_ms, envelope.payload)
    return found


def test_the_same_seed_gives_the_same_bytes():
    assert fleet(3, cars=5, days=2, until=UNTIL) == fleet(3, cars=5, days=2, until=UNTIL)


def test_another_seed_gives_other_traffic():
    assert fleet(3, cars=1, days=1, until=UNTIL)[0] != fleet(4, cars=1, days=1, until=UNTIL)[0]


def test_one_car_more_leaves_the_drives_of_the_others_as_they_were():
    def first_payload(cars: int) -> bytes:
        deliveries, _ = fleet(3, cars=cars, days=1, until=UNTIL)
        topic = "vehicle/edge-00001/telemetry"
        return next(line.payload for sent in deliveries for line in sent.envelopes if line.topic == topic)

    assert first_payload(1) == first_payload(2)


@pytest.mark.parametrize(
    "field_name", sorted({*Truth.__dataclass_fields__} - {"cars", "trips", "events", "malformed"})
)
def test_the_truth_agrees_with_a_recount_of_the_lines(generated, recount, field_name):
    assert getattr(generated[1], field_name) == recount.counts[field_name]
    assert recount.counts[field_name] > 0


def test_the_truth_knows_every_malformed_line_and_every_event(generated, recount):
    assert generated[1].malformed == recount.malformed
    assert generated[1].events == recount.events


def test_lines_and_samples_balance(generated):
    truth = generated[1]
    judged = truth.messages + truth.duplicate_lines + truth.conflict_lines + truth.unsynced_lines
    assert judged + truth.malformed_lines == truth.lines
    assert truth.quarantined_samples == truth.skewed_samples + truth.unsynced_samples + truth.conflict_samples


def test_the_trips_are_those_that_the_running_samples_show(generated, recount):
    for vin, trips in generated[1].trips.items():
        shown = trips_in(recount.running[vin])
        assert [(trip.started_at, trip.ended_at, trip.samples) for trip in trips] == [
            (start, end, samples) for start, end, _, samples in shown
        ]
        assert [trip.distance_km for trip in trips] == pytest.approx([distance for _, _, distance, _ in shown])


@pytest.mark.parametrize("seed", range(3))
def test_trips_are_plausible(seed):
    _, truth = fleet(seed, days=3, until=UNTIL)
    for trips in truth.trips.values():
        for trip in trips:
            assert 5 <= (trip.ended_at - trip.started_at) / timedelta(minutes=1) <= 40
            assert 0.5 < trip.distance_km < 80
            assert 20 < trip.max_speed_kmh < 145
        per_day = Counter(trip.started_at.date() for trip in trips)
        assert set(per_day) == {UNTIL - timedelta(n) for n in range(3)}
        assert max(per_day.values()) <= 5
        assert all(after.started_at - before.ended_at > timedelta(minutes=15) for before, after in pairwise(trips))


def test_every_well_formed_payload_fits_its_contract_in_full():
    deliveries, truth = fleet(5, days=1, until=UNTIL)
    lines = [line for delivery in deliveries for line in delivery.envelopes]
    reasons = Counter(fault_of(line.payload, thin=False)[0] for line in lines)
    assert reasons.pop(None) == truth.lines - truth.malformed_lines
    assert reasons == truth.malformed


def test_every_payload_keeps_the_size_limit_and_survives_its_envelope(generated):
    for delivery in generated[0]:
        for envelope in delivery.envelopes:
            assert len(envelope.payload) <= 102_400
            assert decode(encode(envelope)) == envelope


def test_objects_are_few_and_hold_one_hour_of_one_channel(generated):
    deliveries, _ = generated
    assert len(deliveries) <= 2 * 24 * DAYS
    assert [delivery.at for delivery in deliveries] == sorted(delivery.at for delivery in deliveries)
    assert len({(delivery.channel, f"{delivery.at:%F %H}") for delivery in deliveries}) == len(deliveries)
    for delivery in deliveries:
        received = [instant(envelope.received_at_ms) for envelope in delivery.envelopes]
        assert received == sorted(received)
        assert received[-1] == delivery.at
        assert f"{received[0]:%F %H}" == f"{delivery.at:%F %H}"
        assert all(envelope.topic.endswith(f"/{delivery.channel}") for envelope in delivery.envelopes)


def test_nothing_arrives_or_happens_outside_the_period(generated, recount):
    first, last = UNTIL - timedelta(DAYS - 1), UNTIL
    assert {first, last} <= {delivery.at.date() for delivery in generated[0]}
    assert all(first <= delivery.at.date() <= last for delivery in generated[0])
    assert all(first <= instant(min(times(message))).date() <= last for message in recount.accepted.values())


def test_what_a_cut_off_sender_still_holds_at_the_end_does_not_arrive():
    saturday = date(2025, 12, 6)  # one drive in the morning, then a battery that drains until midnight
    deliveries, truth = fleet(2, days=DAYS, until=saturday)
    assert truth.events["external_drain"] > truth.events["resumed"]
    assert max(delivery.at.date() for delivery in deliveries) == saturday


def test_only_the_telemetry_v0_sender_has_its_vin_in_a_topic(generated):
    deliveries, truth = generated
    senders = Counter(line.topic.split("/")[1] for delivery in deliveries for line in delivery.envelopes)
    assert senders.keys() & truth.trips.keys() == {car.vin for car in truth.cars if car.device_id is None}
    assert senders.keys() == {car.device_id or car.vin for car in truth.cars}


def test_seq_counts_each_boot_of_a_device_without_a_gap(recount):
    counted = defaultdict(set)
    for device_id, boot_id, seq in (key for key in recount.accepted if len(key) == 3):
        counted[device_id, boot_id].add(seq)
    assert len(counted) == 8
    gaps = {boot: max(seqs) + 1 - len(seqs) for boot, seqs in counted.items()}
    assert sum(gaps.values()) <= 10  # the unsynced message, and what a cut-off battery still has in its spool


def test_one_trip_crosses_midnight(generated):
    crossing = [
        trip
        for trips in generated[1].trips.values()
        for trip in trips
        if trip.started_at.date() != trip.ended_at.date()
    ]
    assert len(crossing) == 1


def test_redeliveries_come_in_the_same_object_in_a_later_one_and_on_a_later_day(generated):
    first: dict[tuple[str, bytes], tuple[int, date]] = {}
    seen = Counter()
    for number, delivery in enumerate(generated[0]):
        for line in delivery.envelopes:
            if fault_of(line.payload, thin=True)[0]:
                continue
            place = first.setdefault((line.topic, line.payload), (number, delivery.at.date()))
            same_object, same_day = place[0] == number, place[1] == delivery.at.date()
            seen["same object" if same_object else "same day" if same_day else "later day"] += 1
    assert seen["same day"] >= 3
    assert seen["later day"] >= 3
    assert seen["same object"] > len(first)


def test_a_conflict_comes_in_a_later_object_and_has_the_event_day_of_the_original(generated):
    first: dict[tuple, tuple[int, dict]] = {}
    conflicts = 0
    for number, delivery in enumerate(generated[0]):
        for line in delivery.envelopes:
            reason, message = fault_of(line.payload, thin=True)
            if reason or message.get("clock") == "unsynced":
                continue
            place, original = first.setdefault(identity(message), (number, message))
            if original != message:
                conflicts += 1
                assert number > place
                assert times(message) == times(original)
    assert conflicts == generated[1].conflict_lines == 2


def test_a_signal_without_a_column_is_among_the_traffic(recount):
    names = {name for message in recount.accepted.values() for name in message.get("signals", {})}
    assert names - set(COLUMN_OF_SIGNAL) == {"CARGO_TEMP"}
    assert {"RPM", "SPEED", "ELM_VOLTAGE", "IGNITION", "LATITUDE", "FUEL_LEVEL", "MAF"} <= names


def test_the_weak_battery_alone_reports_low_voltage_and_drain(generated, recount):
    weak = {car.vin for car in generated[1].cars if car.has_weak_battery}
    assert len(weak) == 1
    kinds = ("low_voltage", "external_drain", "resumed")
    for kind in kinds:
        assert {message["vin"] for message in recount.accepted.values() if message.get("type") == kind} == weak


def test_a_resting_car_reports_a_resting_voltage_and_no_engine(generated, recount):
    strong = {car.vin for car in generated[1].cars if not car.has_weak_battery}
    parked = [message for message in recount.accepted.values() if message.get("phase") == "sentinel"]
    assert parked
    for message in parked:
        assert set(message["signals"]) == {"IGNITION", "ELM_VOLTAGE"}
        assert set(message["signals"]["IGNITION"]) == {0}
        if message["vin"] in strong:
            assert all(12.3 <= volts <= 12.8 for volts in message["signals"]["ELM_VOLTAGE"])


@pytest.mark.parametrize(("cars", "days"), [(1, 1), (2, 2), (7, 1), (3, 4)])
def test_smaller_and_larger_fleets_balance_too(cars, days):
    deliveries, truth = fleet(11, cars=cars, days=days, until=UNTIL)
    assert len(truth.trips) == len({car.vin for car in truth.cars}) == cars
    assert sum(len(delivery.envelopes) for delivery in deliveries) == truth.lines


def test_an_empty_fleet_is_refused():
    with pytest.raises(ValueError, match="at least one car and one day"):
        fleet(1, cars=0, until=UNTIL)
