"""`app.runs`: the runs of an app, whatever task they are of. The same words as ``holdfast runs``.

    app.runs.list(status="failed", since="1h")     a page of them, the newest first
    app.runs.retrieve(run_id)                      one, in full
    app.runs.cancel(run_id)                        ask for its end
    app.runs.replay(run_id)                        the same once more, as a new run
    app.runs.cancel_all(task="greet")              the same for all that a filter finds; also replay_all

``x`` is for sync code, ``ax`` for async code. What is shown is what ``views`` reads, as for the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypedDict, Unpack

import msgspec

from holdfast import views
from holdfast.bulk import OPEN, UNDONE, Bulk, Change, Survey, asurvey, survey
from holdfast.client import Client
from holdfast.clock import moment_ms
from holdfast.codec import AnyCodec
from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.handle import BatchHandle, RunHandle
from holdfast.http_task import Invocation
from holdfast.model import STATUSES, Run, RunError, RunStatus, at
from holdfast.names import checked_run_id, checked_text
from holdfast.page import Page
from holdfast.queue import Queue
from holdfast.storage import Tx
from holdfast.task import Task

__all__ = ["Bulk", "ListedRun", "RunFilter", "RunPage", "Runs"]

MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run as it stands in a list: without payload, output, metadata and log, which ``app.runs.retrieve`` has.

    Times are aware datetimes in UTC, or None for what has not happened. ``error`` comes without its traceback.
    """

    id: str
    status: RunStatus
    task: str
    queue: str
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    concurrency_key: str | None
    tags: list[str]
    batch_id: str | None
    parent_id: str | None
    error: RunError | None


class RunPage(Page[ListedRun]):
    """A page of runs, the newest first.

    ``next_cursor`` is where the next page begins, None at the end. A search for what hardly exists stops when it has
    looked at many runs: then the page is not ``complete``, and its cursor goes on from there.

    >>> page = app.runs.list(task="greet")
    >>> while page.next_cursor:
    ...     page = app.runs.list(task="greet", cursor=page.next_cursor)
    """

    __slots__ = ("complete",)

    def __init__(self, runs: Iterable[ListedRun], next_cursor: str | None, complete: bool) -> None:
        super().__init__(runs, next_cursor)
        self.complete = complete

    def __repr__(self) -> str:
        more = ", and there are more" if self.next_cursor else ""
        return f"<RunPage of {len(self)} runs{more}>"


class RunFilter(TypedDict, total=False):
    """Which runs, as in `Runs.list`: those that are all of this."""

    status: RunStatus | Iterable[RunStatus] | None
    task: str | Task[Any, Any] | None
    queue: str | Queue | None
    tag: str | Iterable[str] | None
    batch: str | BatchHandle[Any] | None
    since: Duration | datetime | None


class Runs:
    """The runs of one app. See `Holdfast.runs`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def invocations(self, run_id: str, /) -> Sequence[Invocation]:
        """The requests that were sent for a run of an HTTP task, in order; none for a run of code.

        >>> [sent.status for sent in app.runs.invocations(handle.id)]
        [500, 200]
        """
        return [_invocation(sent) for sent in self._client.read(views.invocations, checked_run_id(run_id))]

    async def ainvocations(self, run_id: str, /) -> Sequence[Invocation]:
        """`invocations` for async code."""
        return [_invocation(sent) for sent in await self._client.aread(views.invocations, checked_run_id(run_id))]

    def list(
        self,
        *,
        status: RunStatus | Iterable[RunStatus] | None = None,
        task: str | Task[Any, Any] | None = None,
        queue: str | Queue | None = None,
        tag: str | Iterable[str] | None = None,
        batch: str | BatchHandle[Any] | None = None,
        since: Duration | datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> RunPage:
        """The newest runs that are all of this: with one of these statuses, of this task, queue and batch, with all of
        these tags, made ``since`` then (a duration ago, or an aware datetime). ``cursor`` is an earlier page's
        ``next_cursor``; ``limit`` is at most 1000.

        Raises:
            InvalidOption: an option cannot be used.

        >>> [run.id for run in app.runs.list(status="failed", since="1h")]
        """
        search = _read(status, task, queue, tag, batch, since, limit, cursor)
        return _page(self._client.read(_search, search))

    async def alist(
        self,
        *,
        status: RunStatus | Iterable[RunStatus] | None = None,
        task: str | Task[Any, Any] | None = None,
        queue: str | Queue | None = None,
        tag: str | Iterable[str] | None = None,
        batch: str | BatchHandle[Any] | None = None,
        since: Duration | datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> RunPage:
        """`list` for async code."""
        search = _read(status, task, queue, tag, batch, since, limit, cursor)
        return _page(await self._client.aread(_search, search))

    def retrieve(self, run_id: str, /) -> Run[Any]:
        """A snapshot of one run; its output is a plain JSON value. Raises RunNotFound."""
        return self._client.retrieve(checked_run_id(run_id), AnyCodec(shows=True))

    async def aretrieve(self, run_id: str, /) -> Run[Any]:
        """`retrieve` for async code."""
        return await self._client.aretrieve(checked_run_id(run_id), AnyCodec(shows=True))

    def cancel(self, run_id: str, /) -> None:
        """Ask for the end of a run. See `RunHandle.cancel`."""
        self._client.cancel(checked_run_id(run_id))

    async def acancel(self, run_id: str, /) -> None:
        """`cancel` for async code."""
        await self._client.acancel(checked_run_id(run_id))

    def replay(self, run_id: str, /, *, payload: Any = ..., from_step: str | None = None) -> RunHandle[Any]:
        """Trigger the same task again with the same payload and options, as a new run; with another payload, or from
        one of its steps on. See `RunHandle.replay`."""
        return self._handle(run_id).replay(payload=payload, from_step=from_step)

    async def areplay(self, run_id: str, /, *, payload: Any = ..., from_step: str | None = None) -> RunHandle[Any]:
        """`replay` for async code."""
        return await self._handle(run_id).areplay(payload=payload, from_step=from_step)

    def _handle(self, run_id: str) -> RunHandle[Any]:
        return RunHandle(checked_run_id(run_id), False, self._client, AnyCodec(shows=True))

    def cancel_all(
        self,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        progress: Callable[[Bulk], object] | None = None,
        **which: Unpack[RunFilter],
    ) -> Bulk:
        """Cancel all runs that a filter finds, the newest ``limit`` of them if that is given. The filter is that of
        `list`; without a status it means all runs that are not final.

        It is done in steps of a few hundred, and ``progress`` is called after each. One that was interrupted has done
        what it has done: call it again for the rest. With ``dry_run`` nothing is changed, and the answer has the
        ``total``.

        Raises:
            InvalidOption: an option cannot be used, or nothing says which runs.

        >>> app.runs.cancel_all(task="greet", status="queued", dry_run=True).total
        >>> app.runs.cancel_all(task="greet", status="queued").outcomes
        {'canceled': 12}
        """
        found = survey(self._client, _all(which, limit, OPEN, "Cancel"))
        return _change(found, dry_run, False, progress).make(self._client)

    async def acancel_all(
        self,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        progress: Callable[[Bulk], object] | None = None,
        **which: Unpack[RunFilter],
    ) -> Bulk:
        """`cancel_all` for async code."""
        found = await asurvey(self._client, _all(which, limit, OPEN, "Cancel"))
        return await _change(found, dry_run, False, progress).amake(self._client)

    def replay_all(
        self,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        progress: Callable[[Bulk], object] | None = None,
        **which: Unpack[RunFilter],
    ) -> Bulk:
        """Trigger all runs that a filter finds once more, as new runs of one batch, the oldest first. Without a status
        it means those that ended badly. Everything else is as in `cancel_all`.

        A run is replayed by this once, and remembered: asked for again, it replays what is left, and what has failed
        since. To replay one run as often as you like, use `replay`.

        >>> app.runs.replay_all(task="greet", since="1d", progress=lambda bulk: print(bulk.done, "of", bulk.total))
        """
        found = survey(self._client, _all(which, limit, UNDONE, "Replay"))
        return _change(found, dry_run, True, progress).make(self._client)

    async def areplay_all(
        self,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        progress: Callable[[Bulk], object] | None = None,
        **which: Unpack[RunFilter],
    ) -> Bulk:
        """`replay_all` for async code."""
        found = await asurvey(self._client, _all(which, limit, UNDONE, "Replay"))
        return await _change(found, dry_run, True, progress).amake(self._client)

    def __repr__(self) -> str:
        return "<Runs>"


# -- many at once -----------------------------------------------------------------------------------------------------

AT_ONCE: Final = 1_000_000


def _all(which: RunFilter, limit: Any, usual: frozenset[str], verb: str) -> Survey:
    """The search for all that is meant."""
    unknown = sorted(which.keys() - RunFilter.__annotations__.keys())
    if unknown:
        close = difflib.get_close_matches(unknown[0], RunFilter.__annotations__, n=1)
        do = f"Did you mean {close[0]}?" if close else f"There are {', '.join(RunFilter.__annotations__)}."
        raise InvalidOption("There is no such filter", seen=unknown[0], do=do)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= AT_ONCE):
        raise InvalidOption(
            f"limit is not a whole number from 1 to {AT_ONCE:,}", seen=shown(limit), do="Leave it out for all."
        )
    given = {name: which.get(name) for name in RunFilter.__annotations__}
    wanted = _read(**given, limit=1, cursor=None)
    if wanted.filter == views.Filter() and wanted.ago_ms is None:
        raise InvalidOption(
            f"Nothing says which runs to {verb.lower()}",
            seen="no filter",
            do="Say so with status=, task=, queue=, tag=, batch= or since=.",
        )
    narrowed = msgspec.structs.replace(wanted.filter, statuses=wanted.filter.statuses or usual)
    return Survey(narrowed, limit, wanted.ago_ms)


def _change(found: Survey, dry_run: bool, replay: bool, progress: Callable[[Bulk], object] | None) -> Change:
    if not isinstance(dry_run, bool):
        raise InvalidOption("dry_run is neither True nor False", seen=shown(dry_run), do="Write dry_run=True.")
    if progress is not None and not callable(progress):
        raise InvalidOption("progress is no function", seen=shown(progress), do="Write one that takes a Bulk.")
    change = Change(found.ids, replay=replay, progress=progress or (lambda _: None))
    if dry_run:
        change.left.clear()
    return change


# -- searching --------------------------------------------------------------------------------------------------------


class _Wanted(NamedTuple):
    """What is asked of the views; ``ago_ms`` is seen from the database's own clock."""

    filter: views.Filter
    ago_ms: int | None
    limit: int
    cursor: str | None


def _search(tx: Tx, wanted: _Wanted) -> views.Page:
    found = wanted.filter
    if wanted.ago_ms is not None:
        found = msgspec.structs.replace(found, since=tx.now() - wanted.ago_ms)
    return views.page(tx, found, limit=wanted.limit, before=wanted.cursor, far=views.FAR_OFF)


def _read(
    status: object, task: object, queue: object, tag: object, batch: object, since: Any, limit: object, cursor: object
) -> _Wanted:
    ago_ms = to_ms(since, name="since") if since is not None and not isinstance(since, datetime) else None
    wanted = views.Filter(
        statuses=frozenset(map(_status, _several(status, "status"))),
        tasks=_one_of(task.id if isinstance(task, Task) else task, "task"),
        queues=_one_of(queue.name if isinstance(queue, Queue) else queue, "queue"),
        tags=tuple(_several(tag, "tag")),
        batch=_text(batch.id if isinstance(batch, BatchHandle) else batch, "batch"),
        since=moment_ms(since, option="since") if isinstance(since, datetime) else None,
    )
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise InvalidOption(
            f"limit is not a whole number from 1 to {MOST}", seen=shown(limit), do="Go on with cursor=page.next_cursor."
        )
    return _Wanted(wanted, ago_ms, limit, _text(cursor, "cursor"))


def _several(value: object, option: str) -> list[str]:
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, Iterable) or isinstance(values, bytes | Mapping):
        raise InvalidOption(f"{option} is neither text nor a list of it", seen=shown(value), do="Write it as text.")
    return [checked_text(each, option=option) for each in values]


def _one_of(value: object, option: str) -> frozenset[str]:
    text = _text(value, option)
    return frozenset() if text is None else frozenset((text,))


def _text(value: object, option: str) -> str | None:
    return None if value is None else checked_text(value, option=option)


def _status(word: str) -> str:
    if word not in STATUSES:
        close = difflib.get_close_matches(word, STATUSES, n=1)
        do = f"Did you mean {close[0]}?" if close else f"There are {', '.join(STATUSES)}."
        raise InvalidOption("There is no such status", seen=shown(word), do=do)
    return word


def _page(page: views.Page) -> RunPage:
    return RunPage(map(_listed, page.runs), page.next_cursor, page.complete)


def _listed(run: views.Listed) -> ListedRun:
    return ListedRun(
        id=run.id,
        status=run.status,  # type: ignore[arg-type]
        task=run.task,
        queue=run.queue,
        attempts=run.attempts if run.worker_id is not None else run.attempts - 1,
        created_at=at(run.created_at),
        started_at=_maybe_at(run.started_at),
        finished_at=_maybe_at(run.finished_at),
        due_at=_maybe_at(run.due_at),
        concurrency_key=run.concurrency_key,
        tags=run.tags,
        batch_id=run.batch_id,
        parent_id=run.parent_id,
        error=None if run.error is None else RunError(run.error.type, run.error.message),
    )


def _maybe_at(ms: int | None) -> datetime | None:
    return None if ms is None else at(ms)


def _invocation(sent: views.InvocationView) -> Invocation:
    return Invocation(
        attempt=sent.number,
        at=at(sent.at),
        method=sent.method,
        url=sent.url,
        status=sent.status,
        error=sent.error,
        dns=_after(sent.dns_us),
        connect=_after(sent.connect_us),
        first_byte=_after(sent.first_byte_us),
        total=timedelta(microseconds=sent.total_us),
        reused=sent.reused,
        request_headers=sent.request_headers,
        response_headers=sent.response_headers,
        body=sent.body,
        truncated=sent.truncated,
    )


def _after(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)
