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


def amqtt(given: dict[str, str]) -> None:
    """The embedded broker's library, in the clear, with sessions that outlive their connection."""
    import asyncio

    from amqtt.broker import Broker

    async def serve() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{given['port']}"}},
                "plugins": {f"{__spec__.name}.Everyone": {}},  # type: ignore[name-defined]
            }
        )
        await broker.start()
        await stop.wait()
        await broker.shutdown()

    asyncio.run(serve())


def __getattr__(name: str) -> object:
    if name != "Everyone":
        raise AttributeError(name)
    from amqtt.plugins.base import BaseAuthPlugin

    class Everyone(BaseAuthPlugin):
        """Unlike the library's anonymous plugin it leaves the session one that keeps messages."""

        async def authenticate(self, **_given: object) -> bool:
            return True

    return Everyone


if __name__ == "__main__":
    {"device": device, "lander": lander, "amqtt": amqtt}[sys.argv[1]](json.loads(sys.argv[2]))
