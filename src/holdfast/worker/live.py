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
from concurrent.futures import Executor
from typing import Any, Protocol

from holdfast.context import AsyncContext, Attempt, Context, running
from holdfast.errors import HoldfastError
from holdfast.records import Claimed, LogLine
from holdfast.sizes import check_size, size_of
from holdfast.task import Governing, Task
from holdfast.worker import outcome as outcomes
from holdfast.worker.capture import Lines, listening
from holdfast.worker.outcome import Outcome, Reason

log = logging.getLogger("holdfast")


class Host(Protocol):
    """What an attempt needs of the worker that carries it."""

    home: Any
    loop: asyncio.AbstractEventLoop
    threads: Executor
    lines: deque[LogLine]
    settings: Any

    def done(self, live: Live, outcome: Outcome | None, /) -> None:
        """Called once, on the loop: the attempt is over, and this is what it has to say."""

    async def payload(self, run_id: str, /) -> str: ...


class Live:
    """An attempt in this process."""

    __slots__ = (
        "attempt",
        "claimed",
        "governing",
        "host",
        "lines",
        "over",
        "reason",
        "started",
        "task",
        "timer",
        "work",
    )

    def __init__(self, claimed: Claimed, task: Task[Any, Any], host: Host) -> None:
        self.claimed, self.task, self.host = claimed, task, host
        self.attempt = Attempt(claimed, host.home.verbs)
        self.lines = Lines(claimed, host.lines.append)
        self.started = time.monotonic()
        self.governing: Governing = task.governing(claimed.options)
        self.work: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.reason: Reason | None = None
        self.over = False

    # transitions

    def start(self) -> None:
        """Begin; the time limit counts from here."""
        loop = self.host.loop
        self.started = time.monotonic()
        self.work = loop.create_task(self.carry(), name=self.claimed.task)
        if self.governing.max_duration_ms is not None:
            self.timer = loop.call_later(self.governing.max_duration_ms / 1000, self.interrupt, "timed_out")

    def interrupt(self, reason: Reason) -> None:
        """Stop it from outside, for this reason; the first reason counts, but for a loss, which always does."""
        if self.over or (self.reason is not None and reason != "lost"):
            return
        self.reason = reason
        if not self.task.signature.is_async:
            log.warning(
                "run %s of task %s is to stop (%s), but a def task cannot be interrupted: "
                "it keeps its slot until it returns",
                self.claimed.id,
                self.claimed.task,
                reason,
            )
        elif self.work is not None:
            self.work.cancel()
            self.host.loop.call_later(self.host.settings.grace_seconds, self.abandon)

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
        self.host.done(self, self.with_metadata(outcome))

    def with_metadata(self, outcome: Outcome | None) -> Outcome | None:
        if outcome is not None:
            try:
                outcome.metadata = self.attempt.changed_metadata()
            except HoldfastError as error:
                self.lines.add("WARNING", "holdfast", f"The metadata is not kept: {error}")
        return outcome

    # the work

    async def carry(self) -> None:
        running.set(self.attempt)
        listening.set(self.lines)
        self.end(await self.outcome())

    async def outcome(self) -> Outcome | None:
        try:
            output = await self.call()
        except asyncio.CancelledError as error:
            if self.reason is None:  # the code canceled itself
                return outcomes.failed(self.claimed, error, self.governing)
            return outcomes.interrupted(self.claimed, self.reason, self.governing)
        except Misfit as misfit:
            return outcomes.refused(self.claimed, misfit.error)
        except BaseException as error:
            if self.reason is not None:
                return outcomes.interrupted(self.claimed, self.reason, self.governing)
            self.lines.add("ERROR", "holdfast", f"Attempt {self.claimed.attempt} failed: {said(error)}")
            return outcomes.failed(self.claimed, error, self.governing)
        return self.returned(output)

    async def call(self) -> Any:
        signature = self.task.signature
        text = self.claimed.payload
        if text is None:
            text = await self.host.payload(self.claimed.id)
        try:
            payload = self.task.load(text)
        except HoldfastError as error:
            raise Misfit(error) from None
        if signature.is_async:
            return await signature.call(payload, AsyncContext(self.attempt))
        inside = contextvars.copy_context()
        context = Context(self.attempt)
        return await self.host.loop.run_in_executor(self.host.threads, inside.run, signature.call, payload, context)

    def returned(self, output: Any) -> Outcome | None:
        if self.reason in ("timed_out", "lost"):
            return outcomes.interrupted(self.claimed, self.reason, self.governing)
        try:
            text = self.task.output_codec.dump(output)
            check_size(
                size_of(text), self.host.home.output_limit, what="The output of the run", limit="the limit for outputs"
            )
        except HoldfastError as error:
            return outcomes.refused(self.claimed, error)
        except Exception as error:
            return outcomes.failed(self.claimed, error, self.governing)
        return outcomes.completed(self.claimed, text)


class Misfit(Exception):
    """The stored payload does not fit the task: another attempt cannot mend that."""

    def __init__(self, error: HoldfastError) -> None:
        super().__init__(str(error))
        self.error = error


def said(error: BaseException) -> str:
    """The class and text of an exception, whatever it does when it is asked for its text."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
