"""The verbs: what an app does with runs, over one store.

Each verb is a pair, ``x`` for sync and ``ax`` for async code, over the same function of a transaction; the store has a
door for each colour. A single trigger joins the group of whatever else is triggered just now, a batch goes in chunks of
a thousand. New names (a queue, a task in it) are made before, in a transaction of their own, and remembered.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar, cast

from holdfast import codec, secret, storage, tracing, views
from holdfast.batch import Batch
from holdfast.clock import Clock, SystemClock
from holdfast.codec import Codec
from holdfast.context import parent_of, running
from holdfast.durable import Asked, Durable
from holdfast.duration import Duration, to_ms
from holdfast.engine import cancel as canceling
from holdfast.engine import catalogue, journal, read, streams
from holdfast.engine import replay as replaying
from holdfast.engine.streams import Place
from holdfast.engine.trigger import Outcome, RouteName, reset_key, route_name
from holdfast.engine.trigger import trigger as make
from holdfast.errors import (
    BatchIncomplete,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseUnavailable,
    HoldfastError,
    InvalidOption,
    ResultTimeout,
)
from holdfast.fitting import check_fits
from holdfast.following import Commits, Follower, Following
from holdfast.handle import BatchHandle, RunHandle
from holdfast.http_task import http_entry
from holdfast.joining import ajoin, join
from holdfast.model import Results, Run
from holdfast.options import Target
from holdfast.queue import Queue, own_queue
from holdfast.records import Chunk, LogLine, NewRun, QueueEntry, Recorded, RunRecord, TaskEntry, Triggered
from holdfast.request import HTTP_TASK
from holdfast.settings import PUBLIC_URL, SERVED_AT
from holdfast.sizes import MIB, check_size, size_of
from holdfast.storage import Store, Tx
from holdfast.views import Mark
from holdfast.waiting import Waiter, Waiting, not_there

if TYPE_CHECKING:
    from holdfast.storage.lending import Loan

__all__ = ["Client"]

P = ParamSpec("P")
R = TypeVar("R")
Names = tuple[list[QueueEntry], list[RouteName], list[TaskEntry]]

_CHUNK: Final = 1000
_CATALOGUE_SECONDS: Final = 10.0
_NAMED_SECONDS: Final = 3600.0  # routes of versions are kept for a day after they were named
_OUTAGES: Final = (DatabaseUnavailable, DatabaseFull, DatabaseReadOnly)


class Client:
    """The verbs over the database whose URL ``url()`` tells when it is first needed.

    ``queues`` are the queues that code has declared, by name; the client enters them with their limits when it triggers
    into one of them for the first time. Threads and event loops may share a client; a forked child may go on with it.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        clock: Clock | None = None,
        queues: dict[str, Queue] | None = None,
        payload_limit: int = 10 * MIB,
        said_url: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._url = url
        self.queues = {} if queues is None else queues
        self.payload_limit = payload_limit
        self.said_url = said_url  # where the outside finds the server, if anybody has said so
        self._clock = clock
        self.http_tasks: dict[str, Callable[[], TaskEntry]] = {HTTP_TASK: http_entry}  # whoever triggers announces them
        self._named: set[RouteName] = set()
        self._named_at = time.monotonic()
        self._targets: dict[str, tuple[float, Target]] = {}
        self._schemas: dict[str, str] = {}  # what tasks have announced of their payloads …
        self._secret: dict[str, Mapping[str, Any]] = {}  # … and of those that have secrets in them
        self.loads: dict[str, Callable[[str], object]] = {}  # how tasks whose code is here read a payload
        self._opening = threading.Lock()
        self._store: Store | None = None
        self._waiting: Waiter | None = None
        self._following: Follower | None = None
        self._lent = False
        _all.add(self)

    # -- the store --

    @property
    def store(self) -> Store:
        """The open store.

        Raises:
            DatabaseError: it cannot be opened, and why.
        """
        return self._store if self._store is not None else self._open()

    async def _astore(self) -> Store:
        """`store`, without blocking the event loop while it is opened."""
        return self._store if self._store is not None else await asyncio.to_thread(self._open)

    def open(self) -> None:
        """Open the store if it is not open. Raises what `store` raises."""
        _ = self.store

    async def aopen(self) -> None:
        """`open` for async code."""
        await self._astore()

    def close(self) -> None:
        """Let go of the database. Who still waits for a result is told so. The next verb opens it again."""
        if self._lent:
            return
        with self._opening:
            store, waiting, following = self._store, self._waiting, self._following
            self._store = self._waiting = self._following = None
            self._named, self._targets, self._schemas, self._secret = (
                set(),
                {},
                {},
                {},
            )  # the next database may be another one
        for each in (waiting, following):
            if each is not None:
                each.close()
        if store is not None:
            store.close()

    async def aclose(self) -> None:
        """`close` for async code."""
        await asyncio.to_thread(self.close)

    @contextmanager
    def standing_in(self, store: Store, waiting: Waiter, following: Follower) -> Iterator[None]:
        """Let all verbs go to another store meanwhile, which belongs to the caller: what tests do. What is known of the
        app's own database is put aside, and closing the app does nothing."""
        names = ("_store", "_waiting", "_following", "_named", "_targets", "_schemas", "_secret", "_lent")
        kept = {name: getattr(self, name) for name in names}
        self._store, self._waiting, self._following = store, waiting, following
        self._named, self._targets, self._schemas, self._secret = set(), {}, {}, {}
        self._lent = True
        try:
            yield
        finally:
            vars(self).update(kept)

    def _open(self) -> Store:
        with self._opening:
            if self._store is None:
                store = storage.open(self._url(), clock=self._clock)
                self._waiting = Waiting(
                    lambda ids: store.read_sync(read.finished, ids), lambda ids: store.read_sync(read.runs, ids)
                )
                self._following = Following(Commits(store))
                self._store = store
            return self._store

    def now(self) -> int:
        """What the clock says here, in milliseconds since the epoch; a test's clock in a test."""
        clock = self._store.clock if self._store is not None else self._clock
        return (SystemClock() if clock is None else clock).now()

    # -- views, and what operators do --

    def read(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a function of `views` answers, in one transaction that only reads.

        >>> client.read(views.queues)
        """
        return self.store.read_sync(f, *args, **kwargs)

    async def aread(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`read` for async code."""
        return await (await self._astore()).read(f, *args, **kwargs)

    def write(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a verb of the engine answers, in one transaction.

        >>> client.write(catalogue.pause, "orders")
        """
        return self.store.run_sync(f, *args, **kwargs)

    async def awrite(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`write` for async code."""
        return await (await self._astore()).run(f, *args, **kwargs)

    # -- triggering --

    def trigger(self, run: NewRun, output: Codec[Any], connection: object = None) -> RunHandle[Any]:
        """Make a run. See `Task.trigger`."""
        if connection is not None:
            return self._handle(self._join([run], connection)[0], output)
        store = self.store
        self.prepare([run])
        if (durable := recording(run)) is not None:
            asked, entry = durable.recorded([run], run.task)
            if entry is not None:
                asked.entry = durable.keep(store.gather(journal.write, entry).result())
            return self._handle(_recorded(asked)[0], output)
        return self._handle(_gather(store, run).result(), output)

    async def atrigger(self, run: NewRun, output: Codec[Any], connection: object = None) -> RunHandle[Any]:
        if connection is not None:
            return self._handle((await self._ajoin([run], connection))[0], output)
        store = await self._astore()
        await self.aprepare([run])
        if (durable := recording(run)) is not None:
            asked, entry = durable.recorded([run], run.task)
            if entry is not None:
                asked.entry = (await durable.write(entry)).entry
            return self._handle(_recorded(asked)[0], output)
        # Shielded: who gives up waiting for the answer must not withdraw a run that others' commit carries.
        return self._handle(await asyncio.shield(asyncio.wrap_future(_gather(store, run))), output)

    def batch_trigger(self, batch: Batch, connection: object = None) -> BatchHandle[Any]:
        """Make the runs of a batch. See `Task.batch_trigger`."""
        if connection is not None:
            return self._batch_handle(batch, self._join(batch.runs, connection))
        store = self.store
        self.prepare(batch.runs)
        if batch.runs and (durable := recording(batch.runs[0])) is not None:
            asked, entry = durable.recorded(batch.runs, "batch")
            if entry is not None:
                asked.entry = durable.keep(store.gather(journal.write, entry).result())
            return self._batch_handle(batch, _recorded(asked))
        outcomes: list[Outcome] = []
        for chunk in _chunks(batch.runs):
            try:
                outcomes += cast("Sequence[Outcome]", store.run_sync(make, chunk))
            except _OUTAGES as error:
                return self._batch_handle(batch, outcomes, error)
            except Exception:  # one item spoils the chunk: each gets its own answer now
                outcomes += [_outcome(future) for future in [_gather(store, run) for run in chunk]]
        return self._batch_handle(batch, outcomes)

    async def abatch_trigger(self, batch: Batch, connection: object = None) -> BatchHandle[Any]:
        if connection is not None:
            return self._batch_handle(batch, await self._ajoin(batch.runs, connection))
        store = await self._astore()
        await self.aprepare(batch.runs)
        if batch.runs and (durable := recording(batch.runs[0])) is not None:
            asked, entry = durable.recorded(batch.runs, "batch")
            if entry is not None:
                asked.entry = (await durable.write(entry)).entry
            return self._batch_handle(batch, _recorded(asked))
        outcomes: list[Outcome] = []
        for chunk in _chunks(batch.runs):
            try:
                outcomes += cast("Sequence[Outcome]", await store.run(make, chunk))
            except _OUTAGES as error:
                return self._batch_handle(batch, outcomes, error)
            except Exception:  # one item spoils the chunk: each gets its own answer now
                outcomes += await _outcomes([_gather(store, run) for run in chunk])
        return self._batch_handle(batch, outcomes)

    def prepare(self, runs: list[NewRun]) -> None:
        """See to it that these runs can be made: their queues and tasks have names in the database."""
        if names := self._new_names(*runs):
            self.store.run_sync(catalogue.ensure_names, *names)
            self._remember(*runs)

    async def aprepare(self, runs: list[NewRun]) -> None:
        """`prepare` for async code."""
        store = await self._astore()
        if names := self._new_names(*runs):
            await store.run(catalogue.ensure_names, *names)
            self._remember(*runs)

    def public_url(self) -> str:
        """Where the outside finds the server: as was said, or else where the one that started this process listens."""
        return self.said_url() or os.environ.get(SERVED_AT) or PUBLIC_URL

    def token_url(self, token: str, secret: str, base: str | None = None) -> str:
        """Where a token is completed by HTTP, by whoever has this URL."""
        return f"{base or self.public_url()}/api/v1/waitpoints/tokens/{token}/callback/{secret}"

    def _join(self, runs: list[NewRun], connection: object) -> list[Outcome]:
        """Make runs in the caller's transaction."""
        return self._joined(runs, join(self.store, connection, runs, self._new_names(*runs), in_test=self._lent))

    async def _ajoin(self, runs: list[NewRun], connection: object) -> list[Outcome]:
        store = await self._astore()
        return self._joined(runs, await ajoin(store, connection, runs, self._new_names(*runs), in_test=self._lent))

    def _joined(self, runs: list[NewRun], made: list[Outcome]) -> list[Outcome]:
        if self.store.kind == "postgres":  # on SQLite new names are rolled back with the rest
            self._remember(*runs)
        return made

    def reset_idempotency_key(self, task: str, key: str) -> bool:
        return self.store.run_sync(reset_key, task, key)

    async def areset_idempotency_key(self, task: str, key: str) -> bool:
        return await (await self._astore()).run(reset_key, task, key)

    def connection(self) -> Loan:
        """See `Holdfast.connection`."""
        return storage.lend(lambda: self.store)

    def target(self, task: str) -> Target:
        """What a trigger by name must know of a task whose code is not here: as workers announced it last.

        A task that nobody has announced has a queue of its own and no defaults; its runs wait for who knows it.
        """
        return self._known_target(task) or self._learn(task, self.store.read_sync(catalogue.task, task))

    async def atarget(self, task: str) -> Target:
        known = self._known_target(task)
        if known is not None:
            return known
        store = await self._astore()
        return self._learn(task, await store.read(catalogue.task, task))

    def sealed(self, task: str, payload: str) -> str:
        """A payload by name, with the secrets sealed that the task has announced last."""
        schema = self._secret.get(task)
        return payload if schema is None else codec.encode(secret.sealed_by(schema, codec.decode(payload)))

    def check_payload(self, task: str, payload: str) -> None:
        """Raises PayloadInvalid: it does not fit the task, as its code says or as it has announced last."""
        load = self.loads.get(task)
        if load is not None:
            load(payload)
        elif payload != "null" and (schema := self._schemas.get(task)) is not None:
            check_fits(secret.opened(codec.decode(payload)), schema, what=f"The payload of task {task}")

    def declare(self, queue: Queue) -> None:
        """Make a queue with its limits known. Raises InvalidOption if it was declared with other limits."""
        known = self.queues.setdefault(queue.name, queue)
        if known != queue and queue != Queue(queue.name):
            if known != Queue(queue.name):
                raise InvalidOption(
                    f"The queue {queue.name} is declared twice, with different limits",
                    seen=f"{known} and {queue}",
                    do="Declare it once, and give the same Queue to all its tasks.",
                )
            self.queues[queue.name] = queue

    def _new_names(self, *runs: NewRun) -> Names | None:
        tracing.stamp(runs)
        if time.monotonic() - self._named_at > _NAMED_SECONDS:
            self._named, self._named_at = set(), time.monotonic()
        new = {route_name(run) for run in runs}.difference(self._named)
        for run in runs:
            check_size(size_of(run.payload), self.payload_limit, what="The payload", limit="payload_limit")
        if not new:
            return None
        queues = [
            self.queues[name].entry() if name in self.queues else QueueEntry(name=name)
            for name in {each.queue for each in new}
        ]
        tasks = [self.http_tasks[task]() for task in {each.task for each in new} if task in self.http_tasks]
        return queues, list(new), tasks

    def _remember(self, *runs: NewRun) -> None:
        self._named.update(map(route_name, runs))

    def _handle(self, made: Outcome, output: Codec[Any]) -> RunHandle[Any]:
        if isinstance(made, Exception):
            raise made
        return RunHandle(made.id, made.created, self, output)

    def _batch_handle(self, batch: Batch, outcomes: list[Outcome], outage: Exception | None = None) -> BatchHandle[Any]:
        errors = {place: made for place, made in enumerate(outcomes) if isinstance(made, Exception)}
        if outage is not None:
            errors.update((place, outage) for place in range(len(outcomes), len(batch.runs)))
        done: list[tuple[RunHandle[Any], Codec[Any]]] = [
            (RunHandle(made.id, made.created, self, output), output)
            for made, output in zip(outcomes, batch.outputs, strict=False)
            if not isinstance(made, Exception)
        ]
        handle: BatchHandle[Any] = BatchHandle(batch.id, [run for run, _ in done], self, [output for _, output in done])
        if errors and not done:
            raise next(iter(errors.values()))
        if errors:
            raise BatchIncomplete(handle, errors) from next(iter(errors.values()))
        return handle

    def _known_target(self, task: str) -> Target | None:
        learned = self._targets.get(task)
        return learned[1] if learned is not None and time.monotonic() - learned[0] < _CATALOGUE_SECONDS else None

    def _learn(self, task: str, entry: TaskEntry | None) -> Target:
        if entry is None:
            return Target(task, own_queue(task))
        options: Mapping[str, Any] = codec.decode(entry.options)
        machine, sent = options.get("machine"), "http" in options
        target = Target(task, entry.queue, options.get("ttl_ms"), options.get("priority_ms", 0), machine, sent)
        self._targets[task] = time.monotonic(), target
        if entry.schema is not None:
            self._schemas[task] = entry.schema
        if secret.has_secrets(entry.schema):
            self._secret[task] = codec.decode(entry.schema or "{}")
        else:
            self._secret.pop(task, None)
        return target

    # -- single runs --

    def cancel(self, run_id: str) -> None:
        _found(self.store.run_sync(canceling.cancel, [run_id]), run_id)

    async def acancel(self, run_id: str) -> None:
        store = await self._astore()
        _found(await store.run(canceling.cancel, [run_id]), run_id)

    def replay(self, run_id: str, payload: str | None, from_step: str | None) -> str:
        (copy,) = self.copies([run_id], payload, from_step)
        return self.trigger(copy, codec.AnyCodec()).id

    async def areplay(self, run_id: str, payload: str | None, from_step: str | None) -> str:
        store = await self._astore()
        copies = await store.read(replaying.copies, [run_id], payload=payload, from_step=from_step)
        if payload is not None and copies:
            await self.atarget(next(iter(copies.values())).task)
        (copy,) = self._copies([run_id], copies, anew=payload is not None)
        return (await self.atrigger(copy, codec.AnyCodec())).id

    def copies(self, ids: list[str], payload: str | None = None, from_step: str | None = None) -> list[NewRun]:
        """What to trigger to do these runs once more. Raises RunNotFound, InvalidOption."""
        copies = self.store.read_sync(replaying.copies, ids, payload=payload, from_step=from_step)
        for task in {copy.task for copy in copies.values()} if payload is not None else ():
            self.target(task)
        return self._copies(ids, copies, anew=payload is not None)

    def _copies(self, ids: list[str], found: dict[str, NewRun], *, anew: bool) -> list[NewRun]:
        """The copies of all these runs, as what the task that runs here triggers, if one does."""
        if missing := [run_id for run_id in ids if run_id not in found]:
            raise not_there(missing[0])
        parent = parent_of(self)
        for copy in found.values():
            parent.adopt(copy)
            if anew:
                copy.payload = self.sealed(copy.task, copy.payload)
                self.check_payload(copy.task, copy.payload)
        return [found[run_id] for run_id in ids]

    def retrieve(self, run_id: str, output: Codec[Any]) -> Run[Any]:
        return self._run(_one(self.store.read_sync(views.records, [run_id]), run_id), output)

    async def aretrieve(self, run_id: str, output: Codec[Any]) -> Run[Any]:
        store = await self._astore()
        records, logs, entries = await store.read(_with_logs, run_id)
        return Run(_one(records, run_id), output, lambda: logs, lambda: entries)

    def _run(self, record: RunRecord, output: Codec[Any]) -> Run[Any]:
        return Run(record, output, partial(self._logs, record.id), partial(self._journal, record.id))

    def _journal(self, run_id: str) -> Sequence[Recorded]:
        return self.store.read_sync(journal.of_run, run_id)

    def _logs(self, run_id: str) -> Sequence[LogLine]:
        return self.store.read_sync(read.logs, run_id)

    # -- waiting --

    def finished(self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None) -> Results[Any]:
        """Wait for all of these runs to end. Raises ResultTimeout, RunNotFound."""
        _refuse_to_block_a_worker()
        seconds = _seconds(timeout)
        future = self._watch(self.store, ids)
        try:
            records = future.result(seconds)
        except ResultTimeout:  # who stands in for the waiting says it better
            raise
        except TimeoutError:
            future.cancel()
            records = _in_vain(self.store.read_sync(views.records, ids[:_CHUNK]), ids, timeout)
        return self._results(records, ids, outputs)

    async def afinished(
        self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None
    ) -> Results[Any]:
        seconds = _seconds(timeout)
        store = await self._astore()
        try:
            records = await asyncio.wait_for(self._awatch(store, ids), seconds)
        except ResultTimeout:
            raise
        except TimeoutError:
            records = _in_vain(await store.read(views.records, ids[:_CHUNK]), ids, timeout)
        return self._results(records, ids, outputs)

    # -- following --

    def updates(self, run_id: str, output: Codec[Any]) -> Iterator[Run[Any]]:
        _refuse_to_block_a_worker()
        mark: Mark | None = None
        last: RunRecord | None = None
        while mark is None or not mark.final:
            mark = _there(self._follower(self.store).news((run_id, None), mark).result(), run_id)
            record: RunRecord = _one(self.store.read_sync(views.records, [run_id]), run_id)
            if record != last:
                yield self._run(record, output)
            last = record

    async def aupdates(self, run_id: str, output: Codec[Any]) -> AsyncIterator[Run[Any]]:
        store = await self._astore()
        mark: Mark | None = None
        last: RunRecord | None = None
        while mark is None or not mark.final:
            mark = _there(await self._follower(store).anews((run_id, None), mark), run_id)
            record: RunRecord = _one(await store.read(views.records, [run_id]), run_id)
            if record != last:
                yield self._run(record, output)
            last = record

    def chunks(self, run_id: str, name: str, start: int) -> Iterator[tuple[int, Chunk]]:
        _refuse_to_block_a_worker()
        mark: Mark | None = None
        place = Place(skip=start)
        while mark is None or not mark.final:
            mark = _there(self._follower(self.store).news((run_id, name), mark).result(), run_id)
            while page := self.store.read_sync(streams.chunks, run_id, name, place):
                yield from enumerate(page, start)
                place, start = Place(page[-1].claim, page[-1].seq), start + len(page)

    async def achunks(self, run_id: str, name: str, start: int) -> AsyncIterator[tuple[int, Chunk]]:
        store = await self._astore()
        mark: Mark | None = None
        place = Place(skip=start)
        while mark is None or not mark.final:
            mark = _there(await self._follower(store).anews((run_id, name), mark), run_id)
            while page := await store.read(streams.chunks, run_id, name, place):
                for numbered in enumerate(page, start):
                    yield numbered
                place, start = Place(page[-1].claim, page[-1].seq), start + len(page)

    def _follower(self, store: Store) -> Follower:
        if self._following is None:
            raise HoldfastError("The app was closed", do="Follow runs before close().")
        store.refuse_waiting()
        return self._following

    def _watch(self, store: Store, ids: Sequence[str]) -> Future[dict[str, RunRecord]]:
        return self._waiter(store).watch(ids)

    async def _awatch(self, store: Store, ids: Sequence[str]) -> dict[str, RunRecord]:
        return await self._waiter(store).awatch(ids)

    def _waiter(self, store: Store) -> Waiter:
        if self._waiting is None:
            raise HoldfastError("The app was closed", do="Wait for results before close().")
        store.refuse_waiting()
        return self._waiting

    def _results(
        self, records: Mapping[str, RunRecord], ids: Sequence[str], outputs: Sequence[Codec[Any]]
    ) -> Results[Any]:
        return Results(self._run(records[run_id], output) for run_id, output in zip(ids, outputs, strict=True))


def _gather(store: Store, run: NewRun) -> Future[Outcome]:
    return cast("Future[Outcome]", store.gather(make, run))


def _outcome(future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error


async def _outcomes(futures: list[Future[Outcome]]) -> list[Outcome]:
    await asyncio.wait([asyncio.shield(asyncio.wrap_future(future)) for future in futures])
    return [_outcome(future) for future in futures]


def recording(run: NewRun) -> Durable | None:
    """Who records what is triggered here: the attempt whose code triggers it. What a step triggers is the step's."""
    attempt = running.get()
    if attempt is None or run.parent_id != attempt.claimed.id or not attempt.records():
        return None
    return attempt.durable


def _recorded(asked: Asked) -> list[Outcome]:
    """The runs that a recorded trigger has made."""
    made: list[tuple[str, bool]] = codec.decode(asked.entry.result or "[]") if asked.entry else []
    return [Triggered(run_id, created) for run_id, created in made]


def _chunks(runs: list[NewRun]) -> Iterator[list[NewRun]]:
    for start in range(0, len(runs), _CHUNK):
        yield runs[start : start + _CHUNK]


def _with_logs(tx: Tx, run_id: str) -> tuple[list[RunRecord], list[LogLine], list[Recorded]]:
    return views.records(tx, [run_id]), read.logs(tx, run_id), journal.of_run(tx, run_id)


def _one(found: Sequence[Any], run_id: str) -> Any:
    if not found:
        raise not_there(run_id)
    return found[0]


def _there(mark: Mark | None, run_id: str) -> Mark:
    if mark is None:
        raise not_there(run_id)
    return mark


def _found(outcomes: Mapping[str, str], run_id: str) -> None:
    if outcomes.get(run_id) == "unknown":
        raise not_there(run_id)


def _refuse_to_block_a_worker() -> None:
    # The run that is waited for may be in this very process: then it would never start, and nothing would say why.
    if running.get() is not None and asyncio._get_running_loop() is not None:
        raise HoldfastError(
            "Waiting here would block the worker's event loop, and all its tasks",
            do="In an async def task await aresult() or aresults().",
        )


def _seconds(timeout: Duration | None) -> float | None:
    return None if timeout is None else min(to_ms(timeout, name="timeout") / 1000, threading.TIMEOUT_MAX)


def _in_vain(found: Sequence[RunRecord], ids: Sequence[str], timeout: Duration | None) -> dict[str, RunRecord]:
    """The timeout is over: say what it was that the wait was for, and how that stands, as far as ``found`` tells.

    What is all there by now is given after all: with a timeout of 0, nobody had asked before.
    """
    records = {record.id: record for record in found}
    for run_id in ids[:_CHUNK]:
        if run_id not in records:
            raise not_there(run_id) from None
    left = [record for record in records.values() if record.finished_at is None]
    if not left and len(ids) <= _CHUNK:
        return records
    what = f"Run {ids[0]}" if len(ids) == 1 else f"{_at_least(len(left), len(ids))} of {len(ids)} runs"
    within = timeout if isinstance(timeout, str) else f"{_seconds(timeout)}s"
    do = "It goes on; only the waiting has ended."
    if any(record.status == "pending_version" for record in left):
        do = "No live worker knows the task: start one with holdfast worker."
    statuses = ", ".join(sorted({record.status for record in left}))
    raise ResultTimeout(f"{what} did not finish within {within}", seen=statuses, do=do) from None


def _at_least(left: int, count: int) -> str:
    return f"At least {left}" if count > _CHUNK else str(left)


_all: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_all):
        client._opening = threading.Lock()  # a thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
