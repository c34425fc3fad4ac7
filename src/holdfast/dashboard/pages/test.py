"""Trigger a task by hand: a form made from its payload's JSON schema, or JSON, and what a trigger may say besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from holdfast import codec, views
from holdfast.api.auth import needs
from holdfast.codec import AnyCodec
from holdfast.dashboard.fields import NOTHING, fields, kept, said
from holdfast.dashboard.site import Form, Site, back
from holdfast.engine import catalogue
from holdfast.errors import HoldfastError, InvalidOption, UnknownTask, shown
from holdfast.fitting import check_fits
from holdfast.options import new_run, read_trigger_options
from holdfast.storage import Tx
from holdfast.views import Filter, TaskView

PAST: Final = 8
TEXTS: Final = ("delay", "ttl", "queue", "concurrency_key", "idempotency_key", "max_duration")
NUMBERS: Final = {"priority": float, "max_attempts": int}


def routes(site: Site) -> APIRouter:
    router = site.router()
    may = [Depends(needs("trigger", task="task_id"))]

    @router.get("/tasks/{task_id:path}/test", dependencies=may)
    async def test(request: Request, task_id: str) -> Response:
        task = await known(task_id)
        payload: Any = NOTHING
        if start := request.query_params.get("from"):
            earlier = await site.read(views.run, start)
            payload = earlier.payload if earlier is not None else NOTHING
        return await drawn(request, task, payload, as_json=False)

    async def known(task_id: str) -> TaskView:
        task = await site.read(views.task, task_id)
        if task is None:
            raise UnknownTask("No worker has announced this task", seen=task_id, do="Start one: holdfast worker")
        return task

    async def drawn(
        request: Request,
        task: TaskView,
        payload: Any,
        *,
        as_json: bool,
        form: Form | None = None,
        problem: HoldfastError | None = None,
    ) -> Response:
        past, queues = await site.read(around, task.id)
        found = fields(task.payload_schema, payload)
        return site.page(
            request,
            "test.html",
            status=422 if problem else 200,
            here="tasks",
            task=task,
            payload=None if payload is NOTHING else payload,
            fields=found,
            as_json=as_json or (task.payload_schema is not None and not found),
            past=past,
            start=request.query_params.get("from"),
            queues=queues,
            said={name: form.get(name) if form else "" for name in (*TEXTS, *NUMBERS, "tags", "metadata")},
            problem=problem,
        )

    @router.post("/tasks/{task_id:path}/test", dependencies=may)
    async def trigger(request: Request, task_id: str) -> Response:
        form = await site.form(request)
        task = await known(task_id)
        try:
            payload = said(task.payload_schema, form)
            if form.get("to"):
                return await drawn(request, task, payload, as_json=form.get("to") == "json", form=form)
            made = await make(task, payload, options(form))
        except HoldfastError as error:
            written = kept(task.payload_schema, form)
            return await drawn(request, task, written, as_json="json" in form, form=form, problem=error)
        return back(f"/runs/{made}")

    async def make(task: TaskView, payload: Any, said: Mapping[str, Any]) -> str:
        client = site.client()
        target = await client.atarget(task.id)
        entry = await site.read(catalogue.task, task.id)
        if entry is not None and entry.schema is not None:
            check_fits(payload, entry.schema, what="The payload")
        run = new_run(target, client.sealed(target.task, codec.encode(payload)), read_trigger_options(said))
        return (await client.atrigger(run, AnyCodec())).id

    return router


def options(form: Form) -> dict[str, Any]:
    """What a trigger may say besides, as it was written.

    Raises:
        InvalidOption: a number that is none, or metadata that is no JSON.
    """
    found: dict[str, Any] = {name: form.get(name) for name in TEXTS if form.get(name)}
    for name, kind in NUMBERS.items():
        if text := form.get(name):
            try:
                found[name] = kind(text)
            except ValueError:
                raise InvalidOption(f"{name} is not a number", seen=shown(text), do="Write one, or nothing.") from None
    if tags := [tag.strip() for tag in form.get("tags").split(",") if tag.strip()]:
        found["tags"] = tags
    if text := form.get("metadata"):
        try:
            found["metadata"] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise InvalidOption("metadata is not valid JSON", seen=shown(text), do='Write {"key": 1}.') from None
    return found


def around(tx: Tx, task_id: str) -> tuple[list[views.Listed], list[str]]:
    """Past runs to start from, and the queues there are."""
    past = views.page(tx, Filter(tasks=frozenset([task_id])), limit=PAST).runs
    return past, views.queue_names(tx)
