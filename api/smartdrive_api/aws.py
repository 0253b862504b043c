"""The same app behind a load balancer or API Gateway: `smartdrive_api.aws.handler` is the Lambda handler.

It needs SMARTDRIVE_API_DATABASE_URL and SMARTDRIVE_API_LANDING_URL: a function has no disk that stays, neither for
an embedded database nor for landing objects.
"""

from __future__ import annotations

import os
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from smartdrive_api.app import create_app
from smartdrive_api.database import external
from smartdrive_api.observing import REQUESTS, SECONDS, SUCCESSES, is_success, operation_of
from smartdrive_api.settings import Settings

if TYPE_CHECKING:
    from mangum import Mangum
    from mangum.types import LambdaContext


NAMESPACE: Final = "SmartDrive"
SERVICE: Final = "smartdrive-api"


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one event of a load balancer or of API Gateway (payload 1.0 or 2.0)."""
    return _mangum()(event, context)


class AddressOfBalancer:
    """Takes the peer's address from what the balancer itself wrote.

    Mangum takes the whole X-Forwarded-For, whose left part the client wrote, for the address. A balancer appends
    the address that it saw: the last one is the peer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if "elb" in scope.get("aws.event", {}).get("requestContext", {}):
            forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            peer = forwarded[-1].decode("latin-1").rpartition(",")[2].strip() if forwarded else ""
            scope["client"] = (peer, 0)
        await self._app(scope, receive, send)


class CloudWatchMetrics:
    """Throughput, latency and success, as lines of the log that CloudWatch makes metrics of (EMF).

    `smartdrive_api_requests` (count), `smartdrive_api_successes` (count, all but 5xx) and
    `smartdrive_api_request_seconds`, called as on /metrics, each for the service, on which an alarm can be set,
    and for each of its operations.
    """

    def __init__(self) -> None:
        from aws_lambda_powertools.metrics import EphemeralMetrics

        self._new_line = partial(EphemeralMetrics, namespace=NAMESPACE, service=SERVICE)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Write the line of one answer."""
        line = self._new_line()
        line.add_dimensions(service=SERVICE, operation=" ".join(operation_of(scope)))
        line.add_metric(REQUESTS, "Count", 1)
        line.add_metric(SUCCESSES, "Count", int(is_success(status)))
        line.add_metric(SECONDS, "Seconds", seconds)
        line.flush_metrics()


@cache
def _mangum() -> Mangum:
    from mangum import Mangum

    settings = Settings()
    app = create_app(settings, external(settings), counting=[CloudWatchMetrics()])
    return Mangum(AddressOfBalancer(app), lifespan="off")


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _mangum()  # while a function starts it has a whole processor; while it answers, what its memory pays for
