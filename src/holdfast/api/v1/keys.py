"""Idempotency keys: ``POST /api/v1/idempotencyKeys/{key}/reset``.

The client sends the hash of a key, here as at the trigger, and never the key itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast.api.auth import caller_of, changed, needs
from holdfast.api.refused import Refused
from holdfast.api.v1.documents import answered, documented, said
from holdfast.client import Client
from holdfast.names import ID_LENGTH, checked_key, checked_name

BODY_BYTES: Final = 65_536


class Reset(msgspec.Struct, rename="camel"):
    """The task whose key it is."""

    task_identifier: str


class Freed(msgspec.Struct):
    """The key that is free now."""

    id: str


_reset: Final = msgspec.json.Decoder(Reset)


def keys(client: Callable[[], Client]) -> APIRouter:
    """The route, over the database of ``client()``."""
    router = APIRouter()

    @router.post(
        "/api/v1/idempotencyKeys/{key:path}/reset",
        **documented(
            "Free an idempotency key",
            needs=needs("trigger", anyhow=True),
            body=Reset,
            answer=Freed,
            refusals=[404],
        ),
    )
    async def reset(request: Request, key: str) -> Response:
        task = checked_name(
            (await said(request, _reset, BODY_BYTES)).task_identifier, option="taskIdentifier", length=ID_LENGTH
        )
        caller_of(request).check("trigger", "task", task)
        if not await client().areset_idempotency_key(task, checked_key(key, option="The key")):
            raise Refused(404, "No run of this task has this key")
        changed(request, "idempotency reset", f"{task}: {key}")
        return answered(Freed(key))

    return router
