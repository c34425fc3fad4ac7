"""The list of runs: ``GET /api/v1/runs`` with its filters, page by page.

Lists in a filter are joined by commas, and mean any of them, also of tags. A cursor is the id of a run: ``page[after]``
goes on after it, to older ones, and ``page[before]`` comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
from fastapi import Request

from holdfast import views
from holdfast.api.auth import Caller
from holdfast.api.refused import Refused
from holdfast.api.v1 import shown, wire
from holdfast.api.v1.documents import Parameter
from holdfast.names import not_text
from holdfast.storage import Tx

USUAL, MOST = 25, 100
COUNT: Final = {"type": "integer", "minimum": 1, "maximum": MOST}
INSTANT: Final = {"type": "string", "description": "Milliseconds since the epoch, or an ISO 8601 date"}
PAGING: Final = (
    Parameter("page[size]", f"How many there are on a page, {USUAL} if it is not said", COUNT),
    Parameter("page[after]", "A cursor: what comes after it in the list"),
    Parameter("page[before]", "A cursor: what comes before it in the list"),
)
QUERY: Final = (
    *PAGING,
    Parameter("filter[status]", "Statuses"),
    Parameter("filter[taskIdentifier]", "Tasks"),
    Parameter("filter[version]", "Versions of the code"),
    Parameter("filter[tag]", "Tags"),
    Parameter("filter[schedule]", "The schedule that made it"),
    Parameter("filter[bulkAction]", "The bulk action that made it"),
    Parameter("filter[isTest]", "true or false", {"type": "string", "enum": ["true", "false"]}),
    Parameter("filter[createdAt][from]", "Made then or later", INSTANT),
    Parameter("filter[createdAt][to]", "Made then or earlier", INSTANT),
    Parameter("filter[createdAt][period]", "Made within this time, such as 7d"),
    Parameter("filter[batch]", "The batch that it is in"),
    Parameter("filter[queue]", "Queues; the queue of a task's own is task/ and its name"),
    Parameter("filter[machine]", "Machines"),
    Parameter("filter[region]", "Regions, as they were said at the trigger"),
)


class Pagination(msgspec.Struct, omit_defaults=True):
    """Where the pages beside this one begin."""

    next: str | None = None
    previous: str | None = None


class RunPage(msgspec.Struct):
    """A page of runs, the newest first."""

    data: list[shown.ListedRun]
    pagination: Pagination


class Paging(NamedTuple):
    """Which page is asked for. The cursors are ours: ``before`` is what comes after, in time."""

    size: int
    before: str | None
    after: str | None


def paging(said: Mapping[str, str], kind: wire.Kind) -> Paging:
    """Raises Refused (400)."""
    size = said.get("page[size]", str(USUAL))
    if not size.isdecimal() or len(size) > 6 or not 1 <= int(size) <= MOST:
        raise refused("page[size]", f"is not a whole number from 1 to {MOST}")
    before, after = (cursor(said.get(name), kind, name) for name in ("page[after]", "page[before]"))
    return Paging(int(size), None if after is not None else before, after)  # the client, going back, sends both


class Record(Protocol):
    """What stands in a list."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Record)


def ends(found: list[R], asked: Paging, kind: wire.Kind) -> tuple[list[R], Pagination]:
    """The page, the newest first, and where those beside it begin. ``found`` was looked for in the direction that was
    asked for, and has one more than the page if there is more in that direction."""
    more, page = len(found) > asked.size, found[: asked.size]
    if asked.after is not None:
        page.reverse()
    if not page:
        return page, Pagination()
    older, newer = told(kind, page[-1].id), told(kind, page[0].id)
    if asked.after is not None:
        return page, Pagination(older, newer if more else None)
    return page, Pagination(older if more else None, newer if asked.before is not None else None)


def cursor(text: str | None, kind: wire.Kind, name: str) -> str | None:
    if not text:
        return None
    found = text.removeprefix(f"{kind}_")
    if not found.isascii() or not found.isalnum() or len(found) > 26:
        raise refused(name, "is not a cursor of this list")
    return found


def refused(param: str, problem: str) -> Refused:
    return Refused(400, "Query Error", errors=[Refused(400, f"{param} {problem}", param)])


def said_in(request: Request) -> dict[str, str]:
    """The query of a call. Raises Refused (400)."""
    said = dict(request.query_params)
    for name, value in said.items():
        if not_text(value):
            raise refused(name if not not_text(name) else "query", "has a character that cannot be searched for")
    return said


# -- filters ----------------------------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """The filter, and what becomes of it by the database's clock."""

    filter: views.Filter
    statuses: frozenset[str]  # as the client says them
    period_ms: int | None
    paging: Paging


def wanted_in(said: Mapping[str, str]) -> Wanted:
    """What a query asks for. Raises Refused (400)."""
    statuses = several(said, "status")
    if unknown := statuses - wire.STATUSES:
        raise refused("filter[status]", f"knows no {', '.join(sorted(unknown))}")
    period = said.get("filter[createdAt][period]")
    batch, bulk = said.get("filter[batch]"), said.get("filter[bulkAction]")
    schedule = said.get("filter[schedule]")
    return Wanted(
        views.Filter(
            statuses=frozenset(wire.OURS.get(each, "executing") for each in statuses),  # type: ignore[call-overload]
            tasks=several(said, "taskIdentifier"),
            versions=several(said, "version"),
            queues=several(said, "queue"),
            any_tags=several(said, "tag"),
            batch=(batch or bulk or "").removeprefix("batch_").removeprefix("bulk_") or None,
            schedule=None if schedule is None else schedule.removeprefix("sched_"),
            since=instant(said, "from"),
            until=instant(said, "to"),
            told=told_of(said),
        ),
        statuses,
        None if period is None else within(period),
        paging(said, "run"),
    )


def several(said: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(each for each in said.get(f"filter[{name}]", "").split(",") if each)


def within(period: str) -> int:
    try:
        return wire.duration_ms(period, "filter[createdAt][period]")
    except Refused as problem:
        raise refused(problem.param or "", "is not a duration such as 7d") from None


def instant(said: Mapping[str, str], end: str) -> int | None:
    name = f"filter[createdAt][{end}]"
    text = said.get(name, "")
    if not text:
        return None
    if text.isdecimal() and len(text) <= 15:
        return int(text)
    try:
        return wire.moment_ms(text, name)
    except Refused:
        raise refused(name, "is neither milliseconds since the epoch nor an ISO 8601 date") from None


def told_of(said: Mapping[str, str]) -> Callable[[Mapping[str, Any]], bool] | None:
    """What must have been said at the trigger."""
    test, machines, regions = said.get("filter[isTest]"), several(said, "machine"), several(said, "region")
    if test not in (None, "true", "false"):
        raise refused("filter[isTest]", "is neither true nor false")
    if not (test or machines or regions):
        return None

    def told(options: Mapping[str, Any]) -> bool:
        sdk = options.get("sdk", {})
        return (
            (not test or sdk.get("test", False) is (test == "true"))
            and (not machines or options.get("machine") in machines)
            and (not regions or sdk.get("region") in regions)
        )

    return told


# -- the page ---------------------------------------------------------------------------------------------------------


def page(tx: Tx, wanted: Wanted, caller: Caller) -> RunPage:
    """The page that is asked for, of what the caller may see."""
    found = wanted.filter
    if wanted.period_ms is not None:
        since = tx.now() - wanted.period_ms
        found = msgspec.structs.replace(found, since=max(since, found.since or 0))
    part = views.page(tx, found, limit=wanted.paging.size, before=wanted.paging.before, after=wanted.paging.after)
    records = [record for record in views.heads(tx, [run.id for run in part.runs]) if caller.sees(record)]
    runs = [shown.listed(record) for record in records]
    return RunPage(
        [run for run in runs if not wanted.statuses or run.status in wanted.statuses],
        Pagination(told("run", part.next_cursor), told("run", part.previous_cursor)),
    )


def told(kind: wire.Kind, cursor: str | None) -> str | None:
    return None if cursor is None else wire.told(kind, cursor)
