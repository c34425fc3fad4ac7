"""OpenTelemetry: the trace goes from the trigger into the run, and attempts, steps, waits and pushes are spans.

    from holdfast.contrib.opentelemetry import instrument

    app = Holdfast()
    instrument(app)

Whatever is triggered within a span belongs to its trace: the trace is stored with the run, and each attempt is a span
in it, as are what it triggers in turn. Steps and waits are spans within their attempt, made of the run's journal when
the attempt is over: a wait that outlived its process is one, too, from when it was asked for to when it was settled. It
needs ``opentelemetry-api``, and the application's own set-up of the SDK.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast import tracing
from holdfast.context import running
from holdfast.engine import journal
from holdfast.errors import Suspended
from holdfast.events import Event

if TYPE_CHECKING:
    from holdfast import Holdfast
    from holdfast.records import Claimed, Recorded

__all__ = ["instrument", "instrument_pushes"]

PROPAGATOR: Final = TraceContextTextMapPropagator()
NOT_WAITS: Final = frozenset(("step", "trigger", "value"))
SAME_MS: Final = 100  # a run is made ready in the transaction that settles what it has waited for
RUNS: Final = 10_000  # of which it is remembered what was told, while they wait
MS: Final = 1_000_000  # nanoseconds


def instrument(app: Holdfast, *, tracer_provider: TracerProvider | None = None) -> None:
    """Make spans of what this app's runs do, with the global tracer provider or this one.

    Call it once, where the app is made. Requests that its pusher sends become spans where the app itself runs a worker
    (``app.running()``); for pushers that are processes of their own, set ``HOLDFAST_TRACES=true`` there.

    >>> instrument(app)
    """
    tracer = trace.get_tracer("holdfast", tracer_provider=tracer_provider)
    if present not in tracing.sources:
        tracing.sources.append(present)

    @app.middleware
    async def traced(event: Event[Any], call_next: Callable[[], Awaitable[Any]]) -> None:
        await attempt(app, tracer, event, call_next)

    instrument_pushes(tracer_provider=tracer_provider)


def instrument_pushes(*, tracer_provider: TracerProvider | None = None) -> None:
    """Make spans of the requests that a pusher in this process sends."""
    tracer = trace.get_tracer("holdfast", tracer_provider=tracer_provider)
    tracing.observers.clear()  # the last one counts: each request is one span
    tracing.observers.append(lambda claimed, call, answer: pushed(tracer, claimed, call, answer))


def present() -> Mapping[str, str] | None:
    """The trace of the span that is current here."""
    if not trace.get_current_span().get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier)
    return carrier


async def attempt(app: Holdfast, tracer: Tracer, event: Event[Any], call_next: Callable[[], Awaitable[Any]]) -> None:
    """One attempt, as far as this process carries it out: to its end, or until it waits."""
    held = running.get()
    claimed = None if held is None else held.claimed
    parent = PROPAGATOR.extract(tracing.trace_of(claimed.options) or {}) if claimed else contexts.Context()
    began, waits = app.client.now(), False
    span = tracer.start_span(
        f"run {event.run.task}", context=parent, kind=SpanKind.CONSUMER, attributes=facts_of(event, claimed)
    )
    try:
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            await call_next()
        span.set_attribute("holdfast.outcome", "completed")
    except Suspended:
        waits = True
        span.set_attribute("holdfast.outcome", "waiting")
        raise
    except BaseException as error:
        failed(span, error)
        raise
    finally:
        with contextlib.suppress(Exception):  # a span less is no reason to fail a run
            if held is not None and claimed is not None and (held.opened is not None or claimed.claim > 1):
                entries = await app.client.aread(journal.of_run, claimed.id)
                tell(tracer, span, claimed, entries, began)
        if claimed is not None and not waits:
            _told.forget(claimed.id)
        span.end()


def facts_of(event: Event[Any], claimed: Claimed | None) -> dict[str, Any]:
    run = event.run
    found = {"holdfast.run.id": run.id, "holdfast.task": run.task, "messaging.system": "holdfast"}
    if claimed is None:
        return found
    queue = {"holdfast.queue": claimed.queue, "holdfast.attempt": claimed.attempt, "holdfast.claim": claimed.claim}
    return {**found, **queue}


def failed(span: Span, error: BaseException) -> None:
    interrupted = not isinstance(error, Exception)
    span.set_attribute("holdfast.outcome", "interrupted" if interrupted else "failed")
    if not interrupted:
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))


class Told:
    """What has been told of runs that wait, by this process: a run may be resumed at once, and its waits are told
    once."""

    def __init__(self) -> None:
        self.keys: OrderedDict[str, set[str]] = OrderedDict()

    def new(self, run_id: str, key: str) -> bool:
        keys = self.keys.setdefault(run_id, set())
        self.keys.move_to_end(run_id)
        while len(self.keys) > RUNS:
            self.keys.popitem(last=False)
        if key in keys:
            return False
        keys.add(key)
        return True

    def forget(self, run_id: str) -> None:
        self.keys.pop(run_id, None)


_told: Final = Told()


def tell(tracer: Tracer, span: Span, claimed: Claimed, entries: Iterable[Recorded], began: int) -> None:
    """The steps and waits that were settled here, and the waits that were settled while nobody carried the run out."""
    resumed = claimed.sort_at + claimed.priority_ms - SAME_MS
    inside = trace.set_span_in_context(span)
    for each in entries:
        if each.done_at is None or each.kind in ("trigger", "value"):
            continue
        here = each.done_at >= began
        meanwhile = each.kind not in NOT_WAITS and each.started_at < began and each.done_at >= resumed
        if (here or meanwhile) and _told.new(each.run_id, each.key):
            made = tracer.start_span(
                f"{each.kind} {each.name}",
                context=inside,
                start_time=each.started_at * MS,
                attributes={"holdfast.run.id": each.run_id, "holdfast.key": each.key, "holdfast.tries": each.tries},
            )
            if each.state == "failed":
                made.set_status(Status(StatusCode.ERROR))
            made.end(each.done_at * MS)


def pushed(tracer: Tracer, claimed: Claimed, call: Any, answer: Any) -> None:
    """A request that was sent."""
    span = tracer.start_span(
        f"push {claimed.task}",
        context=PROPAGATOR.extract(tracing.trace_of(claimed.options) or {}),
        kind=SpanKind.CLIENT,
        start_time=answer.at * MS,
        attributes={
            "holdfast.run.id": claimed.id,
            "holdfast.task": claimed.task,
            "holdfast.attempt": claimed.attempt,
            "http.request.method": call.method,
            "server.address": host_of(call.url),
        },
    )
    if answer.status is not None:
        span.set_attribute("http.response.status_code", answer.status)
    if answer.error is not None or (answer.status or 0) >= 400:
        span.set_status(Status(StatusCode.ERROR, answer.error))
    span.end(answer.at * MS + answer.total_us * 1000)


def host_of(url: str) -> str:
    """The host alone: the rest of a URL may be a secret."""
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or ""
