"""Alembic without its ini file: the API's migrations, applied to an engine."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

_LOCK = 0x5D21  # two processes that start at once migrate one after the other


def config() -> Config:
    """Alembic's configuration, without a connection."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    return made


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables up to a revision, in one transaction."""
    _run(engine, revision, command.upgrade)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the tables back to a revision; what newer tables held is gone."""
    _run(engine, revision, command.downgrade)


def _run(engine: Engine, revision: str, action) -> None:  # type: ignore[no-untyped-def]
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        made = config()
        made.attributes["connection"] = connection
        action(made, revision)
