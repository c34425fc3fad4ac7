"""Errors: what goes wrong, each once, however many runs it has ended."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.api.refused import Refused
from holdfast.dashboard.query import Query
from holdfast.dashboard.site import READ, Site
from holdfast.storage import Tx

LATEST: Final = 20


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/errors", dependencies=READ)
    async def errors(request: Request) -> Response:
        cursor = request.query_params.get("cursor") or None
        page = await site.read(views.errors, before=cursor)
        return site.page(request, "errors.html", here="errors", page=page, cursor=cursor)

    @router.get("/errors/{fingerprint}", dependencies=READ)
    async def error(request: Request, fingerprint: str) -> Response:
        found, runs, last = await site.read(read, fingerprint)
        if found is None:
            raise Refused(404, "There is no such error, or none that is kept: errors are kept as long as their runs")
        query = Query(error=fingerprint)
        return site.page(request, "error.html", here="errors", error=found, runs=runs, last=last, query=query)

    return router


def read(tx: Tx, fingerprint: str) -> tuple[views.ErrorView | None, list[views.Listed], views.RunView | None]:
    """An error, its latest runs, and the last one in full if it is kept."""
    found = views.error(tx, fingerprint)
    page = views.page(tx, views.Filter(error=fingerprint), limit=LATEST)
    return found, page.runs, views.run(tx, page.runs[0].id) if page.runs else None
