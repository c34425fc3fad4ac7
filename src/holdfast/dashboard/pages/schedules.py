"""Schedules: when they fire, what became of the last slots, and making, changing, pausing and firing them by hand."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple
from zoneinfo import available_timezones

from fastapi import APIRouter, Depends, Request, Response

from holdfast import views
from holdfast.api.auth import changed, needs
from holdfast.dashboard.fields import parsed
from holdfast.dashboard.rules import Written, as_written, coming_of, previewed, rule_of, rule_text, written_in
from holdfast.dashboard.site import READ, Site, back
from holdfast.engine import schedules as engine
from holdfast.errors import HoldfastError, UnknownSchedule, shown
from holdfast.scheduled import FiredSlot, Schedule, fired_slot, schedule_of
from holdfast.schedules import Schedules
from holdfast.storage import Tx

LIMIT: Final = 50
STRIP: Final = 20  # slots in the history of a list
SLOTS: Final = 100  # in the strip of a schedule's page
BEGUN: Final = ("task", "rule", "timezone")  # what the address of a new one may say
LATEST: Final = 20  # of them, line by line


class Fired(NamedTuple):
    """A slot that was: its outcome, and the status of its run if it is kept."""

    slot: FiredSlot
    status: str | None

    @property
    def word(self) -> str:
        return self.status or ("queued" if self.slot.outcome == "waiting" else "canceled")


def routes(site: Site) -> APIRouter:
    router = site.router()
    may = [Depends(needs("admin"))]

    def verbs() -> Schedules:
        return Schedules(site.client(), lambda _: None)

    @router.get("/schedules", dependencies=READ)
    async def schedules(request: Request) -> Response:
        task, before = request.query_params.get("task") or None, request.query_params.get("before") or None
        found, history = await site.read(listed, task, before)
        more = found[-1].id if len(found) == LIMIT else None
        return site.page(
            request, "schedules.html", here="schedules", schedules=found, history=history, task=task, more=more
        )

    @router.get("/schedules/new", dependencies=may)
    async def new(request: Request) -> Response:
        begun = {name: said for name, said in request.query_params.items() if name in BEGUN}
        return await drawn(request, Written(**begun))

    @router.post("/schedules/new", dependencies=may)
    async def create(request: Request) -> Response:
        form = await site.form(request)
        written = written_in(form)
        try:
            if "preview" in form:
                return await drawn(request, written)
            made = await verbs().acreate(
                written.task,
                rule_of(written),
                parsed(written.payload, "The payload"),
                external_id=written.external_id or None,
            )
        except HoldfastError as error:
            return await drawn(request, written, problem=error)
        changed(request, "schedules create", made.id)
        return back(f"/schedules/{made.id}")

    @router.get("/schedules/preview", dependencies=READ)
    async def preview(request: Request) -> Response:
        asked = request.query_params
        written = Written(rule=asked.get("rule", ""), timezone=asked.get("timezone", "UTC"))
        return site.page(request, "preview.html", **previewed(written, site.client().now()))

    @router.get("/schedules/{schedule_id}", dependencies=READ)
    async def schedule(request: Request, schedule_id: str) -> Response:
        found, slots = await site.read(looked, schedule_id)
        return site.page(
            request,
            "schedule.html",
            here="schedules",
            schedule=found,
            slots=slots,
            latest=LATEST,
            coming=coming_of(found),
            text=rule_text(found.rule),
        )

    @router.get("/schedules/{schedule_id}/edit", dependencies=may)
    async def edit(request: Request, schedule_id: str) -> Response:
        found = await verbs().aretrieve(schedule_id)
        return await drawn(request, as_written(found), schedule=found)

    @router.post("/schedules/{schedule_id}/edit", dependencies=may)
    async def update(request: Request, schedule_id: str) -> Response:
        form = await site.form(request)
        found, written = await verbs().aretrieve(schedule_id), written_in(form)
        try:
            if "preview" in form:
                return await drawn(request, written, schedule=found)
            payload = parsed(written.payload, "The payload")
            said = {} if payload == found.payload else {"payload": payload}
            rule = rule_of(written)
            await verbs().aupdate(
                schedule_id, None if rule == found.rule else rule, external_id=written.external_id or None, **said
            )
        except HoldfastError as error:
            return await drawn(request, written, schedule=found, problem=error)
        changed(request, "schedules update", schedule_id)
        return back(f"/schedules/{schedule_id}")

    @router.post("/schedules/{schedule_id}/pause", dependencies=may)
    async def pause(request: Request, schedule_id: str) -> Response:
        form = await site.form(request)
        await verbs().apause(schedule_id)
        changed(request, "schedules pause", schedule_id)
        return back(form.get("back") or f"/schedules/{schedule_id}")

    @router.post("/schedules/{schedule_id}/resume", dependencies=may)
    async def resume(request: Request, schedule_id: str) -> Response:
        form = await site.form(request)
        await verbs().aresume(schedule_id)
        changed(request, "schedules resume", schedule_id)
        return back(form.get("back") or f"/schedules/{schedule_id}")

    @router.post("/schedules/{schedule_id}/run", dependencies=may)
    async def run_now(request: Request, schedule_id: str) -> Response:
        await site.form(request)
        made = await verbs().arun_now(schedule_id)
        changed(request, "schedules run", schedule_id)
        return back(f"/runs/{made.id}")

    @router.post("/schedules/{schedule_id}/delete", dependencies=may)
    async def delete(request: Request, schedule_id: str) -> Response:
        await site.form(request)
        await verbs().adelete(schedule_id)
        changed(request, "schedules delete", schedule_id)
        return back("/schedules")

    async def drawn(
        request: Request,
        written: Written,
        *,
        schedule: Schedule | None = None,
        problem: HoldfastError | None = None,
    ) -> Response:
        tasks = await site.read(views.tasks)
        return site.page(
            request,
            "schedule_form.html",
            status=422 if problem else 200,
            here="schedules",
            schedule=schedule,
            written=written,
            problem=problem,
            tasks=[task.id for task in tasks],
            zones=zones(),
            **previewed(written, site.client().now()),
        )

    return router


@cache
def zones() -> list[str]:
    """The names of all time zones; looking for them reads hundreds of files."""
    return sorted(available_timezones())


# -- reading ----------------------------------------------------------------------------------------------------------


def listed(tx: Tx, task: str | None, before: str | None) -> tuple[list[Schedule], dict[str, list[Fired]]]:
    found = engine.page(tx, task=task, before=before, n=LIMIT)
    history = {each.id: [fired_slot(slot) for slot in engine.slots(tx, each.id, STRIP)] for each in found}
    return [schedule_of(each) for each in found], with_statuses(tx, history)


def looked(tx: Tx, schedule_id: str) -> tuple[Schedule, list[Fired]]:
    record = engine.retrieve(tx, schedule_id)
    if record is None:
        raise UnknownSchedule("There is no such schedule", seen=shown(schedule_id), do="Look among the schedules.")
    slots = [fired_slot(each) for each in engine.slots(tx, schedule_id, SLOTS)]
    return schedule_of(record), with_statuses(tx, {schedule_id: slots})[schedule_id]


def with_statuses(tx: Tx, history: dict[str, list[FiredSlot]]) -> dict[str, list[Fired]]:
    ids = sorted({slot.run_id for slots in history.values() for slot in slots if slot.run_id is not None})
    statuses = {run.id: run.status for run in views.listed_runs(tx, ids)}
    return {
        schedule: [Fired(slot, statuses.get(slot.run_id or "")) for slot in reversed(slots)]
        for schedule, slots in history.items()
    }
