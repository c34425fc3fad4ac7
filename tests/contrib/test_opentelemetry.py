"""Traces: from the trigger into the run, and what an attempt does, as spans."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from holdfast import AsyncContext, Context, Holdfast, Retry, tracing
from holdfast.api.app import application
from holdfast.contrib.opentelemetry import instrument, instrument_pushes
from holdfast.engine import read
from tests.push.conftest import Pushing
from tests.push.conftest import pushing as pushing
from tests.push.conftest import receiver as receiver
from tests.push.receiver import Receiver

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Seen:
    """The spans that were exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def named(self, name: str) -> list[ReadableSpan]:
        return [each for each in self.exporter.get_finished_spans() if each.name == name]

    def one(self, name: str) -> ReadableSpan:
        [found] = self.named(name)
        return found


@pytest.fixture
def seen() -> Iterator[Seen]:
    yield Seen()
    tracing.sources.clear()
    tracing.observers.clear()


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def own(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


async def test_a_run_its_steps_its_waits_and_its_children_are_one_trace(database_url: str, seen: Seen) -> None:
    app = Holdfast(database_url, suspend_after=0)
    instrument(app, tracer_provider=seen.provider)

    @app.task
    def child(name: str, ctx: Context) -> str:
        return ctx.step(name.upper)

    @app.task
    async def work(name: str, ctx: AsyncContext) -> str:
        said = await ctx.step(str.upper, name, name="shout")
        await ctx.sleep("10ms")
        return said + await ctx.trigger_and_wait(child, name)

    async with app.running():
        with seen.tracer.start_as_current_span("web request") as span:
            handle = await work.atrigger("ada")
        assert await handle.aresult(timeout="60s") == "ADAADA"
    await app.aclose()
    root = seen.one("web request")
    assert {each.context.trace_id for each in seen.exporter.get_finished_spans() if each.context} == {
        span.get_span_context().trace_id
    }
    turns = seen.named("run work")
    assert {parent(each) for each in turns} == {own(root)}
    outcomes = [(each.attributes or {})["holdfast.outcome"] for each in turns]
    assert (set(outcomes[:-1]), outcomes[-1]) == ({"waiting"}, "completed")
    assert all(each.kind is SpanKind.CONSUMER for each in turns)
    assert parent(seen.one("run child")) in {own(each) for each in turns}
    assert parent(seen.one("step upper")) == own(seen.one("run child"))
    for name in ("step shout", "sleep sleep"):
        assert parent(seen.one(name)) in {own(each) for each in turns}
    waited = seen.one("sleep sleep")
    assert (waited.end_time or 0) - (waited.start_time or 0) >= 10_000_000
    assert len([each for each in seen.exporter.get_finished_spans() if each.name.startswith("child")]) == 1


async def test_what_failed_says_so(database_url: str, seen: Seen) -> None:
    app = Holdfast(database_url)
    instrument(app, tracer_provider=seen.provider)

    @app.task(retry=Retry(max_attempts=2, min_delay="0s", max_delay="1s", jitter=False))
    def fail() -> None:
        raise ValueError("no")

    async with app.running():
        async for _ in fail.trigger().aupdates():
            pass
    await app.aclose()
    spans = seen.named("run fail")
    assert [(each.status.status_code, (each.attributes or {})["holdfast.attempt"]) for each in spans] == [
        (StatusCode.ERROR, 1),
        (StatusCode.ERROR, 2),
    ]
    assert spans[0].events[0].name == "exception"
    assert spans[0].parent is None


async def test_a_call_that_is_traced_makes_a_run_that_is(seen: Seen) -> None:
    app = Holdfast(":memory:")
    served = application(lambda: app.client, key="k")
    headers = {"authorization": "Bearer k", "traceparent": TRACE, "tracestate": "a=b"}
    wrong = {**headers, "traceparent": "x"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=served), base_url="http://127.0.0.1") as http:
        answer = await http.post("/api/v1/tasks/work/trigger", json={"payload": 1}, headers=headers)
        plain = await http.post("/api/v1/tasks/work/trigger", json={"payload": 2}, headers=wrong)
    records = [await app.client.aread(read.run, each.json()["id"].removeprefix("run_")) for each in (answer, plain)]
    await app.aclose()
    assert [tracing.trace_of(each.options) if each else each for each in records] == [
        {"traceparent": TRACE, "tracestate": "a=b"},
        None,
    ]


async def test_a_request_that_is_pushed_is_a_span_and_carries_the_trace(
    pushing: Pushing,
    receiver: Receiver,
    seen: Seen,
) -> None:
    instrument(pushing.app, tracer_provider=seen.provider)
    instrument_pushes(tracer_provider=seen.provider)
    pushing.start()
    with seen.tracer.start_as_current_span("web request"):
        handle = await pushing.app.apush(f"{receiver.url}/secret-path", json={"n": 1})
    await pushing.ended(handle)
    [request] = receiver.received
    root, push = seen.one("web request"), seen.one("push http")
    assert request.headers["traceparent"].split("-")[2] == f"{own(root):016x}"
    assert (parent(push), push.kind) == (own(root), SpanKind.CLIENT)
    assert (push.attributes or {})["http.response.status_code"] == 200
    assert "secret-path" not in str(push.attributes)


def test_nothing_that_is_no_trace_is_stored() -> None:
    for wrong in ("", "x", TRACE[:-1], TRACE.upper(), TRACE + "\n", None, 5):
        assert tracing.read_trace({"traceparent": wrong}) is None
    assert tracing.read_trace({"traceparent": TRACE, "tracestate": "a\nb"}) == {"traceparent": TRACE}
