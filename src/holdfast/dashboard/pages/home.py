"""Is anything wrong?"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.dashboard.site import READ, Site


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/", dependencies=READ)
    async def home(request: Request) -> Response:
        health = await site.read(views.health)
        found = [each for each in views.findings(health) if each.level != "ok"]
        return site.page(request, "home.html", here="home", health=health, findings=found)

    return router
