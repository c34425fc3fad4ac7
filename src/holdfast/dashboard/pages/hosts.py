"""Hosts that requests are sent to."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.dashboard.site import READ, Site
from holdfast.views.http_hosts import LATEST


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/hosts", dependencies=READ)
    async def hosts(request: Request) -> Response:
        found = await site.read(views.http_hosts)
        return site.page(request, "hosts.html", here="hosts", hosts=found, latest=LATEST)

    return router
