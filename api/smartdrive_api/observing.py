"""What surrounds every request: its id, its bounds, its count and duration, and an answer when all else failed."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smartdrive_api.problems import MEDIA_TYPE, Problem, problem_body

REQUESTS: Final = "smartdrive_api_requests"
SUCCESSES: Final = "smartdrive_api_successes"
SECONDS: Final = "smartdrive_api_request_seconds"
MAX_BODY: Final = 65_536
_MAX_DIGITS: Final = 18
_LOG: Final = logging.getLogger("smartdrive_api")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class Counting(Protocol):
    """Whatever keeps counts of answers."""

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answer, of a request that took so many seconds."""
        ...


def is_success(status: int) -> bool:
    """Whether an answer spends nothing of the error budget: a caller's own fault is none of the service's."""
    return status < HTTPStatus.INTERNAL_SERVER_ERROR


def operation_of(scope: Scope) -> tuple[str, str]:
    """The method and the route's template: few values, and nothing that a caller wrote."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, str(getattr(scope.get("route"), "path", "unmatched"))


class Metrics:
    """Counts and durations of requests, by the route's template and never by its path."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            REQUESTS,
            "Requests by route, method and class of status",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._successes = Counter(SUCCESSES, "Requests that were answered with no 5xx", registry=self.registry)
        self._seconds = Histogram(
            SECONDS,
            "Duration of requests",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answer."""
        method, route = operation_of(scope)
        self._requests.labels(route, method, f"{status // 100}xx").inc()
        self._successes.inc(int(is_success(status)))
        self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        """All counts in the text format of Prometheus, those of other workers too."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class Observing:
    """The outermost layer: an id, a bound and a count for each request, and a problem for each crash.

    Args:
        app: what answers.
        counting: who are told of each answer.
        larger: by path, bounds of bodies other than `MAX_BODY` (bytes).
        clock: seconds that only grow.
    """

    def __init__(
        self,
        app: ASGIApp,
        counting: Sequence[Counting],
        larger: Mapping[str, int],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app, self._counting, self._larger, self._clock = app, counting, larger, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = str(uuid4())
        started, status = self._clock(), 0
        bound = self._larger.get(scope["path"], MAX_BODY)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                added = [header for header in _HEADERS if header[0] not in own]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *added]
            await send(message)

        try:
            if _declared_length(scope) > bound:
                raise Problem(413)
            await self._app(scope, _bounded(receive, bound), answer)
        except Exception as error:
            if status:
                raise  # the answer has begun: nothing better can be said any more
            problem = error if isinstance(error, Problem) else _unexpected(error, request_id)
            await _send(answer, problem, request_id)
        finally:
            seconds = self._clock() - started
            for one in self._counting:
                one.count(scope, status or 500, seconds)


def _unexpected(error: Exception, request_id: str) -> Problem:
    """Log where it broke, without the error's words: they may hold what the caller sent."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("request %s failed with %s\n%s", request_id, type(error).__name__, frames)
    return Problem(500)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            # A number of more digits than int takes is more than we take, too.
            return 10**_MAX_DIGITS if len(value) > _MAX_DIGITS else int(value) if value.isdigit() else 0
    return 0


def _bounded(receive: Receive, bound: int) -> Receive:
    """A body that ends in a problem where it grows too large, whatever it said of its length."""
    got = 0

    async def bounded() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > bound:
            raise Problem(413)
        return message

    return bounded


async def _send(send: Send, problem: Problem, request_id: str) -> None:
    body = problem_body(problem, request_id)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
