"""The spans of a run: itself, its attempts, and below each what its attempt has recorded. Decided purely, from what was
read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from holdfast.api.v1 import wire
from holdfast.ids import hash63
from holdfast.views import AttemptView, EntryView, LogView, RunView

NS: Final = 1_000_000
LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "ERROR"}
BAD: Final = frozenset(("failed", "crashed", "timed_out", "system_failure", "expired"))


class Told(msgspec.Struct, rename="camel", omit_defaults=True):
    """A line that the run wrote, or an error."""

    name: Literal["log", "exception"]
    time: str
    level: str
    message: str
    stack_trace: str | None = None


class Made(msgspec.Struct, rename="camel"):
    """A run that a span has made."""

    run_id: str
    task_identifier: str
    status: str
    created_at: str


class Stretch(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What a span says of itself wherever it stands."""

    message: str
    start_time: str
    duration: int
    is_error: bool
    is_partial: bool
    is_cancelled: bool
    level: str


class Span(Stretch, kw_only=True, rename="camel", omit_defaults=True):
    """A span as it stands in a list."""

    id: str
    run_id: str
    parent_id: str | None = None
    attempt_number: int | None = None


class Seen(msgspec.Struct):
    """A span, and all there is to tell of it."""

    span: Span
    properties: dict[str, Any]
    events: list[Told]
    made: list[Made]


def spans(run: RunView, lines: list[LogView]) -> Iterator[Seen]:
    """The spans of a run: itself, then its attempts, then what they have recorded."""
    root = span_id(run.id)
    told = [] if run.attempts else [line(each) for each in lines]
    if run.error is not None:
        told.append(exception(run.finished_at or run.now, run.error.message, run.error.traceback))
    said = {"queue": run.queue}
    yield seen_of(run, root, None, run.task, run.created_at, run.finished_at, run.status, said, told)
    places: dict[int, str] = {}
    for index, attempt in enumerate(run.attempts):
        places[attempt.number] = span_id(run.id, "attempt", index)
        yield attempt_of(run, attempt, places[attempt.number], root, lines)
    for entry in run.journal:
        yield entry_of(run, entry, places.get(entry.attempt, root))


def attempt_of(run: RunView, attempt: AttemptView, id: str, root: str, lines: list[LogView]) -> Seen:
    began = attempt.started_at or run.started_at or run.created_at
    told = [line(each) for each in lines if each.attempt == attempt.number]
    if attempt.error is not None:
        told.append(exception(attempt.finished_at or run.now, attempt.error.message, attempt.error.traceback))
    said = {} if attempt.worker_id is None else {"worker": attempt.worker_id}
    name = f"Attempt {attempt.number}"
    return seen_of(run, id, root, name, began, attempt.finished_at, attempt.outcome, said, told, attempt.number)


def entry_of(run: RunView, entry: EntryView, parent: str) -> Seen:
    ended, error = entry.finished_at or run.finished_at, entry.error
    status = entry.status if entry.finished_at is not None or run.finished_at is None else run.status
    told = [] if error is None else [exception(ended or run.now, error["message"], error["traceback"])]
    at = wire.iso(entry.started_at)
    made = [
        Made(wire.told("run", each.id), each.task or "", wire.status(each.status, started=True), at)
        for each in entry.runs
        if each.status is not None
    ]
    said = {"kind": entry.kind, "key": entry.key} | ({} if entry.result is None else {"result": entry.result})
    place, name = span_id(run.id, "entry", entry.key), entry.name or entry.kind
    return seen_of(run, place, parent, name, entry.started_at, ended, status, said, told, entry.attempt, made)


def seen_of(
    run: RunView,
    id: str,
    parent: str | None,
    message: str,
    began: int,
    ended: int | None,
    status: str,
    properties: dict[str, Any],
    events: list[Told],
    number: int | None = None,
    made: list[Made] | None = None,
) -> Seen:
    span = Span(
        id=id,
        run_id=wire.told("run", run.id),
        message=message,
        start_time=wire.iso(began),
        duration=max(0, (ended or run.now) - began) * NS,
        is_error=status in BAD,
        is_partial=ended is None,
        is_cancelled=status == "canceled",
        level="TRACE",
        parent_id=parent,
        attempt_number=number,
    )
    return Seen(span, {**properties, "status": status}, events, made or [])


def span_id(*names: object) -> str:
    return f"{hash63('span', *map(str, names)):016x}"


def line(found: LogView) -> Told:
    return Told("log", wire.iso(found.at), LEVELS.get(found.level, found.level), found.message)


def exception(at: int, message: str, traceback: str) -> Told:
    return Told("exception", wire.iso(at), "ERROR", message, traceback or None)
