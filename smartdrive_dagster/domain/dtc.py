"""What the five characters of a trouble code say by themselves, whoever made the car.

Sources: ISO 15031-6 and SAE J2012, which share their numbers. The letter is the system, the first digit says who
assigned the meaning, and in powertrain and network codes the next one is the subsystem. A manufacturer's own
powertrain code keeps the subsystem, although nobody outside knows the fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

System = Literal["powertrain", "chassis", "body", "network"]
Origin = Literal["generic", "manufacturer", "reserved"]
Subsystem = Literal[
    "fuel_air_emissions",
    "fuel_and_air",
    "injectors",
    "ignition",
    "emissions",
    "speed_idle_inputs",
    "computer_outputs",
    "transmission",
    "hybrid",
    "further_powertrain",
    "cylinder_deactivation",
    "network_electrical",
    "communication_lost",
    "software_mismatch",
    "invalid_data",
    "control_module_supply",
]

SYSTEMS: Final[dict[str, System]] = {"P": "powertrain", "C": "chassis", "B": "body", "U": "network"}

_CODE: Final = re.compile(r"[PCBU][0-3][0-9A-F]{3}")
_LAST_GENERIC_P3: Final = "9"
# By first digit; powertrain's 3 is divided and stands in `_origin`.
_ORIGINS: Final[dict[System, dict[str, Origin]]] = {
    "powertrain": {"0": "generic", "1": "manufacturer", "2": "generic"},
    "chassis": {"0": "generic", "1": "manufacturer", "2": "manufacturer", "3": "reserved"},
    "body": {"0": "generic", "1": "manufacturer", "2": "manufacturer", "3": "reserved"},
    "network": {"0": "generic", "1": "manufacturer", "2": "manufacturer", "3": "generic"},
}
_ENGINE: Final[dict[str, Subsystem]] = {
    "0": "fuel_air_emissions",
    "1": "fuel_and_air",
    "2": "injectors",
    "3": "ignition",
    "4": "emissions",
    "5": "speed_idle_inputs",
    "6": "computer_outputs",
    "7": "transmission",
    "8": "transmission",
    "9": "transmission",
}
_P0: Final = _ENGINE | dict.fromkeys("ABCDEF", "hybrid")
_P2: Final = _ENGINE | dict.fromkeys("AB", "fuel_air_emissions") | dict.fromkeys("CDEF", "further_powertrain")
_P3: Final[dict[str, Subsystem]] = {
    "0": "fuel_air_emissions",
    "1": "fuel_air_emissions",
    "2": "fuel_air_emissions",
    "3": "ignition",
    "4": "cylinder_deactivation",
}
_U0: Final[dict[str, Subsystem]] = {
    "0": "network_electrical",
    "1": "communication_lost",
    "2": "communication_lost",
    "3": "software_mismatch",
    "4": "invalid_data",
    "5": "invalid_data",
    "6": "communication_lost",
}
_U3: Final[dict[str, Subsystem]] = {"0": "control_module_supply"}
_SUBSYSTEMS: Final[dict[str, dict[str, Subsystem]]] = {
    "P0": _P0,
    "P1": _P0,
    "P2": _P2,
    "P3": _P3,
    "U0": _U0,
    "U3": _U3,
}


@dataclass(frozen=True, slots=True)
class Structure:
    """What a code says by its form alone.

    Attributes:
        code: the code in capitals.
        system: which part of the car.
        origin: who gave the fault its number: the standard (generic), the manufacturer, or nobody yet (reserved).
        subsystem: None where the standard divides no further (chassis, body, U1 and U2, gaps).
        fault: the fault's number within its subsystem, two hexadecimal digits.
    """

    code: str
    system: System
    origin: Origin
    subsystem: Subsystem | None
    fault: str


def normal_code(text: str) -> str | None:
    """The code that a text is, in capitals and without blanks around it; None if it is none."""
    code = text.strip().upper()
    return code if _CODE.fullmatch(code) else None


def decode_structure(text: str) -> Structure | None:
    """Take a code apart; None for a text that is no code. Never raises."""
    code = normal_code(text)
    if code is None:
        return None
    system = SYSTEMS[code[0]]
    subsystem = _SUBSYSTEMS.get(code[:2], {}).get(code[2])
    return Structure(code, system, _origin(system, code), subsystem, code[3:])


def family_of(code: str) -> str:
    """Codes of a kind: the letter and two digits, for example P03 for ignition and misfires."""
    return code[:3]


def _origin(system: System, code: str) -> Origin:
    if code.startswith("P3"):
        # P30 to P33 are the manufacturer's, P34 to P39 the standard's; beyond, nothing is assigned.
        if code[2] in "0123":
            return "manufacturer"
        return "generic" if code[2] <= _LAST_GENERIC_P3 else "reserved"
    return _ORIGINS[system][code[1]]
