"""Schedules: when they fire, what became of the last slots, and making, changing, pausing and firing them by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from fastapi import APIRouter, Depends, Request, Response

from holdfast import recurrence, views
from holdfast.api.auth import changed, needs
from holdfast.dashboard.fields import parsed
from holdfast.dashboard.shapes import pretty
from holdfast.dashboard.site import READ, Form, Site, back
from holdfast.duration import format_ms
from holdfast.engine import schedules as engine
from holdfast.errors import HoldfastError, InvalidOption, UnknownSchedule, shown
from holdfast.schedule import Cron, Recurring, RRule
from holdfast.scheduled import FiredSlot, Schedule, fired_slot, schedule_of
from holdfast.schedules import Schedules
from holdfast.storage import Tx

LIMIT: Final = 50
STRIP: Final = 24  # slots in the history of a list
SLOTS: Final = 100
UPCOMING: Final = 10


class Fired(NamedTuple):
    """A slot that was: its outcome, and the status of its run if it is kept."""

    slot: FiredSlot
    status: str | None

    @property
    def word(self) -> str:
        return self.status or ("queued" if self.slot.outcome == "waiting" else "canceled")


class Coming(NamedTuple):
    """A slot to come, as the clocks of its zone show it; ``clocks`` says so on a day on which they change."""

    at: int
    local: str
    clocks: str | None


class Written(NamedTuple):
    """A schedule as a form has it."""

    task: str = ""
    rule: str = ""
    timezone: str = "UTC"
    payload: str = ""
    external_id: str = ""
    catch_up: str = "last"
    overlap: str = "allow"
    jitter: str = ""


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
        return await drawn(request, Written(task=request.query_params.get("task", "")))

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
        return site.page(request, "preview.html", **previewed(written))

    @router.get("/schedules/{schedule_id}", dependencies=READ)
    async def schedule(request: Request, schedule_id: str) -> Response:
        found, slots = await site.read(looked, schedule_id)
        return site.page(
            request,
            "schedule.html",
            here="schedules",
            schedule=found,
            slots=slots,
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
            zones=sorted(available_timezones()),
            **previewed(written),
        )

    def previewed(written: Written) -> dict[str, Any]:
        if not written.rule:
            return {"coming": [], "wrong": None, "example": False}
        try:
            now = site.client().now()
            rule = recurrence.checked(rule_of(written).rule(now), now)
            first = recurrence.first(rule, now)
            at = [] if first is None else [first, *recurrence.upcoming(rule, first, UPCOMING - 1)]
            return {
                "coming": [coming(each, rule.timezone) for each in at],
                "wrong": None,
                "example": recurrence.has_hash(rule),
            }
        except InvalidOption as error:
            return {"coming": [], "wrong": error, "example": False}

    return router


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


# -- rules ------------------------------------------------------------------------------------------------------------


def rule_text(rule: Recurring) -> str:
    return rule.expression if isinstance(rule, Cron) else rule.text


def rule_of(written: Written) -> Recurring:
    """The rule that a form says: only one of RFC 5545 has an equals sign or a colon. Raises InvalidOption."""
    said: dict[str, Any] = {"overlap": written.overlap, "catch_up": caught_up(written.catch_up)}
    if written.jitter:
        said["jitter"] = written.jitter
    if "=" in written.rule or ":" in written.rule:
        return RRule(written.rule, timezone=written.timezone or None, **said)
    return Cron(written.rule, timezone=written.timezone or "UTC", **said)


def caught_up(text: str) -> Any:
    return int(text) if text.isdecimal() and text.isascii() else text


def as_written(schedule: Schedule) -> Written:
    rule = schedule.rule
    return Written(
        task=schedule.task,
        rule=rule_text(rule),
        timezone=schedule.timezone,
        payload="" if schedule.payload is None else pretty(schedule.payload),
        external_id=schedule.external_id or "",
        catch_up=str(rule.catch_up),
        overlap=rule.overlap,
        jitter=format_ms(rule.jitter_ms) if rule.jitter_ms else "",
    )


def written_in(form: Form) -> Written:
    said = {name: form.get(name) for name in Written._fields}
    if not said["task"]:
        said["task"] = ""
    return Written(**said | {"payload": form.raw("payload"), "rule": form.raw("rule").strip()})


def coming_of(schedule: Schedule) -> Sequence[Coming]:
    if schedule.next_at is None:
        return []
    first = round(schedule.next_at.timestamp() * 1000)
    rule = schedule.rule.rule(round(schedule.created_at.timestamp() * 1000))
    seeded = recurrence.seeded(rule, schedule.id)
    return [coming(at, rule.timezone) for at in (first, *recurrence.upcoming(seeded, first, UPCOMING - 1))]


def coming(at: int, timezone: str) -> Coming:
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(timezone))
    change = recurrence.change_on_day(timezone, at)
    clocks = None
    if change is not None:
        way = "forward" if change.forward_ms > 0 else "back"
        clocks = f"clocks go {way} by {format_ms(abs(change.forward_ms))} on this day"
    return Coming(at, f"{local:%a %d %b %Y %H:%M:%S %Z}", clocks)
