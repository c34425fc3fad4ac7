"""Time limits of asyncio around what is durable: ``asyncio.timeout``, ``wait_for``, ``wait(timeout=…)``.

    called off by the code                       nothing is left of it
    over while its branch is at what is durable  recorded, and handed out in its turn, like any other result
    armed, and the whole run waits               recorded as open: the run gives up its slot until then at most

So a limit has its place among the results: a replay ends the same wait by it, at once and not by a clock, and one that
was not what came first ends nothing. What a limit ends that is not durable, it ends as it always does.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import AttemptLost
from holdfast.records import Entry, NewEntry
from holdfast.worker.home import BACKOFF_SECONDS
from holdfast.worker.journal import Asked
from holdfast.worker.quiet import Wait, blocked

if TYPE_CHECKING:
    from holdfast.worker.durable import Operations

log = logging.getLogger("holdfast")

SOON_SECONDS: Final = 0.002  # until an operation that is under way is looked at again
_RELEASE: Final = getattr(asyncio.tasks, "_release_waiter", None)  # ends asyncio.wait; in Python 3.11 wait_for, too


def is_limit(callback: Callable[..., object]) -> bool:
    """Whether a timer that calls this is a time limit of asyncio's own."""
    return callback is _RELEASE or isinstance(getattr(callback, "__self__", None), asyncio.Timeout)


class Limit(asyncio.TimerHandle):
    """One of them. To asyncio it is the handle of its timer."""

    def __init__(
        self,
        limits: Limits,
        asked: Asked,
        task: asyncio.Task[Any],
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        super().__init__(when, callback, args, limits.loop, context)
        self.limits, self.asked, self.task = limits, asked, task
        self.timer: asyncio.TimerHandle | None = None

    @property
    def key(self) -> str:
        return self.asked.key

    def cancel(self) -> None:
        if not self.cancelled():
            asyncio.Handle.cancel(self)  # that of a timer tells the loop, which does not know this one
            self.limits.call_off(self)

    def turn(self, wait: asyncio.Future[Any]) -> None:
        """What waited for its turn is done: with a result if that has come."""
        if not wait.cancelled() and wait.exception() is None:
            self.end()

    def end(self) -> None:
        """End what it is around."""
        self.limits.armed.pop(self.key, None)
        if not self.cancelled():
            self._run()


class Limits:
    """The time limits of one attempt."""

    def __init__(self, ops: Operations) -> None:
        self.ops, self.turns, self.live = ops, ops.turns, ops.live
        self.loop: asyncio.AbstractEventLoop = ops.host.loop
        self.armed: dict[str, Limit] = {}
        self.left: list[Asked] = []  # open in the journal, and called off since
        self.saying: set[asyncio.Task[None]] = set()  # while they write, the run keeps its slot

    def arm(self, limit: Limit) -> Limit:
        """It begins; or it had begun already, when the run was carried out before."""
        self.armed[limit.key] = limit
        entry = self.ops.journal.entries.get(limit.key)
        if entry is None:
            self.set_timer(limit, limit.when())
        elif entry.state == "done":  # it was called off
            self.turns.strike(entry)
        else:
            self.await_turn(limit)
            self.turns.set_timer(entry)
        return limit

    def set_timer(self, limit: Limit, when: float) -> None:
        limit.timer = self.loop.call_at(when, self.over, limit, context=self.ops.host.context)

    def await_turn(self, limit: Limit) -> None:
        """From now on the journal says when it ends what it is around."""
        if limit.timer is not None:
            limit.timer.cancel()
        wait = self.turns.waits[limit.key] = Wait(loop=self.loop)
        wait.add_done_callback(limit.turn)

    def call_off(self, limit: Limit) -> None:
        """The code has come past it."""
        if limit.timer is not None:
            limit.timer.cancel()
        if self.armed.pop(limit.key, None) is None or self.turns.dropped:
            return
        self.turns.leave(limit.key)
        entry = self.ops.journal.entries.get(limit.key)
        if entry is not None and entry.state == "open":
            self.left.append(limit.asked)

    # when it is over

    def over(self, limit: Limit) -> None:
        """It is, by the clock of this process."""
        if limit.cancelled() or self.turns.dropped or self.live.over:
            return
        if self.turns.operating_now():
            self.set_timer(limit, self.loop.time() + SOON_SECONDS)
        elif self.at_work(limit):
            self.await_turn(limit)
            self.say([(limit.asked, self.ops.entry(limit.asked, state="expired"))])
        else:
            limit.end()

    def at_work(self, limit: Limit) -> bool:
        """Whether its branch is at something durable: a wait, a step, or branches of its own."""
        return limit.task in self.turns.stepping or blocked(limit.task, self.turns.branches)

    def may_have_turn(self, entry: Entry) -> bool:
        """Whether this can be handed out now: a limit where it was when it was recorded, at something durable."""
        limit = self.armed.get(entry.key)
        return limit is None or (not self.turns.operating_now() and self.at_work(limit))

    async def ended(self) -> None:
        """Return when the code has heard of all limits that were over: before that, nothing new was begun."""
        while waits := [self.turns.waits[key] for key in self.armed if key in self.turns.pending]:
            self.turns.look_again()
            await asyncio.wait(waits)

    # what is written

    def unsaid(self) -> bool:
        """The run is about to give up its slot: write down which limits it waits for, and for which no more. Answers
        whether there was anything to write."""
        if self.saying:
            return True
        new = [limit for key, limit in self.armed.items() if key not in self.turns.waits and limit.timer is not None]
        now = self.loop.time()
        entries = [(asked, self.ops.entry(asked, state="done")) for asked in self.left]
        entries += [(each.asked, self.ops.entry(each.asked, state="open", delay_ms=rest(each, now))) for each in new]
        self.left = []
        for limit in new:
            self.await_turn(limit)
        if entries:
            self.say(entries)
        return bool(entries)

    def say(self, entries: list[tuple[Asked, NewEntry]]) -> None:
        task = self.loop.create_task(self.write(entries), context=self.ops.host.context.copy(), name="limits")
        self.saying.add(task)
        task.add_done_callback(self.said)

    def said(self, task: asyncio.Task[None]) -> None:
        self.saying.discard(task)
        self.turns.look_again()

    async def write(self, entries: list[tuple[Asked, NewEntry]]) -> None:
        """However long the database is away; unless the attempt is over before."""
        while not (self.turns.dropped or self.live.over):
            try:
                written = await asyncio.gather(*(self.ops.write(entry) for _, entry in entries))
                for (asked, _), made in zip(entries, written, strict=True):
                    if asked.key in self.armed:
                        self.turns.set_timer(made.entry)
                    elif made.entry.state == "open":  # it was called off meanwhile
                        self.left.append(asked)
                return
            except AttemptLost:
                return
            except Exception as error:
                log.warning("run %s: a time limit cannot be recorded yet: %s", self.live.claimed.id, error)
                await asyncio.sleep(BACKOFF_SECONDS)


def rest(limit: Limit, now: float) -> int:
    """Milliseconds until it is over."""
    return max(0, round((limit.when() - now) * 1000))
