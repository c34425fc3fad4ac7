"""One run: what became of it, why it is not running, when it did what, and what it was given and gave."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.dashboard.site import READ, Site
from holdfast.dashboard.timeline import timeline
from holdfast.errors import RunNotFound
from holdfast.storage import Tx
from holdfast.views import LogView, RunView

LINES: Final = 500  # the last so many


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/runs/{run_id}", dependencies=READ)
    async def run(request: Request, run_id: str) -> Response:
        seen, lines = await site.read(looked, run_id)
        return site.page(request, "run.html", here="runs", run=seen, lines=lines, most=LINES, timeline=timeline(seen))

    return router


def looked(tx: Tx, run_id: str) -> tuple[RunView, list[LogView]]:
    seen = views.run(tx, run_id)
    if seen is None:
        raise RunNotFound("There is no such run, or no longer", seen=run_id, do="Look for it among the runs.")
    return seen, views.log_end(tx, run_id, LINES)
