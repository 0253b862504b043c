"""What is remembered of the car, so that a start need not wait until it was found again."""

from __future__ import annotations

import json
from dataclasses import dataclass

from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.frames import Dialect
from smartdrive_edge.messages import MessageError, check_vin


@dataclass(frozen=True, slots=True)
class KnownCar:
    """A car as it was found, or as the configuration says.

    Attributes:
        car: how to talk to it; None where only the VIN is known.
        vin: whose samples these are; None where nobody said.
    """

    car: Car | None = None
    vin: str | None = None

    def to_json(self) -> str:
        """The text for the spool, which is private to the collector: it holds the VIN."""
        if self.car is None:
            return json.dumps({"vin": self.vin})
        dialect = self.car.dialect
        return json.dumps(
            {
                "vin": self.vin,
                "protocol": dialect.protocol,
                "has_headers": dialect.has_headers,
                "engine": self.car.engine,
                "supported": sorted(self.car.supported),
            }
        )

    @classmethod
    def from_json(cls, text: str | None) -> KnownCar:
        """What `to_json` wrote; a car that is not known where the text is missing or damaged."""
        if text is None:
            return cls()
        try:
            match json.loads(text):
                case {
                    "vin": str() | None as vin,
                    "protocol": str(protocol),
                    "has_headers": bool(has_headers),
                    "engine": int(engine),
                    "supported": [*supported],
                } if all(isinstance(pid, int) for pid in supported):
                    checked = check_vin(vin) if vin is not None else None
                    dialect = Dialect(protocol, has_headers)
                    return cls(Car(dialect, engine, frozenset(supported), checked), checked)
                case {"vin": str(vin)}:
                    return cls(None, check_vin(vin))
        except (ValueError, MessageError, RecursionError):
            pass
        return cls()
