"""``served(database_url)``: the pages over a database, asked through their ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
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


async def post(
    http: httpx.AsyncClient, page: str, address: str, fields: Mapping[str, str | list[str]] | None = None
) -> httpx.Response:
    """Send a form as its page would: with the mark that the page has."""
    answer = await http.get(page)
    mark = answer.text.partition('name="mark" value="')[2].partition('"')[0]
    return await http.post(address, data={"mark": mark, **(fields or {})})
