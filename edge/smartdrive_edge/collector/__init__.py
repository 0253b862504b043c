"""The collector: a loop that owns the adapter, asks what the policy wants, and keeps what it heard."""

from __future__ import annotations

from smartdrive_edge.collector.collector import Collector
from smartdrive_edge.collector.program import collect

__all__ = ["Collector", "collect"]
