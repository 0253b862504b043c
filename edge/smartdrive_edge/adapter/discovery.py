"""Who is at the other end: the adapter and how honest it is, the car's protocol, control units, PIDs and VIN.

Each step may fail without ending the others: a car whose ignition is off still has an adapter, and a car that
keeps its VIN to itself still has signals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

from smartdrive_edge.adapter import requests
from smartdrive_edge.adapter.answers import Answer, Failure, Outcome
from smartdrive_edge.adapter.decode import choose_engine, decode_supported, decode_vin
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.adapter.requests import Request
from smartdrive_edge.adapter.voltage import parse_voltage

RESET_TIMEOUT_S: Final = 4.0
ADAPTER_TIMEOUT_S: Final = 1.0
SEARCH_TIMEOUT_S: Final = 15.0
"""Trying all protocols, with the slow initialisation of ISO 9141 and KWP (5 baud) among them."""
CAR_TIMEOUT_S: Final = 3.0

_SETTINGS: Final = (
    requests.ECHO_OFF,
    requests.LINEFEEDS_OFF,
    requests.SPACES_OFF,
    requests.HEADERS_ON,
    requests.ADAPTIVE_TIMING,
)
# The version of the data sheet that introduced each command ("AT Command Summary").
_SINCE: Final = {
    requests.ECHO_OFF: 1.0,
    requests.LINEFEEDS_OFF: 1.0,
    requests.SPACES_OFF: 1.3,
    requests.HEADERS_ON: 1.0,
    requests.ADAPTIVE_TIMING: 1.2,
    requests.VOLTAGE: 1.0,
    requests.PROTOCOL: 1.0,
    requests.IGNITION: 1.4,
}
_NEVER_RELEASED: Final = {1.5}
_VERSION: Final = re.compile(r"ELM ?327 ?V(\d\.\d)", re.IGNORECASE)
_NUMBER: Final = re.compile("A?([1-9])")


class Asks(Protocol):
    """What discovery needs of a transport."""

    def query(self, request: Request, timeout_s: float = ...) -> Outcome:
        """Ask one request within a timeout."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter as it presents itself.

    Attributes:
        identity: What `AT I` printed; None when it did not answer.
        refused: Requests that it answered with `?`.
        reads_ignition: Whether `AT IGN` answers. Many adapters do not wire the line and always say ON.
        voltage_v: Its voltmeter, uncalibrated; None when it has none.
    """

    identity: str | None
    refused: frozenset[Request]
    reads_ignition: bool
    voltage_v: float | None

    @property
    def clone_signs(self) -> tuple[str, ...]:
        """Why it is no genuine ELM327 of the version that it claims; () when nothing speaks against it."""
        match = _VERSION.search(self.identity or "")
        if match is None:
            return ()
        version = float(match[1])
        signs = [f"Elm Electronics released no v{version}"] if version in _NEVER_RELEASED else []
        missing = sorted(request.text for request in self.refused if _SINCE.get(request, 9.9) <= version)
        return tuple(signs + [f"v{version} knows {text}, this adapter does not" for text in missing])


@dataclass(frozen=True, slots=True)
class Car:
    """A car that answers.

    Attributes:
        dialect: Protocol, and whether lines have headers.
        engine: Address of the control unit whose values count.
        supported: PIDs of service 01 that it supports.
        vin: As it told; None when it did not, or not a valid one.
    """

    dialect: Dialect
    engine: int
    supported: frozenset[int]
    vin: str | None


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found. `car` is None when none answered; `reason` then says why."""

    adapter: Adapter
    car: Car | None
    reason: Failure | None = None


def discover(adapter: Asks, protocol: str = "0") -> Discovery:
    """Reset the adapter, set it up and look for a car.

    Args:
        adapter: An open transport.
        protocol: The ELM327's number of the protocol that the car used before, or 0 to try all.

    Raises:
        AdapterGoneError: the port failed.
    """
    found, has_headers = set_up(adapter)
    car, reason = find_car(adapter, protocol, has_headers)
    if car is None and protocol != "0":
        car, reason = find_car(adapter, "0", has_headers)
    return Discovery(found, car, reason)


def set_up(adapter: Asks) -> tuple[Adapter, bool]:
    """Reset and configure the adapter, also after each restart of its own; the flag says if headers are on."""
    adapter.query(requests.RESET, RESET_TIMEOUT_S)
    asked = (*_SETTINGS, requests.IDENTITY, requests.VOLTAGE, requests.IGNITION)
    outcomes = {request: adapter.query(request, ADAPTER_TIMEOUT_S) for request in asked}
    refused = frozenset(
        request
        for request, outcome in outcomes.items()
        if getattr(outcome, "reason", None) is Failure.NOT_UNDERSTOOD
    )
    identity = _first_line(outcomes[requests.IDENTITY])
    volts = _first_line(outcomes[requests.VOLTAGE])
    found = Adapter(
        identity=identity,
        refused=refused,
        reads_ignition=_first_line(outcomes[requests.IGNITION]) in {"ON", "OFF"},
        voltage_v=parse_voltage(volts) if volts else None,
    )
    return found, isinstance(outcomes[requests.HEADERS_ON], Answer)


def find_car(adapter: Asks, protocol: str, has_headers: bool) -> tuple[Car | None, Failure | None]:
    """Look for a car on a protocol, 0 for any; the car, or why there is none."""
    adapter.query(Request(f"ATTP{protocol}"), ADAPTER_TIMEOUT_S)
    first = adapter.query(requests.current(0x00), SEARCH_TIMEOUT_S)
    if not isinstance(first, Answer):
        return None, first.reason
    dialect = _dialect(adapter, has_headers)
    engine = choose_engine(first.lines, dialect) if dialect else None
    if dialect is None or engine is None:
        return None, Failure.GARBAGE
    supported = decode_supported(first.lines, 0x00, dialect, engine) or frozenset()
    base = 0x20
    while base in supported and base <= 0xE0:  # noqa: PLR2004 - the PIDs of one byte
        outcome = adapter.query(requests.current(base), CAR_TIMEOUT_S)
        if isinstance(outcome, Answer):
            supported |= decode_supported(outcome.lines, base, dialect, engine) or frozenset()
        base += 0x20
    outcome = adapter.query(requests.VIN, CAR_TIMEOUT_S)
    vin = decode_vin(outcome.lines, dialect, engine) if isinstance(outcome, Answer) else None
    masks = frozenset(range(0x00, 0x100, 0x20))
    return Car(dialect, engine, supported - masks, vin), None


def _dialect(adapter: Asks, has_headers: bool) -> Dialect | None:
    number = _NUMBER.fullmatch(_first_line(adapter.query(requests.PROTOCOL, ADAPTER_TIMEOUT_S)) or "")
    return Dialect(number[1], has_headers) if number else None


def _first_line(outcome: Outcome) -> str | None:
    return outcome.lines[0] if isinstance(outcome, Answer) else None
