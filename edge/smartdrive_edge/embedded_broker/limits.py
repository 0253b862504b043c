"""The embedded broker's bounds; those that Mosquitto has too are the same as in `edge/broker/mosquitto.conf`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the broker bears.

    Attributes:
        connections: clients at a time.
        strangers: connections that have not shown a certificate and a fitting CONNECT yet.
        admission_s: how long a stranger may take for that, seconds.
        payload_bytes: of one message.
        packet_bytes: of one PUBLISH, topic included.
        control_bytes: of any other packet; their length then takes two bytes at most.
        idle_s: silence after which a client that asked for no keep-alive is gone, and the longest keep-alive.
        queued_messages: that wait for one client.
        queued_bytes: that wait for one client.
        in_flight: sent to one client without PUBACK.
        session_s: how long the session of a client that is away is kept.
    """

    connections: int = 256
    strangers: int = 64
    admission_s: float = 10.0
    payload_bytes: int = 1 << 20
    packet_bytes: int = 1_114_112
    control_bytes: int = 16_383
    idle_s: float = 900.0
    queued_messages: int = 100_000
    queued_bytes: int = 64 << 20
    in_flight: int = 1000
    session_s: int = 14 * 86_400
