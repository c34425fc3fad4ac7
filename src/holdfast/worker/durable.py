"""The durable operations of one attempt.

    ask ─► recorded? ─ yes ─► handed out in its turn
                     └ no ──► done, or waited for ─► written ─► handed out in its turn

Results are handed out in the order in which they were recorded, and while several branches run, one at a time: the next
one when all is quiet again. So a race goes the same way when the run is replayed. When every branch waits, the run
gives up its slot (live.py), and goes on here, if it is still in memory, or from the top.

All of this happens on the event loop. A ``def`` task calls from its thread, and waits for the loop.
"""

from __future__ import annotations

import asyncio
import queue
import random as randomness
import time
import uuid as uuids
import weakref
from bisect import insort
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError as ThreadCanceled
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, cast

from holdfast import codec
from holdfast.annotations import annotations_of
from holdfast.batch import batch_of
from holdfast.codec import AnyCodec, Codec, codec_for
from holdfast.durable import StepOptions, Token, in_step
from holdfast.duration import format_ms
from holdfast.engine import journal as written
from holdfast.engine import read
from holdfast.errors import (
    AbortRun,
    AttemptLost,
    HoldfastError,
    InvalidOption,
    NotDurable,
    NotSerializable,
    RetryAfter,
    StepFailed,
    Suspended,
    TokenUnknown,
    TooLarge,
    WaitTimedOut,
)
from holdfast.ids import new_id
from holdfast.model import Results, Run, RunError
from holdfast.records import Entry, NewEntry, NewRun, NewToken
from holdfast.sizes import check_size, size_of
from holdfast.worker.journal import Asked, Branch, Journal, digest_of
from holdfast.worker.quiet import Wait, quiet, waiting
from holdfast.worker.settle import in_thread, is_async

if TYPE_CHECKING:
    from holdfast.task import Task
    from holdfast.worker.live import Live

DEEPEST: Final = 50
PATIENCE_SECONDS: Final = 0.25  # for a branch that is busy, before the next result is handed out all the same
LOOK_SECONDS: Final = (0.002, 0.5)  # between looks whether every branch waits
LATE_SECONDS: Final = 1.0  # before a time is asked for again
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

PASSED_ON: Final = (
    AbortRun,
    RetryAfter,
    NotDurable,
    NotSerializable,
    TooLarge,
    AttemptLost,
)  # not the step's own failures


class Operations:
    """What the code of one attempt does durably. ``entries`` is what its run has recorded so far."""

    def __init__(self, live: Live, entries: Iterable[Entry]) -> None:
        self.live, self.host = live, live.host
        self.journal = Journal(entries)
        self.pending = sorted((e for e in self.journal.entries.values() if is_settled(e)), key=place)
        self.replaying = bool(self.journal.entries)
        self.waits: dict[str, Wait] = {}  # asked for, and not handed out
        self.root = Branch()
        self.branches: weakref.WeakKeyDictionary[asyncio.Task[Any], Branch] = weakref.WeakKeyDictionary()
        if live.attempt.root is not None:
            self.branches[live.attempt.root] = self.root
        self.inside: dict[asyncio.Task[Any] | None, int] = {}  # tasks that carry out an operation
        self.timers: set[asyncio.TimerHandle] = set()
        self.looking: asyncio.TimerHandle | asyncio.Handle | None = None
        self.busy_since = 0.0
        self.pause = LOOK_SECONDS[0]
        self.dropped = False
        self.numbers = randomness.Random(live.claimed.id)

    # branches

    def born(self, parent: asyncio.Task[Any] | None, task: asyncio.Task[Any]) -> None:
        """A branch has started another one. What a step starts is the step's."""
        branch = self.branches.get(parent) if parent is not None and parent not in self.inside else None
        if branch is not None:
            coroutine = task.get_coro()
            self.branches[task] = branch.start(getattr(coroutine, "__name__", None) or type(coroutine).__name__)
            task.add_done_callback(self.look_again)

    def branch(self) -> Branch:
        """The branch of the code that asks.

        Raises:
            NotDurable: it is none, or the body of a step.
            Suspended: the attempt has left memory.
        """
        if self.dropped:
            raise Suspended
        if (step := in_step.get()) is not None:
            raise NotDurable(
                "A step is plain code: it cannot hold durable operations",
                seen=f"in the step {step}",
                do="Do it after it.",
            )
        if not self.live.task.signature.is_async:
            return self.root
        task = asyncio.current_task()
        branch = self.branches.get(task) if task is not None else None
        if branch is None:
            raise NotDurable(
                "Durable operations belong to the task's own code",
                seen=f"run {self.live.claimed.id}",
                do="Do not use them in hooks, middleware and providers, nor from other threads.",
            )
        return branch

    def knows(self, task: Any) -> bool:
        """Whether this asyncio task is a branch, and not at work in a step."""
        return task in self.branches

    def ask(self, kind: str, name: str, *, key: str | None = None, digest: str | None = None) -> Asked:
        asked = self.journal.ask(self.branch(), kind, name, key, digest)
        if asked.entry is None:
            self.replaying = False
        return asked

    @contextmanager
    def operating(self) -> Iterator[None]:
        """While the caller carries out an operation, nobody takes it for waiting, or for code that may go on."""
        task = asyncio.current_task()
        self.inside[task] = self.inside.get(task, 0) + 1
        try:
            yield
        finally:
            self.inside[task] -= 1
            if not self.inside[task]:
                del self.inside[task]
            self.look_again()

    # handing out

    def tasks(self) -> list[asyncio.Task[Any]]:
        return [task for task in self.branches if not task.done() and task not in self.inside]

    def alone(self) -> bool:
        """Whether there is only one branch, so that nothing can race."""
        return sum(not task.done() for task in self.branches) <= 1 and not self.waits

    async def outcome(self, asked: Asked) -> Entry:
        """The entry of this operation, when it is settled and it is its turn."""
        entry = self.journal.entries[asked.key]
        if is_settled(entry) and self.alone():
            self.strike(entry)
            return entry
        wait = self.waits[asked.key] = Wait(loop=self.host.loop)
        self.set_timer(entry)
        self.look_again()
        try:
            return cast("Entry", await wait)
        finally:
            self.waits.pop(asked.key, None)

    def strike(self, entry: Entry) -> None:
        self.pending = [other for other in self.pending if other.key != entry.key]

    def arrived(self, entries: Iterable[Entry]) -> None:
        """Entries have settled, here or elsewhere."""
        if self.live.suspending:
            self.host.unsuspend(self.live)
        for entry in entries:
            known = self.journal.entries.get(entry.key)
            if known is None or known.settled != entry.settled:
                self.journal.take(entry)
                if is_settled(entry):
                    self.strike(entry)
                    insort(self.pending, entry, key=place)
        self.look_again()

    def look_again(self, _: object = None) -> None:
        """Something has changed: see whether a result can be handed out, or the run can give up its slot."""
        if self.looking is not None:
            self.looking.cancel()
        self.pause = LOOK_SECONDS[0]
        self.looking = self.host.loop.call_soon(self.look, context=self.host.context)

    def look(self) -> None:
        self.looking = None
        if self.dropped or self.live.over or self.live.parked:
            return
        tasks = self.tasks()
        next_one = next((entry for entry in self.pending if entry.key in self.waits), None)
        if next_one is not None:
            self.hand_out(next_one, tasks)
        elif self.waits and not self.inside and waiting(tasks):
            self.live.suspend()
        elif self.waits:
            self.look_later()

    def hand_out(self, entry: Entry, tasks: list[asyncio.Task[Any]]) -> None:
        now = time.monotonic()
        self.busy_since = self.busy_since or now
        if not quiet(tasks) and now - self.busy_since < PATIENCE_SECONDS:
            self.looking = self.host.loop.call_soon(self.look, context=self.host.context)
            return
        self.busy_since = 0.0
        self.strike(entry)
        wait = self.waits.pop(entry.key)
        if not wait.done():
            wait.set_result(entry)
        self.look_again()

    def look_later(self) -> None:
        """A branch is busy with what is not durable."""
        self.pause = min(LOOK_SECONDS[1], self.pause * 2)
        self.looking = self.host.loop.call_later(self.pause, self.look, context=self.host.context)

    def set_timer(self, entry: Entry) -> None:
        """A time that is over while other branches are at work is seen here; the sweep sees those of runs that wait."""
        if entry.due_at is not None and not is_settled(entry):
            self.watch_time(entry.key, max(0.0, (entry.due_at - self.live.now()) / 1000))

    def watch_time(self, key: str, seconds: float) -> None:
        self.timers.add(self.host.loop.call_later(seconds, self.time_over, key, context=self.host.context))

    def time_over(self, key: str) -> None:
        """The database decides whether it is, by its own clock."""
        if key in self.waits and not self.live.parked:
            self.host.overdue(self.live)
            self.watch_time(key, LATE_SECONDS)

    def drop(self, error: BaseException | None = None) -> None:
        """The attempt leaves memory: wherever its code waits, this is raised."""
        self.dropped = error is None or self.dropped
        self.rest()
        for wait in list(self.waits.values()):
            if not wait.done():
                wait.set_exception(Suspended() if error is None else error)

    def rest(self) -> None:
        """Look no more."""
        for handle in (*self.timers, *([self.looking] if self.looking else ())):
            handle.cancel()
        self.timers.clear()
        self.looking = None

    # writing

    def entry(self, asked: Asked, **columns: Any) -> NewEntry:
        claimed = self.live.claimed
        return NewEntry(
            run_id=claimed.id,
            claim=claimed.claim,
            attempt=claimed.attempt,
            key=asked.key,
            seq=asked.seq,
            branch=asked.branch.path,
            kind=asked.kind,
            name=asked.name,
            digest=asked.digest,
            **columns,
        )

    async def write(self, entry: NewEntry) -> written.Written:
        """Write an entry. Returns when it is on disk."""
        with self.operating():
            made = await asyncio.shield(asyncio.wrap_future(self.host.store.gather(written.write, entry)))
            if made.news:
                await self.live.hear()
        self.arrived([made.entry])
        return cast("written.Written", made)

    # steps

    def astep(self, fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Coroutine[Any, Any, Any]:
        asked = self.ask("step", options.name, key=options.key, digest=digest_of(args))
        return self.carry_step(asked, partial(called, fn, args, options), options, output_codec(fn))

    def step(self, fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Any:
        asked = self.ask("step", options.name, key=options.key, digest=digest_of(args))
        return self.blocking(self.carry_step(asked, None, options, output_codec(fn)), partial(fn, *args))

    async def carry_step(
        self, asked: Asked, call: Callable[[], Any] | None, options: StepOptions, output: Codec[Any]
    ) -> Any:
        entry, tries = asked.entry, asked.entry.tries if asked.entry else 0
        while True:
            if entry is not None:
                entry = await self.outcome(asked)
                if entry.state == "done":
                    return output.load(entry.result or "null")
                if entry.state == "failed":
                    self.journal.fail(asked)
                    raise step_failed(options.name, entry)
            tries += 1
            began = time.monotonic()
            new = await self.tried(asked, call or self.thread_call, options, output, tries)
            new.took_ms = round((time.monotonic() - began) * 1000)
            entry = (await self.write(new)).entry

    async def tried(
        self, asked: Asked, call: Callable[[], Any], options: StepOptions, output: Codec[Any], tries: int
    ) -> NewEntry:
        """One try: the entry to be written about it."""
        token = in_step.set(options.name)
        try:
            with self.operating():
                value = await call()
            text = output.dump(value)
            check_size(size_of(text), self.host.home.output_limit, what="What the step returned", limit="its limit")
            return self.entry(asked, result=text, tries=tries)
        except PASSED_ON:
            raise
        except Exception as error:
            wants = tries < options.retry.max_attempts and options.retry.wants(error)
            delay = options.retry.delay_ms(tries, randomness.random) if wants else None
            state = "failed" if delay is None else "open"
            return self.entry(asked, state=state, tries=tries, delay_ms=delay, error=self.described(error))
        finally:
            in_step.reset(token)

    def described(self, error: BaseException) -> str:
        stored = codec.decode(RunError.of(error).text())
        stored["kinds"] = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__[:-1]]
        return self.live.lines.hushed_json(codec.encode(stored))

    # waits

    def asleep(self, delay_ms: int | None, until_ms: int | None) -> Coroutine[Any, Any, None]:
        asked = self.ask("sleep", "sleep")
        return self.carry_sleep(asked, delay_ms, until_ms)

    def sleep(self, delay_ms: int | None, until_ms: int | None) -> None:
        self.blocking(self.asleep(delay_ms, until_ms))

    async def carry_sleep(self, asked: Asked, delay_ms: int | None, until_ms: int | None) -> None:
        if asked.entry is None:
            await self.write(self.entry(asked, state="open", delay_ms=delay_ms, due_at=until_ms))
        await self.outcome(asked)

    def atoken(self, type: Any, timeout_ms: int | None) -> Coroutine[Any, Any, Token[Any]]:
        return self.carry_token(self.ask("token", "token"), type, timeout_ms)

    def token(self, type: Any, timeout_ms: int | None) -> Token[Any]:
        return cast("Token[Any]", self.blocking(self.atoken(type, timeout_ms)))

    async def carry_token(self, asked: Asked, type: Any, timeout_ms: int | None) -> Token[Any]:
        value = codec_for(type, role="value of the token")
        if asked.entry is None:
            schema = value.schema()
            text = None if schema is None else codec.encode(schema)
            token = NewToken(id=new_id(), timeout_ms=timeout_ms, schema=text)
            await self.write(self.entry(asked, target=token.id, token=token))
        entry = await self.outcome(asked)
        return Token(entry.target or "", self.live.attempt.home.token_url(entry.target or ""), value)

    def await_for(self, token: Token[Any]) -> Coroutine[Any, Any, Any]:
        return self.carry_wait(self.ask("wait", "wait", digest=token.id), token)

    def wait_for(self, token: Token[Any]) -> Any:
        return self.blocking(self.await_for(token))

    async def carry_wait(self, asked: Asked, token: Token[Any]) -> Any:
        if asked.entry is None:
            await self.write(self.entry(asked, state="open", target=token.id))
        entry = await self.outcome(asked)
        if entry.state == "expired":
            raise WaitTimedOut("Nobody has completed the token in time", seen=token.id, do="Catch it, and decide.")
        if entry.state == "failed":
            raise TokenUnknown("There is no such token", seen=token.id, do="Wait for one that ctx.token() has made.")
        return token.codec.load(entry.result or "null")

    # children

    def achild(self, task: Task[Any, Any], payload: Any, options: Any) -> Coroutine[Any, Any, Any]:
        asked = self.ask("child", task.id)
        return self.carry_child(asked, task, payload, options)

    def child(self, task: Task[Any, Any], payload: Any, options: Any) -> Any:
        return self.blocking(self.achild(task, payload, options))

    async def carry_child(self, asked: Asked, task: Task[Any, Any], payload: Any, options: Any) -> Any:
        if asked.entry is None:
            await self.make_children(asked, [await task._child_run(self.live.attempt.home, payload, options)])
        (record,) = await self.ended(asked)
        try:
            return Run[Any](record, task.output_codec, partial(self.host.logs, record.id)).output
        except HoldfastError:
            self.journal.fail(asked)
            raise

    def achildren(self, entries: Iterable[Any], task: Task[Any, Any] | None) -> Coroutine[Any, Any, Results[Any]]:
        asked = self.ask("children", task.id if task is not None else "batch")
        return self.carry_children(asked, entries, task)

    def children(self, entries: Iterable[Any], task: Task[Any, Any] | None) -> Results[Any]:
        return cast("Results[Any]", self.blocking(self.achildren(entries, task)))

    async def carry_children(self, asked: Asked, entries: Iterable[Any], task: Task[Any, Any] | None) -> Results[Any]:
        batch = batch_of(entries, self.live.attempt.home, None if task is None else task.item)
        if asked.entry is None:
            await self.make_children(asked, batch.runs)
        records = await self.ended(asked)
        if len(records) != len(batch.outputs):
            raise InvalidOption(
                "A replay asks for another number of children",
                seen=f"{len(batch.outputs)}, and {len(records)} are recorded",
                do="Make the list in a step, so that it is the same again.",
            )
        return Results(
            Run[Any](record, output, partial(self.host.logs, record.id))
            for record, output in zip(records, batch.outputs, strict=True)
        )

    async def make_children(self, asked: Asked, runs: list[NewRun]) -> None:
        """Make the runs that this operation waits for."""
        claimed = self.live.claimed
        if claimed.depth + 1 > DEEPEST:
            raise InvalidOption(
                f"Runs are nested more than {DEEPEST} deep",
                seen=f"run {claimed.id} of {claimed.task} triggers {runs[0].task}",
                do="Look for a task that triggers itself without end.",
            )
        for run in runs:
            run.parent_key, run.parent_claim, run.depth = asked.key, None, claimed.depth + 1
        with self.operating():
            await self.live.attempt.home.aprepare(runs)
        state = "open" if runs else "done"
        ids = codec.encode([run.id for run in runs])
        await self.write(self.entry(asked, state=state, remaining=len(runs), result=ids, runs=runs))

    async def ended(self, asked: Asked) -> list[Any]:
        """The records of the runs that this operation has waited for."""
        entry = await self.outcome(asked)
        ids = cast("list[str]", codec.decode(entry.result or "[]"))
        with self.operating():
            return await self.host.store.read(read.runs, ids) if ids else []

    # what is triggered and not waited for

    def recorded(self, runs: list[NewRun], name: str) -> tuple[Asked, NewEntry | None]:
        """The entry for runs that are triggered here; none where they are recorded already."""
        asked = self.ask("trigger", name)
        if asked.entry is not None:
            self.strike(asked.entry)
            return asked, None
        for run in runs:
            run.depth, run.parent_claim = self.live.claimed.depth + 1, None
        if self.live.claimed.depth + 1 > DEEPEST:
            raise InvalidOption(
                f"Runs are nested more than {DEEPEST} deep",
                seen=f"run {self.live.claimed.id} of {self.live.claimed.task} triggers {name}",
                do="Look for a task that triggers itself without end.",
            )
        made = codec.encode([[run.id, True] for run in runs])
        return asked, self.entry(asked, result=made, runs=runs)

    def keep(self, made: written.Written) -> Entry:
        """What was written without waiting for the loop."""
        self.journal.take(made.entry)
        return made.entry

    # facts

    def anow(self) -> Coroutine[Any, Any, datetime]:
        return self.carry_now(self.ask("value", "now"))

    def now(self) -> datetime:
        return cast("datetime", self.blocking(self.anow()))

    async def carry_now(self, asked: Asked) -> datetime:
        if asked.entry is None:
            await self.write(self.entry(asked, result=str(self.live.now())))
        entry = await self.outcome(asked)
        return _EPOCH + timedelta(milliseconds=int(entry.result or 0))

    def random(self) -> float:
        number: float = self.number("random").random()
        return number

    def uuid(self) -> uuids.UUID:
        return uuids.UUID(int=self.number("uuid").getrandbits(128), version=4)

    def number(self, name: str) -> randomness.Random:
        """A source of numbers for this place of the code: the same in every replay, so nothing need be written."""
        return randomness.Random(f"{self.live.claimed.id} {self.branch().next_key(name)}")

    # from a thread

    def blocking(self, operation: Coroutine[Any, Any, Any], call: Callable[[], Any] | None = None) -> Any:
        """Carry out an operation of a ``def`` task, whose thread waits for it here, or calls what it is to call."""
        calls: Calls = Calls(call)
        self.thread_call = calls.from_loop
        future = asyncio.run_coroutine_threadsafe(operation, self.host.loop)
        future.add_done_callback(lambda _: calls.end())
        calls.serve()
        try:
            return future.result()
        except ThreadCanceled:
            raise asyncio.CancelledError from None


class Calls:
    """Lets an operation on the loop have something called in the thread that waits for it."""

    def __init__(self, call: Callable[[], Any] | None) -> None:
        self.call = call
        self.orders: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]] | None]
        self.orders = queue.SimpleQueue()

    async def from_loop(self) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self.orders.put((loop, answer))
        value, error = await answer
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        self.orders.put(None)

    def serve(self) -> None:
        while (order := self.orders.get()) is not None:
            loop, answer = order
            came: tuple[Any, BaseException | None]
            token = in_step.set("step")
            try:
                came = self.call() if self.call is not None else None, None
            except BaseException as error:
                came = None, error
            finally:
                in_step.reset(token)
            loop.call_soon_threadsafe(answered, answer, came)


def answered(answer: asyncio.Future[Any], came: object) -> None:
    if not answer.done():
        answer.set_result(came)


async def called(fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Any:
    """Call the function of a step: an ``async def`` here, a ``def`` in a thread."""
    limit = asyncio.timeout(None if options.timeout_ms is None else options.timeout_ms / 1000)
    try:
        async with limit:
            return await (fn(*args) if is_coroutine_function(fn) else in_thread(fn, *args))
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TimeoutError(f"it took longer than its timeout ({format_ms(options.timeout_ms or 0)})") from error


@lru_cache(maxsize=10_000)
def output_codec(fn: Callable[..., Any]) -> Codec[Any]:
    """The codec of what a step returns, by its annotation."""
    try:
        annotation = annotations_of(getattr(fn, "func", fn)).get("return", Any)
    except Exception:
        return AnyCodec()
    return codec_for(annotation, role="output of the step")


def is_coroutine_function(fn: Any) -> bool:
    while hasattr(fn, "func"):
        fn = fn.func
    return is_async(fn)


def step_failed(name: str, entry: Entry) -> StepFailed:
    stored = cast("dict[str, Any]", codec.decode(entry.error or "{}"))
    error = RunError(stored.get("type", "Error"), stored.get("message", ""), stored.get("traceback", ""))
    return StepFailed(name, error, stored.get("kinds", ()))


def is_settled(entry: Entry) -> bool:
    return entry.state != "open"


def place(entry: Entry) -> tuple[int, int, str, int]:
    """Where an entry stands in the order in which entries were settled."""
    return entry.settled or 0, entry.due_at or 0, entry.branch, entry.seq
