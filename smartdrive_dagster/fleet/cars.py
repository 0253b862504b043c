"""The garage: what each car of the synthetic fleet is and how its sender behaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

_FAST: Final = ("RPM", "SPEED", "IGNITION", "ELM_VOLTAGE")
_ENGINE: Final = ("ENGINE_LOAD", "COOLANT_TEMP", "INTAKE_TEMP", "THROTTLE_POS")
_POSITION: Final = ("LATITUDE", "LONGITUDE")


@dataclass(frozen=True, slots=True)
class Fault:
    """A trouble code that scans report from one event day to another.

    Attributes:
        code: five characters of SAE J2012.
        title: as the device's library has it; None where it has none.
        status: stored, pending or permanent.
        days: first and last event day, counted from 0.
    """

    code: str
    title: str | None
    status: Literal["stored", "pending", "permanent"]
    days: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Car:
    """One vehicle and its sender. Every VIN is made up.

    Attributes:
        nickname: what its owner calls it.
        vin: ISO 3779; appears in payloads, and in topics of telemetry.v0 alone.
        device_id: None for a telemetry.v0 sender, which has no such name.
        fuel: decides the stoichiometric ratio.
        displacement_l: engine displacement, litres.
        signals: those that its messages carry, in their order.
        cruising_kmh: speeds between which the driver chooses.
        rpm_per_kmh: overall gear ratios from first gear up, 1/min per km/h.
        faults: what its trouble code scans find.
        answers_permanent: whether the engine control unit knows service 0A.
        has_stop_start: the engine stops at lights once it is warm.
        has_weak_battery: it drains faster from night to night.
        goes_offline: its sender loses the network for two days and delivers its spool late.
        crosses_midnight: one trip begins before midnight UTC and ends after it.
    """

    nickname: str
    vin: str
    device_id: str | None
    fuel: Literal["petrol", "diesel"]
    displacement_l: float
    signals: tuple[str, ...]
    cruising_kmh: tuple[int, ...]
    rpm_per_kmh: tuple[float, ...]
    faults: tuple[Fault, ...] = ()
    answers_permanent: bool = True
    has_stop_start: bool = False
    has_weak_battery: bool = False
    goes_offline: bool = False
    crosses_midnight: bool = False


_PETROL_GEARS: Final = (120.0, 68.0, 46.0, 35.0, 28.0)
_DIESEL_GEARS: Final = (105.0, 56.0, 36.0, 27.0, 22.0, 18.5)

_MODELS: Final = (
    Car(
        nickname="city hatchback",
        vin="WVWZZZ1JZXW000001",
        device_id="edge-00001",
        fuel="petrol",
        displacement_l=1.4,
        signals=(*_FAST, *_ENGINE, "MAF", "FUEL_LEVEL", *_POSITION),
        cruising_kmh=(30, 50, 50, 60),
        rpm_per_kmh=_PETROL_GEARS,
        faults=(
            Fault("P0171", "System Too Lean (Bank 1)", "pending", (1, 1)),
            Fault("P0171", "System Too Lean (Bank 1)", "stored", (2, 3)),
        ),
        has_stop_start=True,
    ),
    Car(
        nickname="commuter estate",
        vin="WBAZZZ3LZXK000002",
        device_id="edge-00002",
        fuel="diesel",
        displacement_l=2.0,
        signals=(*_FAST, *_ENGINE, "MAF", "FUEL_LEVEL", *_POSITION),
        cruising_kmh=(50, 70, 100, 120, 130),
        rpm_per_kmh=_DIESEL_GEARS,
        faults=(Fault("P0401", "Exhaust Gas Recirculation Flow Insufficient Detected", "stored", (0, 99)),),
        crosses_midnight=True,
    ),
    Car(
        nickname="old roadster",
        vin="JMZZZZNAZXH000003",
        device_id="edge-00003",
        fuel="petrol",
        displacement_l=1.8,
        signals=(*_FAST, *_ENGINE),
        cruising_kmh=(50, 70, 90, 100),
        rpm_per_kmh=_PETROL_GEARS,
        faults=(Fault("P1234", None, "stored", (0, 99)),),
        answers_permanent=False,
        has_weak_battery=True,
    ),
    Car(
        nickname="delivery van",
        vin="VF1ZZZFWZXS000004",
        device_id="edge-00004",
        fuel="diesel",
        displacement_l=2.3,
        signals=(*_FAST, *_ENGINE, "MAF", "CARGO_TEMP"),
        cruising_kmh=(30, 50, 50, 70, 90),
        rpm_per_kmh=_DIESEL_GEARS,
        faults=(Fault("U0100", "Lost Communication With ECM/PCM A", "permanent", (3, 99)),),
        goes_offline=True,
    ),
    Car(
        nickname="retired taxi",
        vin="WDBZZZ21ZXA000005",
        device_id=None,
        fuel="petrol",
        displacement_l=2.2,
        signals=("RPM", "SPEED", "ELM_VOLTAGE", "COOLANT_TEMP"),
        cruising_kmh=(30, 50, 50, 70),
        rpm_per_kmh=_PETROL_GEARS,
    ),
)


def garage(cars: int) -> tuple[Car, ...]:
    """So many cars: the five models in turn, each with a VIN and a device of its own."""
    return tuple(_numbered(_MODELS[index % len(_MODELS)], index + 1) for index in range(cars))


def _numbered(model: Car, number: int) -> Car:
    device_id = None if model.device_id is None else f"edge-{number:05d}"
    return replace(model, vin=f"{model.vin[:11]}{number:06d}", device_id=device_id)
