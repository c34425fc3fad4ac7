"""Public tokens and the audit log, over HTTP.

POST /api/v1/auth/jwt/claims       what a client that signs its own tokens writes into them
POST /api/v1/auth/public-tokens    a token signed by the server, for who has a stored key
GET  /api/v1/audit                 who changed what, the newest first
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from holdfast.api import public
from holdfast.api.auth import Caller, forbidden, needs, unchanged
from holdfast.api.keyring import Keyring
from holdfast.api.refused import Refused
from holdfast.client import Client
from holdfast.duration import to_ms
from holdfast.engine import audit
from holdfast.errors import InvalidOption
from holdfast.model import at

USUAL_SECONDS: Final = 15 * 60
LONGEST_SECONDS: Final = 366 * 86_400
CURSOR: Final = re.compile(r"[0-9a-z]{26}")


class Claims(BaseModel):
    """What a public token says of who has signed it."""

    sub: str
    pub: bool


class Wanted(BaseModel):
    """The public token that is asked for."""

    model_config = ConfigDict(strict=True)

    scopes: list[str] = Field(max_length=1_000)
    expirationTime: str | int | float | None = None  # noqa: N815 - as clients of Trigger.dev write it
    oneTimeUse: bool = False  # noqa: N815
    realtime: dict[str, Any] | None = None


class PublicToken(BaseModel):
    """A public token."""

    token: str


class Change(BaseModel):
    """A line of the audit log."""

    id: str
    at: datetime
    actor: str
    key_id: str | None
    verb: str
    subject: str
    origin: str


class Changes(BaseModel):
    """A page of the audit log; ``next_cursor`` is where the next one begins."""

    data: list[Change]
    next_cursor: str | None


def access(client: Callable[[], Client], keys: Keyring) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter(prefix="/api/v1", tags=["access"])

    @router.post("/auth/jwt/claims", response_model=Claims, summary="What a client that signs public tokens says")
    async def claims(request: Request, _: Annotated[Caller, Depends(needs("admin"))]) -> JSONResponse:
        unchanged(request)
        return JSONResponse({"sub": public.ENVIRONMENT, "pub": True})

    @router.post("/auth/public-tokens", response_model=PublicToken, summary="A public token for a browser")
    async def make(wanted: Wanted, caller: Annotated[Caller, Depends(needs(None))]) -> JSONResponse:
        if caller.ends_at is not None:
            raise Refused(403, "A public token makes no other one")
        for scope in wanted.scopes:
            right = public.right_of(scope)
            if right is None:
                raise Refused(422, f"There is no such scope: {scope[:200]}", "scopes")
            if not caller.may(*right):
                raise forbidden(*right)
        token = await keys.public_token(
            caller, wanted.scopes, end_of(wanted.expirationTime), once=wanted.oneTimeUse, realtime=wanted.realtime
        )
        return JSONResponse({"token": token})

    @router.get("/audit", response_model=Changes, dependencies=[Depends(needs("admin"))], summary="Who changed what")
    async def changes(
        limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
        cursor: Annotated[str | None, Query(pattern=f"^{CURSOR.pattern}$")] = None,
    ) -> Changes:
        found = await client().aread(audit.page, before=cursor, n=limit + 1)
        page = [Change(**{**each._asdict(), "at": at(each.at)}) for each in found[:limit]]
        return Changes(data=page, next_cursor=page[-1].id if len(found) > limit else None)

    return router


def end_of(said: str | float | None) -> float:
    """When a token ends, in seconds since the epoch: after a duration (``15m``), or at a moment. Raises Refused."""
    now = time.time()
    try:
        if said is None:
            end = now + USUAL_SECONDS
        elif isinstance(said, str) and "T" in said:
            end = datetime.fromisoformat(said).timestamp()
        else:
            end = now + to_ms(said, name="expirationTime") / 1000 if isinstance(said, str) else float(said)
    except (InvalidOption, ValueError, OverflowError) as error:
        raise Refused(422, f"expirationTime is neither a duration nor a moment: {error}", "expirationTime") from None
    if not now < end <= now + LONGEST_SECONDS:
        raise Refused(422, "expirationTime is not in the year to come", "expirationTime")
    return end
