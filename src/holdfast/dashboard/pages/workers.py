"""Workers: who is alive, what they hold, and a button that lets one end."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from holdfast import views
from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.dashboard.site import READ, Site, back
from holdfast.engine import workers as engine
from holdfast.storage import Tx
from holdfast.views import WorkerView
from holdfast.views.hosts import pushers

ENDED: Final = 20
RECENT_MS: Final = 24 * 3_600_000


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/workers", dependencies=READ)
    async def workers(request: Request) -> Response:
        found, pushing = await site.read(looked)
        live = [each for each in found if each.state in ("live", "draining")]
        ended = [each for each in found if each.state == "lost" and each.silent_ms < RECENT_MS]
        return site.page(request, "workers.html", here="workers", hosts=by_host(live), pushing=pushing, ended=ended)

    @router.post("/workers/{worker_id}/drain", dependencies=[Depends(needs("admin"))])
    async def drain(request: Request, worker_id: str) -> Response:
        await site.form(request)
        if not await site.client().awrite(engine.ask_to_drain, worker_id):
            raise Refused(404, "There is no such worker, or it has ended")
        changed(request, "workers drain", worker_id)
        return back("/workers")

    return router


def looked(tx: Tx) -> tuple[list[WorkerView], frozenset[str]]:
    """The processes, and which of them send requests: what they can hold at once are no slots for code."""
    return views.workers(tx, ended=ENDED), pushers(tx)


def by_host(workers: list[WorkerView]) -> list[tuple[str, list[WorkerView]]]:
    """Processes under their hosts."""
    ordered = sorted(workers, key=lambda each: (each.host, each.started_at, each.id))
    return [(host, list(group)) for host, group in groupby(ordered, key=lambda each: each.host)]
