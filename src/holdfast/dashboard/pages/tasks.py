"""Tasks: what workers have announced, how it goes, and where to try it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.dashboard.charts import RANGES, Chart, asked, chart
from holdfast.dashboard.site import READ, Site
from holdfast.engine import schedules as engine
from holdfast.errors import UnknownTask, shown
from holdfast.model import FINAL
from holdfast.scheduled import Schedule, schedule_of
from holdfast.storage import Tx
from holdfast.views import Filter, Listed, TaskView
from holdfast.views.stats import stats

LATEST: Final = 50
SHOWN: Final = 15
USUAL: Final = "24h"


class Seen(NamedTuple):
    """What the page of one shows."""

    task: TaskView
    runs: list[Listed]
    schedules: list[Schedule]
    chart: Chart


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/tasks", dependencies=READ)
    async def tasks(request: Request) -> Response:
        found = await site.read(views.tasks)
        return site.page(request, "tasks.html", here="tasks", tasks=found)

    @router.get("/tasks/{task_id:path}", dependencies=READ)
    async def task(request: Request, task_id: str) -> Response:
        seen = await site.read(looked, task_id, request.query_params)
        return site.page(
            request,
            "task.html",
            here="tasks",
            task=seen.task,
            options=options(seen.task),
            runs=seen.runs[:SHOWN],
            latest=seen.runs,
            tally=tally(seen.runs),
            schedules=seen.schedules,
            chart=seen.chart,
            names=RANGES,
        )

    return router


def looked(tx: Tx, task_id: str, said: Mapping[str, str]) -> Seen:
    task = views.task(tx, task_id)
    if task is None:
        raise UnknownTask("No worker has announced this task", seen=shown(task_id), do="Look among the tasks.")
    runs = views.page(tx, Filter(tasks=frozenset([task_id])), limit=LATEST).runs
    schedules = [schedule_of(each) for each in engine.page(tx, task=task_id, n=20)]
    window = asked(said, USUAL, tx.now())
    ended = stats(tx, window.since, window.until, window.step, task_id)
    return Seen(task, runs, schedules, chart(window, ended))


def tally(runs: list[Listed]) -> dict[str, Any]:
    """How the latest runs went: how many there are of each final status, and how long they took."""
    ended = [run for run in runs if run.status in FINAL]
    took = sorted(run.finished_at - run.started_at for run in ended if run.finished_at and run.started_at)
    return {
        "ended": len(ended),
        "counts": Counter(run.status for run in ended).most_common(),
        "median": took[len(took) // 2] if took else None,
        "slowest": took[-1] if took else None,
    }


def options(task: TaskView) -> list[tuple[str, Any]]:
    """What it says of itself, in words; durations as such."""
    return [
        (name.removesuffix("_ms").replace("_", " "), ("span", value) if name.endswith("_ms") else ("plain", value))
        for name, value in sorted(task.options.items())
        if value not in (None, [], {}, False)
    ]
