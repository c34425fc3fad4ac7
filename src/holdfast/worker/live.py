"""One attempt: from the claimed record to its outcome.

    decode the payload → make the context → call the function, on the loop or in a thread → encode the output

Everything that can go wrong becomes an outcome of this run; nothing that a task does reaches the worker. An interrupt
has a reason, which is noted before the exception is raised in the code: whatever the code makes of it, the outcome is
decided by the reason.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from msgspec import structs

from holdfast.context import AsyncContext, Attempt, Context, running
from holdfast.engine import journal, telling
from holdfast.errors import AttemptLost, HoldfastError
from holdfast.model import Usage
from holdfast.records import Again, Chunk, Claimed, Entry, LogLine, Note, Suspension, Tidings
from holdfast.sizes import LONGEST, check_size, size_of
from holdfast.task import Governing, Task
from holdfast.telling import Stirs
from holdfast.worker import outcome as outcomes
from holdfast.worker.capture import Lines, listening
from holdfast.worker.coming import Coming
from holdfast.worker.durable import Operations
from holdfast.worker.outcome import Outcome, Reason, Verdict

log = logging.getLogger("holdfast")

Told = TypeVar("Told", Note, Chunk)


class Host(Protocol):
    """What an attempt needs of the worker that carries it."""

    home: Any
    store: Any
    scope: Any
    outbox: Any
    loop: asyncio.AbstractEventLoop
    context: contextvars.Context
    threads: Executor
    lines: deque[LogLine]
    settings: Any
    recorded: dict[str, list[Entry]]
    coming: Coming

    @property
    def reports(self) -> Stirs: ...

    def done(self, live: Live, outcome: Outcome | None, /) -> None:
        """Called once, on the loop: the attempt is over, and this is what it has to say."""

    def interrupt(self, run_id: str, number: int, reason: Reason, /) -> None:
        """Stop an attempt, for this reason, if it is held here under this claim."""

    def stop_thread(self) -> bool:
        """Raise in the code of a ``def`` task, where that can be done: in a process of its own."""
        ...

    def used(self) -> Usage | None:
        """What the process of an attempt has used, if it is its own."""

    def freed(self) -> None:
        """The thread of an attempt that was over before it returned has returned."""

    def suspend(self, live: Live, /) -> None:
        """Every branch of the attempt waits: its run may give up its slot."""

    def unsuspend(self, live: Live, /) -> None:
        """Something has come before it did."""

    def unwind(self, live: Live, /) -> None:
        """It is not kept in memory any longer."""

    def trust(self, live: Live, /) -> None:
        """It has recorded something new: it is no suspect."""

    def overdue(self, live: Live, /) -> None:
        """A time that a branch of it waits for seems to be over."""

    def logs(self, run_id: str, /) -> Sequence[LogLine]: ...

    async def payload(self, run_id: str, /) -> str | None: ...


class Live:
    """An attempt in this process."""

    kept = True  # a run that waits stays in memory for a while

    __slots__ = (
        "attempt",
        "begun",
        "canceling",
        "claimed",
        "entries",
        "governing",
        "host",
        "in_thread",
        "lines",
        "over",
        "overtime",
        "parked",
        "payload_size",
        "reason",
        "spoilt",
        "started",
        "suspending",
        "task",
        "timer",
        "work",
    )

    def __init__(self, claimed: Claimed, task: Task[Any, Any], host: Host) -> None:
        self.claimed, self.task, self.host = claimed, task, host
        self.attempt = Attempt(claimed, host.home.verbs, host.reports, self.open_durable, self)
        self.entries: Sequence[Entry] = host.recorded.get(claimed.id, ())
        self.lines = Lines(claimed, host.lines.append)
        self.lines.replayed = bool(self.entries)
        self.started = time.monotonic()
        self.governing: Governing = task.governing(claimed.options)
        self.work: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.reason: Reason | None = None
        self.over = self.begun = self.in_thread = False
        self.suspending = self.parked = False  # asked to give up its slot; it has, and its code is in memory
        self.overtime = False  # its time was over while its wish to give up its slot was on its way
        self.canceling = claimed.canceling
        self.payload_size = 0
        self.spoilt = False  # its metadata has something that cannot be kept, and that was said

    # transitions

    def start(self) -> None:
        """Begin; the time limit counts from here.

        In the worker's own context: what starts this one may be another attempt that has just ended, and what that
        one's code has put into context variables is nobody else's business.
        """
        host = self.host
        self.started = time.monotonic()
        if self.parked:
            self.resume()
            return
        # Not by the loop's factory, which would take it for a task of the one that has just ended.
        self.work = asyncio.Task(self.carry(), loop=host.loop, name=self.claimed.task, context=host.context.copy())
        self.limit()

    def limit(self) -> None:
        """The time that it waits does not count."""
        if self.governing.max_duration_ms is not None:
            self.later(self.governing.max_duration_ms / 1000, self.time_over)

    def time_over(self) -> None:
        """It has had its time. One that is about to give up its slot only waits: if it keeps it, it hears of that."""
        if self.suspending:
            self.overtime = True
        else:
            self.interrupt("timed_out")

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do this unless the attempt is over by then. It takes the place of what was to be done later so far."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.host.loop.call_later(seconds, act, context=self.host.context)

    def interrupt(self, reason: Reason) -> None:
        """Stop it from outside, for this reason; the first reason counts, but for a loss, which always does."""
        if self.over or (self.reason is not None and reason != "lost"):
            return
        self.reason = reason
        self.lines.replayed = False  # how code takes it that it is stopped is new, also where all before was written
        if self.in_thread:
            self.interrupt_thread(reason)
        elif self.work is not None:
            self.work.cancel()
            if self.begun:
                self.later(self.host.settings.grace_seconds, self.abandon)
            else:  # it is canceled before its first step, so that nothing of it will ever run
                self.abandon()

    def interrupt_thread(self, reason: Reason) -> None:
        """A thread can be interrupted where it waits for something durable, and nowhere else."""
        durable = self.operations()
        if durable is not None and durable.turns.waits:
            durable.turns.interrupt(asyncio.CancelledError)
        elif not self.host.stop_thread():
            self.warn(reason)

    def warn(self, reason: Reason) -> None:
        text = f"it is to stop ({reason}), but a def task cannot be interrupted: it keeps its slot until it returns"
        log.warning("run %s of task %s: %s", self.claimed.id, self.claimed.task, text)
        self.lines.add("WARNING", "holdfast", text)

    def catching_up(self) -> bool:
        """Whether it was canceled while it waited, and has not come as far as it was: its code hears of it there."""
        if not self.canceling or self.over:
            return False
        durable = self.operations()
        waits = self.work is None or self.parked or durable is None or not durable.fresh
        return waits and self.age() < self.host.settings.grace_seconds

    def outlived(self) -> bool:
        """Whether it has run for longer than in its last life."""
        return self.age() * 1000 > self.claimed.lived_ms

    def age(self) -> float:
        """Seconds since it was claimed; since it was started, if it was."""
        return time.monotonic() - self.started

    def abandon(self) -> None:
        """Its grace is over: report it as it was meant to end; what its code still does changes nothing."""
        if not self.over:
            self.end(outcomes.interrupted(self.claimed, self.reason or "returned", self.governing))

    def end(self, outcome: Outcome | None) -> None:
        if self.over:
            return
        self.over = True
        if self.timer is not None:
            self.timer.cancel()
        self.lines.close()
        if (durable := self.operations()) is not None:
            durable.turns.rest()
            if isinstance(outcome, Again) and outcome.counts:
                outcome.forget = durable.journal.to_forget()
        if outcome is not None:
            outcome.woke = self.woke()
        if outcome is not None and self.attempt.told_by is not None:
            outcome.tidings = self.tidings()
        self.host.done(self, outcome)

    def woke(self) -> bool:
        """Whether its code has gone on by itself, and its run has given up its slot, or may have."""
        return self.reason is None and (self.suspending or self.parked)

    def stray(self) -> None:
        """Its code has asked for something durable, and its run has no slot: it leaves memory."""
        log.warning(
            "run %s of task %s: something other than a time limit of asyncio has ended its wait, and its code has gone "
            "on without its run, which still waits. It leaves memory, and begins anew when what it waits for has come. "
            "Use asyncio.timeout, or the timeout of a token.",
            self.claimed.id,
            self.claimed.task,
        )

    # what it does durably

    def open_durable(self) -> Operations:
        return Operations(self, self.entries)

    @property
    def goes_on(self) -> bool:
        """Whether the run has recorded something, so that this is no new beginning."""
        return bool(self.entries)

    def repeats(self) -> bool:
        """Whether the code that runs here has run before, and told then what it tells."""
        return bool(self.entries) and self.reason is None and self.attempt.durable.repeats()

    def usage(self) -> Usage:
        """What it has used until now."""
        used = self.host.used()
        return used or Usage(None, self.age(), None)

    def operations(self) -> Operations | None:
        return cast("Operations | None", self.attempt.opened)

    def now(self) -> int:
        """The database's time, in milliseconds, as far as can be told from here."""
        return self.claimed.started_at + round((time.monotonic() - self.started) * 1000)

    def suspend(self) -> None:
        """Every branch waits. One that is to be canceled hears of it now: it has come as far as it was."""
        if self.over or self.suspending or self.parked:
            return
        if self.reason is not None:  # it is to end, and waits again: a thread that was not waiting then hears of it now
            if self.in_thread:
                self.interrupt_thread(self.reason)
        elif self.canceling:
            self.interrupt("canceled")
        else:
            self.suspending = True
            self.host.suspend(self)

    def stay(self) -> None:
        """It keeps its slot after all."""
        self.suspending = False
        if self.overtime:
            self.interrupt("timed_out")

    def suspension(self, keeper: str | None) -> Suspension:
        """Its wish to give up its slot."""
        durable = self.operations()
        seen = durable.journal.seen if durable is not None else 0
        return Suspension(self.claimed.id, self.claimed.claim, seen, self.tidings(), keeper)

    def park(self) -> None:
        """It has given up its slot; its code stays in memory for a while."""
        self.parked, self.suspending, self.overtime = True, False, False
        if self.timer is not None:
            self.timer.cancel()
        if (durable := self.operations()) is not None:
            durable.turns.rest()

    def size(self) -> int:
        """What is known of it in memory, in characters of JSON: its payload, and what it has recorded."""
        durable = self.operations()
        return self.payload_size + (durable.journal.size if durable is not None else 0)

    def rebind(self, claimed: Claimed, entries: Sequence[Entry]) -> None:
        """Its run was claimed again, and its code is still here."""
        if self.timer is not None:
            self.timer.cancel()
        self.claimed, self.entries, self.canceling = claimed, entries, claimed.canceling
        self.attempt.claimed = self.lines.writer = claimed
        if self.attempt.told_by is not None:
            self.attempt.told_by.rebind(claimed)

    def resume(self) -> None:
        self.parked = False
        self.limit()
        self.go_on()

    def go_on(self) -> None:
        if self.canceling:  # its code is where it was when it was canceled
            self.interrupt("canceled")
        elif (durable := self.operations()) is not None:
            durable.go_on(self.entries)

    def unwind(self) -> None:
        """Leave memory: what the code still does changes nothing."""
        self.reason = "suspended"
        if (durable := self.operations()) is not None:
            durable.turns.drop()

    async def hear(self) -> None:
        """Read what has settled since."""
        found, canceled = await self.host.store.read(journal.news, self.looks())
        await self.hear_of_children()
        for run_id, number in canceled:
            self.host.interrupt(run_id, number, "canceled")
        self.heard(found)

    def looks(self) -> list[journal.Look]:
        """What to read of its journal: nothing where it has none."""
        if (durable := self.operations()) is not None:
            return [journal.Look(self.claimed.id, durable.journal.seen)]
        return [journal.Look(self.claimed.id, 0)] if self.entries else []

    def heard(self, found: Mapping[str, Sequence[Entry]]) -> None:
        """This is all that has settled since."""
        entries = found.get(self.claimed.id, ())
        if (durable := self.operations()) is not None:
            durable.heard(entries)
        elif entries:  # its code has not come to its journal yet
            self.entries = entries

    async def hear_of_children(self) -> None:
        """A child that has ended may have written to its metadata."""
        if self.attempt.told_by is not None:
            self.attempt.told_by.hear(await self.host.store.read(telling.metadata, self.claimed.id))

    # what it tells

    @property
    def fence(self) -> tuple[str, int]:
        return self.claimed.id, self.claimed.claim

    def notes(self, *, all: bool = False) -> list[Note]:
        """The operations on metadata that are not known to be written, without the secrets of the payload."""
        teller = self.attempt.told_by
        if teller is None:
            return []
        try:
            notes = teller.notes(all=all)
        except Exception as error:
            self.spoil(error)
            notes = teller.notes()
        return [hushed(note, self.lines) for note in notes]

    def tidings(self) -> Tidings | None:
        """All that is not known to be written; None if that is nothing."""
        notes, chunks = self.notes(all=True), self.chunks()
        return Tidings(notes, chunks) if notes or chunks else None

    def chunks(self, n: int | None = None) -> list[Chunk]:
        """The same of the pieces of streams; at most ``n`` of them."""
        teller = self.attempt.told_by
        return [] if teller is None else [hushed(chunk, self.lines) for chunk in teller.chunks(n)]

    def written(self, tidings: Tidings) -> None:
        if self.attempt.told_by is not None:
            self.attempt.told_by.written(tidings)

    def spoil(self, error: Exception) -> None:
        if not self.spoilt:
            self.spoilt = True
            self.lines.add("WARNING", "holdfast", f"The metadata is not kept: {said(error)}")

    # the work

    async def carry(self) -> None:
        self.begun = True
        running.set(self.attempt)
        listening.set(self.lines)
        try:
            outcome = await self.outcome()
        except GeneratorExit:  # the loop is closed: this process ends
            raise
        except BaseException as error:  # not the task's doing: whatever it is, the run ends and says so
            log.exception("run %s of task %s could not be carried out", self.claimed.id, self.claimed.task)
            outcome = self.failure(f"The run could not be carried out: {said(error)}")
        self.end(outcome)
        self.attempt.let_go()

    async def outcome(self) -> Outcome | None:
        try:
            text = self.claimed.payload
            text = await self.payload_text() if text is None else text
            self.payload_size = len(text)
            payload = self.loaded(text)
            signature = self.task.signature
            if signature.is_async:  # here and not in a function: this runs for every run there is
                self.attempt.root = self.work
                return self.returned(await signature.call(payload, AsyncContext(self.attempt)))
            output = await self.call_in_thread(payload)
            return self.raised(output.error) if isinstance(output, Raised) else self.returned(output)
        except BaseException as error:
            return self.raised(error)

    def returned(self, output: Any) -> Outcome | None:
        if self.reason == "suspended":
            self.warn_of_swallowing()
        if self.reason in ("timed_out", "lost", "suspended"):
            return outcomes.interrupted(self.claimed, self.reason, self.governing)
        return self.strayed() or outcomes.completed(self.claimed, self.encoded(output))

    def warn_of_swallowing(self) -> None:
        log.warning(
            "run %s of task %s: its code has caught Suspended and returned. What it returned is discarded; the run "
            "goes on when what it waits for has come. Catch Exception, not BaseException.",
            self.claimed.id,
            self.claimed.task,
        )

    def raised(self, error: BaseException, verdict: Verdict = None) -> Outcome | None:
        """What an exception means, whoever raised it: Holdfast, the code, or somebody who stopped it."""
        outcome = self.meaning(error, verdict)
        if outcome is not None and outcome.error is not None:
            outcome.error = self.lines.hushed_json(outcome.error)
        return outcome

    def meaning(self, error: BaseException, verdict: Verdict) -> Outcome | None:
        if isinstance(error, Unreadable):
            return self.failure(str(error))
        if isinstance(error, Misfit):
            return outcomes.refused(self.claimed, error.error)
        if self.reason is None and (strayed := self.strayed()) is not None:
            return strayed
        if self.reason is not None:
            return outcomes.interrupted(self.claimed, self.reason, self.governing)
        if isinstance(error, AttemptLost) and self.woke():
            self.stray()
            return None
        if not isinstance(error, asyncio.CancelledError):  # else the code canceled itself
            self.lines.add("ERROR", "holdfast", f"Attempt {self.claimed.attempt} failed: {said(error)}")
        return outcomes.failed(self.claimed, error, self.governing, verdict)

    def strayed(self) -> Outcome | None:
        """Its code has asked for something else than was recorded: so it ends, whatever the code has made of that."""
        durable = self.operations()
        return None if durable is None or durable.mismatch is None else self.failure(str(durable.mismatch))

    def failure(self, message: str) -> Outcome:
        return outcomes.system_failure(self.claimed.id, self.claimed.claim, message)

    async def call_in_thread(self, payload: Any) -> Any:
        inside = contextvars.copy_context()
        came: list[Any] = []  # and not what the thread returns: an error has the frames that would keep it
        self.in_thread = True
        try:
            await self.host.loop.run_in_executor(
                self.host.threads, lambda: came.append(inside.run(self.call_here, payload))
            )
            return came.pop()
        finally:
            self.left_thread()

    def call_here(self, payload: Any) -> Any:
        self.attempt.in_thread = True
        try:
            return self.task.signature.call(payload, Context(self.attempt))
        except BaseException as error:
            return Raised(error)

    def left_thread(self) -> None:
        self.in_thread = False
        if self.over and not self.parked:
            self.host.freed()

    async def payload_text(self) -> str:
        """The payload as JSON text."""
        text = self.claimed.payload
        if text is None:
            text = await self.host.payload(self.claimed.id)
        if text is None:
            raise Unreadable("The payload of this run is not in the database any more, so it cannot be carried out.")
        return text

    def loaded(self, text: str) -> Any:
        """The payload as the task gets it. Raises Misfit if it does not fit."""
        try:
            self.lines.hush(self.task.secrets(text))
            return self.task.load(text)
        except HoldfastError as error:
            raise Misfit(error) from None

    def encoded(self, output: Any) -> str:
        """What the code returned as JSON text. Raises Misfit if it cannot be kept."""
        try:
            text = self.task.output_codec.dump(output)
            limit = self.host.home.output_limit
            if len(text) * LONGEST > limit:
                check_size(size_of(text), limit, what="The output of the run", limit="the limit for outputs")
        except HoldfastError as error:
            raise Misfit(error) from None
        return text


class Raised(NamedTuple):
    """What a function raised in a thread. It comes back as a value, for some exceptions cannot pass through a future:
    StopIteration is refused by it, and GeneratorExit closes the coroutine that waits for it."""

    error: BaseException


class Misfit(Exception):
    """The payload does not fit the task, or its output cannot be kept: another attempt cannot mend that."""

    def __init__(self, error: HoldfastError) -> None:
        super().__init__(str(error))
        self.error = error


class Unreadable(Exception):
    """What is stored of the run cannot be read."""


def hushed(told: Told, lines: Lines) -> Told:
    """The same without what must not be told."""
    return told if lines.scrubber is None else structs.replace(told, value=lines.hushed_json(told.value))


def said(error: BaseException) -> str:
    """The class and text of an exception, whatever it does when it is asked for its text."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return type(error).__name__
