"""Runs: ``/api/v1/runs``, and in later versions ``/api/v2/runs/{id}/cancel`` and ``/api/v3/runs/{id}``."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response

from holdfast import views
from holdfast.api.auth import needs
from holdfast.api.v1 import shown, wire
from holdfast.api.v1.documents import answered, documented
from holdfast.client import Client
from holdfast.records import RunRecord


def runs(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter()

    @router.get(
        "/api/v3/runs/{id}",
        **documented("A run in full", needs=needs("read", run="id"), answer=shown.FullRun, refusals=[404]),
    )
    async def retrieve(id: str) -> Response:
        return answered(shown.full(await found(client(), id)))

    return router


async def found(client: Client, id: str) -> RunRecord:
    """The run with this id. Raises Refused (404)."""
    records = await client.aread(views.records, [wire.bare("run", id)])
    if not records:
        raise wire.unknown("run")
    return records[0]
