"""Incoming webhooks: the paths at which requests come in, those that became runs, and those that were refused."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.dashboard.site import READ, Site
from holdfast.engine import webhooks
from holdfast.records import Rejected
from holdfast.storage import Tx

LATEST: Final = 20
PAGE: Final = 20


class Refusal(NamedTuple):
    """A request that was refused, and its headers."""

    request: Rejected
    headers: Any


class Deliveries(NamedTuple):
    """What the page shows. ``cursor`` goes on after the requests that were refused."""

    paths: list[webhooks.Announced]
    runs: list[views.Listed]
    rejected: list[Refusal]
    cursor: str | None


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/webhook-deliveries", dependencies=READ)
    async def deliveries(request: Request) -> Response:
        path = request.query_params.get("path") or None
        cursor = request.query_params.get("cursor") or None
        found = await site.read(read, path, cursor)
        return site.page(request, "deliveries.html", here="webhooks", found=found, path=path, cursor=cursor)

    return router


def read(tx: Tx, path: str | None, before: str | None) -> Deliveries:
    paths = webhooks.announced(tx)
    tasks = frozenset(each.task for each in paths if path in (None, each.path))
    runs = views.page(tx, views.Filter(tasks=tasks), limit=LATEST).runs if tasks and before is None else []
    rejected = webhooks.rejected(tx, path=path, before=before, n=PAGE + 1)
    cursor = rejected[PAGE - 1].id if len(rejected) > PAGE else None
    refusals = [Refusal(each, msgspec.json.decode(each.headers)) for each in rejected[:PAGE]]
    return Deliveries(paths, runs, refusals, cursor)
