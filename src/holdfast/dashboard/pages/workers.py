"""Workers: the processes of each host as a tree, what they hold and use, and a button that lets one end."""

from __future__ import annotations

from itertools import groupby
from typing import Final, NamedTuple

from fastapi import APIRouter, Depends, Request, Response

from holdfast import views
from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.dashboard.site import READ, Site, back
from holdfast.engine import workers as engine
from holdfast.engine.workers import ProcessUsage
from holdfast.storage import Tx
from holdfast.views import WorkerView
from holdfast.views.hosts import pushers, tasks_of

ENDED: Final = 20
LATE_MS: Final = 5_000  # since a beat: five are missing, and people want to know
RECENT_MS: Final = 24 * 3_600_000


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/workers", dependencies=READ)
    async def workers(request: Request) -> Response:
        found = await site.read(looked)
        live = [each for each in found.workers if each.state in ("live", "draining")]
        ended = [each for each in found.workers if each.state == "lost" and each.silent_ms < RECENT_MS]
        return site.page(
            request,
            "workers.html",
            here="workers",
            hosts=by_host(live),
            ended=ended,
            pushing=found.pushing,
            tasks=found.tasks,
            late_ms=LATE_MS,
        )

    @router.post("/workers/{worker_id}/drain", dependencies=[Depends(needs("admin"))])
    async def drain(request: Request, worker_id: str) -> Response:
        await site.form(request)
        if not await site.client().awrite(engine.ask_to_drain, worker_id):
            raise Refused(404, "There is no such worker, or it has ended")
        changed(request, "workers drain", worker_id)
        return back("/workers")

    return router


class Looked(NamedTuple):
    """The processes; which of them send requests, for what those can hold at once are no slots for code; and the tasks
    of the runs that have processes of their own."""

    workers: list[WorkerView]
    pushing: frozenset[str]
    tasks: dict[str, str]


class Tree(NamedTuple):
    """What one supervisor has started; or a worker that nobody supervises, in a process of other people's."""

    supervisor: ProcessUsage | None
    workers: list[WorkerView]


class Host(NamedTuple):
    """A host, and its trees."""

    name: str
    trees: list[Tree]

    @property
    def workers(self) -> list[WorkerView]:
        return [each for tree in self.trees for each in tree.workers]


def looked(tx: Tx) -> Looked:
    found = views.workers(tx, ended=ENDED)
    apart = [run.run_id for each in found if each.usage is not None for run in each.usage.runs]
    return Looked(found, pushers(tx), tasks_of(tx, apart))


def by_host(workers: list[WorkerView]) -> list[Host]:
    """Processes under their supervisors under their hosts, the oldest first."""
    ordered = sorted(workers, key=lambda each: (each.host, above(each), each.started_at, each.id))
    return [Host(name, trees(list(group))) for name, group in groupby(ordered, key=lambda each: each.host)]


def trees(workers: list[WorkerView]) -> list[Tree]:
    groups = [list(group) for _, group in groupby(workers, key=above)]
    return [Tree(supervisor_of(group), group) for group in groups]


def above(worker: WorkerView) -> int:
    """The pid of its supervisor."""
    return 0 if worker.usage is None or worker.usage.supervisor is None else worker.usage.supervisor.pid


def supervisor_of(workers: list[WorkerView]) -> ProcessUsage | None:
    """As the one among them saw it that has beaten last."""
    usage = max(workers, key=lambda each: each.seen_at).usage
    return None if usage is None else usage.supervisor
