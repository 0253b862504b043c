"""What names an erased vehicle, however it is written; and what does not."""

from __future__ import annotations

import base64

import pytest

from smartdrive_dagster.domain.erasures import NOBODY, Erased
from smartdrive_dagster.domain.identity import tombstone, vehicle_id
from tests.messages import OTHER_VIN, SECRET, VIN, event, profile, telemetry

CAR = vehicle_id(VIN, SECRET)
ERASED = Erased(SECRET, frozenset({tombstone(CAR, SECRET)}))
NAME = VIN.encode()
ESCAPED = b"".join(b"\\u%04x" % letter for letter in NAME)


@pytest.mark.parametrize(
    "line",
    [
        NAME,
        NAME.lower(),
        CAR.encode(),
        telemetry(1),
        event(1),
        profile(name="Blue"),
        b'{"vehicle_id": "%s"}' % CAR.encode(),
        b'{"topic":"vehicle/%s/telemetry","received_at":1,"payload":""}' % NAME,
        b'{"topic":"vehicle\\/%s\\/telemetry"}' % NAME,
        b'{"vin": "%s", broken' % NAME,
        b'{"vin": "%s"}' % ESCAPED,
        b'{"payload": "{\\"vin\\": \\"%s\\"}"}' % ESCAPED.replace(b"\\", b"\\\\"),
        b'{"payload": "a line feed\\n%s"}' % NAME,
        b'{"payload_b64": "%s"}' % base64.b64encode(telemetry(1)),
        b'{"payload_b64": "%s' % base64.b64encode(telemetry(1))[:300],  # cut off
        b'{"payload_b64": "%s"}' % base64.b64encode(b'{"vin": "%s"}' % ESCAPED).replace(b"/", b"\\/"),
        b"\xff\xfe" + NAME,
        b"VIN" + NAME,
        NAME + b"x1",
    ],
)
def test_a_line_that_names_the_vehicle_is_found_however_it_is_written(line: bytes) -> None:
    assert ERASED.names(line)
    assert not NOBODY.names(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        telemetry(1, vin=OTHER_VIN),
        OTHER_VIN.encode(),
        vehicle_id(OTHER_VIN, SECRET).encode(),
        tombstone(CAR, SECRET).encode(),
        NAME[:16],
        NAME.replace(b"W", b"\\u0041", 1),
        b"A" * 100_000,
        base64.b64encode(telemetry(1, vin=OTHER_VIN, samples=300)),
    ],
)
def test_a_line_that_does_not_is_not(line: bytes) -> None:
    assert not ERASED.names(line)


def test_vehicles_are_known_by_their_ids_and_words_by_their_places() -> None:
    other = vehicle_id(OTHER_VIN, SECRET)
    assert ERASED.among([other, CAR, None, CAR]) == [CAR]
    assert ERASED.has(CAR)
    assert not ERASED.has(other)
    assert ERASED.words_in(f"run of {VIN} and {CAR}, not {OTHER_VIN}".encode()) == {NAME, CAR.encode()}


def test_a_tombstone_is_of_one_secret_alone() -> None:
    assert not Erased(b"another secret, of 32 bytes, too", ERASED.tombstones).names(NAME)
    assert "secret" not in repr(ERASED)
