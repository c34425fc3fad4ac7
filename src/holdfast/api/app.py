"""The HTTP application.

    GET /healthz    200 as long as this process answers
    GET /readyz     200 if the database answers, else 503 with the reason
    GET /           what is here, for people
    /api/v1/waitpoints/tokens/…/callback/…    where tokens are completed
    /v2             HTTP tasks and schedules, as Mergent had them

It holds no state: ``client()`` is asked for each request, for the database may change under ``holdfast dev``. Served
on loopback it answers to loopback's names only, or a page from elsewhere could read it under a name that it has made
point here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from holdfast import views
from holdfast.api import auth
from holdfast.api.limit import Limit, Verdict
from holdfast.api.page import Facts, page
from holdfast.api.tokens import is_callback, loggable
from holdfast.api.tokens import tokens as waited_for
from holdfast.api.v2.refused import Refused
from holdfast.api.v2.schedules import schedules
from holdfast.api.v2.tasks import tasks
from holdfast.client import Client
from holdfast.errors import DatabaseError, HoldfastError, IdempotencyBusy
from holdfast.rate import read_rate

if TYPE_CHECKING:
    from holdfast.storage import Store, Tx

KEYED: Final = ("/v2",)  # never without a key, but on loopback
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
log = logging.getLogger("holdfast")


def application(
    client: Callable[[], Client],
    *,
    hosts: frozenset[str] | None = None,
    key: str | None = None,
    rate: str | None = None,
) -> FastAPI:
    """The application over the database of ``client()``. It answers to these names of its host, or to any; with a
    ``key``, to whoever brings it. Without one it answers nothing but whether it is up to anybody but this machine. A
    ``rate`` such as ``1000/s`` says how many calls are answered."""
    limit = None if rate is None else Limit(read_rate(rate, name="api_rate"))
    app = FastAPI(title="Holdfast", version=version("holdfast"), docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(tasks(client))
    app.include_router(waited_for(client))
    app.include_router(schedules(client))
    app.add_exception_handler(Refused, told)
    app.add_exception_handler(HTTPException, told)
    app.add_exception_handler(HoldfastError, told)

    @app.middleware("http")
    async def refuse_strangers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        outsider = is_callback(request)  # with a secret of its own
        if not outsider and hosts is not None and request.url.hostname not in hosts:
            return PlainTextResponse(f"This server answers to {', '.join(sorted(hosts))} only.\n", status_code=421)
        if not outsider and (refused := objection(request, hosts, key)) is not None:
            return refused.response()
        if limit is not None and request.url.path not in auth.OPEN:
            verdict = limit.count(time.monotonic())
            if not verdict.allowed:
                return too_many(limit, verdict).response()
        try:
            return await go_on(request)
        except Exception:
            log.exception("%s %s could not be answered", request.method, loggable(request))
            return Refused(500, "Holdfast could not answer this: its log says why").response()

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


def objection(request: Request, hosts: frozenset[str] | None, key: str | None) -> Refused | None:
    """Why this call is not answered; None if it is."""
    if request.url.path in auth.OPEN:
        return None
    if key is not None and not auth.has_key(request, key):
        return Refused(401, "The API key is missing or wrong", headers={"WWW-Authenticate": 'Basic realm="Holdfast"'})
    if key is None and request.url.path.startswith(KEYED):
        if hosts is None:
            return Refused(401, "This server has no API key, so it serves loopback only: set HOLDFAST_API_KEY")
        if auth.from_elsewhere(request):
            return Refused(403, "Pages from elsewhere are not answered")
    return None


def too_many(limit: Limit, verdict: Verdict) -> Refused:
    headers = {
        "Retry-After": str(verdict.reset),
        "X-RateLimit-Limit": str(limit.rate.starts),
        "X-RateLimit-Remaining": str(verdict.remaining),
        "X-RateLimit-Reset": str(verdict.reset),
    }
    return Refused(429, f"There are more than {limit.rate.starts} calls in {limit.window:g} s", headers=headers)


async def told(request: Request, error: Exception) -> Response:
    """An error as a caller reads it: under ``/v2`` as JSON with a message, whatever it is."""
    if isinstance(error, Refused):
        return error.response()
    if isinstance(error, HTTPException):
        return Refused(error.status_code, str(error.detail), headers=error.headers).response()
    if isinstance(error, DatabaseError | IdempotencyBusy):
        log.warning("%s %s could not be answered: %s", request.method, loggable(request), error)
        return Refused(503, f"The database does not answer: {error.what}", headers={"Retry-After": "1"}).response()
    return Refused(422, str(error)).response()


async def opened(client: Callable[[], Client]) -> Store:
    """The database, opened if it was not; that may take a while, so not on the event loop."""
    return await asyncio.to_thread(lambda: client().store)


def facts(tx: Tx) -> Facts:
    return Facts(views.tasks(tx), views.queues(tx), views.workers(tx))
