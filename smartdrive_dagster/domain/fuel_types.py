"""Fuels: what a litre of each needs of air and gives off, and the codes by which a vehicle names them.

Petrol and diesel are at the middle of EN 228 and EN 590, LPG is a mixture after EN 589; blends of ethanol follow
from their parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CO2_PER_CARBON: Final = 44.0095 / 12.0107


@dataclass(frozen=True, slots=True)
class Fuel:
    """Figures of a fuel.

    Attributes:
        stoichiometric: kilograms of air that burn a kilogram of it.
        density: kilograms a litre at 15 °C.
        carbon: share of carbon in its mass.
    """

    stoichiometric: float
    density: float
    carbon: float

    @property
    def air_g_per_l(self) -> float:
        """Grams of air that burn a litre."""
        return self.stoichiometric * self.density * 1000

    @property
    def co2_kg_per_l(self) -> float:
        """Kilograms of carbon dioxide from a litre."""
        return self.density * self.carbon * CO2_PER_CARBON


PETROL: Final = Fuel(stoichiometric=14.7, density=0.745, carbon=0.866)
ETHANOL: Final = Fuel(stoichiometric=9.0, density=0.789, carbon=0.521)


def blend(ethanol: float) -> Fuel:
    """Petrol with a share of ethanol by volume, 0 to 1; volumes and masses add up."""
    density = ethanol * ETHANOL.density + (1 - ethanol) * PETROL.density
    mass = ethanol * ETHANOL.density / density
    return Fuel(
        stoichiometric=mass * ETHANOL.stoichiometric + (1 - mass) * PETROL.stoichiometric,
        density=density,
        carbon=mass * ETHANOL.carbon + (1 - mass) * PETROL.carbon,
    )


FUELS: Final[dict[str, Fuel]] = {
    "petrol": PETROL,
    "e10": blend(0.10),
    "e85": blend(0.85),
    "diesel": Fuel(stoichiometric=14.5, density=0.835, carbon=0.862),
    "lpg": Fuel(stoichiometric=15.6, density=0.54, carbon=0.823),
}

# SAE J1979 PID 51, in the profile's words. Methanol and drives that burn now this, now that, have no entry.
FUEL_OF_PID: Final[dict[int, str]] = {
    **dict.fromkeys((1, 9, 17), "petrol"),
    **dict.fromkeys((3, 11, 18), "e85"),
    **dict.fromkeys((4, 19, 23), "diesel"),
    **dict.fromkeys((5, 7, 12, 14), "lpg"),
    **dict.fromkeys((6, 13), "cng"),
    **dict.fromkeys((8, 15, 20), "electric"),
}
