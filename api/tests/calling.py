"""An app on a real database, with a clock that tests move, and people who call it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient
from smartdrive_api.app import create_app
from smartdrive_api.identity import registrations
from smartdrive_api.services import Services
from smartdrive_api.settings import Settings
from sqlalchemy import Engine, text

PASSWORD = "three words and 1 number"
LAKE_SECRET = "a secret of a lake for tests"


@dataclass
class Clock:
    """A time that stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Person:
    """Somebody with an account and a session."""

    email: str
    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access}"}


class Api:
    """The app, and shortcuts through it that use its own routes and commands."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings, self.engine, self.clock = settings, engine, Clock()
        self.app: FastAPI = create_app(settings, engine, self.clock)
        self.client = TestClient(self.app, raise_server_exceptions=False, client=("127.0.0.1", 50_000))

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    def post(self, path: str, body: object = None, person: Person | None = None) -> httpx.Response:
        return self.client.post(path, json=body, headers=person.headers if person else {})

    def register(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/v1/register", {"email": email, "password": password})

    def confirm(self, registration: httpx.Response, *, replace_password: bool = False) -> None:
        assert registration.status_code == 202, registration.text
        with self.engine.begin() as connection:
            registrations.confirm(
                connection,
                UUID(registration.json()["registration_id"]),
                self.clock(),
                replace_password=replace_password,
            )

    def sign_in(self, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        return self.post("/v1/token", {"email": email, "password": password, **more})

    def person(self, email: str) -> Person:
        """Somebody who has registered, was confirmed and has signed in."""
        self.confirm(self.register(email))
        self.forget_limits()
        return self.signed_in(email)

    def signed_in(self, email: str) -> Person:
        """Somebody who has an account, in a new session."""
        tokens = self.sign_in(email).json()
        return Person(email, tokens["access_token"], tokens["refresh_token"])

    def forget_limits(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("delete from rate_limits"))
