"""The main job: a small synthetic fleet's messages are landed and go down the road to trips."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from smartdrive_dagster.fleet import Truth, fleet
from smartdrive_dagster.landing.store import LandingStore

SEED: Final = 20251201
_NAME: Final = re.compile(r"/demo-(\d{8})-(\d+)x(\d+)-\d{5}\.jsonl")


class DemoOptionsError(ValueError):
    """Another demo lies in the landing zone; its cars would send other content under the same identities."""


@dataclass(frozen=True, slots=True)
class Landed:
    """What the demo put into the landing zone.

    Attributes:
        objects: how many landing objects the fleet's traffic makes.
        new: how many of them were not there before.
        truth: what the generator knows to be true.
    """

    objects: int
    new: int
    truth: Truth


def land_fleet(
    store: LandingStore,
    *,
    now: datetime,
    cars: int = 5,
    days: int = 6,
    on_object: Callable[[int, int], None] = lambda done, total: None,
) -> Landed:
    """Land a fleet's traffic of the last days; a second call finds it there and adds nothing.

    Args:
        store: the landing zone.
        now: the present, UTC. The fleet's last day is yesterday, or that of an earlier demo in this landing zone.
        cars: how many cars.
        days: how many days they drive.
        on_object: is called with the number of objects landed and their total.

    Raises:
        DemoOptionsError: an earlier demo had other options.
    """
    earlier = _earlier_demo(store)
    if earlier is not None and earlier[1:] != (cars, days):
        raise DemoOptionsError(
            f"a demo of {earlier[1]} cars and {earlier[2]} days lies in {store.url} already: run it with the same "
            "options, or begin anew with `make clean`"
        )
    until = earlier[0] if earlier else (now - timedelta(days=1)).date()
    deliveries, truth = fleet(SEED, cars=cars, days=days, until=until)
    new = 0
    for number, delivery in enumerate(deliveries):
        name = f"demo-{until:%Y%m%d}-{cars}x{days}-{number:05d}"
        landed = store.land(delivery.channel, delivery.envelopes, at=delivery.at, name=name)
        new += landed is not None
        on_object(number + 1, len(deliveries))
    return Landed(len(deliveries), new, truth)


def _earlier_demo(store: LandingStore) -> tuple[date, int, int] | None:
    """The last day, the cars and the days of a fleet that an earlier demo landed."""
    for entry in store.list().objects:
        if match := _NAME.search(entry.key):
            day = datetime.strptime(match[1], "%Y%m%d").date()  # noqa: DTZ007 - a day, not an instant
            return day, int(match[2]), int(match[3])
    return None
