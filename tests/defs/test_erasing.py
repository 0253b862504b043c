"""A vehicle erased: no byte of it is left, nobody else's row changes, and nothing brings it back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa
import zstandard

from smartdrive_dagster.alerting.outbox import Outbox
from smartdrive_dagster.defs import erasing, erasure
from smartdrive_dagster.defs.backfill import Recomputation, bring_up_to_date
from smartdrive_dagster.defs.computations import computations
from smartdrive_dagster.defs.erase import erasure_sensor
from smartdrive_dagster.defs.erasing_dagster import erase_orchestrator, overwrite_values
from smartdrive_dagster.defs.erasure import ErasureError, erase_everywhere, is_genuine
from smartdrive_dagster.defs.ingestion import Ingestion, Progress
from smartdrive_dagster.defs.rebuild import Rebuild
from smartdrive_dagster.defs.recomputation import recompute
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.domain.erasures import Erased
from smartdrive_dagster.domain.identity import tombstone
from smartdrive_dagster.lake import purging
from smartdrive_dagster.lake.audit import balances, frame_hash
from smartdrive_dagster.lake.duck import borrowed
from smartdrive_dagster.lake.lakehouse import Lakehouse, Snapshot
from smartdrive_dagster.lake.retractions import ErasureBegunError, Retractions
from smartdrive_dagster.landing.envelope import Envelope, encode
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.tables import ALL, Days, alerts, bronze, driving, gold, silver
from tests.byte_scan import found
from tests.comparison import contents, repeated, verdicts
from tests.conftest import RowsOf
from tests.made_lake import CAR, DAY, OTHER, TODAY, House, copied
from tests.messages import OTHER_VIN, SECRET, START, VIN, correction, event, land, ms, profile, telemetry, weather
from tests.object_store import fresh_bucket

STONE = tombstone(CAR, SECRET)
SCAN = {"stored": [{"code": "P0301", "title": "misfire"}], "pending": [], "permanent": []}
AT = START + timedelta(hours=6)
SOME = ("gold.trips", "marts.data_quality")


def fill(root: Path) -> House:
    """Two cars, and all ways in which one of them may be named."""
    house = House(root)
    store = house.store
    for number, day in enumerate((DAY, DAY + timedelta(1))):
        house.drive(10 * number, START + (day - DAY))
        house.drive(10 * number + 1, START + (day - DAY) + timedelta(seconds=460))
    house.drive(5, START + timedelta(hours=3), OTHER_VIN)
    house.drive(5, START + timedelta(hours=3), OTHER_VIN)
    store.put(f"telemetry/dt={DAY}/hr=09/broken.jsonl.gz", b"\x1f\x8bno gzip")
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
    return house


def known(house: House) -> dict[str, Recomputation]:
    """How some tables are computed: what is erased of one is erased of all."""
    return {name: house.known()[name] for name in SOME}


def compute(house: House) -> None:
    list(bring_up_to_date(house.lakehouse, known(house), until=TODAY))


def mix_up(house: House) -> None:
    """A device that was moved to the other car, and one that goes by the first car's VIN."""
    land(house.store, telemetry(9, device_id="moved"), at=AT)
    land(house.store, telemetry(9, device_id="moved", vin=OTHER_VIN), at=AT + timedelta(minutes=1))
    land(house.store, telemetry(11, device_id=VIN, vin=OTHER_VIN), at=AT + timedelta(minutes=2))
    house.ingest()
    assert verdicts(house.lakehouse)["conflict"] == 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bronze and Silver; Gold is made where a test is about it."""
    return Path(fill(tmp_path_factory.mktemp("made")).root)


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as on_disk:
        yield on_disk


@pytest.fixture
def home(made: Path, tmp_path: Path) -> House:
    return copied(made, str(tmp_path / "home"))


def retractions(house: House) -> Retractions:
    return Retractions(Lakehouse(house.settings.state_url))


def ask(house: House) -> None:
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
    """Row hashes of the vehicle that stays, by table."""
    its = pl.col("vehicle_id") == OTHER
    tables = [table for table in (*ALL, *computations()) if "vehicle_id" in table.by_name]
    return {str(table): frame_hash(table, house.lakehouse.scan(table).filter(its)) for table in tables}


def assert_closed(house: House) -> None:
    assert found(house.root, house.settings.state_url) == []
    assert balances(house.lakehouse).close
    assert repeated(house.lakehouse) == {}


def rebuilt(house: House) -> Lakehouse:
    """A lake made anew of what is left; its rows are equal."""
    new = Lakehouse(f"{house.root}/new")
    state = retractions(house)
    erased = Erased(SECRET, state.vehicles())
    rebuild = Rebuild(house.lakehouse, new, house.store, SECRET, known(house), TODAY, state.keys(), erased)
    for day in rebuild.objects():
        list(rebuild.take_in(day))
    list(rebuild.compute())
    assert {entry.table for entry in rebuild.compare() if not entry.is_equal} == set()
    assert contents(new, (bronze.OBJECTS,)) == contents(house.lakehouse, (bronze.OBJECTS,))
    return new


def test_no_byte_is_left_nobody_elses_rows_change_and_a_receipt_says_so(
    home: House, instance: dg.DagsterInstance
) -> None:
    house = home
    compute(house)
    assert len(found(house.root)) > 20
    before, counted = rows_of_the_other(house), balances(house.lakehouse)
    keys = [entry.key for entry in house.store.list().objects]
    ask(house)
    place = erase_everywhere(house.settings, instance)
    assert_closed(house)
    assert rows_of_the_other(house) == before
    assert [entry.key for entry in house.store.list().objects] == keys
    now = balances(house.lakehouse)
    assert (now.objects, now.lines) == (counted.objects, counted.lines)
    assert now.verdicts == {"accepted": 6, "duplicate": 1, "erased": 13, "quarantined": 2}
    receipt = json.loads(Path(str(place)).read_bytes())
    assert receipt["tombstones"] == [STONE]
    assert receipt["removed"]["landing"]["lines"] == 13
    assert receipt["removed"]["silver.telemetry"]["rows"] == 240
    assert receipt["removed"]["silver.telemetry"]["version"] == house.lakehouse.open(silver.TELEMETRY).version
    assert receipt["left"] == []
    assert is_genuine(receipt, SECRET)
    assert not is_genuine(receipt | {"left": ["?"]}, SECRET)
    assert not is_genuine(receipt, SECRET[::-1])
    assert erase_everywhere(house.settings, instance) is None


def test_shadows_and_older_versions_go_from_the_bucket_of_each_layer(
    s3_endpoint: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, client = fresh_bucket(s3_endpoint), boto3.client("s3")
    name = root.split("/")[2]
    monkeypatch.setenv("SMARTDRIVE_STATE_URL", f"{root}/state")
    house = House(root, lake=f"s3://{name}-{{layer}}/lake")
    for layer in ("bronze", "silver", "gold", "marts"):
        client.create_bucket(
            Bucket=f"{name}-{layer}", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        client.put_bucket_versioning(Bucket=f"{name}-{layer}", VersioningConfiguration={"Status": "Enabled"})
    land(house.store, telemetry(1), telemetry(2, vin=OTHER_VIN))
    house.ingest()
    client.put_object(Bucket=f"{name}-gold", Key="lake/shadow/gold/trips/x.json", Body=VIN)
    before = rows_of_the_other(house)
    ask(house)
    erase_everywhere(house.settings, instance)
    for layer in ("bronze", "silver", "gold", "marts"):
        listed = client.list_object_versions(Bucket=f"{name}-{layer}")
        bodies = [
            client.get_object(Bucket=f"{name}-{layer}", Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            for one in listed.get("Versions", [])
        ]
        assert not [body for body in bodies if VIN.encode() in body]
        assert all(one["IsLatest"] for one in listed.get("Versions", []))
    assert rows_of_the_other(house) == before


def test_versions_in_a_bucket_go_too(
    s3_endpoint: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fresh_bucket(s3_endpoint)
    client, bucket = boto3.client("s3"), root.split("/")[2]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    monkeypatch.setenv("SMARTDRIVE_STATE_URL", f"{root}/state")
    house = House(root)
    land(house.store, telemetry(1), telemetry(2, vin=OTHER_VIN))
    gone = land(house.store, telemetry(3), at=AT)
    house.ingest()
    client.delete_object(Bucket=bucket, Key=f"home/landing/{gone.key}")
    client.put_object(Bucket=bucket, Key="home/lake/shadow/gold/trips/x.json", Body=VIN)
    client.delete_object(Bucket=bucket, Key="home/lake/shadow/gold/trips/x.json")
    before = rows_of_the_other(house)
    ask(house)
    place = erase_everywhere(house.settings, instance)
    assert str(place).startswith(f"{root}/state/receipts/")
    assert_closed(house)
    assert rows_of_the_other(house) == before
    assert verdicts(house.lakehouse) == {"accepted": 1, "erased": 2}


def test_a_rebuild_gives_equal_rows_though_half_of_landing_has_expired_and_devices_moved(
    home: House, instance: dg.DagsterInstance
) -> None:
    mix_up(home)
    compute(home)
    for entry in home.store.list().objects[::2]:
        home.store.delete(entry.key)
    ask(home)
    erase_everywhere(home.settings, instance)
    assert_closed(home)
    compute(home)  # the other car's message, which had been in conflict
    moved = home.lakehouse.scan(silver.TELEMETRY).filter(pl.col("device_id") == "moved").collect()
    assert set(moved.get_column("vehicle_id")) == {OTHER}
    assert found(str(rebuilt(home).url)) == []


def test_an_old_copy_that_lands_again_leaves_only_counted_stubs(home: House, instance: dg.DagsterInstance) -> None:
    copies = {entry.key: b"".join(home.store.read(entry.key)) for entry in home.store.list().objects}
    ask(home)
    erase_everywhere(home.settings, instance)
    before, lines = rows_of_the_other(home), verdicts(home.lakehouse)["erased"]
    for key, body in copies.items():
        home.store.put(key.replace(".jsonl", "-again.jsonl"), body)
    ingest(home)
    assert_closed(home)
    assert verdicts(home.lakehouse)["erased"] == 2 * lines
    after = rows_of_the_other(home)
    assert after == before


def test_maintenance_and_time_travel_go_on_with_a_purged_table(home: House) -> None:
    home.gold_trips(300.0)
    first = home.lakehouse.open(silver.TELEMETRY).committed_at()
    for table in (silver.TELEMETRY, silver.MESSAGES, gold.TRIPS):
        purging.purge(home.lakehouse, table)
    with pytest.raises(ValueError, match="no longer known"):
        home.lakehouse.open(silver.TELEMETRY, as_of=first)
    home.drive(50, START + timedelta(hours=5), OTHER_VIN)
    home.ingest()
    home.gold_trips(300.0)
    for table in (silver.TELEMETRY, silver.MESSAGES, gold.TRIPS):
        rows = home.lakehouse.open(table).count()
        home.lakehouse.maintain(table)
        assert home.lakehouse.scan(table).select(pl.len()).collect().item() == rows
    with borrowed(home.lakehouse, time_zone="UTC", tables=(gold.TRIPS,)) as connection:
        assert connection.sql("select count(*) from gold.trips").fetchone() == (rows,)
    assert balances(home.lakehouse).close


@pytest.mark.parametrize("step", [purging.fence, purging.purge])
def test_a_commit_that_was_begun_before_a_purge_fails_and_is_decided_anew(
    home: House, step: Callable[..., object]
) -> None:
    home.gold_trips(300.0)
    looks = []

    def rows(snapshot: Snapshot) -> pl.DataFrame:
        looks.append(snapshot.version)
        if len(looks) == 1:
            step(home.lakehouse, gold.TRIPS)
        return snapshot.rows().head(1).collect().with_columns(trip_id=pl.lit("new"))

    home.lakehouse.append_once(gold.TRIPS, rows)
    assert len(looks) == 2
    assert home.lakehouse.scan(gold.TRIPS).collect().height == home.lakehouse.open(gold.TRIPS).count()


KILLED: tuple[tuple[Any, str], ...] = (
    (LandingStore, "replace"),
    (Lakehouse, "_try_write"),
    (Lakehouse, "delete"),
    (purging, "remove_files"),
    (Retractions, "mark"),
    (erasing, "_renew_objects"),
    (erasure, "remove_folder"),
)


def test_a_kill_between_any_two_steps_is_mended_by_running_it_again(
    home: House, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kill comes some steps further on than the last, over what that one has left."""
    before = rows_of_the_other(home)
    ask(home)
    left = [0]

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def step(*given: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return function(*given, **options)

        return step

    kills = 0
    with monkeypatch.context() as patch:
        for owner, name in KILLED:
            patch.setattr(owner, name, dying(getattr(owner, name)))
        for kills in range(100):
            left[0] = 2 + 5 * kills
            try:
                assert erase_everywhere(home.settings, instance) is not None
            except KeyboardInterrupt:
                continue
            break
    assert kills > 4
    assert_closed(home)
    assert rows_of_the_other(home) == before
    assert retractions(home).pending() == {}


def test_what_was_begun_before_an_erasure_writes_no_more(home: House) -> None:
    home.drive(60, START + timedelta(hours=7))
    late, progress = ingestion(home), Progress()
    batch = next(late.unread(DAY, progress))
    stale = retractions(home).lakehouse(home.lakehouse.url)
    incidents = home.known()[str(driving.INCIDENTS)].computation
    ask(home)
    with pytest.raises(ErasureBegunError):
        late.to_bronze(batch, progress)
    with pytest.raises(ErasureBegunError):
        list(recompute(stale, incidents, [DAY], home.settings, redo=True, until=TODAY))
    objects = home.lakehouse.open(bronze.OBJECTS).count()
    ingest(home)
    assert home.lakehouse.open(bronze.OBJECTS).count() == objects + 1
    assert verdicts(home.lakehouse)["erased"] == 1


def test_a_run_is_asked_for_as_long_as_an_erasure_is_not_done(home: House, instance: dg.DagsterInstance) -> None:
    def asked() -> int:
        context = dg.build_sensor_context(instance, resources={"lake": LakeResource.of(home.settings)})
        return len(erasure_sensor.evaluate_tick(context).run_requests or ())

    assert asked() == 0
    ask(home)
    assert asked() == 1
    retractions(home).mark({STONE}, "done", at=AT + timedelta(1))
    assert asked() == 0


def test_the_orchestrators_own_storage_is_overwritten(instance: dg.DagsterInstance) -> None:
    @dg.op
    def careless(context) -> None:  # type: ignore[no-untyped-def] # Dagster refuses a postponed annotation
        context.log.info(f"what about {VIN}?")
        raise ValueError(f"odd row of {CAR}")

    @dg.job
    def job() -> None:
        careless()

    done = job.execute_in_process(instance=instance, tags={"vehicle": VIN}, raise_on_error=False)
    log = Path(instance.root_directory, "storage", "printed.out")
    log.write_text(f"about {VIN}\n")
    assert len(found(instance.root_directory)) >= 3
    counts = erase_orchestrator(instance, Erased(SECRET, frozenset({STONE})))
    assert counts["files_overwritten"] >= 3
    assert found(instance.root_directory) == []
    assert log.read_text() == f"about {'x' * 17}\n"
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.tags["vehicle"] == "x" * 17
    assert any("what about" in event.message for event in instance.all_logs(done.run_id))


def test_a_database_on_a_server_is_overwritten_value_by_value(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/dagster.db")  # its statements are those of PostgreSQL too
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE runs (id INTEGER PRIMARY KEY, run_body TEXT, note VARCHAR(99))"))
        rows = [{"body": f'{{"of": "{VIN}", "and": "{CAR}"}}'}, {"body": None}, {"body": OTHER}]
        connection.execute(sa.text("INSERT INTO runs (run_body) VALUES (:body)"), rows)
    assert overwrite_values(engine.begin, Erased(SECRET, frozenset({STONE}))) == 2
    with engine.connect() as connection:
        held = connection.execute(sa.text("SELECT run_body FROM runs ORDER BY id")).scalars().all()
    assert held == [f'{{"of": "{"x" * 17}", "and": "{"x" * 26}"}}', None, OTHER]


def test_what_was_told_of_the_vehicle_and_copies_of_the_lake_go_too(
    home: House, instance: dg.DagsterInstance, rows_of: RowsOf
) -> None:
    rows = rows_of(alerts.ALERTS, {"alert_id": "a", "vehicle_id": CAR}, {"alert_id": "b", "vehicle_id": OTHER})
    home.lakehouse.append_once(alerts.ALERTS, lambda _: rows)
    outbox = Outbox(Lakehouse(home.settings.state_url))
    outbox.suppress(["a", "b"], now=AT)
    home.gold_trips(300.0)
    home.diff(days=Days(DAY, DAY))
    before = Path(f"{home.root}/lake.before-20251201T000000Z")
    before.mkdir()
    (before / "x.json").write_text(VIN)
    ask(home)
    receipt = json.loads(Path(str(erase_everywhere(home.settings, instance))).read_bytes())
    assert receipt["removed"]["beside"]["other_lakes"] == 1
    assert receipt["removed"]["beside"]["shadow_files"] > 3
    assert receipt["removed"]["outbox.notifications"]["rows"] == 1
    assert outbox.states().get_column("episode_id").to_list() == ["b"]
    assert_closed(home)


def test_an_object_whose_key_names_the_vehicle_is_refused_with_what_to_do(
    home: House, instance: dg.DagsterInstance
) -> None:
    land(home.store, telemetry(70), name=f"of-{VIN}", at=AT)
    ask(home)
    with pytest.raises(ErasureError, match="in their keys") as refused:
        erase_everywhere(home.settings, instance)
    assert VIN not in str(refused.value)
