"""Several processes that serve one API: what the one that starts them hands down, and the app of each."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from threading import Thread
from typing import Final

from fastapi import FastAPI
from sqlalchemy import Engine

from smartdrive_api.settings import Settings

_DATABASE: Final = "SMARTDRIVE_API_DATABASE_URL"
_COUNTS: Final = (
    "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client keeps counts in files there, if told before its import
)


@contextmanager
def worker_environment(settings: Settings, engine: Engine) -> Iterator[None]:
    """The environment of workers: the embedded database that this process keeps, and where they count together."""
    with tempfile.TemporaryDirectory(prefix="smartdrive-api-") as counts:
        os.environ[_COUNTS] = counts
        if settings.database_url is None:
            os.environ[_DATABASE] = engine.url.render_as_string(hide_password=False)
        try:
            yield
        finally:
            os.environ.pop(_COUNTS)
            if settings.database_url is None:
                os.environ.pop(_DATABASE)


def app() -> FastAPI:
    """The app of one worker, which ends when the process that started it does, however that ends."""
    from smartdrive_api.app import create_app
    from smartdrive_api.database import external

    Thread(target=_end_with_parent, daemon=True).start()
    settings = Settings()
    return create_app(settings, external(settings))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
