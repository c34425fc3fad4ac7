"""The verbs of runs over HTTP, each as a pair: ``x`` for sync, ``ax`` for async code."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, overload

from typing_extensions import Unpack

from holdfast import codec
from holdfast.codec import AnyCodec, Codec
from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, ResultTimeout, RunNotFound, shown
from holdfast.handle import BatchHandle, RunHandle
from holdfast.ids import new_secret
from holdfast.model import FINAL, Results, Run, RunStatus
from holdfast.names import ID_LENGTH, checked_name, checked_run_id, checked_text
from holdfast.options import TriggerOptions
from holdfast.page import Page
from holdfast.remote.connection import Connection, RemoteError
from holdfast.remote.operate import Queues, Schedules, Tokens
from holdfast.remote.wire import bare, iso, options_of, payload_of, record_of
from holdfast.stream import Numbered
from holdfast.task import Task

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

SOONEST, LATEST = 0.05, 2.0  # between two looks at a run that is waited for
AT_ONCE: Final = 16
MOST_ITEMS: Final = 1_000
PAGE: Final = 100
ANYTHING: Final = AnyCodec()


@dataclass(frozen=True, slots=True)
class Item(Generic[R_co]):
    """An entry of a batch. Made by `Client.item`."""

    task: str
    said: dict[str, Any]
    output: Codec[Any]


class Client:
    """A Holdfast server, from anywhere: what an app does with its database, over HTTP.

    ``url`` and ``key`` are by default ``HOLDFAST_API_URL`` and ``HOLDFAST_API_KEY``. ``timeout`` is for one call; a
    call that is not answered is made again, up to five times, and makes what it makes once.

    Raises:
        InvalidOption: there is no URL, or it is none.

    >>> jobs = Client("https://jobs.example.com", key="tr_prod_sk_…")
    >>> jobs.trigger("greet", "Ada").result(timeout="1m")
    'Hello, Ada!'
    """

    def __init__(self, url: str | None = None, *, key: str | None = None, timeout: Duration = "30s") -> None:
        url = url or os.environ.get("HOLDFAST_API_URL", "").strip()
        if not url:
            raise InvalidOption("There is no server", do='Write Client("https://…"), or set HOLDFAST_API_URL.')
        key = key or os.environ.get("HOLDFAST_API_KEY", "").strip() or None
        self._connection = Connection(url, key, timeout=to_ms(timeout, name="timeout") / 1000)

    @property
    def queues(self) -> Queues:
        """The queues: ``list``, ``retrieve``, ``pause``, ``resume``, ``limit``, and their twins."""
        return Queues(self._connection)

    @property
    def schedules(self) -> Schedules:
        """The schedules: ``create``, ``list``, ``retrieve``, ``pause``, ``resume``, ``delete``, and their twins."""
        return Schedules(self._connection)

    @property
    def tokens(self) -> Tokens:
        """What runs wait for: ``create``, ``complete``, ``retrieve``, ``list``, and their twins."""
        return Tokens(self._connection)

    # -- making runs --

    @overload
    def trigger(self, task: Task[T, R], payload: T, /, **options: Unpack[TriggerOptions]) -> RunHandle[R]: ...
    @overload
    def trigger(self, task: Task[None, R], /, **options: Unpack[TriggerOptions]) -> RunHandle[R]: ...
    @overload
    def trigger(self, task: str, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[Any]: ...
    def trigger(self, task: Any, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[Any]:
        """Make a run of a task: by its id, or as ``app.declare`` or ``@app.task`` have it, and then with its types.
        When this returns, the run is on disk. A ``delay`` or ``ttl`` is in whole seconds here.

        Raises:
            InvalidOption, PayloadInvalid, NotSerializable: nothing was made, and why.
            RemoteError: the server refused. RemoteUnavailable: it does not answer.

        >>> jobs.trigger("greet", "Ada", delay="5m", idempotency_key="user-1")
        """
        return self._connection.wait(self._trigger(self._item(task, payload, options)))

    @overload
    async def atrigger(self, task: Task[T, R], payload: T, /, **options: Unpack[TriggerOptions]) -> RunHandle[R]: ...
    @overload
    async def atrigger(self, task: Task[None, R], /, **options: Unpack[TriggerOptions]) -> RunHandle[R]: ...
    @overload
    async def atrigger(
        self, task: str, payload: Any = None, /, **options: Unpack[TriggerOptions]
    ) -> RunHandle[Any]: ...
    async def atrigger(self, task: Any, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[Any]:
        """`trigger` for async code."""
        return await self._connection.awaited(self._trigger(self._item(task, payload, options)))

    @overload
    def item(self, task: Task[T, R], payload: T, /, **options: Unpack[TriggerOptions]) -> Item[R]: ...
    @overload
    def item(self, task: Task[None, R], /, **options: Unpack[TriggerOptions]) -> Item[R]: ...
    @overload
    def item(self, task: str, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> Item[Any]: ...
    def item(self, task: Any, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> Item[Any]:
        """An entry for `batch_trigger`. Raises what `trigger` raises before it asks the server."""
        return self._item(task, payload, options)

    def batch_trigger(self, items: Iterable[Item[R]], /) -> BatchHandle[R]:
        """Make a run for each item, of which there are at most 1,000; they may be of different tasks.

        Raises:
            InvalidOption: there are too many.
            RemoteError: the server refused an item, and which: none or some of the others are made.
            RemoteUnavailable: it does not answer.

        >>> jobs.batch_trigger([jobs.item("greet", name) for name in ("Ada", "Grace")]).results()
        """
        return self._connection.wait(self._batch(tuple(items)))

    async def abatch_trigger(self, items: Iterable[Item[R]], /) -> BatchHandle[R]:
        """`batch_trigger` for async code."""
        return await self._connection.awaited(self._batch(tuple(items)))

    # -- looking at runs --

    def handle(self, run_id: str, /) -> RunHandle[Any]:
        """The handle of any run. Nothing is read; an unknown id shows when the handle is used."""
        return RunHandle(bare(checked_run_id(run_id)), False, self, ANYTHING)

    def retrieve(self, run_id: str, output: Codec[Any] = ANYTHING) -> Run[Any]:
        """A snapshot of a run. Its log and its journal are not told over HTTP, and are empty.

        Raises:
            RunNotFound: there is no such run, or no longer.
            RemoteError, RemoteUnavailable
        """
        return self._connection.wait(self._retrieve(run_id, output))

    async def aretrieve(self, run_id: str, output: Codec[Any] = ANYTHING) -> Run[Any]:
        """`retrieve` for async code."""
        return await self._connection.awaited(self._retrieve(run_id, output))

    def list(
        self,
        *,
        status: RunStatus | Iterable[RunStatus] | None = None,
        task: str | None = None,
        queue: str | None = None,
        tag: str | Iterable[str] | None = None,
        batch: str | None = None,
        since: Duration | datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Run[Any]]:
        """The newest runs that are all of this: with one of these statuses, any of these tags, of this task, queue and
        batch, made ``since`` then (a duration ago, or an aware datetime). At most 100 on a page; ``cursor`` is an
        earlier page's ``next_cursor``. Payloads and outputs are not in a list: `retrieve` has them.

        >>> [run.id for run in jobs.list(status="failed", since="1h")]
        """
        return self._connection.wait(self._list(status, task, queue, tag, batch, since, limit, cursor))

    async def alist(
        self,
        *,
        status: RunStatus | Iterable[RunStatus] | None = None,
        task: str | None = None,
        queue: str | None = None,
        tag: str | Iterable[str] | None = None,
        batch: str | None = None,
        since: Duration | datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Run[Any]]:
        """`list` for async code."""
        return await self._connection.awaited(self._list(status, task, queue, tag, batch, since, limit, cursor))

    def finished(self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None) -> Results[Any]:
        """What handles wait with: these runs, once all of them have ended. Raises ResultTimeout, RunNotFound."""
        return self._connection.wait(self._finished(ids, outputs, timeout))

    async def afinished(
        self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None
    ) -> Results[Any]:
        """`finished` for async code."""
        return await self._connection.awaited(self._finished(ids, outputs, timeout))

    def updates(self, run_id: str, output: Codec[Any]) -> Iterator[Run[Any]]:
        """What handles follow a run with: a snapshot whenever it has changed, until it is final."""
        run, looks = self.retrieve(run_id, output), Looks()
        yield run
        while not run.finished:
            time.sleep(looks.pause())
            before, run = run, self.retrieve(run_id, output)
            if changed(before, run):
                looks = Looks()
                yield run

    async def aupdates(self, run_id: str, output: Codec[Any]) -> AsyncIterator[Run[Any]]:
        """`updates` for async code."""
        run, looks = await self.aretrieve(run_id, output), Looks()
        yield run
        while not run.finished:
            await asyncio.sleep(looks.pause())
            before, run = run, await self.aretrieve(run_id, output)
            if changed(before, run):
                looks = Looks()
                yield run

    def chunks(self, run_id: str, name: str, start: int) -> Iterator[Numbered]:
        """Streams are not read with this client: raises InvalidOption."""
        raise no_streams(name)

    def achunks(self, run_id: str, name: str, start: int) -> AsyncIterator[Numbered]:
        """`chunks` for async code."""
        raise no_streams(name)

    # -- changing runs --

    def cancel(self, run_id: str) -> None:
        """Ask for the end of a run. Nothing happens to one that has ended. Raises RunNotFound."""
        self._connection.wait(self._cancel(run_id))

    async def acancel(self, run_id: str) -> None:
        """`cancel` for async code."""
        await self._connection.awaited(self._cancel(run_id))

    def replay(self, run_id: str, payload: str | None = None, from_step: str | None = None) -> str:
        """Trigger the task of a run again, with its payload and options, or with another ``payload`` (JSON text).
        Answers the new run's id; `RunHandle.replay` gives its handle. Raises RunNotFound."""
        return self._connection.wait(self._replay(run_id, payload, from_step))

    async def areplay(self, run_id: str, payload: str | None = None, from_step: str | None = None) -> str:
        """`replay` for async code."""
        return await self._connection.awaited(self._replay(run_id, payload, from_step))

    def close(self) -> None:
        """End all connections. The next verb opens new ones."""
        self._connection.close()

    async def aclose(self) -> None:
        """`close` for async code."""
        await asyncio.to_thread(self._connection.close)

    def __repr__(self) -> str:
        return f"<remote.Client of {self._connection.url}>"

    # -- once for both colours --

    def _item(self, task: Any, payload: Any, options: TriggerOptions) -> Item[Any]:
        if isinstance(task, Task):
            text, output = task.dump(payload), task.output_codec
            name = task.id
        else:
            name = checked_name(task, option="The id of a task", length=ID_LENGTH)
            text, output = ANYTHING.dump(payload), ANYTHING
        return Item(name, {"payload": payload_of(text), "options": options_of(options)}, output)

    async def _trigger(self, item: Item[Any]) -> RunHandle[Any]:
        said = await self._connection.ask("POST", "api", "v1", "tasks", item.task, "trigger", body=item.said)
        return RunHandle(bare(said["id"]), not said["isCached"], self, item.output)

    async def _batch(self, items: Sequence[Item[R]]) -> BatchHandle[R]:
        if not 0 < len(items) <= MOST_ITEMS:
            raise InvalidOption(
                f"A batch has from 1 to {MOST_ITEMS:,} items", seen=len(items), do="Make several batches."
            )
        tasks = sorted({item.task for item in items})
        opened: Any = {"runCount": len(items), "taskIdentifiers": tasks, "idempotencyKey": f"call-{new_secret()}"}
        batch = (await self._connection.ask("POST", "api", "v3", "batches", body=opened))["id"]
        lines = [{"index": index, "task": item.task, **item.said} for index, item in enumerate(items)]
        text = "\n".join(codec.encode(line) for line in lines).encode()
        await self._connection.ask("POST", "api", "v3", "batches", batch, "items", lines=text)
        said = await self._connection.ask("GET", "api", "v2", "batches", batch)
        if errors := said["processing"]["errors"]:
            first = errors[0]
            raise RemoteError(
                f"{len(errors)} of {len(items)} items became no run",
                seen=f"item {first['index']}: {first['error']}",
                do=f"The others are in {bare(batch)}.",
                status=422,
            )
        outputs = [item.output for item in items]
        made = zip(said["runs"], outputs, strict=True)
        handles = [RunHandle[R](bare(run), True, self, output) for run, output in made]
        return BatchHandle(bare(batch), handles, self, outputs)

    async def _retrieve(self, run_id: str, output: Codec[Any]) -> Run[Any]:
        run = f"run_{bare(checked_run_id(run_id))}"
        try:
            return Run(record_of(await self._connection.ask("GET", "api", "v3", "runs", run)), output, tuple)
        except RemoteError as error:
            raise not_found(error, run_id) from None

    async def _list(
        self,
        status: RunStatus | Iterable[RunStatus] | None,
        task: str | None,
        queue: str | None,
        tag: str | Iterable[str] | None,
        batch: str | None,
        since: Duration | datetime | None,
        limit: int,
        cursor: str | None,
    ) -> Page[Run[Any]]:
        if not 1 <= limit <= PAGE:
            raise InvalidOption(f"limit is not from 1 to {PAGE}", seen=shown(limit), do="Take page by page.")
        said = {
            "page[size]": str(limit),
            "page[after]": cursor,
            "filter[status]": None if status is None else joined(status).upper(),
            "filter[taskIdentifier]": task,
            "filter[queue]": queue,
            "filter[tag]": None if tag is None else joined(tag),
            "filter[batch]": None if batch is None else f"batch_{bare(batch)}",
            "filter[createdAt][from]": None if since is None else moment_of(since),
        }
        query = {name: checked_text(value, option="a filter") for name, value in said.items() if value is not None}
        found = await self._connection.ask("GET", "api", "v1", "runs", query=query)
        runs: list[Run[Any]] = [Run(record_of(each), ANYTHING, tuple) for each in found["data"]]
        return Page(runs, found["pagination"].get("next"))

    async def _finished(
        self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None
    ) -> Results[Any]:
        ends_at = float("inf") if timeout is None else time.monotonic() + to_ms(timeout, name="timeout") / 1000
        found: dict[int, Run[Any]] = {}
        looks, room = Looks(), asyncio.Semaphore(AT_ONCE)

        async def look(place: int) -> None:
            async with room:
                run = await self._retrieve(ids[place], outputs[place])
            if run.status in FINAL:
                found[place] = run

        while len(found) < len(ids):
            await asyncio.gather(*(look(place) for place in range(len(ids)) if place not in found))
            if len(found) < len(ids):
                left = ends_at - time.monotonic()
                if left <= 0:
                    raise ResultTimeout(
                        f"{len(ids) - len(found)} of {len(ids)} runs did not finish within {timeout}",
                        do="They go on; wait for longer, or look at them later.",
                    )
                await asyncio.sleep(min(looks.pause(), left))
        return Results([found[place] for place in range(len(ids))])

    async def _cancel(self, run_id: str) -> None:
        try:
            await self._connection.ask("POST", "api", "v2", "runs", f"run_{bare(checked_run_id(run_id))}", "cancel")
        except RemoteError as error:
            raise not_found(error, run_id) from None

    async def _replay(self, run_id: str, payload: str | None, from_step: str | None) -> str:
        if from_step is not None:
            raise InvalidOption("from_step has no meaning over HTTP", seen=from_step, do="Leave it out.")
        body: dict[str, Any] = {"idempotencyKey": f"call-{new_secret()}"}
        body |= {} if payload is None else {"payload": payload_of(payload)}
        run = f"run_{bare(checked_run_id(run_id))}"
        try:
            return bare((await self._connection.ask("POST", "api", "v1", "runs", run, "replay", body=body))["id"])
        except RemoteError as error:
            raise not_found(error, run_id) from None


class Looks:
    """How long to wait between two looks at what is waited for: longer each time."""

    def __init__(self) -> None:
        self.next = SOONEST

    def pause(self) -> float:
        now, self.next = self.next, min(LATEST, self.next * 1.5)
        return now


def changed(before: Run[Any], after: Run[Any]) -> bool:
    facts = ("status", "attempts", "metadata", "tags")
    return any(getattr(before, name) != getattr(after, name) for name in facts)


def joined(words: str | Iterable[str]) -> str:
    return words if isinstance(words, str) else ",".join(words)


def moment_of(since: Duration | datetime) -> str:
    if isinstance(since, datetime):
        return since.isoformat()
    return iso(int(time.time() * 1000) - to_ms(since, name="since"))


def not_found(error: RemoteError, run_id: str) -> RemoteError | RunNotFound:
    if error.status != 404:
        return error
    return RunNotFound("There is no run with this id, or no longer", seen=run_id, do="See jobs.list().")


def no_streams(name: str) -> InvalidOption:
    return InvalidOption(
        "Streams are not read with this client", seen=name, do="Read GET /realtime/v1/streams/RUN/NAME."
    )
