"""What the collector does next, decided from readings alone: no I/O, no clock, no threads, nothing beyond stdlib.

`step(state, reading, now)` takes what was measured and returns the new state and the actions that the shell
carries out. `edge/docs/policy.md` shows the rules as the tables that they are.
"""

from __future__ import annotations

from smartdrive_edge.policy.machine import step
from smartdrive_edge.policy.rules import NOTICES, TRANSITIONS, Rule, rules_as_markdown
from smartdrive_edge.policy.state import State, from_json, to_json
from smartdrive_edge.policy.values import (
    ASKING,
    RESTING,
    THRESHOLDS,
    Action,
    Emit,
    EventType,
    Persist,
    Phase,
    Plan,
    ProbeEcu,
    Reading,
    ResumeUploading,
    Sample,
    StopPolling,
    StopUploading,
    Thresholds,
)

__all__ = [
    "ASKING",
    "NOTICES",
    "RESTING",
    "THRESHOLDS",
    "TRANSITIONS",
    "Action",
    "Emit",
    "EventType",
    "Persist",
    "Phase",
    "Plan",
    "ProbeEcu",
    "Reading",
    "ResumeUploading",
    "Rule",
    "Sample",
    "State",
    "StopPolling",
    "StopUploading",
    "Thresholds",
    "from_json",
    "rules_as_markdown",
    "step",
    "to_json",
]
