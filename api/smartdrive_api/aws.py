"""The same app behind a load balancer or API Gateway: `smartdrive_api.aws.handler` is the Lambda handler.

It needs SMARTDRIVE_API_DATABASE_URL: a function has no disk that stays for an embedded database.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from smartdrive_api.app import create_app
from smartdrive_api.database import external
from smartdrive_api.settings import Settings

if TYPE_CHECKING:
    from mangum import Mangum
    from mangum.types import LambdaContext


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


@cache
def _mangum() -> Mangum:
    from mangum import Mangum

    settings = Settings()
    return Mangum(AddressOfBalancer(create_app(settings, external(settings))), lifespan="off")
