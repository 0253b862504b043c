"""Certificates as the API issues them over what the lake published, checked by `smartdrive verify`."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from pyhanko.pdf_utils import embed, generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from smartdrive_api.certificates.authority import Authority, AuthorityStore
from smartdrive_api.certificates.content import evaluated
from smartdrive_api.certificates.contract import canonical
from smartdrive_api.certificates.contract import contract as issuers_contract
from smartdrive_api.certificates.pages import rendered
from smartdrive_api.certificates.signing import signed
from smartdrive_api.database import connect
from smartdrive_api.migrations import upgrade
from smartdrive_api.settings import Settings as ApiSettings
from smartdrive_api.vehicles import garage
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from api.tests.calling import Api
from smartdrive_dagster.certificates.contract import CertificateError, contract, read
from smartdrive_dagster.certificates.figures import differences
from smartdrive_dagster.certificates.rows import compare
from smartdrive_dagster.certificates.signature import genuine
from smartdrive_dagster.cli import app
from smartdrive_dagster.domain.identity import vehicle_id
from smartdrive_dagster.lake.lakehouse import Lakehouse
from smartdrive_dagster.lake.models import readable_tables
from smartdrive_dagster.serving.database import serving
from smartdrive_dagster.serving.publishing import publish
from smartdrive_dagster.tables import Table, silver
from tests.conftest import RowsOf

VIN = "1M8GDM9AXKP042788"
SECRET = "a secret of a lake for tests"
CAR = vehicle_id(VIN, SECRET.encode())
FIRST = date(2025, 6, 2)
DAYS = [FIRST + timedelta(days=number) for number in range(12)]
NAME = "certificate.json"
CHANGED = ("figures", "distance_by_month", "rows", "digest")


def rows() -> dict[str, list[dict[str, Any]]]:
    """Of the lake, by table: of the car, and of another on the same days."""
    return {
        "gold.trips": [
            {
                "trip_id": f"{car[:4]}{day.day:02}",
                "vehicle_id": car,
                "event_date": day,
                "started_at": datetime(day.year, day.month, day.day, 8, tzinfo=UTC),
                "ended_at": datetime(day.year, day.month, day.day, 9, tzinfo=UTC),
                "duration_s": 3600.0,
                "distance_km": 10.1 + day.day / 7,
                "distance_method": "speed",
                "algo_version": "2",
            }
            for car in (CAR, "b" * 26)
            for day in DAYS
        ],
        "gold.battery_health": [
            {
                "vehicle_id": CAR,
                "event_date": day,
                "status": "ok",
                "cranks": 3,
                "soh_pct": 91.5,
                "soh_low_pct": 85.0,
            }
            for day in DAYS
        ],
        "gold.dtc_episodes": [
            {
                "episode_id": "e1",
                "vehicle_id": CAR,
                "event_date": FIRST,
                "opened_at": datetime(2025, 6, 2, 23, 59, tzinfo=UTC),
                "last_seen_at": datetime(2025, 6, 3, 0, 1, tzinfo=UTC),
                "dtc_code": "P0171",
                "title": "too lean\0",
                "severity": "warning",
                "status": "stored",
                "is_open": True,
            }
        ],
        "marts.vehicle_daily": [{"vehicle_id": CAR, "local_date": day, "trips": 1} for day in DAYS],
        "marts.driver_scores": [
            {
                "vehicle_id": CAR,
                "week_start_date": FIRST,
                "status": "scored",
                "score": 81.25,
                "distance_km": 77.0,
                "trips": 7,
            }
        ],
    }


class Road:
    """A lake, the database that it publishes to, and the API on it, from which the owner has a certificate."""

    def __init__(self, root: Path, url: str, rows_of: RowsOf) -> None:
        self.root, self.url, self.rows_of = root, url, rows_of
        self.tables: dict[str, Table] = {str(table): table for table in readable_tables()}
        self.lakehouse = Lakehouse(str(root / "lake"))
        self.engine: Engine = connect(url)
        upgrade(self.engine)
        self.batch = 0
        for name, given in rows().items():
            self.write(name, given)
        self.lakehouse.append_once(silver.MESSAGES, lambda _: rows_of(silver.MESSAGES, {}))
        self.publish()
        settings = ApiSettings(
            issuer="https://api.test",
            signing_keys=SecretStr(f"file:{root}/keys.json"),
            certificate_authority=SecretStr(f"file:{root}/authority.json"),
            lake_secret=SecretStr(SECRET),
            argon2_time_cost=1,
            argon2_memory_kib=8,
        )
        self.api = Api(settings, self.engine)
        owner = self.api.person("mira@example.org")
        made = self.api.post("/v1/vehicles", {"vin": VIN}, owner).json()["id"]
        with self.engine.begin() as connection:
            garage.confirm(connection, UUID(made), self.api.clock())
        answer = self.api.client.get(f"/v1/vehicles/{made}/certificate", headers=owner.headers)
        assert answer.status_code == 200, answer.text
        self.pdf = answer.content
        self.authority: Authority = self.api.services.authority.authority()
        self.said = json.loads(self.attached(self.pdf))

    def write(self, name: str, given: list[dict[str, Any]]) -> None:
        """Replace the days of some rows."""
        table = self.tables[name]
        frame = self.rows_of(table, *given)
        self.batch += 1
        self.lakehouse.replace_days(
            table, lambda _: frame, frame.get_column(table.partition_by or "").unique(), batch=self.batch
        )

    def publish(self) -> None:
        with serving(self.url) as database:
            for name in rows():
                publish(database, self.lakehouse, self.tables[name])

    def attached(self, pdf: bytes, authority: Authority | None = None, **later: float) -> bytes:
        pem = (authority or self.authority).pem.encode()
        return genuine(pdf, pem, NAME, datetime.now(UTC) + timedelta(**later))

    def reissued(self, said: dict[str, Any], authority: Authority | None = None, name: str = NAME) -> bytes:
        """A certificate as other software with the authority's key could make it."""
        now = datetime.now(UTC)
        pages = rendered(issuers_contract(), said, "f")
        return signed(
            pages,
            canonical(said),
            authority or self.authority,
            name=name,
            number=uuid4(),
            now=now,
            until=now + timedelta(days=365),
        )

    def resaid(self, change: Callable[[dict[str, Any]], None], *, evaluate: bool) -> dict[str, Any]:
        """What the certificate says, changed; with digest and, on request, figures to match."""
        said: dict[str, Any] = json.loads(json.dumps(self.said))
        change(said)
        said["digest"] = hashlib.sha256(canonical(said["rows"])).hexdigest()
        if evaluate:
            with self.engine.connect() as connection:
                said["figures"], said["distance_by_month"] = evaluated(
                    connection, issuers_contract(), said["rows"]
                )
        return said

    def verify(self, pdf: bytes, *options: str) -> Result:
        file, pem = self.root / "c.pdf", self.root / "authority.pem"
        file.write_bytes(pdf)
        pem.write_text(self.authority.pem)
        return CliRunner().invoke(app, ["verify", str(file), "--authority", str(pem), *options])


@pytest.fixture(scope="module")
def road(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Callable[[], str], rows_of: RowsOf
) -> Iterator[Road]:
    made = Road(tmp_path_factory.mktemp("road"), empty_database(), rows_of)
    yield made
    made.engine.dispose()


@pytest.fixture
def home(road: Road, monkeypatch: pytest.MonkeyPatch) -> Road:
    """Where the lake lies, for the command."""
    monkeypatch.setenv("SMARTDRIVE_LAKE_URL", road.lakehouse.url)
    monkeypatch.setenv("SMARTDRIVE_SECRET", SECRET)
    return road


def test_a_certificate_is_good_and_its_rows_are_the_lakes(home: Road) -> None:
    done = home.verify(home.pdf, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["is_good"], told["vin"], told["differences"]) == (True, VIN, [])
    assert told["lake"] == {
        "marts.vehicle_daily": {"same": 12},
        "gold.trips": {"same": 12},
        "gold.battery_health": {"same": 12},
        "marts.driver_scores": {"same": 1},
        "gold.dtc_episodes": {"same": 1},
    }
    shown = home.verify(home.pdf).stdout
    for part in ("signature: good", VIN, "figures: all 38 follow from the 38 rows", "134.1 km"):
        assert part in shown
    assert "gold.trips: 12 days: the lake has the same rows today" in shown


def test_a_buyer_without_a_lake_is_told_so(road: Road, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMARTDRIVE_LAKE_URL", str(tmp_path / "none"))
    done = road.verify(road.pdf)
    assert done.exit_code == 0
    assert f"lake: not compared: there is no lake at {tmp_path}/none" in done.stdout.replace("\n", "")
    assert not (tmp_path / "none").exists()


def test_no_byte_under_the_signature_can_be_another(road: Road) -> None:
    (signature,) = PdfFileReader(BytesIO(road.pdf)).embedded_signatures
    begin, length, then, rest = (int(number) for number in signature.byte_range)
    assert then + rest == len(road.pdf)
    reasons = set()
    at = random.Random(7)
    for place in [at.randrange(length) for _ in range(25)] + [then + at.randrange(rest) for _ in range(5)]:
        changed = bytearray(road.pdf)
        changed[begin + place if place < length else place] ^= 1 << at.randrange(7)
        with pytest.raises(CertificateError) as refused:
            road.attached(bytes(changed))
        reasons.add(str(refused.value))
    assert "the file was changed after it was signed" in reasons


def test_what_is_appended_is_refused_whatever_it_says(road: Road) -> None:
    with pytest.raises(CertificateError):
        road.attached(road.pdf + b"\n%%EOF\n")
    writer = IncrementalPdfFileWriter(BytesIO(road.pdf))
    carried = embed.EmbeddedFileObject.from_file_data(writer, b"{}")
    spec = embed.FileSpec(NAME, file_name=NAME, embedded_data=carried)
    writer.root["/Names"] = generic.DictionaryObject(
        {generic.pdf_name("/EmbeddedFiles"): generic.DictionaryObject()}
    )
    writer.root["/Names"]["/EmbeddedFiles"]["/Names"] = generic.ArrayObject(
        [generic.pdf_string(NAME), writer.add_object(spec.as_pdf_object())]
    )
    writer.update_root()
    replaced = BytesIO()
    writer.write(replaced)
    with pytest.raises(CertificateError, match="added to the file after it was signed"):
        road.attached(replaced.getvalue())


def test_what_is_no_signed_pdf_is_refused(road: Road) -> None:
    unsigned = rendered(issuers_contract(), road.said, "f")
    with pytest.raises(CertificateError, match="no signature"):
        road.attached(unsigned)
    for data in (b"", b"%PDF-1.7", road.pdf[:2000], road.pdf[:-40], b"\0" * 5000):
        with pytest.raises(CertificateError):
            road.attached(data)
    with pytest.raises(CertificateError, match=r"carries no certificate\.json"):
        road.attached(road.reissued(road.said, name="other.json"))


def test_another_authority_is_named_even_if_it_calls_itself_the_same(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = AuthorityStore(SecretStr(f"file:{tmp_path}/a.json"), lambda: datetime.now(UTC)).authority()
    with pytest.raises(CertificateError, match="signed under another authority"):
        road.attached(road.reissued(road.said, other))
    with pytest.raises(CertificateError, match="signed under another authority"):
        road.attached(road.pdf, other)
    monkeypatch.setattr(Authority, "_name", road.authority._name)
    with pytest.raises(CertificateError, match="another authority"):
        road.attached(road.reissued(road.said, Authority(other.key, other.made_at)))


def test_a_certificate_ends_after_a_year_and_has_not_begun_before(road: Road) -> None:
    road.attached(road.pdf, days=364)
    with pytest.raises(CertificateError, match=r"was valid until .* ask for a new one"):
        road.attached(road.pdf, days=366)
    with pytest.raises(CertificateError, match="is this clock right"):
        road.attached(road.pdf, days=-1)


def test_an_authority_that_is_none_is_said(road: Road) -> None:
    for wrong in (b"", b"x", road.pdf, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(CertificateError, match=r"authority is no X\.509 certificate"):
            genuine(road.pdf, wrong, NAME, datetime.now(UTC))


def test_without_pyhanko_it_says_what_to_install(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyhanko.sign.validation", None)
    with pytest.raises(CertificateError, match=r"pip install 'smartdrive\[verify\]'"):
        road.attached(road.pdf)


def more(said: dict[str, Any]) -> None:
    said["figures"]["distance_km"] += 0.001
    said["figures"]["battery_status"] = "critical"
    said["figures"]["invented"] = 1
    del said["figures"]["trips"]
    said["distance_by_month"][0][1] = None


def test_figures_that_do_not_follow_from_the_rows_are_named(home: Road) -> None:
    done = home.verify(
        home.reissued(home.resaid(more, evaluate=False) | {"figures": figures_with(home)}), "--no-lake"
    )
    assert done.exit_code == 1
    said = read(contract(), canonical(home.resaid(more, evaluate=False)))
    found = {one.name: (one.said, one.computed) for one in differences(contract(), said)}
    assert set(found) == {"distance_km", "battery_status", "invented", "trips", "distance of 2025-06"}
    assert found["battery_status"] == ("critical", "ok")
    assert "distance_km: the certificate says 999.0, its rows give 134." in done.stdout
    assert "figures: WRONG" in done.stdout


def figures_with(road: Road) -> dict[str, Any]:
    return road.said["figures"] | {"distance_km": 999.0}


def farther(said: dict[str, Any]) -> None:
    said["rows"]["trips"][3][2] = 0.5


def unpinned(said: dict[str, Any]) -> None:
    farther(said)
    said["pins"]["gold.trips"]["days"].clear()


def test_rows_that_the_published_version_did_not_hold_are_found_in_the_lake(home: Road) -> None:
    """Whoever has the key can sign any rows, with figures to match: the lake knows better."""
    forged = home.reissued(home.resaid(farther, evaluate=True))
    done = home.verify(forged)
    assert done.exit_code == 1
    assert "figures: all 38 follow" in done.stdout
    assert "gold.trips: 1 days: the version that was published held other rows" in done.stdout
    assert home.verify(forged, "--no-lake").exit_code == 0
    done = home.verify(home.reissued(home.resaid(unpinned, evaluate=True)), "--json")
    assert (done.exit_code, json.loads(done.stdout)["lake"]["gold.trips"]) == (1, {"same": 11, "unpinned": 1})


def test_what_the_lake_computed_anew_is_told_until_its_versions_are_gone(
    road: Road, rows_of: RowsOf, tmp_path: Path
) -> None:
    """On tables of their own, since they lose their past."""
    lakehouse = Lakehouse(str(tmp_path / "lake"))
    table, agreed = road.tables["gold.trips"], contract()
    given = [row for row in rows()["gold.trips"] if row["vehicle_id"] == CAR]

    def write(batch: int, days: list[date], **change: Any) -> None:
        frame = rows_of(table, *(row | change for row in given if row["event_date"] in days))
        lakehouse.replace_days(table, lambda _: frame, days, batch=batch)

    def verdicts() -> dict[str, int]:
        compared = {one.source: one.days for one in compare(lakehouse, road.tables, agreed, said, CAR)}
        return {verdict: len(days) for verdict, days in compared["gold.trips"].items()}

    write(1, DAYS)
    pinned = json.loads(json.dumps(road.said))
    pinned["pins"]["gold.trips"]["days"] = {
        str(day): lakehouse.open(table).version for day in DAYS if day != DAYS[5]
    }
    said = read(agreed, canonical(pinned))
    assert verdicts() == {"same": 12}
    write(2, DAYS[:2], distance_km=1.0, algo_version="3")
    write(3, [DAYS[5]], distance_km=2.0)
    assert verdicts() == {"same": 9, "recomputed": 2, "unpinned": 1}
    delta = lakehouse.open(table).delta
    assert delta is not None
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert verdicts() == {"same": 9, "gone": 2, "unpinned": 1}
    later = rows_of(
        table,
        given[0] | {"event_date": date(2025, 7, 1), "started_at": datetime(2025, 7, 1, 8, tzinfo=UTC)},
        given[1] | {"event_date": date(2100, 7, 1), "started_at": datetime(2100, 7, 1, 8, tzinfo=UTC)},
    )
    lakehouse.replace_days(table, lambda _: later, [date(2025, 7, 1), date(2100, 7, 1)], batch=4)
    assert verdicts() == {"same": 9, "gone": 2, "unpinned": 1, "added": 1}, (
        "what came after it was issued is no matter"
    )


def test_what_the_attachment_says_is_checked_before_it_is_believed(road: Road) -> None:
    def refused(text: str, change: Callable[[dict[str, Any]], None], *, digest: bool = True) -> None:
        said = road.resaid(change, evaluate=False)
        if not digest:
            said["digest"] = road.said["digest"]
        with pytest.raises(CertificateError, match=text):
            differences(contract(), read(contract(), canonical(said)))

    refused("is a 'certificate.v2'", lambda said: said.update(schema="certificate.v2"))
    refused("another edition", lambda said: said.update(contract="0"))
    refused("not those that its digest names", farther, digest=False)
    refused("rows of trips are not as", lambda said: said["rows"].pop("trips"))
    refused("rows of trips are not as", lambda said: said["rows"]["trips"][0].pop())
    refused("rows of trips are not of the right kinds", lambda said: said["rows"]["trips"][0].__setitem__(1, "x"))
    refused("is no certificate.v1", lambda said: said.pop("vin"))
    refused("is no certificate.v1", lambda said: said["rows"]["trips"].append([[]]))
    for data in (b"", b"{", b"[]", b"[" * 100_000, b"\xff", b'{"rows": NaN}'):
        with pytest.raises(CertificateError, match=r"is no certificate\.v1"):
            read(contract(), data)


def test_both_ends_read_one_contract(road: Road) -> None:
    mine, theirs = contract(), issuers_contract()
    assert mine.digest == theirs.digest
    assert {figure.section for figure in mine.figures.values()} == set(mine.sections)
    for table in mine.tables.values():
        lakes = road.tables[table.source]
        wanted = [column.of or name for name, column in table.columns.items()]
        assert {*wanted, *table.order} <= set(lakes.by_name)
        assert wanted[0] == lakes.partition_by
        assert not {"vehicle_id", *lakes.key} & set(wanted) - {lakes.partition_by}


def test_postgresql_and_duckdb_find_the_same_figures_in_any_rows(road: Road) -> None:
    at = random.Random(11)
    agreed = contract()
    some: dict[str, Callable[[], Any]] = {
        "int": lambda: at.choice([0, 1, 2**40]),
        "float": lambda: at.choice([0.0, -0.0, 0.1, 1e-9, 1e16, at.random() * 100]),
        "bool": lambda: at.random() < 0.5,
        "date": lambda: str(date(1999, 12, 31) + timedelta(days=at.randrange(9000))),
        "text": lambda: at.choice(["scored", "odometer", "critical", "10", "2", "é\"'\\", ""]),
    }
    for number in range(6):
        given = {
            name: [
                [
                    None if at.random() < 0.2 and place else some[column.kind]()
                    for place, column in enumerate(table.columns.values())
                ]
                for _ in range(number * at.randrange(9))
            ]
            for name, table in agreed.tables.items()
        }
        for found in given.values():  # a day has one row in these tables, and the newest is asked for
            found.sort(key=lambda row: row[0])
        given["battery_health"] = list({row[0]: row for row in given["battery_health"]}.values())
        with road.engine.connect() as connection:
            theirs, months = evaluated(connection, issuers_contract(), given)
        text = canonical(
            {
                "figures": theirs,
                "distance_by_month": months,
                "rows": given,
                "digest": hashlib.sha256(canonical(given)).hexdigest(),
            }
            | {name: road.said[name] for name in road.said if name not in CHANGED}
        )
        assert differences(agreed, read(agreed, text)) == []
