"""The HTTP application.

    GET /healthz    200 as long as this process answers
    GET /readyz     200 if the database answers, else 503 with the reason
    GET /           what is here, for people

It holds no state: ``client()`` is asked for each request, for the database may change under ``holdfast dev``. Served
on loopback it answers to loopback's names only, or a page from elsewhere could read it under a name that it has made
point here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from holdfast import views
from holdfast.api.page import Facts, page
from holdfast.client import Client
from holdfast.errors import DatabaseError

if TYPE_CHECKING:
    from holdfast.storage import Store, Tx

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))


def application(client: Callable[[], Client], *, hosts: frozenset[str] | None = None) -> FastAPI:
    """The application over the database of ``client()``. It answers to these names of its host, or to any."""
    app = FastAPI(title="Holdfast", version=version("holdfast"), docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def refuse_strangers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        if hosts is not None and request.url.hostname not in hosts:
            return PlainTextResponse(f"This server answers to {', '.join(sorted(hosts))} only.\n", status_code=421)
        return await go_on(request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": app.version}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        try:
            store = await opened(client)
            workers = await store.read(views.workers)
        except DatabaseError as error:
            return JSONResponse({"status": "unavailable", "reason": str(error)}, status_code=503)
        return JSONResponse({"status": "ready", "database": store.kind, "workers": sum(each.alive for each in workers)})

    @app.get("/")
    async def index() -> HTMLResponse:
        try:
            store = await opened(client)
            text = page(app.version, store.url, await store.read(facts))
        except DatabaseError as error:
            return HTMLResponse(page(app.version, "", None, str(error)), status_code=503, headers=HEADERS)
        return HTMLResponse(text, headers=HEADERS)

    return app


async def opened(client: Callable[[], Client]) -> Store:
    """The database, opened if it was not; that may take a while, so not on the event loop."""
    return await asyncio.to_thread(lambda: client().store)


def facts(tx: Tx) -> Facts:
    return Facts(views.tasks(tx), views.queues(tx), views.workers(tx))
