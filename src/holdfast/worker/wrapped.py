"""One attempt that has something around it: hooks, middleware, providers.

    inside    payload → init → on_start → on_attempt_start → middleware( providers( the task ) ) → output as JSON
    outcome   … and when that is over: catch_error decides → on_success, on_error, on_failure, … → cleanup → report

`inside` is what counts as the attempt: its errors are the attempt's, max_duration covers it, and an interrupt is raised
in it. What comes after has a time limit for each hook, and changes the outcome no more. So the two are asyncio tasks of
their own, and code that does not let itself be interrupted keeps `inside`, but not the report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from holdfast.engine import read
from holdfast.errors import PayloadInvalid
from holdfast.events import Unfit
from holdfast.model import Run, RunError
from holdfast.records import Again, Claimed, Ended, Entry
from holdfast.task import Task
from holdfast.worker import outcome as outcomes
from holdfast.worker.around import Around
from holdfast.worker.hooks import Caller, Wrapping
from holdfast.worker.live import Host, Live, Misfit, Unreadable
from holdfast.worker.outcome import Outcome, Reason
from holdfast.worker.settle import Settled, came_of, settle
from holdfast.worker.told import Told, record_of, tell_end

NOT_LOADED: Final = object()


class Finished(NamedTuple):
    """What the task returned, and the same as JSON text."""

    output: Any
    text: str


class Wrapped(Live):
    """An attempt in this process, with what is wrapped around it."""

    __slots__ = (
        "around",
        "caller",
        "decided",
        "given_up",
        "inner",
        "payload",
        "settled",
        "state",
        "telling",
        "text",
        "wrapping",
    )

    def __init__(self, claimed: Claimed, task: Task[Any, Any], host: Host, wrapping: Wrapping) -> None:
        super().__init__(claimed, task, host)
        self.wrapping = wrapping
        self.caller = Caller(wrapping, self.lines, host.settings.hook_seconds)
        self.given_up: asyncio.Future[None] = host.loop.create_future()
        self.inner: asyncio.Task[Settled] | None = None
        self.around: Around | None = None  # there is one when it gets as far as init
        self.text = "null"
        self.payload: Any = NOT_LOADED
        self.state: dict[str, Any] = {}
        self.settled = False  # the attempt itself is over; what remains are hooks
        self.decided: Outcome | None = None
        self.telling: asyncio.Task[None] | None = None  # hooks hear that it waits

    # transitions

    def interrupt(self, reason: Reason) -> None:
        if self.over:
            return
        if self.settled:
            self.hurry(reason)
        elif self.reason is None or reason == "lost":
            self.reason = reason
            if self.in_thread:
                self.interrupt_thread(reason)
            elif self.inner is not None:
                self.inner.cancel()
                self.later(self.host.settings.grace_seconds, self.abandon)

    def park(self) -> None:
        """Its hooks hear that it waits; it does not leave memory before they have."""
        super().park()
        if self.wrapping.of("on_wait"):
            self.telling = self.tell_soon("on_wait", "waiting")

    def rebind(self, claimed: Claimed, entries: Sequence[Entry]) -> None:
        """What its hooks have written since it waits goes with the new claim: the old one holds nothing any more."""
        super().rebind(claimed, entries)
        if self.telling is not None:
            for line in self.host.lines:
                if line.run_id == claimed.id:
                    line.claim = claimed.claim

    def unwind(self) -> None:
        if self.telling is not None and not self.telling.done():
            self.telling.add_done_callback(lambda _: super(Wrapped, self).unwind())
        else:
            super().unwind()

    def go_on(self) -> None:
        """Its hooks hear that it goes on, before its code does."""
        if self.wrapping.of("on_resume"):
            self.tell_soon("on_resume", "executing").add_done_callback(lambda _: super(Wrapped, self).go_on())
        else:
            super().go_on()

    def tell_soon(self, kind: str, status: str) -> asyncio.Task[None]:
        told = self.caller.tell(kind, self.told(None, status).event())
        return self.host.loop.create_task(told, context=self.caller.context, name=kind)

    def hurry(self, reason: Reason) -> None:
        """How it ends is settled, only its hooks are at work: a cancel comes too late, the worker's end does not."""
        if reason in ("returned", "lost"):
            self.reason = reason if reason == "lost" else self.reason
            self.caller.hurry()

    def abandon(self) -> None:
        """Its grace is over. The hooks for its end are called all the same, but for a worker that must end."""
        if self.over:
            return
        if self.work is None and self.reason == "canceled":  # the sweep ends it, and its hooks are called then
            self.reason = "returned"
        if self.work is None or self.reason == "lost":
            super().abandon()
        elif self.settled:
            self.cut_short()
        else:
            self.give_up()

    def cut_short(self) -> None:
        if self.caller.hurried and self.decided is not None:
            self.end(self.decided)

    def give_up(self) -> None:
        if not self.given_up.done():
            self.given_up.set_result(None)
        if self.reason in ("returned", None):
            super().abandon()

    # the work

    async def outcome(self) -> Outcome | None:
        try:
            return await self.conducted()
        except asyncio.CancelledError:  # the loop ends, and the worker with it
            return outcomes.interrupted(self.claimed, self.reason or "returned", self.governing)

    async def conducted(self) -> Outcome | None:
        self.caller.share_context()
        came = await self.came()
        self.settled = True
        if self.timer is not None:
            self.timer.cancel()
        if self.payload is NOT_LOADED:  # it was interrupted before it had one
            await settle(self.load)
        self.decided = await self.decide(came)
        await self.tell(self.decided, came)
        return None if self.reason == "lost" else self.decided

    async def came(self) -> Settled | None:
        """What came of the attempt itself; None if it was given up."""
        if self.reason is not None:  # interrupted before it began
            return Settled(None, asyncio.CancelledError())
        self.inner = self.host.loop.create_task(
            settle(self.inside), context=self.caller.context, name=self.claimed.task
        )
        either: list[asyncio.Future[Any]] = [self.inner, self.given_up]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return came_of(self.inner) if self.inner.done() else None

    async def inside(self) -> Finished:
        """What counts as the attempt."""
        await self.load()
        event = self.told(None).event()
        self.around = Around(self, self.wrapping, self.payload, event)
        await self.caller.enter("init", event)
        if self.claimed.attempt == 1 and not self.entries:
            await self.caller.enter("on_start", event)
        if not self.entries:
            await self.caller.enter("on_attempt_start", event)
        else:  # it goes on where it was
            await self.caller.tell("on_resume", event)
        output = await self.around.carry()
        return Finished(output, self.encoded(output))

    async def load(self) -> None:
        try:
            self.text = await self.payload_text()
            self.payload = self.loaded(self.text)
        except Misfit as misfit:
            self.payload = Unfit(misfit.error)
            raise
        except Unreadable as unreadable:
            self.payload = Unfit(PayloadInvalid(str(unreadable), do="See the database's own log."))
            raise

    async def decide(self, came: Settled | None) -> Outcome | None:
        """How it ends; an error that is nobody's interrupt is shown to ``catch_error`` first."""
        if came is None or (came.error is None and self.reason in ("timed_out", "lost", "suspended")):
            return outcomes.interrupted(self.claimed, self.reason or "returned", self.governing)
        if self.reason is None and (strayed := self.strayed()) is not None:
            return strayed
        if came.error is None:
            return outcomes.completed(self.claimed, came.value.text)
        verdict = None
        if self.reason is None and not isinstance(came.error, Misfit | Unreadable):
            verdict = await self.caller.ask(self.told(None).failure(self.described(came.error), came.error))
        return self.raised(came.error, verdict)

    def described(self, error: BaseException) -> RunError:
        """The error as it would be recorded."""
        return RunError.read(self.lines.hushed_json(RunError.of(error).text()))

    async def tell(self, outcome: Outcome | None, came: Settled | None) -> None:
        """Call the hooks for what has become of it."""
        told = self.told(outcome)
        if outcome is not None and has_ended(outcome):
            raised = exception_of(came) if self.reason is None else None
            error = RunError.read(outcome.error) if outcome.error is not None else None
            if error is not None:
                await self.caller.tell("on_error", told.failure(error, raised, retry_in(outcome)))
            if isinstance(outcome, Ended):
                output = came.value.output if came is not None and came.value is not None else None
                await tell_end(self.caller, told, output=output, error=error, raised=raised)
        if self.around is not None:
            await self.caller.tell("cleanup", told.event())

    def told(self, outcome: Outcome | None, status: str = "executing") -> Told:
        """What hooks are told of it now."""
        store = self.host.store
        record = record_of(
            self.claimed,
            payload=self.text,
            metadata=self.attempt.metadata_text(),
            worker=self.host.outbox.me,
            now=self.claimed.started_at + round((time.monotonic() - self.started) * 1000),
            ended=outcome if isinstance(outcome, Ended) else None,
        )
        if not isinstance(outcome, Ended):
            record = record._replace(status=status)
        run = Run[Any](record, self.task.output_codec, lambda: store.read_sync(read.logs, record.id))
        return Told(run, self.payload, self.state)


def has_ended(outcome: Outcome) -> bool:
    """Whether there is an end to tell hooks of: not if the run is handed back; and if Holdfast itself cannot go on with
    it, they are told when that is written down."""
    return outcome.status != "system_failure" if isinstance(outcome, Ended) else outcome.counts


def exception_of(came: Settled | None) -> BaseException | None:
    """The exception itself, if the attempt has raised one."""
    error = came.error if came is not None else None
    return error.error if isinstance(error, Misfit) else error


def retry_in(outcome: Outcome) -> timedelta | None:
    return timedelta(milliseconds=outcome.delay_ms) if isinstance(outcome, Again) else None
