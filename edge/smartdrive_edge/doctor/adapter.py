"""The adapter, and the car behind it where that may be asked. What is sent is on the allowlist: it only reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from smartdrive_edge.adapter import requests
from smartdrive_edge.adapter.answers import Answer, Failure
from smartdrive_edge.adapter.discovery import ADAPTER_TIMEOUT_S, Adapter, Car, find_car, set_up
from smartdrive_edge.adapter.requests import Request, current
from smartdrive_edge.adapter.signals import BY_PID
from smartdrive_edge.adapter.transport import AdapterGoneError, Transport
from smartdrive_edge.adapter.voltage import Calibration
from smartdrive_edge.config import Config
from smartdrive_edge.doctor.findings import Finding, fail, ok, warn
from smartdrive_edge.doctor.serial_port import CHECK as SERIAL_PORT
from smartdrive_edge.policy import Thresholds

_RATE_S: Final = 2.0
_FIRST_WORD_S: Final = 2.0
_CRANK_HZ: Final = 10.0  # 5 samples in the 500 ms of a crank's plateau
_FEW_HZ: Final = 5.0  # speed and rpm each second, and something left for the rest
_PROTOCOLS: Final = {
    "1": "SAE J1850 PWM",
    "2": "SAE J1850 VPW",
    "3": "ISO 9141-2",
    "4": "ISO 14230-4, slow start",
    "5": "ISO 14230-4, fast start",
    "6": "CAN, 11 bits, 500 kbit/s",
    "7": "CAN, 29 bits, 500 kbit/s",
    "8": "CAN, 11 bits, 250 kbit/s",
    "9": "CAN, 29 bits, 250 kbit/s",
}


def check_adapter(config: Config, *, asks_car: bool | None) -> Iterator[Finding]:
    """Open the port, and look at the adapter, its ignition input, and perhaps the car.

    Args:
        config: of the collector.
        asks_car: whether to ask the car, which wakes its control units; None: only where the engine runs.
    """
    try:
        with Transport(config.adapter.port, config.adapter.baud_rate) as transport:
            yield from _examine(transport, config, asks_car)
    except AdapterGoneError as error:
        yield fail(SERIAL_PORT, str(error), "plug the adapter in, and stop what else uses its port")


def _examine(transport: Transport, config: Config, asks_car: bool | None) -> Iterator[Finding]:
    first = transport.query(requests.IDENTITY, _FIRST_WORD_S)
    if not isinstance(first, Answer):
        is_silent = first.reason in {Failure.TIMEOUT, Failure.OUT_OF_SYNC}
        yield fail(
            "adapter",
            "does not answer" if is_silent else f"answers nothing sensible: {first.reason.value}",
            "unplug it for 10 s and push it in firmly; a dead adapter's light is off; or set adapter.baud_rate: "
            "38400, 9600 and 115200 are usual",
        )
        return
    adapter, has_headers = set_up(transport)
    yield _identity(adapter)
    volts = None
    if adapter.voltage_v is None:
        yield fail(
            "voltage", "AT RV gives no voltage", "use another adapter: without it there is no watch on the battery"
        )
    else:
        volts = Calibration(config.adapter.voltage_offset_v, config.adapter.voltage_scale).apply(adapter.voltage_v)
        yield from _voltage(transport, config, volts)
    yield _adapter_ignition(config, transport, adapter, volts)
    yield from _car(transport, config, has_headers, volts, asks_car)


def _identity(adapter: Adapter) -> Finding:
    signs = adapter.clone_signs
    if signs:
        return warn(
            "adapter",
            f"{adapter.identity}, a clone: {'; '.join(signs)}",
            "clones work as far as the lines below are ok; expect lower rates",
        )
    return ok("adapter", f"{adapter.identity or 'no name'}, no sign of a clone")


def _voltage(transport: Transport, config: Config, volts: float) -> Iterator[Finding]:
    is_calibrated = (config.adapter.voltage_offset_v, config.adapter.voltage_scale) != (0.0, 1.0)
    if is_calibrated:
        yield ok("voltage", f"{volts:.2f} V, calibrated")
    else:
        yield warn(
            "voltage",
            f"{volts:.1f} V, uncalibrated: it may be wrong by 2 %, and the cut-off is at 11.5 V",
            "measure at the battery and run: smartdrive-edge calibrate --measured VOLTS",
        )
    rate_hz = _rate_hz(transport, [requests.VOLTAGE])
    if rate_hz < _CRANK_HZ:
        yield warn(
            "voltage rate",
            f"{rate_hz:.1f} readings a second; under {_CRANK_HZ:.0f} a start's plateau is not caught",
            "use USB, or an adapter that answers faster",
        )
    else:
        yield ok("voltage rate", f"{rate_hz:.1f} readings a second")


def _adapter_ignition(config: Config, transport: Transport, adapter: Adapter, volts: float | None) -> Finding:
    outcome = transport.query(requests.IGNITION, ADAPTER_TIMEOUT_S)
    said = outcome.lines[0] if adapter.reads_ignition and isinstance(outcome, Answer) else None
    unwired = (
        "an adapter whose pin is not wired says ON for ever: believe it only after it said OFF with the key off"
    )
    if config.ignition.source != "adapter":
        text = f"AT IGN says {said}, which is not used; {unwired}" if said else "AT IGN is not answered, nor used"
        return ok("adapter's ignition", text)
    if said is None:
        return fail(
            "adapter's ignition",
            "AT IGN is not answered, and ignition.source is `adapter`",
            "set ignition.source to `none`, or wire an ACC line (edge/docs/acc-line.md)",
        )
    if said == "OFF":
        return ok("adapter's ignition", "AT IGN says OFF, so the pin is wired")
    engine = "" if volts is None else f" at {volts:.1f} V"
    return warn(
        "adapter's ignition", f"AT IGN says ON{engine}; {unwired}", "turn the key off and run doctor again"
    )


def _car(
    transport: Transport, config: Config, has_headers: bool, volts: float | None, asks_car: bool | None
) -> Iterator[Finding]:
    if asks_car is False:
        yield ok("car", "not asked, as --no-car says")
        return
    if asks_car is None and (volts is None or volts < Thresholds().resume_v):
        yield warn(
            "car",
            "not asked: the engine seems to be off, and a question wakes the car's control units",
            "run doctor with the engine running, or with the ignition on and --car",
        )
        return
    car, reason = find_car(transport, config.adapter.protocol, has_headers)
    if car is None and config.adapter.protocol != "0":
        car, reason = find_car(transport, "0", has_headers)
    if car is None:
        yield _no_car(reason)
        return
    yield from _found(config, car)
    rate_hz = _rate_hz(transport, [current(0x0C), current(0x0D)])
    text = f"{rate_hz:.1f} requests a second, answered, over {_RATE_S:.0f} s"
    if rate_hz < _FEW_HZ:
        yield warn("request rate", text, "speed and rpm need 2; use USB, or an adapter that answers faster")
    else:
        yield ok("request rate", text)


def _no_car(reason: Failure | None) -> Finding:
    text = "does not answer" + (f": {reason.value}" if reason else "")
    return fail(
        "car",
        text,
        "turn the ignition on; push the adapter in; a car built before 2001 (diesel 2004) may have no OBD-II",
    )


def _found(config: Config, car: Car) -> Iterator[Finding]:
    known = len(car.supported & BY_PID.keys())
    protocol = _PROTOCOLS.get(car.dialect.protocol, f"protocol {car.dialect.protocol}")
    yield ok("car", f"answers by {protocol}; {len(car.supported)} PIDs supported, {known} of them signals")
    if car.vin is not None:
        yield ok("VIN", "the car tells it")
    elif config.vehicle.vin is not None:
        yield ok("VIN", "the car does not tell it, the configuration does")
    else:
        yield fail(
            "VIN",
            "the car does not tell it, so that nothing can be sent",
            "set vehicle.vin; it stands in the registration papers and behind the windscreen",
        )


def _rate_hz(transport: Transport, asked: list[Request]) -> float:
    """Answered requests a second, asked one after the other without a pause."""
    answered = count = 0
    began = time.monotonic()
    while time.monotonic() - began < _RATE_S:
        answered += isinstance(transport.query(asked[count % len(asked)], ADAPTER_TIMEOUT_S), Answer)
        count += 1
    return answered / (time.monotonic() - began)
