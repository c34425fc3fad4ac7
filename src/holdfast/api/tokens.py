"""The URL of a token: who has it completes the token with a POST, and needs nothing else.

    POST /api/v1/waitpoints/tokens/{id}/callback/{secret}     the value as JSON; no body is null

    200  {"success": true, "status": "completed"}, or "already": nothing has changed; the first value stays
    400  the body is not JSON             410  its time is over
    404  no such token, or another secret 413  larger than payload_limit
    405  not a POST                       422  the value does not fit, with the problems

The secret is all the protection there is, so no API key is asked for, and the call may come under any name of the host:
behind a proxy it is the public one. A wrong secret looks like an unknown token. What is delivered twice, as webhooks
are, is answered with 200 both times: an error would have it delivered again and again. A GET changes nothing, for
mail programs follow links.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from holdfast import codec
from holdfast.api.refused import Refused, path_of
from holdfast.api.v2.reading import limited
from holdfast.client import Client
from holdfast.engine import tokens as engine
from holdfast.engine.tokens import Completed, TokenRecord, settled
from holdfast.errors import PayloadInvalid
from holdfast.tokens import fitting

DOCUMENTED: Final[Mapping[str, Any]] = {
    "responses": {
        200: {
            "description": "It is completed, or was before",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {"success": {"const": True}, "status": {"enum": ["completed", "already"]}},
                        "required": ["success", "status"],
                    }
                }
            },
        },
        410: {"description": "Its time is over"},
    },
    "openapi_extra": {"requestBody": {"content": {"application/json": {"schema": {}}}}},
}
PLACE: Final = "/api/v1/waitpoints/tokens/{token_id}/callback/{secret}"
CALLBACK: Final = re.compile(r"/api/v1/waitpoints/tokens/[0-9a-z]{26}/callback/[\w-]+", re.ASCII)


def is_callback(request: Request) -> bool:
    """Whether this is a call of a token's URL, which brings its own secret."""
    return CALLBACK.fullmatch(path_of(request)) is not None


def loggable(request: Request) -> str:
    """The path of a call, without a token's secret: a log has other readers."""
    path = request.url.path
    return f"{path.rpartition('/')[0]}/…" if is_callback(request) else path


def tokens(client: Callable[[], Client]) -> APIRouter:
    """The route of tokens over the database of ``client()``."""
    router = APIRouter()

    @router.post(PLACE, summary="Complete a token, by who has its URL", **DOCUMENTED)
    async def complete(request: Request, token_id: str, secret: str) -> JSONResponse:
        verbs = client()
        record = await verbs.aread(engine.read, token_id) if is_callback(request) else None
        if record is None or not opens(record, secret):
            raise Refused(404, "There is no such token, or no longer")
        if (over := settled(record)) is not None:
            return told(over)
        text = await read(request, verbs.payload_limit, record)
        return told(await verbs.awrite(engine.complete, token_id, text))

    return router


def opens(record: TokenRecord, secret: str) -> bool:
    return record.secret is not None and hmac.compare_digest(record.secret.encode(), secret.encode())


async def read(request: Request, limit: int, record: TokenRecord) -> str:
    """The value that a call brings, as it is kept. Raises Refused."""
    body = await limited(request, limit)
    try:
        value = codec.decode(body.decode("utf-8")) if body.strip() else None
    except (PayloadInvalid, UnicodeDecodeError):
        raise Refused(400, "The body is not valid JSON") from None
    try:
        return fitting(codec.encode(value), record)
    except PayloadInvalid as error:
        problems = [Refused(422, problem) for problem in error.problems]
        raise Refused(422, str(error), errors=problems) from None


def told(outcome: Completed) -> JSONResponse:
    if outcome == "unknown":
        raise Refused(404, "There is no such token, or no longer")
    if outcome == "expired":
        raise Refused(410, "The time of this token is over")
    answer: dict[str, Any] = {"success": True, "status": outcome}
    if outcome == "already":
        answer["message"] = "It was completed before, and keeps that value"
    return JSONResponse(answer)
