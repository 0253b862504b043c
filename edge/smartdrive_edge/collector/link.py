"""An open adapter that was set up, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from smartdrive_edge.adapter.answers import Answer, Failure, Outcome
from smartdrive_edge.adapter.decode import decode_values
from smartdrive_edge.adapter.discovery import ADAPTER_TIMEOUT_S, Adapter, Car, set_up
from smartdrive_edge.adapter.requests import IDENTITY, IGNITION, VOLTAGE, Request
from smartdrive_edge.adapter.transport import DEFAULT_TIMEOUT_S, AdapterGoneError, Transport
from smartdrive_edge.adapter.voltage import Calibration, parse_voltage
from smartdrive_edge.policy import Reading

FIRST_WORD_S: Final = 1.5
MOST_SILENCES: Final = 3
_SILENT: Final = {Failure.TIMEOUT, Failure.OUT_OF_SYNC}
_CAR_IS_SILENT: Final = {
    Failure.NO_DATA,
    Failure.UNABLE_TO_CONNECT,
    Failure.BUS_ERROR,
    Failure.CAN_ERROR,
}


class AdapterSilentError(AdapterGoneError):
    """The port is there, but nothing answers: an adapter without power, or hung."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer, or none.

    Attributes:
        outcome: as the adapter gave it.
        at: the middle between question and answer, monotonic seconds.
        values: what was measured, by signal.
        reading: the same for the policy.
    """

    outcome: Outcome
    at: float
    values: dict[str, float]
    reading: Reading


class Link:
    """An open adapter; a context manager. One thread owns it.

    Args:
        port: device, or a URL of pyserial.
        baud_rate: bits per second.
        calibration: of the adapter's voltmeter.
        clock: monotonic seconds.

    Raises:
        AdapterGoneError: the port cannot be opened.
        AdapterSilentError: nothing answers there.
    """

    def __init__(self, port: str, baud_rate: int, *, calibration: Calibration, clock: Callable[[], float]) -> None:
        self._calibration = calibration
        self._silences = 0
        self._transport = Transport(port, baud_rate, clock=clock)
        self.needs_set_up = False
        try:
            # Setting up a dead adapter would take a dozen timeouts.
            if _is_silent(self._transport.query(IDENTITY, FIRST_WORD_S)):
                raise AdapterSilentError(f"the adapter at {port} does not answer: has it power?")
            self.adapter, self.has_headers = self._set_up()
        except BaseException:
            self._transport.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    def set_up_again(self) -> Adapter:
        """After a restart of the adapter, which forgot its settings."""
        self.adapter, self.has_headers = self._set_up()
        return self.adapter

    def query(self, request: Request, timeout_s: float = DEFAULT_TIMEOUT_S) -> Outcome:
        """Ask one request.

        Raises:
            AdapterGoneError: the port failed.
            AdapterSilentError: this was the third silence in a row.
        """
        outcome = self._transport.query(request, timeout_s)
        if _is_silent(outcome):
            self._silences += 1
            if self._silences >= MOST_SILENCES:
                raise AdapterSilentError(f"the adapter did not answer {MOST_SILENCES} requests in a row")
        else:
            self._silences = 0
        if not isinstance(outcome, Answer) and outcome.reason is Failure.ADAPTER_RESET:
            self.needs_set_up = True
        return outcome

    def hear(self, request: Request, car: Car | None, timeout_s: float = DEFAULT_TIMEOUT_S) -> Heard:
        """Ask, and understand.

        Args:
            request: what to ask.
            car: how to read what it says; None where only the adapter is asked.
            timeout_s: for everything.

        Raises:
            AdapterGoneError: as `query`.
        """
        outcome = self.query(request, timeout_s)
        values: dict[str, float] = {}
        if isinstance(outcome, Answer) and request == VOLTAGE:
            volts = parse_voltage(outcome.lines[0], self._calibration)
            values = {} if volts is None else {"ELM_VOLTAGE": round(volts, 3)}
        elif isinstance(outcome, Answer) and request.mode == 1 and car is not None:
            found = decode_values(outcome.lines, request.pids, car.dialect, car.engine)
            values = {name: value for name, value in found.items() if value is not None}
        reading = Reading(
            voltage_v=values.get("ELM_VOLTAGE"),
            rpm=values.get("RPM"),
            speed_kmh=values.get("SPEED"),
            ecu_answered=_ecu_answered(outcome),
        )
        return Heard(outcome, (outcome.asked_at + outcome.ended_at) / 2, values, reading)

    def ignition(self) -> bool | None:
        """The adapter's own ignition input; None where it does not say."""
        outcome = self.query(IGNITION, ADAPTER_TIMEOUT_S)
        said = outcome.lines[0].upper() if isinstance(outcome, Answer) else None
        return {"ON": True, "OFF": False}.get(said or "")

    def _set_up(self) -> tuple[Adapter, bool]:
        self.needs_set_up = False
        return set_up(self._transport)


def _ecu_answered(outcome: Outcome) -> bool | None:
    if not outcome.request.is_obd:
        return None
    if isinstance(outcome, Answer):
        return True
    return False if outcome.reason in _CAR_IS_SILENT else None


def _is_silent(outcome: Outcome) -> bool:
    return not isinstance(outcome, Answer) and outcome.reason in _SILENT
