"""Which request is next, by the policy's plan. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from smartdrive_edge.adapter.discovery import Car
from smartdrive_edge.adapter.requests import VOLTAGE, Request, current
from smartdrive_edge.adapter.rotation import Rotation, Wanted
from smartdrive_edge.adapter.signals import BY_NAME, BY_PID
from smartdrive_edge.policy import THRESHOLDS, Plan

RPM: Final = current(BY_NAME["RPM"].pid)

# The plan schedules 10 Hz; the dip of a starter's inrush lasts a tenth of a second, so that a quick adapter is
# used to its full rate, up to this spacing. No adapter that was seen answers faster (8 ms for an AT command).
_FREE_RUNNING_S: Final = 0.008
_NEVER: Final = float("inf")
# Constants of a drive and what says nothing about the vehicle: asked, but half as often where time is short.
_LIGHT: Final = frozenset({"FUEL_TYPE", "ODOMETER", "DISTANCE_W_MIL", "TIME_SINCE_DTC_CLEARED", "RUN_TIME_MIL"})
_HEAVY: Final = frozenset({"MAF", "COOLANT_TEMP", "ELM_VOLTAGE", "THROTTLE_POS", "FUEL_RATE", "INTAKE_PRESSURE"})


class Schedule:
    """Follows one plan at a time. `car` may be set at any time; without one only the adapter is asked."""

    def __init__(self) -> None:
        self.car: Car | None = None
        self._plan = Plan()
        self._rotation: Rotation | None = None
        self._voltage_due = _NEVER
        self._rpm_due = _NEVER
        self._since_rpm = 0

    @property
    def plan(self) -> Plan:
        """The plan being followed."""
        return self._plan

    def follow(self, plan: Plan, now: float) -> None:
        """Follow another plan from now on, whatever the last one waited for."""
        keeps_pace = self._plan.voltage_every_s == plan.voltage_every_s
        self._plan = plan
        self._rotation = None
        if not keeps_pace or plan.voltage_every_s is None:
            self._voltage_due = now if plan.voltage_every_s is not None else _NEVER
        if plan.voltage_at is not None:
            self._voltage_due = plan.voltage_at
        self._rpm_due = now if plan.rpm_every_s is not None else _NEVER
        self._since_rpm = 0

    def meet(self, car: Car | None) -> None:
        """The car was found, found to be another, or forgotten."""
        self.car = car
        self._rotation = None

    def next_request(self, now: float) -> Request | None:
        """What to ask now; None when nothing is due. Asking is taken for done."""
        plan = self._plan
        if plan.rotation_every_s is not None:
            if self._rotation is None and self.car is not None:
                self._rotation = _rotation_of(self.car)
            return self._rotation.next_request(now) if self._rotation is not None else self._voltage(now)
        if self.car is not None and plan.rpm_every_nth is not None and self._since_rpm + 1 >= plan.rpm_every_nth:
            self._since_rpm = 0
            return RPM
        if self.car is not None and plan.rpm_every_s is not None and now >= self._rpm_due:
            self._rpm_due = now + plan.rpm_every_s
            return RPM
        return self._voltage(now)

    def wait_s(self, now: float) -> float:
        """Seconds for which nothing will be due."""
        if self._rotation is not None:
            return self._rotation.wait_s(now)
        due = [self._voltage_due]
        if self.car is not None:
            due.append(self._rpm_due)
        return max(0.0, min(due) - now)

    def record(self, request: Request, asked_at: float, ended_at: float, answered: Collection[str]) -> None:
        """Learn from an outcome: what came, and how long it took."""
        if self._rotation is not None:
            self._rotation.record(request, asked_at, ended_at, answered)

    def _voltage(self, now: float) -> Request | None:
        if now < self._voltage_due:
            return None
        plan = self._plan
        if plan.voltage_at is not None:
            # A reading that comes brings a new plan; one that does not is tried again.
            self._voltage_due = now + THRESHOLDS.retry_s
        elif plan.rotation_every_s is not None:
            self._voltage_due = now + (plan.voltage_every_s or 0.0)
        else:
            self._voltage_due = now + _FREE_RUNNING_S
        self._since_rpm += 1
        return VOLTAGE


def _rotation_of(car: Car) -> Rotation:
    names = ["ELM_VOLTAGE", *(BY_PID[pid].name for pid in sorted(car.supported) if pid in BY_PID)]
    return Rotation((Wanted(name, _weight(name)) for name in names), is_can=car.dialect.is_can)


def _weight(name: str) -> float:
    return 0.5 if name in _LIGHT else 2.0 if name in _HEAVY else 1.0
