"""The certificate: what stands on its pages, what it carries, who gets it, and who vouches for it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from moto import mock_aws
from pydantic import SecretStr
from pypdf import PdfReader
from smartdrive_api.certificates import content as content_module
from smartdrive_api.certificates.authority import Authority, AuthorityStore
from smartdrive_api.certificates.contract import contract
from smartdrive_api.certificates.drawing import INNER, broken, shown
from smartdrive_api.certificates.pages import rendered, worded
from smartdrive_api.cli import app as cli
from smartdrive_api.figures import tables
from smartdrive_api.identity import rate_limits
from smartdrive_api.secret_values import SecretUnavailableError
from smartdrive_api.vehicles import garage
from smartdrive_api.vehicles.vin import vehicle_id
from typer.testing import CliRunner

from api.tests import certified
from api.tests.calling import LAKE_SECRET, Api, Person
from api.tests.certified import carried, history, pages

VIN = "1M8GDM9AXKP042788"
MINE = vehicle_id(VIN, LAKE_SECRET.encode())
SOLD = "WVWZZZ1JZXW000007"
NAME = "Őrült kék űrhajó <b>&amp;</b>"


class Car:
    """A person's confirmed vehicle with half a year of figures, and a certificate of it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.person = api.person("mira@example.org")
        self.id = self.owned(self.person, VIN, name=NAME)
        certified.publish(api.engine, MINE, history())
        self.pdf = self.ask().content

    def owned(self, person: Person, vin: str, *, name: str | None = None, **how: bool) -> str:
        made: str = self.api.post("/v1/vehicles", {"vin": vin, "name": name}, person).json()["id"]
        with self.api.engine.begin() as connection:
            garage.confirm(connection, UUID(made), self.api.clock(), **how)
        return made

    def ask(self, person: Person | None = None, vehicle: str | None = None) -> Any:
        path = f"/v1/vehicles/{vehicle or self.id}/certificate"
        return self.api.client.get(path, headers=(person or self.person).headers)


@pytest.fixture(scope="module")
def car(api: Api) -> Car:
    return Car(api)


def test_the_figures_on_the_pages_are_those_that_it_carries(car: Car) -> None:
    said, printed = carried(car.pdf), " ".join(pages(car.pdf)[2:])
    for name, figure in contract().figures.items():
        value = worded(figure, said["figures"][name])
        assert re.search(rf"\b{name} {re.escape(value)} ", printed + " "), name
    front = pages(car.pdf)[0]
    of = said["figures"]
    for part in (f"{of['distance_km']:,.1f} km", "82 %", "82 of 100", "3 open", "Open: P0171, P0300, P0524.", VIN):
        assert part in front
    assert "95 % interval: 74 to 87 %" in front
    assert f"On {of['days_recorded']} of these {of['days']} days something was recorded" in front


def test_the_figures_are_those_of_the_rows(car: Car) -> None:
    of, rows = carried(car.pdf)["figures"], history()
    trips, health = rows[tables.TRIPS], rows[tables.BATTERY_HEALTH]
    known = [trip["distance_km"] for trip in trips if trip["distance_km"] is not None]
    assert math.isclose(of["distance_km"], sum(known))
    assert (of["trips"], of["trips_without_distance"]) == (len(trips), len(trips) - len(known))
    assert of["trips_algorithm"] == "2, 3"
    assert math.isclose(of["driving_h"], sum(trip["duration_s"] for trip in trips) / 3600)
    assert (of["battery_soh_pct"], of["battery_soh_day"]) == (health[98]["soh_pct"], str(health[98]["event_date"]))
    assert (of["battery_status_day"], of["battery_reason"]) == (
        str(health[99]["event_date"]),
        "baseline_incomplete",
    )
    assert (of["starts"], of["starts_failing"]) == (2 * len(health), sum(day["failing_cranks"] for day in health))
    scored = [week for week in rows[tables.DRIVER_SCORES] if week["score"] is not None]
    mean = sum(week["score"] * week["distance_km"] for week in scored) / sum(w["distance_km"] for w in scored)
    assert math.isclose(of["score"], mean)
    assert (of["codes_open"], of["codes_open_critical"], of["codes_distinct"]) == (3, 1, 3)


def test_it_carries_neither_pseudonym_nor_places_nor_times_of_day_nor_labels(car: Car) -> None:
    said = carried(car.pdf)
    told = json.dumps(said)
    assert MINE not in told
    assert MINE.encode() not in car.pdf
    assert "47.51" not in told
    assert "doctor" not in told
    assert not re.search(r"\d\dT\d\d", json.dumps(said["rows"]))
    assert said["rows"]["dtc_episodes"][0][:3] == ["2025-07-03", "2025-08-03", "P0171"]


def test_it_is_pinned_to_what_was_published(car: Car) -> None:
    said = carried(car.pdf)
    pins = said["pins"]["gold.trips"]
    assert pins["days"] == {row[0]: 7 for row in said["rows"]["trips"]}
    assert pins["published_at"] == "2025-11-21T05:00:00Z"
    printed = " ".join(pages(car.pdf))
    assert f"gold.trips: {len(said['rows']['trips'])} rows" in printed
    for part in (
        "Delta version 7",
        said["digest"],
        pins["content"],
        contract().digest,
        "published until 2025-11-21",
    ):
        assert part in printed


def test_texts_are_printed_as_they_are_and_never_as_markup(car: Car) -> None:
    printed = pages(car.pdf)
    assert f"“{NAME}”" in printed[0]
    assert certified.TITLE in printed[1]
    assert certified.TITLE_HU in printed[1]
    assert "Random misfire ■■" in printed[1], "no control character, no change of direction; a square for no glyph"


def test_each_page_has_its_number_and_whose_it_is(car: Car) -> None:
    said, printed = carried(car.pdf), pages(car.pdf)
    assert all(f"Page {number} of {len(printed)}" in one for number, one in enumerate(printed, 1))
    assert all(said["number"] in one for one in printed)
    reader = PdfReader(BytesIO(car.pdf))
    assert VIN not in str(reader.metadata)
    assert reader.metadata is not None
    assert reader.metadata.title == "Vehicle certificate"


def test_a_car_of_which_nothing_is_known_is_unknown_and_never_well(car: Car) -> None:
    person = car.api.person("new@example.org")
    answer = car.ask(person, car.owned(person, "WVWZZZ1JZXW000009"))
    front = pages(answer.content)[0]
    assert "Nothing has been recorded of this car." in front
    assert front.count("unknown No ") == 3
    assert "unknown This does not tell a car without faults from one that was never asked." in front
    assert "open" not in front.split("Is it genuine")[0]


def test_a_long_history_goes_on_on_further_pages(car: Car) -> None:
    said = carried(car.pdf)
    code = [*said["rows"]["dtc_episodes"][0]]
    code[3] = "word " * 90 + "x" * 900
    said["rows"]["dtc_episodes"] = [code] * 9
    said["distance_by_month"] = [[f"{1990 + at // 12}-{at % 12 + 1:02}-01", 10.0**5] for at in range(120)]
    printed = pages(rendered(contract(), said, "f"))
    assert sum(one.count("P0171") for one in printed[1:]) == 9
    assert f"Page 1 of {len(printed)}" in printed[0]


def test_no_line_is_wider_than_its_room() -> None:
    lines = broken("a " + "W" * 500 + " b", INNER, 9.5)
    assert "".join(lines).replace(" ", "") == "a" + "W" * 500 + "b"
    assert len(lines) > 5
    assert shown("a\x00\u202eb\tű\n") == "ab ű "


def test_an_unconfirmed_vehicle_has_none(car: Car) -> None:
    person = car.api.person("unconfirmed@example.org")
    made = car.api.post("/v1/vehicles", {"vin": VIN}, person).json()["id"]
    answer = car.ask(person, made)
    assert (answer.status_code, answer.json()["code"]) == (409, "unconfirmed")


def test_the_next_owner_certifies_nothing_of_before(car: Car, monkeypatch: pytest.MonkeyPatch) -> None:
    certified.publish(car.api.engine, vehicle_id(SOLD, LAKE_SECRET.encode()), history())
    car.owned(car.person, SOLD)
    buyer = car.api.person("buyer@example.org")
    with monkeypatch.context() as patch:
        made = car.api.post("/v1/vehicles", {"vin": SOLD}, buyer).json()["id"]
        patch.setattr(car.api.clock, "now", datetime(2025, 10, 20, 12, 30, 1, 5, tzinfo=UTC))
        with car.api.engine.begin() as connection:
            garage.confirm(connection, UUID(made), car.api.clock(), instead=True)
    answer = car.ask(buyer, made)
    said = carried(answer.content)
    for name, rows in said["rows"].items():
        assert all(row[0] > "2025-10-20" for row in rows), name
    assert said["rows"]["trips"]
    assert not said["rows"]["dtc_episodes"]
    assert said["data_from"] == "2025-10-20T12:30:01.000005+00:00"
    assert "Nothing from before 2025-10-20 12:30 UTC is shown" in pages(answer.content)[0]


def test_too_many_rows_are_refused_and_never_left_out(car: Car, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "MAX_ROWS", 3)
    person = car.api.person("many@example.org")
    answer = car.ask(person, car.owned(person, VIN, also=True))
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_rows")


def test_certificates_are_limited(car: Car, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "CERTIFICATE", replace(rate_limits.CERTIFICATE, burst=1))
    person = car.api.person("eager@example.org")
    made = car.owned(person, "WVWZZZ1JZXW000008")
    assert [car.ask(person, made).status_code for _ in range(2)] == [200, 429]


def test_the_authority_is_made_once_and_is_the_same_everywhere(car: Car, monkeypatch: pytest.MonkeyPatch) -> None:
    given = car.api.client.get("/.well-known/certificate-authority.pem")
    assert given.headers["content-type"].startswith("application/x-pem-file")
    monkeypatch.setenv(
        "SMARTDRIVE_API_CERTIFICATE_AUTHORITY", car.api.settings.certificate_authority.get_secret_value()
    )
    printed = CliRunner().invoke(cli, ["certificates", "authority"])
    assert printed.stdout == given.text
    made = x509.load_pem_x509_certificate(given.content)
    made.verify_directly_issued_by(made)
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 3650
    assert printed.stderr.removeprefix("SHA-256: ").strip() in " ".join(pages(car.pdf))


def test_a_new_authority_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    reference = SecretStr(f"file:{tmp_path}/a/authority.json")
    store = AuthorityStore(reference, lambda: datetime.now(UTC))
    first = store.authority().pem
    assert (tmp_path / "a/authority.json").stat().st_mode & 0o077 == 0
    assert AuthorityStore(reference, lambda: datetime.now(UTC)).authority().pem == first
    second = store.renew().pem
    assert second != first
    assert AuthorityStore(reference, lambda: datetime.now(UTC)).authority().pem == second


def test_an_authority_that_ends_within_a_year_signs_no_more(car: Car) -> None:
    authority = car.api.services.authority.authority()
    late = authority.made_at + timedelta(days=3300)
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(SecretUnavailableError, match="ends within a year"):
        authority.certify(public, 1, late, late + timedelta(days=365))


def test_what_is_no_authority_is_refused_and_the_caller_told_nothing_of_it(car: Car, tmp_path: Path) -> None:
    for wrong in ("{}", "[1]", "x", '{"made_at": "2025-01-01T00:00:00Z", "private_pem": "x"}'):
        with pytest.raises(SecretUnavailableError, match="not what"):
            AuthorityStore(SecretStr(wrong), lambda: datetime.now(UTC)).authority()
    store = car.api.services.authority
    known, reference = store._known, store._reference
    store._known, store._reference = None, SecretStr("{}")
    try:
        answer = car.ask()
        given = car.api.client.get("/.well-known/certificate-authority.pem")
    finally:
        store._known, store._reference = known, reference
    assert (answer.status_code, answer.json()["code"]) == (503, "no_authority")
    assert given.status_code == 503


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield boto3.client("kms")


def of_kms(key: str) -> Authority:
    return AuthorityStore(SecretStr(f"kms:{key}"), lambda: datetime.now(UTC)).authority()


def test_a_key_in_kms_vouches_as_one_in_a_file_does(car: Car, kms: Any) -> None:
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/smartdrive", TargetKeyId=key)
    authority = of_kms("alias/smartdrive")
    made = x509.load_pem_x509_certificate(authority.pem.encode())
    made.verify_directly_issued_by(made)
    assert of_kms(key).pem == authority.pem
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    issued = authority.certify(public, 5, now, now + timedelta(days=365))
    issued.verify_directly_issued_by(made)
    assert issued.serial_number == 5


def test_a_key_in_kms_that_cannot_sign_is_refused(kms: Any) -> None:
    curve = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
    with pytest.raises(SecretUnavailableError, match="no RSA key"):
        of_kms(curve)
    with pytest.raises(SecretUnavailableError, match="AWS KMS gives no key"):
        of_kms(str(uuid4()))
    store = AuthorityStore(SecretStr(f"kms:{curve}"), lambda: datetime.now(UTC))
    with pytest.raises(SecretUnavailableError, match="made there"):
        store.renew()
