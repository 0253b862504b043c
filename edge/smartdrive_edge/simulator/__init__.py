"""A simulated ELM327 in a simulated car, behind a pseudo terminal: for tests, demonstrations and nothing else.

It knows what is true (``Simulator.car``), records what it was asked (``log``, ``forbidden_requests``,
``eeprom_writes``) and fails on demand (``fault``).
"""

from smartdrive_edge.simulator.battery import Battery
from smartdrive_edge.simulator.car import Car
from smartdrive_edge.simulator.clock import Clock, SimulatedClock
from smartdrive_edge.simulator.faults import Fault, FaultKind
from smartdrive_edge.simulator.scenarios import Engine, Key, Scenario, Segment, TroubleCode, names, scenario
from smartdrive_edge.simulator.server import Exchange, Simulator
from smartdrive_edge.simulator.state import CarState, Crank

__all__ = [
    "Battery",
    "Car",
    "CarState",
    "Clock",
    "Crank",
    "Engine",
    "Exchange",
    "Fault",
    "FaultKind",
    "Key",
    "Scenario",
    "Segment",
    "SimulatedClock",
    "Simulator",
    "TroubleCode",
    "names",
    "scenario",
]
