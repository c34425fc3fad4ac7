"""Keys of the HTTP API, and who changed what. Only who may everything sees them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api.auth import needs
from holdfast.dashboard.site import Site
from holdfast.engine import audit as changes
from holdfast.engine import keys as engine

ADMIN: Final = [Depends(needs("admin"))]
PAGE: Final = 100
CURSOR: Final = re.compile(r"[0-9a-z]{26}")


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/keys", dependencies=ADMIN)
    async def keys(request: Request) -> Response:
        return site.page(request, "keys.html", here="keys", keys=await site.read(engine.listed))

    @router.get("/audit", dependencies=ADMIN)
    async def audit(request: Request, cursor: Annotated[str, Query()] = "") -> Response:
        before = cursor if CURSOR.fullmatch(cursor) else None
        found = await site.read(changes.page, before=before, n=PAGE + 1)
        following = found[PAGE - 1].id if len(found) > PAGE else None
        return site.page(request, "audit.html", here="audit", changes=found[:PAGE], following=following)

    return router
