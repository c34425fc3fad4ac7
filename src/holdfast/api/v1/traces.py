"""What a run did when: ``/api/v1/runs/{id}/trace``, ``/spans/{span}`` and ``/events``.

A run is a tree of spans: itself, its attempts, and below each what its attempt has recorded: steps, waits, and the runs
that it made. It is made from the journal when it is asked for, so it is there without any collector; whoever exports
spans with OpenTelemetry has those besides. Lines that the run wrote are events of the attempt.

With ``page[size]`` a trace comes in pages, as a list of spans. Durations are nanoseconds, but in a single span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import views
from holdfast.api.auth import needs
from holdfast.api.v1 import wire
from holdfast.api.v1.documents import Parameter, answered, content, documented, schema_of
from holdfast.api.v1.listing import refused, said_in
from holdfast.api.v1.spans import NS, Made, Seen, Span, Stretch, Told, spans
from holdfast.client import Client
from holdfast.ids import hash63
from holdfast.storage import Tx
from holdfast.views import LogView, RunView

LINES: Final = 1_000
MOST: Final = 10_000
COUNT: Final = {"type": "integer", "minimum": 1, "maximum": MOST}
QUERY: Final = (
    Parameter("page[size]", "So many spans, as a list and not as a tree", COUNT),
    Parameter("page[after]", "A cursor: what comes after it"),
)


class Data(Stretch, kw_only=True, rename="camel", omit_defaults=True):
    """What a span of a tree says of itself."""

    task_slug: str | None = None
    queue_name: str | None = None
    machine_preset: str | None = None
    worker_version: str | None = None
    events: list[Told] = msgspec.field(default_factory=list)
    properties: dict[str, Any] = msgspec.field(default_factory=dict)


class Node(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A span of a tree, with those below it."""

    id: str
    run_id: str
    data: Data
    children: list[dict[str, Any]]
    parent_id: str | None = None


class Tree(msgspec.Struct, rename="camel"):
    trace_id: str
    root_span: Node


class Trace(msgspec.Struct):
    """The trace of a run, as a tree."""

    trace: Tree


class Failure(msgspec.Struct, rename="camel"):
    """An attempt that failed."""

    span_id: str
    attempt_number: int
    run_id: str


class Next(msgspec.Struct, omit_defaults=True):
    next: str | None = None


class SpanPage(msgspec.Struct, rename="camel"):
    """A page of the spans of a run, in the order in which they began."""

    data: list[Span]
    attempt_failures: list[Failure]
    pagination: Next


class Detail(msgspec.Struct, kw_only=True, rename="camel"):
    """One span in full. It took so many milliseconds."""

    span_id: str
    parent_id: str | None
    run_id: str
    message: str
    is_error: bool
    is_partial: bool
    is_cancelled: bool
    level: str
    start_time: str
    duration_ms: int
    properties: dict[str, Any]
    events: list[Told]
    triggered_runs: list[Made]


class Events(msgspec.Struct):
    """Everything that happened, in order: spans and lines."""

    events: list[dict[str, Any]]


def traces(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter(prefix="/api/v1/runs/{id}")
    may = needs("read", run="id")

    async def seen(id: str) -> tuple[RunView, list[Seen]]:
        found = await client().aread(looked, wire.bare("run", id))
        if found is None:
            raise wire.unknown("run")
        return found[0], list(spans(*found))

    told = documented("What a run did when", needs=may, answer=Trace, query=QUERY, refusals=[400, 404])
    told["responses"][200]["content"] = content({"anyOf": [schema_of(Trace), schema_of(SpanPage)]})

    @router.get("/trace", **told)
    async def trace(request: Request, id: str) -> Response:
        said = said_in(request)
        run, found = await seen(id)
        if "page[size]" in said:
            return answered(page(found, said["page[size]"], said.get("page[after]", "0")))
        return answered(Trace(Tree(f"{hash63('trace', run.id):032x}", tree(run, found))))

    @router.get("/spans/{span}", **documented("A span of a run", needs=may, answer=Detail, refusals=[404]))
    async def span(id: str, span: str) -> Response:
        _, found = await seen(id)
        one = next((each for each in found if each.span.id == span), None)
        if one is None:
            raise wire.unknown("span")
        return answered(detail(one))

    @router.get("/events", **documented("What happened in a run", needs=may, answer=Events, refusals=[404]))
    async def events(id: str) -> Response:
        _, found = await seen(id)
        return answered(Events(sorted(happened(found), key=lambda each: str(each["startTime"]))))

    return router


def looked(tx: Tx, run_id: str) -> tuple[RunView, list[LogView]] | None:
    run = views.run(tx, run_id)
    return None if run is None else (run, views.log_end(tx, run_id, LINES))


# -- forms ------------------------------------------------------------------------------------------------------------


def tree(run: RunView, found: list[Seen]) -> Node:
    """The spans as a tree."""
    about: dict[str, Any] = {
        "task_slug": run.task,
        "queue_name": run.queue,
        "machine_preset": run.machine,
        "worker_version": run.version,
    }

    def node(one: Seen) -> Node:
        span = one.span
        same = {name: getattr(span, name) for name in Stretch.__struct_fields__}
        data = Data(**same, **about, events=one.events, properties=one.properties)
        below = [node(each) for each in found if each.span.parent_id == span.id]
        children = [msgspec.to_builtins(each) for each in below]
        return Node(id=span.id, run_id=span.run_id, parent_id=span.parent_id, data=data, children=children)

    return node(found[0])


def page(found: list[Seen], size: str, after: str) -> SpanPage:
    """A page of the spans; the cursor counts those before it. Raises Refused (400)."""
    if not size.isdecimal() or len(size) > 6 or not 1 <= int(size) <= MOST:
        raise refused("page[size]", f"is not a whole number from 1 to {MOST}")
    if not after.isdecimal() or len(after) > 9:
        raise refused("page[after]", "is not a cursor of this list")
    begin, end = int(after), int(after) + int(size)
    data = [each.span for each in found[begin:end]]
    failed = [each for each in data if each.is_error and each.attempt_number is not None]
    failures = [Failure(each.id, each.attempt_number or 0, each.run_id) for each in failed]
    return SpanPage(data, failures, Next(str(end) if end < len(found) else None))


def detail(one: Seen) -> Detail:
    span = one.span
    same = {name: getattr(span, name) for name in Span.__struct_fields__ if name in Detail.__struct_fields__}
    more: dict[str, Any] = {"properties": one.properties, "events": one.events, "triggered_runs": one.made}
    return Detail(span_id=span.id, duration_ms=span.duration // NS, **same, **more)


def happened(found: list[Seen]) -> Iterator[dict[str, Any]]:
    """Spans and lines, each as an event."""
    for one in found:
        span = {**msgspec.to_builtins(one.span), "spanId": one.span.id, "kind": "SPAN"}
        yield span
        for each in one.events:
            same = {"runId": one.span.run_id, "spanId": one.span.id, "startTime": each.time}
            kind = "LOG" if each.name == "log" else "EXCEPTION"
            failed = each.level == "ERROR"
            yield {**same, "message": each.message, "level": each.level, "isError": failed, "kind": kind}
