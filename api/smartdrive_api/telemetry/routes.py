"""The route by which a phone, or any client, sends telemetry."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from smartdrive_api.database import autocommit
from smartdrive_api.identity import rate_limits
from smartdrive_api.identity.account import device_of
from smartdrive_api.identity.caller import SIGNED_IN, Caller
from smartdrive_api.problems import Problem, invalid, responses
from smartdrive_api.services import NeedsServices
from smartdrive_api.telemetry.batch import MAX_MESSAGES, Sender, expanded, objections, read
from smartdrive_api.telemetry.landing import LandingUnavailableError, landing_object
from smartdrive_api.vehicles import garage

router = APIRouter(prefix="/v1/telemetry", tags=["telemetry"], dependencies=SIGNED_IN)

PATH: Final = "/v1/telemetry/ingest"
_LOG: Final = logging.getLogger("smartdrive_api")
_MESSAGE: Final = {
    "schema": "telemetry.v1",
    "vin": "1M8GDM9AXKP042788",
    "device_id": "app-3f1c0f0e-8a53-4a6e-9f0a-2d6c1f0b7e42",
    "boot_id": "01JE0A7N5S3Q9V0W2K4M6P8R1T",
    "seq": 0,
    "phase": "running",
    "t": [1764547200000, 1764547201000],
    "clock": "synced",
    "signals": {"RPM": [812.0, 845.5], "SPEED": [0, 3], "ELM_VOLTAGE": [14.1, None]},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "Messages of the contract telemetry.v1. `Content-Encoding: gzip` is welcome.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_MESSAGES,
                    "items": {"type": "object", "description": "a message of telemetry.v1"},
                },
                "example": [_MESSAGE],
            },
            "application/x-ndjson": {
                "schema": {"type": "string", "description": "a message of telemetry.v1 a line"}
            },
        },
    }
}


class Landed(BaseModel):
    """What is stored now, durably. Whether its samples are accepted the lake decides."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"messages": 1, "is_new": True}]})

    messages: Annotated[int, Field(description="messages of the batch, all of which are stored")]
    is_new: Annotated[bool, Field(description="false: the same batch was stored before, within this hour")]


async def _sent(request: Request, caller: Caller) -> bytes:
    return await request.body()  # once it is known who calls


@router.post(
    "/ingest",
    status_code=202,
    openapi_extra=_BODY,
    responses={
        200: {"description": "Stored before", "model": Landed},
        **responses(400, 401, 413, 415, 422, 429, 503),
    },
)
def ingest(
    request: Request,
    response: Response,
    caller: Caller,
    services: NeedsServices,
    body: Annotated[bytes, Depends(_sent)],
) -> Landed:
    """Store a batch of telemetry.v1 messages, wholly or not at all.

    Each names the device_id that `GET /v1/account` tells, and the VIN of a vehicle that is confirmed as the
    caller's, with no sample older than its `data_from`. A batch may be sent again: a message counts once.
    """
    now = services.now()
    rate_limits.take(services.engine, rate_limits.INGEST, str(caller.account_id), now)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    messages = read(expanded(body, encoding), media_type)
    with autocommit(services.engine) as connection:
        sender = Sender(device_of(connection, caller.account_id), garage.confirmed(connection, caller.account_id))
    if wrong := objections(messages, sender):
        raise invalid(*wrong)
    key, stored = landing_object(sender.device_id, [message.text for message in messages], now)
    try:
        is_new = services.landing.put(key, stored)
    except LandingUnavailableError as error:
        _LOG.error("telemetry cannot be stored: %s", error)
        raise Problem(
            503, "no_landing", "It is not stored. Send it again.", headers={"Retry-After": "5"}
        ) from None
    if not is_new:
        response.status_code = 200
    return Landed(messages=len(messages), is_new=is_new)
