"""``/v2/tasks``: requests that are sent once, now or later.

A task is a run of ``http``; its id is the run's, written as a UUID. ``queued`` is what waits, for its time, a retry or
a slot; ``working`` is being sent; then it is a ``success`` or a ``failure``. One that was deleted is not there any
more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, Response
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse

from holdfast import codec, secret
from holdfast.api.auth import caller_of, needs
from holdfast.api.refused import Refused, all_of, not_found
from holdfast.api.v2 import reading
from holdfast.api.v2.documents import AFTER, CHANGED_TASK, NEW_TASK, TASK, TEXT, documented, list_of, object_of
from holdfast.api.v2.reading import Reader, Said
from holdfast.client import Client
from holdfast.engine import pushes, read
from holdfast.engine.pushes import Amendment
from holdfast.errors import TooLarge
from holdfast.http_task import RESPONSE
from holdfast.ids import as_uuid, new_id
from holdfast.records import NewRun, RunRecord
from holdfast.request import HTTP_QUEUE, HTTP_TASK, Request, request_in

MAKE: Final = Depends(needs("trigger", the_task=HTTP_TASK))
SEE: Final = Depends(needs("read"))
CHANGE: Final = Depends(needs("admin"))
PAGE: Final = 100
CREATE_AT_ONCE: Final = 1_000
DELETE_AT_ONCE: Final = 100
SLACK_BYTES: Final = 65_536  # for what is around a body
LAST: Final = "~"  # greater than every id
WORDS: Final = {"executing": "working", "completed": "success"}
WAITING: Final = frozenset(("pending_version", "delayed", "queued", "waiting"))


def tasks(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter(prefix="/v2/tasks")

    @router.post("", dependencies=[MAKE], **documented("Make a task", TASK, status=201, body=NEW_TASK, conflicts=True))
    async def create(request: HttpRequest) -> JSONResponse:
        run = new_task(reading.object_of(await said_in(request, client())))
        await made(client(), run)
        return JSONResponse(await shown(client(), run.id), status_code=201)

    @router.post(
        "/batch-create",
        dependencies=[MAKE],
        **documented("Make several", list_of(TASK), status=201, body=list_of(NEW_TASK), conflicts=True),
    )
    async def create_several(request: HttpRequest) -> JSONResponse:
        said = await said_in(request, client(), times=10)
        if not isinstance(said, list):
            raise Refused(422, "The body is not a JSON array of tasks")
        if len(said) > CREATE_AT_ONCE:
            raise Refused(413, f"There are more than {CREATE_AT_ONCE} tasks in the batch")
        ids, problems = await make_several(client(), said)
        if said and not ids:
            conflicts = all(each.status == 409 for each in problems)
            raise Refused(409 if conflicts else 422, all_of(problems).message, None, problems)
        records = await client().aread(read.runs, ids[::-1])
        return JSONResponse([as_task(record) for record in records], status_code=201)

    @router.post(
        "/batch-delete",
        dependencies=[CHANGE],
        **documented("Delete several", None, status=204, body=list_of(TEXT)),
    )
    async def delete_several(request: HttpRequest) -> Response:
        said = await said_in(request, client())
        if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
            raise Refused(422, "The body is not a JSON array of ids")
        if len(said) > DELETE_AT_ONCE:
            raise Refused(413, f"There are more than {DELETE_AT_ONCE} ids in the batch")
        for record in [await found(client(), each) for each in said]:
            await client().awrite(pushes.forget, record.id)
        return Response(status_code=204)

    @router.get("", dependencies=[SEE], **documented("Tasks, the newest first", list_of(TASK), query=AFTER))
    async def list_(request: HttpRequest) -> JSONResponse:
        before = LAST
        if after := request.query_params.get("after"):
            before = reading.run_id(after, "page")
        records = await client().aread(pushes.listed, before, PAGE + 1)
        headers = {"X-Cursor-After": as_uuid(records[PAGE - 1].id)} if len(records) > PAGE else {}
        clear = clear_for(request)
        return JSONResponse([as_task(record, clear=clear) for record in records[:PAGE]], headers=headers)

    @router.get("/{id}", dependencies=[SEE], **documented("A task", TASK))
    async def retrieve(id: str, request: HttpRequest) -> JSONResponse:
        return JSONResponse(as_task(await found(client(), id), clear=clear_for(request)))

    @router.patch(
        "/{id}",
        dependencies=[CHANGE],
        **documented("Change a task that is queued", TASK, body=object_of(CHANGED_TASK), conflicts=True),
    )
    async def update(id: str, request: HttpRequest) -> JSONResponse:
        change = changing(reading.object_of(await said_in(request, client())))
        await amended(client(), id, change)
        return JSONResponse(await shown(client(), reading.run_id(id, "task")))

    @router.delete("/{id}", dependencies=[CHANGE], **documented("Delete a task", None, status=204))
    async def delete(id: str) -> Response:
        if not await client().awrite(pushes.forget, reading.run_id(id, "task")):
            raise not_found("task")
        return Response(status_code=204)

    @router.post("/{id}/run", dependencies=[CHANGE], **documented("Send a task now", TASK, conflicts=True))
    async def run(id: str) -> JSONResponse:
        await amended(client(), id, sent_now)
        return JSONResponse(await shown(client(), reading.run_id(id, "task")))

    return router


async def said_in(request: HttpRequest, client: Client, times: int = 1) -> Any:
    return await reading.document(request, client.payload_limit * times + SLACK_BYTES)


# -- reading ----------------------------------------------------------------------------------------------------------


def new_task(said: Said) -> NewRun:
    """The run that a create asks for. Raises Refused (422)."""
    reader = Reader(said)
    name, queue = reader.take("name", reading.name), reader.take("queue", reading.name)
    if said.get("request") is None:
        reader.problems.append(Refused(422, "Request is required", "request"))
    request, body = reader.take("request", reading.request) or (Request(), None)
    if said.get("request") is not None and request.url is None and not reader.problems:
        reader.problems.append(Refused(422, "Request url is required", "request.url"))
    at, delay = reader.take("scheduled_for", reading.moment), reader.take("delay", reading.delay_ms)
    reader.check()
    now = int(time.time() * 1000)
    asked = (at if at is not None else now) + (delay or 0)
    stored = msgspec.structs.replace(request, body=request.body or "none", name=name, at=asked)
    return NewRun(
        id=new_id(),
        task=HTTP_TASK,
        queue=queue or HTTP_QUEUE,
        payload=body or "null",
        due_at=asked if at is not None else None,
        delay_ms=delay if at is None else None,
        options=reading.encoded(stored),
        idempotency_key=name,
        unique_until_end=name is not None,
    )


def changing(said: Said) -> Callable[[RunRecord, int], Amendment]:
    """What an update asks for. Raises Refused (422)."""
    reader = Reader(said)
    name, queue = reader.take("name", reading.name), reader.take("queue", reading.name)
    request, body = reader.take("request", reading.request) or (Request(), None)
    at, delay = reader.take("scheduled_for", reading.moment), reader.take("delay", reading.delay_ms)
    reader.check()

    def change(record: RunRecord, now: int) -> Amendment:
        before = request_of(record)
        timed = at is not None or delay is not None
        due = (at if at is not None else now) + (delay or 0)
        after = msgspec.structs.replace(
            before,
            url=request.url or before.url,
            headers=before.headers if request.headers is None else request.headers,
            body=request.body or before.body,
            name=name if "name" in said else before.name,
            at=due if timed else before.at,
        )
        return Amendment(
            payload=record.payload if body is None else body,
            options=reading.encoded(after, without_request(record)),
            queue=queue or record.queue,
            name=after.name,
            timed=timed,
            due_at=due if timed else None,
        )

    return change


def sent_now(record: RunRecord, now: int) -> Amendment:
    request = msgspec.structs.replace(request_of(record), at=now)
    options = reading.encoded(request, without_request(record))
    return Amendment(record.payload, options, record.queue, request.name, timed=True, due_at=None)


def without_request(record: RunRecord) -> Mapping[str, Any]:
    return {name: value for name, value in codec.decode(record.options or "{}").items() if name != "http"}


def request_of(record: RunRecord) -> Request:
    return request_in(codec.decode(record.options) if record.options else None)


# -- doing ------------------------------------------------------------------------------------------------------------


async def made(client: Client, run: NewRun) -> None:
    """Make it. When this returns, it is on disk. Raises Refused."""
    try:
        handle = await client.atrigger(run, RESPONSE)
    except TooLarge as error:
        raise Refused(413, str(error)) from None
    if not handle.created:
        raise taken(run.idempotency_key)


async def make_several(client: Client, said: list[Any]) -> tuple[list[str], list[Refused]]:
    """Make those that can be made. Answers their ids, and what is wrong with the others."""
    outcomes = await asyncio.gather(*[make_one(client, place, each) for place, each in enumerate(said)])
    return [one for one in outcomes if isinstance(one, str)], [one for one in outcomes if isinstance(one, Refused)]


async def make_one(client: Client, place: int, said: Any) -> str | Refused:
    try:
        run = new_task(reading.object_of(said))
        await made(client, run)
        return run.id
    except Refused as problem:
        return Refused(problem.status, problem.message, f"[{place}]", problem.errors)


def taken(name: str | None) -> Refused:
    return Refused(409, f"Name has already been taken: a task called {name} is queued or working", "name")


async def amended(client: Client, id: str, change: Callable[[RunRecord, int], Amendment]) -> None:
    names: list[str | None] = []

    def noted(record: RunRecord, now: int) -> Amendment:
        said = change(record, now)
        names.append(said.name)
        return said

    match await client.awrite(pushes.amend, reading.run_id(id, "task"), noted):
        case "unknown":
            raise not_found("task")
        case "busy":
            raise Refused(409, "The task is not queued any more")
        case "taken":
            raise taken(names[-1])


async def found(client: Client, id: str) -> RunRecord:
    """The task with this id. Raises Refused (404)."""
    record = await client.aread(pushes.known, reading.run_id(id, "task"))
    if record is None:
        raise not_found("task")
    return record


async def shown(client: Client, run_id: str) -> dict[str, Any]:
    return as_task(await found(client, as_uuid(run_id)))


def clear_for(request: HttpRequest) -> bool:
    """Whether who calls is shown what credentials a request has: who may make such requests."""
    return caller_of(request).may("trigger", "task", HTTP_TASK)


def as_task(record: RunRecord, *, clear: bool = True) -> dict[str, Any]:
    """A run as Mergent's clients see it; if not ``clear``, without the credentials in its URL and headers."""
    request = request_of(record)
    at = request.at if request.at is not None else record.due_at or record.created_at
    return {
        "id": as_uuid(record.id),
        "name": request.name,
        "queue": record.queue,
        "status": WORDS.get(record.status, "queued" if record.status in WAITING else "failure"),
        "request": as_request(request, record.payload, clear=clear),
        "scheduled_for": reading.iso(at),
        "created_at": reading.iso(record.created_at),
    }


def as_request(request: Request, payload: str, *, clear: bool) -> dict[str, Any]:
    body = codec.masked(payload)
    if request.body in ("json", None) and body is not None:
        body = codec.encode(body)
    url, headers = request.url, request.headers or {}
    if not clear:
        url, headers = secret.masked_url(url or ""), secret.masked_headers(headers)
    return {"url": url, "headers": headers, "body": None if request.body == "none" else body}
