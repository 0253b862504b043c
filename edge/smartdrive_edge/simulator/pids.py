"""Service 01 of SAE J1979 as a table: which parameters each ECU answers and how it writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from smartdrive_edge.simulator.scenarios import Engine
from smartdrive_edge.simulator.state import CarState

PETROL: Final = 0x01
EOBD: Final = 0x06


@dataclass(frozen=True, slots=True)
class Pid:
    """One parameter: its number, its length in bytes and its raw value (J1979's scaling undone)."""

    number: int
    size: int
    raw: Callable[[CarState], float]

    def encode(self, state: CarState) -> bytes:
        """The parameter's bytes, rounded to its resolution and clamped to its range."""
        value = min(max(round(self.raw(state)), 0), (1 << 8 * self.size) - 1)
        return value.to_bytes(self.size, "big")


def _percent(value_pct: float) -> float:
    return value_pct * 255 / 100


def _celsius(value_c: float) -> float:
    return value_c + 40


def _manifold_kpa(state: CarState) -> float:
    return 101.0 if state.engine is Engine.OFF else 20 + 0.8 * state.load_pct


ENGINE_PIDS: Final = (
    Pid(0x03, 2, lambda s: 0x0200 if s.engine is Engine.RUNNING else 0),  # closed loop
    Pid(0x04, 1, lambda s: _percent(s.load_pct)),
    Pid(0x05, 1, lambda s: _celsius(s.coolant_c)),
    Pid(0x06, 1, lambda _: 128),
    Pid(0x07, 1, lambda _: 131),
    Pid(0x0B, 1, _manifold_kpa),
    Pid(0x0C, 2, lambda s: s.rpm * 4),
    Pid(0x0D, 1, lambda s: s.speed_kmh),
    Pid(0x0E, 1, lambda s: (64 + 10 + s.load_pct / 5) * 2),
    Pid(0x0F, 1, lambda s: _celsius(s.intake_c)),
    Pid(0x10, 2, lambda s: s.maf_gps * 100),
    Pid(0x11, 1, lambda s: _percent(s.throttle_pct)),
    Pid(0x1C, 1, lambda _: EOBD),
    Pid(0x1F, 2, lambda s: s.run_time_s),
    Pid(0x2F, 1, lambda s: _percent(s.fuel_level_pct)),
    Pid(0x31, 2, lambda s: s.odometer_km % 20_000),
    Pid(0x33, 1, lambda _: 101),
    Pid(0x42, 2, lambda s: s.voltage_v * 1000),
    Pid(0x46, 1, lambda s: _celsius(s.ambient_c)),
    Pid(0x51, 1, lambda _: PETROL),
    Pid(0x5E, 2, lambda s: s.fuel_rate_lph * 20),
    Pid(0xA6, 4, lambda s: s.odometer_km * 10),
)
TRANSMISSION_PIDS: Final = (
    Pid(0x0C, 2, lambda s: s.rpm * 4),
    Pid(0x0D, 1, lambda s: s.speed_kmh),
    Pid(0x42, 2, lambda s: s.voltage_v * 1000),
)


def supported(numbers: Iterable[int], base: int) -> bytes | None:
    """The four bytes that say which of the 32 parameters after ``base`` exist.

    The last bit says that the next such bitmap exists. ``None`` where nothing from ``base`` on exists: an ECU
    leaves such a request unanswered; ``base`` 0 is always answered.
    """
    existing = sorted(numbers)
    if base and not any(number > base for number in existing):
        return None
    bits = 0
    for number in existing:
        if base < number <= base + 32:
            bits |= 1 << (base + 32 - number)
        elif number > base + 32:
            bits |= 1
    return bits.to_bytes(4, "big")
