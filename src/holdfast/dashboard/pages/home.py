"""Is anything wrong? What the doctor finds, each with the page where one does something about it, and how it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.dashboard.charts import RANGES, Chart, Window, asked, chart
from holdfast.dashboard.shapes import segment
from holdfast.dashboard.site import READ, Site
from holdfast.engine import schedules as engine
from holdfast.scheduled import Schedule, schedule_of
from holdfast.storage import Tx
from holdfast.views import Filter, Finding, Health, Listed, QueueView, TaskView
from holdfast.views.stats import stats

USUAL: Final = "1h"
TOP: Final = 6
LATEST: Final = 8
# By what a finding is about, or the kind of thing that it is of: where one does something, and how the link is called.
PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "workers": ("/workers", "Workers"),
    "tasks": ("/tasks", "Tasks"),
    "machines": ("/workers", "Workers"),
    "versions": ("/workers", "Workers"),
    "queues": ("/queues", "Queues"),
    "runs": ("/runs?status=open", "Runs"),
    "push": ("/hosts", "HTTP hosts"),
    "schedules": ("/schedules", "Schedules"),
}
OF: Final[Mapping[str, tuple[str, str]]] = {
    "queue": ("/queues/", "The queue"),
    "run": ("/runs/", "The run"),
    "schedule": ("/schedules/", "The schedule"),
    "task": ("/runs?status=pending_version&task=", "The runs"),
    "version": ("/runs?status=open&version=", "The runs"),
}


class Seen(NamedTuple):
    """What was read, in one transaction."""

    health: Health
    tasks: list[TaskView]
    latest: list[Listed]
    bad: list[Listed]
    schedules: list[Schedule]
    chart: Chart
    before: Chart


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/", dependencies=READ)
    async def home(request: Request) -> Response:
        store = await site.opened()
        seen = await site.read(looked, request.query_params)
        found = views.findings(seen.health)
        return site.page(
            request,
            "home.html",
            here="home",
            seen=seen,
            health=seen.health,
            database=store.url,
            findings=[each for each in found if each.level != "ok"],
            facts=[each for each in found if each.level == "ok"],
            place=place,
            queues=busiest(seen.health.queues),
            alive=seen.health.alive,
            now=seen.health.now,
            names=RANGES,
        )

    return router


def looked(tx: Tx, said: Mapping[str, str]) -> Seen:
    now = tx.now()
    window = asked(said, USUAL, now)
    return Seen(
        health=views.health(tx),
        tasks=views.tasks(tx),
        latest=views.page(tx, Filter(), limit=LATEST).runs,
        bad=views.page(tx, Filter(statuses=frozenset(("failed", "crashed", "timed_out"))), limit=LATEST).runs,
        schedules=sooner([schedule_of(each) for each in engine.page(tx, 50)]),
        chart=counted(tx, window),
        before=counted(tx, window.before),
    )


def counted(tx: Tx, window: Window) -> Chart:
    return chart(window, stats(tx, window.since, window.until, window.step))


def place(finding: Finding) -> tuple[str, str] | None:
    """The page where one does something about it, and how it is called."""
    if finding.of is None:
        return PLACES.get(finding.about)
    kind, name = finding.of
    path, label = OF[kind]
    return path + segment(name), label


def busiest(queues: list[QueueView]) -> list[QueueView]:
    """The queues in which something stands or executes, where it waits the longest first."""
    busy = [each for each in queues if each.executing or each.queued or each.pending_version or each.paused_at]
    return sorted(busy, key=lambda each: each.oldest_queued_at or 2**62)[:TOP]


def sooner(schedules: list[Schedule]) -> list[Schedule]:
    """Those that fire next, and those that cannot."""
    active = [each for each in schedules if each.next_at is not None or each.problem]
    return sorted(active, key=lambda each: (each.problem is None, each.next_at.timestamp() if each.next_at else 0))[:5]
