"""The unit of a speed that nothing names, by the distance between the positions beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

_EARTH_KM: Final = 6371.0
_LONGEST_STEP_MS: Final = 10_000
_LEAST_KM: Final = 0.3  # below that a phone's positions wander as far as the car drives
_KMH_OF: Final = {"km/h": 1.0, "mph": 1.609344, "m/s": 3.6}
_TOLERANCE: Final = 0.1  # of positions; the units are further apart


def speed_unit(fixes: Iterable[tuple[int, float, float, float]]) -> str | None:
    """The unit in which speed times time is the distance driven; None where there is no telling.

    Args:
        fixes: epoch ms, latitude and longitude in degrees, and the speed as recorded, in order of time.
    """
    distance_km = product = 0.0
    for (at, latitude, longitude, speed), (then, to_latitude, to_longitude, to_speed) in pairwise(fixes):
        if not 0 < then - at <= _LONGEST_STEP_MS:
            continue
        north = math.radians(to_latitude - latitude)
        east = math.radians(to_longitude - longitude) * math.cos(math.radians(latitude))
        distance_km += _EARTH_KM * math.hypot(north, east)
        product += (speed + to_speed) / 2 * (then - at) / 3_600_000
    if distance_km < _LEAST_KM or product <= 0:
        return None
    found = [unit for unit, kmh in _KMH_OF.items() if abs(distance_km / product / kmh - 1) <= _TOLERANCE]
    return found[0] if found else None
