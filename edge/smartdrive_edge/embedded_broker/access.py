"""Who may do what: the rules of `broker_config.access_list`, as functions of names and topics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from smartdrive_edge.broker_config import check_lander

_ID: Final = r"[A-Za-z0-9._-]{1,64}"
_READABLE: Final = re.compile(rf"vehicle/{_ID}/(telemetry|events)")
_ANSWERABLE: Final = re.compile(rf"vehicle/{_ID}/ack")
_FILTER: Final = re.compile(rf"vehicle/(#|(\+|{_ID})/(\+|#|telemetry|events))")


class Access:
    """A device writes on its two topics and reads its acks; a lander reads all vehicles and writes acks.

    Args:
        landers: common names.

    Raises:
        ValueError: a lander's name could be a device's.
    """

    def __init__(self, landers: Sequence[str]) -> None:
        self._landers = frozenset(check_lander(lander) for lander in landers)

    def may_publish(self, name: str, topic: str) -> bool:
        """Whether the client whose certificate says `name` may write there."""
        if name in self._landers:
            return _ANSWERABLE.fullmatch(topic) is not None
        return topic in {f"vehicle/{name}/telemetry", f"vehicle/{name}/events"}

    def may_receive(self, name: str, topic: str) -> bool:
        """Whether a message on this topic may reach it, whatever it has subscribed."""
        if name in self._landers:
            return _READABLE.fullmatch(topic) is not None
        return topic == f"vehicle/{name}/ack"

    def may_subscribe(self, name: str, topic_filter: str) -> bool:
        """Whether it may ask for this; a filter that could only ever bring others' messages is refused."""
        if name in self._landers:
            return _FILTER.fullmatch(topic_filter) is not None
        return topic_filter == f"vehicle/{name}/ack"
