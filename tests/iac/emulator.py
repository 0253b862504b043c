"""An AWS of this machine: moto in a process of its own, with the one call of AWS IoT that it lacks.

`python tests/iac/emulator.py PORT` serves until it is ended.
"""

from __future__ import annotations

import sys
from typing import Any


def _give_iot_tags() -> None:
    """Terraform asks for the tags of all it made; moto's IoT knows none, and fails instead of saying so."""
    from moto.core.responses import ActionResult
    from moto.iot.responses import IoTResponse

    def nothing(_: IoTResponse) -> ActionResult:
        return ActionResult({})

    def none(_: IoTResponse) -> ActionResult:
        return ActionResult({"tags": []})

    calls: dict[str, Any] = {
        "list_tags_for_resource": none,
        "tag_resource": nothing,
        "untag_resource": nothing,
    }
    for name, call in calls.items():
        setattr(IoTResponse, name, call)


if __name__ == "__main__":
    from moto.server import main

    _give_iot_tags()
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
