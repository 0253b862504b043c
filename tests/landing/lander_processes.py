"""A device and a lander as processes of their own, to be killed. Started with one JSON argument."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

VIN = "WVWZZZ1JZXW000001"


def device(given: dict[str, str]) -> None:
    """Append and publish; write down each identity once it is committed, with the digest it must keep."""
    from smartdrive_edge.broker_connection import Broker, TlsFiles
    from smartdrive_edge.messages import event
    from smartdrive_edge.publisher import Pace, Publisher
    from smartdrive_edge.spool import Spool

    spool = Spool(Path(given["spool"]), given["device_id"])
    spool.stamp(time.time_ns() // 1_000_000 - round(time.monotonic() * 1000))
    tls = TlsFiles(Path(given["authority"]), Path(given["certificate"]), Path(given["key"]))
    pace = Pace(flush_period_s=0.3, resend_at_most_s=2.0, backoff_s=(0.05, 0.3), puback_timeout_s=3.0)
    publisher = Publisher(spool, Broker("127.0.0.1", int(given["port"]), tls), pace=pace)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    thread = threading.Thread(target=publisher.run, args=(stop,))
    thread.start()
    ledger = os.open(given["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while not stop.is_set():
        if not Path(given["pause"]).exists():
            now_ms = round(time.monotonic() * 1000)
            identity = spool.append(event(VIN, "low_voltage", now_ms, {"process": os.getpid()}))
            assert identity is not None
            os.write(ledger, f"{identity.boot_id} {identity.seq}\n".encode())
        elif spool.health().messages == 0:
            Path(given["empty"]).touch()
        stop.wait(0.02)
    thread.join()
    spool.close()


def lander(given: dict[str, str]) -> None:
    from smartdrive_dagster.landing.lander import run
    from smartdrive_dagster.landing.lander_connection import LanderSettings, TlsFiles
    from smartdrive_dagster.landing.store import LandingStore

    tls = TlsFiles(Path(given["authority"]), Path(given["certificate"]), Path(given["key"]))
    settings = LanderSettings(
        "127.0.0.1", given["client_id"], int(given["port"]), tls, max_age_s=0.2, backoff_s=(0.05, 0.3)
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run(LandingStore(given["landing"]), settings, stop)


if __name__ == "__main__":
    {"device": device, "lander": lander}[sys.argv[1]](json.loads(sys.argv[2]))
