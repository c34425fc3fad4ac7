"""One run: what became of it, why it is not running, when it did what, and what it was given and gave."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Depends, Request, Response

from holdfast import codec, views
from holdfast.api.auth import Caller, changed, needs
from holdfast.dashboard.fields import fields, kept, said
from holdfast.dashboard.shapes import line, pretty
from holdfast.dashboard.site import Site, back
from holdfast.dashboard.snippets import snippets
from holdfast.dashboard.timeline import timeline
from holdfast.engine import streams
from holdfast.errors import HoldfastError, RunNotFound
from holdfast.model import Progress
from holdfast.secret import STARS
from holdfast.storage import Tx
from holdfast.views import LogView, RunView, TaskView
from holdfast.views.family import Twig, tree
from holdfast.views.followed import stream_names

LINES: Final = 500  # the last so many
PIECES: Final = 200  # of a stream, likewise
STREAMS: Final = 10
SIDE_BY_SIDE: Final = 6  # attempts, the last ones


class Seen(NamedTuple):
    """What the page shows."""

    run: RunView
    lines: list[LogView]
    task: TaskView | None
    family: list[Twig]
    streams: list[tuple[str, list[tuple[int, str]]]]  # by name: when, and what


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/runs/{run_id}", dependencies=[Depends(needs("read", run="run_id"))])
    async def run(request: Request, run_id: str) -> Response:
        seen = await site.read(looked, run_id)
        return site.page(
            request,
            "run.html",
            here="runs",
            run=seen.run,
            task=seen.task,
            lines=seen.lines,
            family=seen.family,
            attempts=seen.run.attempts[-SIDE_BY_SIDE:],
            streams=seen.streams,
            progress=Progress.read(seen.run.metadata),
            most=LINES,
            timeline=timeline(seen.run),
            secret=STARS in pretty(seen.run.payload),
            snippets=snippets(seen.run, str(request.base_url).rstrip("/")),
        )

    @router.post("/runs/{run_id}/cancel", dependencies=[Depends(needs("write", run="run_id"))])
    async def cancel(request: Request, run_id: str) -> Response:
        await site.form(request)
        await site.client().acancel(run_id)
        changed(request, "runs cancel", run_id)
        return back(f"/runs/{run_id}")

    @router.get("/runs/{run_id}/replay")
    async def edit(
        request: Request, run_id: str, caller: Annotated[Caller, Depends(needs("read", run="run_id"))]
    ) -> Response:
        seen = await site.read(looked, run_id)
        caller.check("trigger", "task", seen.run.task)
        return editing(request, seen, seen.run.payload, as_json=False)

    def editing(
        request: Request, seen: Seen, payload: object, *, as_json: bool, problem: HoldfastError | None = None
    ) -> Response:
        schema = seen.task.payload_schema if seen.task is not None else None
        return site.page(
            request,
            "replay.html",
            status=422 if problem else 200,
            here="runs",
            run=seen.run,
            payload=payload,
            fields=fields(schema, payload) if schema is not None else [],
            as_json=as_json or schema is None,
            problem=problem,
        )

    @router.post("/runs/{run_id}/replay")
    async def replay(
        request: Request, run_id: str, caller: Annotated[Caller, Depends(needs("trigger", anyhow=True))]
    ) -> Response:
        form = await site.form(request)
        seen = await site.read(looked, run_id)
        caller.check("trigger", "task", seen.run.task)
        if not form.get("edited"):
            made = await site.client().areplay(run_id, None, form.get("from_step") or None)
            changed(request, "runs replay", f"{run_id} as {made}")
            return back(f"/runs/{made}")
        caller.check("read", "run", run_id)  # the form shows what it was
        schema = seen.task.payload_schema if seen.task is not None else None
        try:
            payload = said(schema, form)
            if form.get("to"):
                return editing(request, seen, payload, as_json=form.get("to") == "json")
            made = await site.client().areplay(run_id, codec.encode(payload), form.get("from_step") or None)
        except HoldfastError as error:
            return editing(request, seen, kept(schema, form), as_json="json" in form, problem=error)
        changed(request, "runs replay", f"{run_id} as {made}")
        return back(f"/runs/{made}")

    return router


def looked(tx: Tx, run_id: str) -> Seen:
    seen = views.run(tx, run_id)
    if seen is None:
        raise RunNotFound("There is no such run, or no longer", seen=run_id, do="Look for it among the runs.")
    return Seen(
        seen,
        views.log_end(tx, run_id, LINES),
        views.task(tx, seen.task),
        tree(tx, run_id),
        [(name, pieces(tx, run_id, name)) for name in stream_names(tx, run_id)[:STREAMS]],
    )


def pieces(tx: Tx, run_id: str, name: str) -> list[tuple[int, str]]:
    """The end of a stream, each piece as people read it: text as it is, everything else as JSON."""
    found = [(each.at, codec.masked(each.value)) for each in streams.end(tx, run_id, name, PIECES)]
    return [(at, value if isinstance(value, str) else line(value, 2_000)) for at, value in found]
