"""A vehicle erased: no byte of it is left, nobody else's row changes, and nothing brings it back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import zstandard

from smartdrive_dagster.defs import erasing, erasure
from smartdrive_dagster.defs.erasure import ErasureError, erase_everywhere, is_genuine
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.rebuild import Rebuild
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.domain.erasures import Erased
from smartdrive_dagster.domain.identity import tombstone
from smartdrive_dagster.lake import purging
from smartdrive_dagster.lake.audit import balances, frame_hash
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.lake.retractions import ErasureBegunError, Retractions
from smartdrive_dagster.landing.envelope import Envelope, encode
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import bronze, driving, gold, silver
from tests.byte_scan import found
from tests.comparison import contents, repeated, verdicts
from tests.made_lake import CAR, DAY, OTHER, TODAY, House, copied, filled
from tests.messages import OTHER_VIN, SECRET, START, VIN, correction, event, land, ms, profile, telemetry, weather

STONE = tombstone(CAR, SECRET)
SCAN = {"stored": [{"code": "P0301", "title": "misfire"}], "pending": [], "permanent": []}
AT = START + timedelta(hours=6)


def fill(root: Path) -> House:
    """Two cars, and all ways in which one of them may be named."""
    house = filled(root)
    store = house.store
    for number, vin in enumerate((VIN, OTHER_VIN)):
        land(store, event(80, at=START, vin=vin, type_="dtc_scan", detail=SCAN, device_id=f"scan-{number}"), at=AT)
        land(store, profile(vin=vin, name="A car"), at=AT + timedelta(minutes=1), channel="profiles")
        land(store, weather(vin=vin), at=AT, channel="weather")
        land(store, correction(vin=vin, until=START + timedelta(hours=1)), at=AT, channel="corrections")
    by_id = json.dumps({"schema": "profile.v1", "vehicle_id": CAR, "set_at": ms(START), "name": "Mine"})
    land(store, by_id.encode(), at=AT, channel="profiles")
    unsynced = telemetry(10, clock="unsynced")
    lines = [
        b'{"vin": "%s", broken' % VIN.encode(),
        b"nobody's line \xff",
        encode(Envelope(f"vehicle/{VIN}/telemetry", ms(AT), b"\xff" + unsynced)),
        encode(Envelope("vehicle/x/telemetry", ms(AT), unsynced)),
        b'{"topic": "t", "received_at": 1, "payload_b64": "%s' % base64.b64encode(unsynced),
        encode(Envelope("vehicle/x/telemetry", ms(AT), telemetry(12, vin=OTHER_VIN, device_id="edge-2"))),
    ]
    body = zstandard.ZstdCompressor().compress(b"\n".join(lines))
    store.put(f"telemetry/dt={AT:%Y-%m-%d}/hr=15/mixed.jsonl.zst", body)
    house.ingest()
    house.compute()
    return house


def mix_up(house: House) -> None:
    """A device that was moved to the other car, and one that goes by the first car's VIN."""
    land(house.store, telemetry(9, device_id="moved"), at=AT)
    land(house.store, telemetry(9, device_id="moved", vin=OTHER_VIN), at=AT + timedelta(minutes=1))
    land(house.store, telemetry(11, device_id=VIN, vin=OTHER_VIN), at=AT + timedelta(minutes=2))
    house.ingest()
    house.compute()
    assert verdicts(house.lakehouse)["conflict"] == 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(fill(tmp_path_factory.mktemp("made")).root)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as on_disk:
        yield on_disk


@pytest.fixture
def home(made: Path, tmp_path: Path) -> House:
    return copied(made, str(tmp_path / "home"))


def retractions(house: House) -> Retractions:
    return Retractions(Lakehouse(house.settings.state_url))


def request(house: House) -> None:
    retractions(house).mark({STONE}, "requested", at=AT)


def ingestion(house: House) -> Ingestion:
    state = retractions(house)
    lakehouse = state.lakehouse(house.lakehouse.url)
    return Ingestion(lakehouse, house.store, SECRET, state.keys(), Erased(SECRET, state.vehicles()))


def ingest(house: House) -> None:
    taken = ingestion(house)
    for day in sorted({entry.landing_date for entry in house.store.list().objects}):
        while taken.advance(day, Progress()):
            pass


def rows_of_the_other(house: House) -> dict[str, str]:
    """Row hashes of the vehicle that stays, by table; and of the lines that name none."""
    hashes = {}
    for table in readable_tables():
        if "vehicle_id" in table.by_name:
            its = pl.col("vehicle_id") == OTHER
            hashes[str(table)] = frame_hash(table, house.lakehouse.scan(table).filter(its))
    return hashes


def assert_gone(house: House, instance: dg.DagsterInstance) -> None:
    places = [house.root, house.settings.state_url, instance.root_directory]
    assert found(*places) == []
    assert balances(house.lakehouse).close
    assert repeated(house.lakehouse) == {}


def test_no_byte_is_left_and_nobody_elses_rows_change(
    root: str, made: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    monkeypatch.setenv("SMARTDRIVE_STATE_URL", f"{root}/state")
    house = copied(made, root)
    assert len(found(house.root)) > 20
    before, counted = rows_of_the_other(house), balances(house.lakehouse)
    keys = [entry.key for entry in house.store.list().objects]
    request(house)
    erase_everywhere(house.settings, instance)
    assert_gone(house, instance)
    assert rows_of_the_other(house) == before
    assert [entry.key for entry in house.store.list().objects] == keys
    now = balances(house.lakehouse)
    assert (now.objects, now.lines) == (counted.objects, counted.lines)
    assert now.verdicts == {"accepted": 7, "duplicate": 1, "erased": 15, "quarantined": 3}


def test_a_rebuild_from_what_is_left_gives_equal_rows(home: House, instance: dg.DagsterInstance) -> None:
    mix_up(home)
    request(home)
    erase_everywhere(home.settings, instance)
    assert_gone(home, instance)
    home.compute()  # the other car's message, which had been in conflict
    moved = home.lakehouse.scan(silver.TELEMETRY).filter(pl.col("device_id") == "moved").collect()
    assert set(moved.get_column("vehicle_id")) == {OTHER}
    new = Lakehouse(f"{home.root}/new")
    rebuild = Rebuild(home.lakehouse, new, home.store, SECRET, home.known(), TODAY)
    for day in rebuild.objects():
        list(rebuild.take_in(day))
    list(rebuild.compute())
    assert {entry.table: entry.is_equal for entry in rebuild.compare() if not entry.is_equal} == {}
    assert contents(new, (bronze.OBJECTS,)) == contents(home.lakehouse, (bronze.OBJECTS,))


def test_where_landing_has_expired_bronze_is_erased_and_a_rebuild_gives_equal_rows(
    home: House, instance: dg.DagsterInstance
) -> None:
    for entry in home.store.list().objects[::2]:
        home.store.delete(entry.key)
    request(home)
    erase_everywhere(home.settings, instance)
    assert_gone(home, instance)
    new = Lakehouse(f"{home.root}/new")
    rebuild = Rebuild(home.lakehouse, new, home.store, SECRET, home.known(), TODAY)
    for day in rebuild.objects():
        list(rebuild.take_in(day))
    list(rebuild.compute())
    assert {entry.table for entry in rebuild.compare() if not entry.is_equal} == set()


def test_an_old_copy_that_lands_again_leaves_only_counted_stubs(home: House, instance: dg.DagsterInstance) -> None:
    copies = {entry.key: b"".join(home.store.read(entry.key)) for entry in home.store.list().objects}
    request(home)
    erase_everywhere(home.settings, instance)
    before, lines = rows_of_the_other(home), verdicts(home.lakehouse)["erased"]
    for key, body in copies.items():
        home.store.put(key.replace(".jsonl", "-again.jsonl"), body)
    ingest(home)
    home.compute()
    assert_gone(home, instance)
    assert verdicts(home.lakehouse)["erased"] == 2 * lines
    silver_only = {name: value for name, value in before.items() if name.startswith("silver")}
    after = rows_of_the_other(home)
    assert {name: after[name] for name in silver_only} == silver_only


def test_the_receipt_is_signed_and_names_nobody(home: House, instance: dg.DagsterInstance) -> None:
    request(home)
    place = erase_everywhere(home.settings, instance)
    receipt = json.loads(Path(str(place)).read_bytes())
    assert receipt["tombstones"] == [STONE]
    assert receipt["removed"]["landing"]["lines"] == 15
    assert receipt["removed"]["silver.telemetry"]["rows"] == 240
    assert receipt["removed"]["silver.telemetry"]["version"] == home.lakehouse.open(silver.TELEMETRY).version
    assert receipt["left"] == []
    assert is_genuine(receipt, SECRET)
    assert not is_genuine(receipt | {"left": ["?"]}, SECRET)
    assert not is_genuine(receipt, SECRET[::-1])
    assert VIN not in str(receipt)
    assert CAR not in str(receipt)
    assert erase_everywhere(home.settings, instance) is None


def test_maintenance_time_travel_and_duckdb_go_on_with_a_purged_table(
    home: House, instance: dg.DagsterInstance
) -> None:
    first = home.lakehouse.open(silver.TELEMETRY).committed_at()
    request(home)
    erase_everywhere(home.settings, instance)
    with pytest.raises(ValueError, match="no longer known"):
        home.lakehouse.open(silver.TELEMETRY, as_of=first)
    home.drive(50, START + timedelta(hours=5), OTHER_VIN)
    ingest(home)
    home.compute()
    for table in readable_tables():
        rows = home.lakehouse.open(table).count()
        home.lakehouse.maintain(table)
        assert home.lakehouse.scan(table).select(pl.len()).collect().item() == rows
    assert home.lakehouse.open(gold.TRIPS).committed_at() is not None


KILLED: tuple[tuple[Any, str], ...] = (
    (LandingStore, "replace"),
    (Lakehouse, "_try_write"),
    (Lakehouse, "delete"),
    (purging, "remove_files"),
    (purging, "_seal"),
    (Retractions, "mark"),
    (erasing, "_renew_objects"),
    (erasure, "remove_folder"),
)


def test_a_kill_between_any_two_steps_is_mended_by_running_it_again(
    home: House, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kill comes some steps further on than the last, over what that one has left."""
    before = rows_of_the_other(home)
    request(home)
    steps, alive = [0], [0]

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def step(*given: object, **options: object) -> object:
            steps[0] += 1
            if steps[0] > alive[0]:
                raise KeyboardInterrupt
            return function(*given, **options)

        return step

    with monkeypatch.context() as patch:
        for owner, name in KILLED:
            patch.setattr(owner, name, dying(getattr(owner, name)))
        for number in range(200):
            steps[0], alive[0] = 0, 1 + 6 * number
            try:
                assert erase_everywhere(home.settings, instance) is not None
            except KeyboardInterrupt:
                continue
            break
    assert number > 8
    assert_gone(home, instance)
    assert rows_of_the_other(home) == before
    assert retractions(home).pending() == {}


def test_what_was_begun_before_an_erasure_writes_no_more(home: House, instance: dg.DagsterInstance) -> None:
    home.drive(60, START + timedelta(hours=7))
    late = ingestion(home)
    steps = late.unread(DAY, Progress())
    batch = next(steps)
    stale = retractions(home).lakehouse(home.lakehouse.url)
    trips = home.known()[str(driving.INCIDENTS)].computation
    request(home)
    erase_everywhere(home.settings, instance)
    with pytest.raises(ErasureBegunError):
        late.to_bronze(batch, Progress())
    with pytest.raises(ErasureBegunError):
        list(recompute(stale, trips, [DAY], home.settings, redo=True, until=TODAY))
    ingest(home)
    assert_gone(home, instance)


def test_the_orchestrators_own_storage_is_overwritten(home: House, instance: dg.DagsterInstance) -> None:
    @dg.op
    def careless(context: dg.OpExecutionContext) -> None:
        context.log.info(f"what about {VIN}?")
        raise ValueError(f"odd row of {CAR}")

    @dg.job
    def job() -> None:
        careless()

    done = job.execute_in_process(instance=instance, tags={"vehicle": VIN}, raise_on_error=False)
    log = Path(instance.root_directory, "storage", "printed.out")
    log.write_text(f"about {VIN}\n")
    assert len(found(instance.root_directory)) >= 3
    request(home)
    erase_everywhere(home.settings, instance)
    assert found(instance.root_directory) == []
    assert log.read_text() == f"about {'x' * 17}\n"
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.tags["vehicle"] == "x" * 17
    assert any("what about" in event.message for event in instance.all_logs(done.run_id))


def test_what_was_told_of_the_vehicle_and_copies_of_the_lake_go_too(
    home: House, instance: dg.DagsterInstance
) -> None:
    home.diff()
    Path(f"{home.root}/lake.before-20251201T000000Z/silver").mkdir(parents=True)
    Path(f"{home.root}/lake.before-20251201T000000Z/silver/x.json").write_text(VIN)
    request(home)
    place = erase_everywhere(home.settings, instance)
    beside = json.loads(Path(str(place)).read_bytes())["removed"]["beside"]
    assert beside["other_lakes"] == 1
    assert beside["shadow_files"] > 3
    assert_gone(home, instance)


def test_an_object_whose_key_names_the_vehicle_is_refused_with_what_to_do(
    home: House, instance: dg.DagsterInstance
) -> None:
    land(home.store, telemetry(70), name=f"of-{VIN}", at=AT)
    request(home)
    with pytest.raises(ErasureError, match="in their keys") as refused:
        erase_everywhere(home.settings, instance)
    assert VIN not in str(refused.value)
