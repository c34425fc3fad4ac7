"""The list of runs, newest first, page by page."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.dashboard.query import Query, resolved, words
from holdfast.dashboard.site import READ, Site, back
from holdfast.errors import InvalidOption
from holdfast.storage import Tx

LIMIT: Final = 50
SINCE: Final = ("15m", "1h", "24h", "7d", "30d")
WORDS: Final = (
    ("status:failed", "any status; also open, done and bad"),
    ("task:send_mail", "a task"),
    ("queue:mail", "a queue"),
    ("tag:vip", "a tag; several mean all of them"),
    ("key:ada", "a concurrency key"),
    ("since:2h", "made in the last two hours"),
    ("until:2027-01-31", "made before; a date, a time, or how long ago"),
    ("version:2026.11", "the version of the code"),
    ("schedule:ID", "made by a schedule"),
    ("batch:ID", "made in a batch"),
    ("error:ID", "ended by an error"),
)


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/runs", dependencies=READ)
    async def runs(request: Request) -> Response:
        asked = request.query_params.get("q")
        query = Query.of(request.query_params.multi_items()) if asked is None else Query()
        cursor, after = request.query_params.get("cursor") or None, request.query_params.get("after") or None
        problem, page = None, None
        try:
            if asked is not None:
                return back(await meant(asked))
            page = await site.read(listed, query, cursor, after)
        except InvalidOption as error:
            problem = error
        tasks, queues, versions = await site.read(names)
        return site.page(
            request,
            "runs.html",
            status=422 if problem else 200,
            here="runs",
            query=query,
            text=query.text() if asked is None else asked,
            page=page,
            problem=problem,
            cursor=cursor or after,
            tasks=tasks,
            queues=queues,
            versions=versions,
            words=WORDS,
            times=SINCE,
        )

    async def meant(text: str) -> str:
        """The address that says what the search box says. Raises InvalidOption: it cannot be read."""
        said, alone = words(text)
        if len(alone) == 1 and not said and await site.read(is_run, alone[0]):
            return f"/runs/{alone[0]}"
        tasks, queues, _ = await site.read(names)
        known = dict.fromkeys(queues, "queue") | dict.fromkeys(tasks, "task")
        return Query.of(said + resolved(alone, known)).url()

    return router


def listed(tx: Tx, query: Query, cursor: str | None, after: str | None) -> views.Page:
    return views.page(tx, query.filter(tx.now()), limit=LIMIT, before=cursor, after=after)


def is_run(tx: Tx, text: str) -> bool:
    return bool(views.listed_runs(tx, [text]))


def names(tx: Tx) -> tuple[list[str], list[str], list[str]]:
    """What there is to choose from: tasks, queues, and the versions that workers announced last."""
    tasks = views.tasks(tx)
    return [task.id for task in tasks], views.queue_names(tx), sorted({task.version for task in tasks if task.version})
