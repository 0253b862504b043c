"""How one sees that a program works: a question that only a working one answers.

A probe is a value that can be written down, since the prober is another process than the command that plans it.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

TIMEOUT_S: Final = 5.0
_SILENT_S: Final = 10.0  # the lander writes every second, and may spend 5 on a broker that does not answer
_DAEMON_SILENT_S: Final = 90.0  # Dagster's daemons write every 30 s
_DAEMONS: Final = "{ instance { daemonHealth { allDaemonStatuses { daemonType required lastHeartbeatTime } } } }"


@dataclass(frozen=True, slots=True)
class Process:
    """The process that a look is about: its number and its start (epoch seconds); 0 where it is not ours."""

    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong.

    Attributes:
        reason: follows the program's name and a comma.
        mend: whether starting the program again may help.
    """

    reason: str
    mend: bool = True


class TlsHandshake(msgspec.Struct, frozen=True, tag=True):
    """The broker completes a TLS 1.3 handshake, and its certificate is good for the name it is reached by."""

    host: str
    port: int
    authority: str
    certificate: str
    key: str

    def look(self, _process: Process) -> Fault | None:
        """None is healthy."""
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.authority)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(self.certificate, self.key)
            with (
                socket.create_connection((self.host, self.port), TIMEOUT_S) as plain,
                context.wrap_socket(plain, server_hostname=self.host) as tls,
            ):
                tls.unwrap()
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not good for {self.host}: {error.verify_message}"
            return Fault(reason, mend=False)
        except TimeoutError:
            return Fault(f"does not answer at {self.host}:{self.port}")
        except ssl.SSLError as error:
            return (
                None if error.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" else Fault(f"refuses TLS: {error}")
            )
        except OSError as error:
            return Fault(f"cannot be reached at {self.host}:{self.port}: {error.strerror or error}")
        return None


class LanderHeartbeat(msgspec.Struct, frozen=True, tag=True):
    """The lander has written lately that it is connected and can land."""

    path: str

    def look(self, process: Process) -> Fault | None:
        """None is healthy."""
        from smartdrive_dagster.landing.heartbeat import Heartbeat

        try:
            said = Heartbeat.read(Path(self.path))
        except (OSError, ValueError):
            return Fault("has written no heartbeat")
        if said.pid != process.pid:
            return Fault("has written no heartbeat yet")
        silent_s = time.time() - said.at
        if silent_s > _SILENT_S:
            return Fault("does not answer")
        if said.failures:
            return Fault(f"cannot write to landing, {said.failures} attempts failed in a row", mend=False)
        return Fault("not connected to the broker", mend=False) if said.protocol is None else None


class CodeServerHealth(msgspec.Struct, frozen=True, tag=True):
    """The code server answers gRPC's standard health check on its socket."""

    path: str

    def look(self, _process: Process) -> Fault | None:
        """None is healthy."""
        import grpc  # type: ignore[import-untyped]

        request = b"\n\x0aDagsterApi"  # HealthCheckRequest(service="DagsterApi")
        serving = b"\x08\x01"  # HealthCheckResponse(status=SERVING)
        with grpc.insecure_channel(f"unix:{self.path}") as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            try:
                answer = check(request, timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                slow = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                return Fault("does not answer" if slow else "cannot be reached on its socket")
        return None if answer == serving else Fault("answers that it does not serve")


class ServerInfo(msgspec.Struct, frozen=True, tag=True):
    """The webserver tells its version."""

    url: str

    def look(self, _process: Process) -> Fault | None:
        """None is healthy."""
        try:
            _ask(f"{self.url}/server_info")
        except _UnansweredError as error:
            return Fault(str(error))
        return None


class ApiReady(msgspec.Struct, frozen=True, tag=True):
    """The REST API answers that it and its database can serve."""

    url: str

    def look(self, _process: Process) -> Fault | None:
        """None is healthy."""
        try:
            _ask(f"{self.url}/readyz")
        except _UnansweredError as error:
            return Fault(str(error))
        return None


class DaemonHeartbeats(msgspec.Struct, frozen=True, tag=True):
    """Every daemon that the instance requires wrote a heartbeat lately, and since its process started.

    The webserver is asked: it knows the instance's storage, whichever it is, and importing Dagster for the same
    answer takes seconds. Where it does not answer, nothing is known, which is no reason to restart the daemon.
    """

    url: str

    def look(self, process: Process) -> Fault | None:
        """None is healthy."""
        try:
            answer = _ask(f"{self.url}/graphql", {"query": _DAEMONS})
            statuses = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
            last = {one["daemonType"]: one["lastHeartbeatTime"] for one in statuses if one["required"]}
        except _UnansweredError:
            return Fault("not known, since the webserver does not answer", mend=False)
        except (LookupError, TypeError):
            return Fault("not known, since the webserver does not say", mend=False)
        silent = sorted(name.lower() for name, at in last.items() if at is None or at < process.started_at)
        if silent:
            return Fault(f"no heartbeat yet of {', '.join(silent)}")
        silent = sorted(name.lower() for name, at in last.items() if time.time() - at > _DAEMON_SILENT_S)
        return Fault(f"no heartbeat of {', '.join(silent)} for {_DAEMON_SILENT_S:.0f} s") if silent else None


Probe = TlsHandshake | LanderHeartbeat | CodeServerHealth | ServerInfo | ApiReady | DaemonHeartbeats


class _UnansweredError(Exception):
    """A server gave no answer; the text says how."""


def _ask(url: str, body: dict[str, str] | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # loopback, whatever the environment says
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise _UnansweredError(f"answers with HTTP {error.code}") from error
    except TimeoutError as error:
        raise _UnansweredError("does not answer") from error
    except (OSError, ValueError) as error:
        raise _UnansweredError("cannot be reached") from error
