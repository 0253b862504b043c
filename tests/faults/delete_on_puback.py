"""A collector without the guard: its spool lets a row go at the broker's PUBACK. It has to lose.

Usage: python -m tests.faults.delete_on_puback run --config FILE
"""

from __future__ import annotations

from smartdrive_edge.broker_connection import BrokerConnection
from smartdrive_edge.cli import main
from smartdrive_edge.publisher import Publisher


def settle(publisher: Publisher, connection: BrokerConnection) -> None:
    taken = [publisher._in_flight.pop(mid, (None, 0.0))[0] for mid, _ in connection.take_pubacks()]
    publisher._has_sent = publisher._has_sent or bool(taken)
    publisher._spool._delete("id = ?", [(number,) for number in taken if number is not None])


if __name__ == "__main__":
    Publisher._settle = settle  # type: ignore[method-assign]
    main()
