"""The HTTP application.

    GET /healthz    200 as long as this process answers
    GET /readyz     200 if the database answers, else 503 with the reason
    GET /           the dashboard, for people; /docs is what can be called, made from /openapi.json
    /api/v1/waitpoints/tokens/…/callback/…    where tokens are completed
    /api            runs and all that belongs to them, as Trigger.dev's client knows it
    /metrics        how everything stands, for Prometheus
    /realtime       runs and streams as they change
    /webhooks       what other servers send, verified
    /v2             HTTP tasks and schedules, as Mergent had them

It holds no state: ``client()`` is asked for each request, for the database may change under ``holdfast dev``. Before
every route stands the gate, which finds out who calls; each route says what it needs of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match

from holdfast import views
from holdfast.api.access import access
from holdfast.api.auth import caller_of, refuse_undeclared
from holdfast.api.gate import Gate, refusal
from holdfast.api.keyring import Keyring
from holdfast.api.limit import Limits
from holdfast.api.live.hub import Hub
from holdfast.api.live.routes import live
from holdfast.api.live.writing import writing
from holdfast.api.metrics import metrics
from holdfast.api.openapi import document, openapi
from holdfast.api.refused import Refused, all_of
from holdfast.api.tokens import tokens as waited_for
from holdfast.api.v1.direct import Application, Direct
from holdfast.api.v1.routes import v1
from holdfast.api.v2.schedules import schedules
from holdfast.api.v2.tasks import tasks
from holdfast.api.webhooks import Elsewhere, Endpoints, webhooks
from holdfast.client import Client
from holdfast.dashboard import Site, dashboard
from holdfast.errors import DatabaseError, HoldfastError
from holdfast.rate import read_rate

if TYPE_CHECKING:
    from holdfast.app import Holdfast
    from holdfast.settings import Settings
    from holdfast.storage import Store


class Health(BaseModel):
    """The process is up."""

    status: str
    version: str


class Readiness(BaseModel):
    """The database answers."""

    status: str
    database: str
    workers: int


class Unreadiness(BaseModel):
    """The database does not answer, and why."""

    status: str
    reason: str


SETTINGS: Final = {"key": "api_key", "rate": "api_rate", "cors": "cors_origins"}
UNREADY: Final[dict[int | str, dict[str, Any]]] = {503: {"description": "It does not", "model": Unreadiness}}
NOT_ALLOWED: Final = 405
CORS_SECONDS: Final = 7_200  # what browsers remember at most
ANYTHING: Final[Mapping[str, Any]] = {"allow_methods": ["*"], "allow_headers": ["*"], "expose_headers": ["*"]}
log = logging.getLogger("holdfast")


def served(app: Holdfast, *, begin: Callable[[], None] | None = None) -> FastAPI:
    """The application over an app's database, as its settings say, with its webhooks. ``begin`` is called once,
    with its first call, in a thread."""
    made = configured(app.settings, lambda: app.client, lambda: app.webhooks)
    made.begin = begin
    return made


def configured(
    settings: Settings,
    client: Callable[[], Client],
    endpoints: Endpoints = dict,
    elsewhere: Elsewhere | None = None,
) -> Application:
    """The application over the database of ``client()``, as the settings say."""
    said = {name: settings.get(setting).value for name, setting in SETTINGS.items()}
    return application(client, endpoints=endpoints, elsewhere=elsewhere, **said)


def application(
    client: Callable[[], Client],
    *,
    key: str | None = None,
    rate: str | None = None,
    cors: str | None = None,
    endpoints: Endpoints = dict,
    elsewhere: Elsewhere | None = None,
) -> Application:
    """The application over the database of ``client()``. With a ``key`` it answers whoever brings it, and without one
    this machine only. A ``rate`` such as ``1000/s`` says how many calls are answered, and ``cors`` which
    pages a browser may show answers to, as in ``https://shop.example.com``. ``endpoints()`` are the webhooks
    of the app that is loaded here, and ``elsewhere`` is who takes requests where none is."""
    app = Application(
        title="Holdfast",
        version=version("holdfast"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(refuse_undeclared)],
    )
    app.state.client, app.state.keys = client, Keyring(client, key)
    app.state.hub = Hub(client)
    app.state.site = Site(client, app.version, app.state.keys)
    for router in (
        openapi(),
        access(client, app.state.keys),
        *v1(client),
        tasks(client),
        waited_for(client),
        schedules(client),
        live(app.state.hub),
        writing(client),
        metrics(client),
        webhooks(client, endpoints, elsewhere),
    ):
        app.include_router(router)
    for pages in dashboard(app.state.site):
        app.include_router(pages, include_in_schema=False)
    for error in (Refused, HTTPException, RequestValidationError, HoldfastError):
        app.add_exception_handler(error, told)
    limits = None if rate is None else Limits(read_rate(rate, name="api_rate"))
    origins = (cors or "").split()
    gate: dict[str, Any] = {"keys": app.state.keys, "limits": limits, "origins": frozenset(origins) - {"*"}}
    cors_settings: dict[str, Any] = {"allow_origins": origins, "max_age": CORS_SECONDS, **ANYTHING}
    app.add_middleware(Gate, **gate)
    app.short = Gate(Direct(client), **gate)
    if origins:  # outermost: a browser asks first, without a key, and must be able to read refusals
        app.add_middleware(CORSMiddleware, **cors_settings)
        app.short = CORSMiddleware(app.short, **cors_settings)

    @app.get("/healthz", summary="Is this process up?", response_model=Health)
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": app.version}

    @app.get("/readyz", summary="Does its database answer?", response_model=Readiness, responses=UNREADY)
    async def readyz() -> JSONResponse:
        try:
            store = await opened(client)
            workers = await store.read(views.workers)
        except DatabaseError as error:
            return JSONResponse({"status": "unavailable", "reason": str(error)}, status_code=503)
        return JSONResponse({"status": "ready", "database": store.kind, "workers": sum(each.alive for each in workers)})

    served_routes = list(routes(app))  # nothing is served that cannot say what it needs
    app.openapi = cache(lambda: document(app, served_routes))  # type: ignore[method-assign]
    return app


def routes(app: FastAPI) -> Iterator[APIRoute]:
    """All routes, those of routers included. Raises TypeError: something is served that cannot say what it needs."""
    waiting: list[Any] = list(app.routes)
    while waiting:
        route = waiting.pop(0)
        inner = getattr(route, "original_router", None)  # what newer versions of FastAPI keep of an included router
        if inner is not None:
            waiting = [*inner.routes, *waiting]
        elif isinstance(route, APIRoute):
            yield route
        else:
            raise TypeError(f"{route} is not a route that can say what it needs")


async def told(request: Request, error: Exception) -> Response:
    """An error as a caller reads it: as JSON with a message, whatever it is; for people who ask for a page that there
    is not, as a page."""
    refusal = refused(request, error)
    return request.app.state.site.nowhere(request, refusal) if for_people(request) else refusal.answer(request)


def for_people(request: Request) -> bool:
    """Whether a browser asks for a page that there is not: programs say that they take anything, or JSON."""
    return "route" not in request.scope and request.method == "GET" and "text/html" in request.headers.get("accept", "")


def refused(request: Request, error: Exception) -> Refused:
    if isinstance(error, RequestValidationError):
        problems = [Refused(422, each["msg"], ".".join(map(str, each["loc"][1:])) or None) for each in error.errors()]
        return all_of(problems) if problems else Refused(422, "The call is not valid")
    if isinstance(error, HTTPException):
        headers = allowed(request) if error.status_code == NOT_ALLOWED else error.headers
        return unmatched(request, error) or Refused(error.status_code, str(error.detail), headers=headers)
    return refusal(request, error)


def allowed(request: Request) -> dict[str, str]:
    """What can be done at this path, by whichever of its routes."""
    here = [route for route in routes(request.app) if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in here if route.path == here[0].path for method in route.methods or ()}
    return {"Allow": ", ".join(sorted(methods))}


def unmatched(request: Request, error: HTTPException) -> Refused | None:
    """A stranger is not told which paths there are."""
    if error.status_code != 404 or "route" in request.scope:
        return None
    try:
        caller_of(request)
    except Refused as stranger:
        return stranger
    return None


async def opened(client: Callable[[], Client]) -> Store:
    """The database, opened if it was not; that may take a while, so not on the event loop."""
    return await asyncio.to_thread(lambda: client().store)
