"""What an owner asks the API to erase is gone from the lake and from the database, and the owner is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from smartdrive_dagster.definitions import definitions
from smartdrive_dagster.defs.erase import erasure_sensor
from smartdrive_dagster.defs.erasure import is_genuine
from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.landing.envelope import Envelope
from smartdrive_dagster.landing.store import LandingStore
from smartdrive_dagster.processing import process
from smartdrive_dagster.settings import Settings
from smartdrive_dagster.tables import gold, silver
from tests.messages import ms, telemetry

SECRET = "s" * 32
VINS = ("1M8GDM9AXKP042788", "WVWZZZ1JZXW000001")
GONE, KEPT = (vehicle_id(vin, SECRET.encode()) for vin in VINS)
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def settings(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SMARTDRIVE_SERVING_URL", database)
    monkeypatch.setenv("SMARTDRIVE_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    return Settings(lake_url=str(tmp_path / "lake"), landing_url=str(tmp_path / "landing"))


def sql(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, values)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def drive(settings: Settings) -> None:
    """Both cars make a trip, an hour ago."""
    at = NOW - timedelta(hours=1)
    payloads = [
        telemetry(1, at=at, samples=60, vin=vin, device_id=f"edge-0000{number}", boot_id=f"boot-{number}")
        for number, vin in enumerate(VINS)
    ]
    envelopes = [Envelope("vehicle/x/telemetry", ms(NOW), payload) for payload in payloads]
    LandingStore(settings.landing_url).land("telemetry", envelopes, at=NOW)


def register(url: str) -> str:
    """Both cars are registered, and the first is to be erased; the request's id."""
    account = uuid4()
    sql(
        url,
        "insert into accounts (account_id, email, password_hash, created_at, device_id)"
        " values (%s, 'a@example.org', 'x', now(), 'app-x')",
        account,
    )
    for vin, pseudonym in zip(VINS, (GONE, KEPT), strict=True):
        sql(
            url,
            "insert into vehicles (registration_id, owner_id, vin, vehicle_id, created_at, confirmed_at)"
            " values (%s, %s, %s, %s, now(), now())",
            *(uuid4(), account, vin, pseudonym),
        )
    request = uuid4()
    asked = "insert into serving.erasures (erasure_id, vin, requested_at) values (%s, %s, now())"
    sql(url, asked, request, VINS[0])
    return str(request)


def files_that_name(url: str, *words: str) -> list[str]:
    """Files of this database, and of those that the server shares, in which a word stands."""
    sql(url, "checkpoint")
    ((folder,),) = sql(url, "show data_directory")
    ((oid,),) = sql(url, "select oid::text from pg_database where datname = current_database()")
    places = (Path(folder) / "base" / oid, Path(folder) / "global")
    return [
        str(path)
        for place in places
        for path in place.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]


def look(settings: Settings, instance: dg.DagsterInstance) -> object:
    with dg.build_sensor_context(instance, resources={"lake": LakeResource.of(settings)}) as context:
        (found,) = erasure_sensor(context)
        return found


def test_a_request_is_fulfilled_in_every_store_and_answered(settings: Settings, database: str) -> None:
    drive(settings)
    request = register(database)
    with dg.DagsterInstance.ephemeral() as instance:
        process(settings, instance)
        assert set(sql(database, "select vehicle_id from serving.trips")) == {(GONE,), (KEPT,)}
        sql(database, "analyze")
        assert files_that_name(database, GONE)
        assert files_that_name(database, VINS[0])

        assert isinstance(look(settings, instance), dg.RunRequest)
        job = definitions(settings).resolve_job_def("erase")
        assert job.execute_in_process(instance=instance).success
        assert isinstance(look(settings, instance), dg.SkipReason)
        process(settings, instance)

    lakehouse = Lakehouse(settings.lake_url)
    for table in (silver.TELEMETRY, gold.TRIPS):
        assert set(lakehouse.scan(table).collect()["vehicle_id"]) == {KEPT}
    assert sql(database, "select distinct vehicle_id from serving.trips") == [(KEPT,)]
    assert sql(database, "select vin from vehicles") == [(VINS[1],)]
    assert files_that_name(database, GONE, VINS[0]) == []

    ((vin, finished, receipt),) = sql(
        database, "select vin, finished_at, receipt from serving.erasures where erasure_id = %s", request
    )
    assert vin is None
    assert finished is not None
    told = json.loads(receipt)
    assert is_genuine(told, SECRET.encode())
    assert told["removed"]["api_database"]["registrations"] == 1
    assert GONE not in receipt
    assert VINS[0] not in receipt


def test_a_database_that_is_away_leaves_the_erasure_to_do(
    settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(database)
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions(settings).resolve_job_def("erase")
        monkeypatch.setenv("SMARTDRIVE_SERVING_URL", "postgresql://smartdrive@127.0.0.1:1/nothing")
        assert not job.execute_in_process(instance=instance, raise_on_error=False).success
        monkeypatch.setenv("SMARTDRIVE_SERVING_URL", database)
        assert isinstance(look(settings, instance), (dg.RunRequest, dg.SkipReason))
        assert job.execute_in_process(instance=instance).success
    assert sql(database, "select count(*) from serving.erasures where finished_at is null") == [(0,)]
