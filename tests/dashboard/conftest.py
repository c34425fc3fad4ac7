"""``served(database_url)``: the pages over a database, asked through their ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from holdfast import Holdfast
from holdfast.api.app import application

Served = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def served() -> Served:
    @asynccontextmanager
    async def serve(app: Holdfast) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app=application(lambda: app.client))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            yield http

    return serve
