"""Sends what a spool holds, and collects nothing: python -m tests.faults.sender CONFIG."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from smartdrive_edge import config, logs
from smartdrive_edge.collector.program import publisher_of
from smartdrive_edge.spool import Spool


def main() -> None:
    settings = config.load(Path(sys.argv[1]))
    logs.set_up("text", "INFO")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    spool = Spool(settings.spool_path, settings.device_id)
    publisher_of(settings, spool).run(stop)
    spool.close()


if __name__ == "__main__":
    main()
