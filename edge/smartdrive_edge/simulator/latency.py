"""How fast the adapter is."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the adapter takes.

    Attributes:
        at_s: for its own commands.
        pid_s: for a request that an ECU answers, with adaptive timing 1.
    """

    at_s: float = 0.008
    pid_s: float = 0.025

    @classmethod
    def parse(cls, text: str) -> Latency:
        """Latency from ``"15/60"``: milliseconds for AT commands and for requests to the car.

        Raises:
            ValueError: the text is not two numbers.
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)", text)
        if match is None:
            msg = f"a latency is two numbers of milliseconds such as 15/60, not {text!r}"
            raise ValueError(msg)
        return cls(float(match[1]) / 1000, float(match[2]) / 1000)
