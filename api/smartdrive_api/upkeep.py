"""What is deleted because it is over."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from smartdrive_api.identity import rate_limits, registrations, sessions


def tidy(engine: Engine, now: datetime) -> dict[str, int]:
    """Delete ended sessions, registrations that nobody confirmed, and idle limits; how many of each."""
    with engine.begin() as connection:
        ended = sessions.forget_ended(connection, now)
        expired = registrations.forget_expired(connection, now)
    return {"sessions": ended, "registrations": expired, "rate limits": rate_limits.forget_idle(engine, now)}
