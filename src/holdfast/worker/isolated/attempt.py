"""The worker's side of an attempt whose code is in a process of its own.

For the worker it is an attempt like others. What is asked of it goes to the process, what the process says comes from
there, and however that ends, there is an outcome.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from holdfast import codec
from holdfast.machine import machine_in, machine_of
from holdfast.model import RunError
from holdfast.records import Again, Claimed, Ended, Entry, Suspension
from holdfast.task import Task
from holdfast.worker import outcome as outcomes
from holdfast.worker.hooks import wrapping_of
from holdfast.worker.isolated import ended
from holdfast.worker.isolated.bereaved import hears
from holdfast.worker.isolated.pool import Pool, Process
from holdfast.worker.isolated.wire import (
    Begun,
    Call,
    Fallen,
    Goes,
    Hear,
    Interrupt,
    Job,
    Leave,
    Over,
    Overdue,
    Trusts,
    Waits,
    Wrote,
)
from holdfast.worker.isolated.zygote import Report
from holdfast.worker.live import Host, Live
from holdfast.worker.outcome import Outcome, Reason

log = logging.getLogger("holdfast")

KILL_SECONDS = 1.0  # after its grace, in which it should have said how it ends
START_SECONDS = 60.0  # for a process to have its job
LATER_MS = 1_000  # until a run is tried again for which there was no process


class Isolated(Live):
    """An attempt in a process of its own."""

    __slots__ = ("fallen", "last", "machine", "pool", "process", "said", "wish")

    kept = False  # a run that waits does not keep a process

    def __init__(self, claimed: Claimed, task: Task[Any, Any], host: Host, pool: Pool) -> None:
        super().__init__(claimed, task, host)
        self.pool = pool
        word = machine_in(claimed.options)
        self.machine = None if word is None else machine_of(word)
        self.process: Process | None = None
        self.said: Over | None = None  # how it ends, by its own account
        self.last = 0  # the number of the last line that it has written
        self.fallen: Outcome | None = None  # how it ends by its death, while hooks hear of it in another process
        self.wish: Waits | None = None  # what it has said about its wish to give up its slot

    # transitions

    def start(self) -> None:
        self.started = time.monotonic()
        process = self.process = self.pool.take()
        self.work = cast("asyncio.Task[None]", process or self)  # that there is some says that it has begun
        if process is None:
            self.end(Again(self.claimed.id, self.claimed.claim, LATER_MS, False, "returned"))
            return
        process.heard, process.ended = self.hear_from, self.gone
        if self.machine is not None:
            process.watch(self.machine)
        process.send(Job(self.claimed, self.entries, self.host.outbox.me, process.number))
        self.later(START_SECONDS, self.late)

    def late(self) -> None:
        log.error("run %s: its process did not start within %g s", self.claimed.id, START_SECONDS)
        self.reason = self.reason or "returned"
        self.kill()

    def interrupt(self, reason: Reason) -> None:
        if self.over or (self.reason is not None and reason != "lost"):
            return
        self.reason = reason
        if self.process is None:
            self.abandon()
        elif reason == "lost":
            self.kill()
        else:
            self.process.send(Interrupt(reason))
            self.process.term()
            self.later(self.host.settings.grace_seconds + KILL_SECONDS, self.kill)

    def catching_up(self) -> bool:
        return False  # its process knows

    def abandon(self) -> None:
        """Its grace is over. It ends when its process has."""
        if self.process is None:
            super().abandon()
        else:
            self.reason = self.reason or "returned"
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def suspend(self) -> None:
        if not (self.over or self.suspending or self.parked or self.reason):
            self.suspending = True
            self.host.suspend(self)

    def suspension(self, keeper: str | None) -> Suspension:
        seen, tidings = self.wish or (0, None)
        return Suspension(self.claimed.id, self.claimed.claim, seen, tidings, keeper)

    def park(self) -> None:
        super().park()
        if self.process is not None:
            self.process.send(Leave())

    def unwind(self) -> None:
        """Its code hears that it leaves memory, and has as long for it as anybody who is interrupted."""
        self.reason = "suspended"
        self.later(self.host.settings.grace_seconds + KILL_SECONDS, self.kill)

    def woke(self) -> bool:
        return super().woke() or (self.reason == "suspended" and self.said is not None)

    def heard(self, found: Mapping[str, Sequence[Entry]]) -> None:
        if self.process is not None and not self.over:
            self.process.send(Hear())

    # what the process says

    def hear_from(self, message: object) -> None:
        match message:
            case Begun() if self.fallen is None:
                self.begun, self.started = True, time.monotonic()
                if self.reason is None and self.timer is not None:
                    self.timer.cancel()
                    self.limit()
            case Wrote(lines):
                self.host.lines.extend(lines)
                self.last = max(self.last, *(line.seq for line in lines), 0)
            case Call():
                if self.process is not None:
                    self.pool.do(self.process.answer(message, self.host.store))
            case Waits():
                self.wish = message
                self.suspend()
            case Goes():
                self.host.unsuspend(self)
            case Trusts():
                self.host.trust(self)
            case Overdue():
                self.host.overdue(self)
            case Over():  # it has a while to close what it has opened
                self.said = message
                self.later(self.host.settings.hook_seconds + KILL_SECONDS, self.kill)

    def gone(self, report: Report) -> None:
        """The process has ended, and with it all that it had started."""
        process, self.process = self.process, None
        if self.over:
            return
        if self.fallen is not None:
            self.end(self.outcome_of_fallen(self.fallen))
            return
        if self.said is not None and self.reason != "lost":
            outcome = self.said.outcome
        else:
            outcome = self.outcome_of(report, process.last_lines() if process is not None else "")
        if outcome is not None and self.begun:
            # Not from the beginning of the process, which may have waited long for its run.
            outcome.usage = usage_text(report.cpu, self.age(), report.memory)
        if outcome is None or self.said is not None or not self.mourn(report, outcome):
            self.end(outcome)

    def mourn(self, report: Report, outcome: Outcome) -> bool:
        """Have hooks hear of its death in another process; False if there are none, or no such process."""
        out_of_memory = self.reason is None and ended.ran_out(report, self.machine)
        if outcome.error is None or not hears(wrapping_of(self.task), out_of_memory=out_of_memory):
            return False
        process = self.pool.take()
        if process is None:
            return False
        self.process, self.fallen = process, outcome
        process.heard, process.ended = self.hear_from, self.gone
        job = Job(self.claimed, (), self.host.outbox.me, process.number)
        process.send(Fallen(job, outcome, out_of_memory, self.last + 1))
        self.later(START_SECONDS + 2 * self.host.settings.hook_seconds, self.kill)
        return True

    def outcome_of_fallen(self, fallen: Outcome) -> Outcome | None:
        """What its hooks have decided, or what its death means without them."""
        if self.reason == "lost":
            return None
        outcome = fallen if self.said is None or self.said.outcome is None else self.said.outcome
        outcome.usage = fallen.usage
        return outcome

    def outcome_of(self, report: Report, errors: str) -> Outcome | None:
        """It has not said how it ends."""
        if self.reason is not None:
            outcome = outcomes.interrupted(self.claimed, self.reason, self.governing)
            if isinstance(outcome, Ended):
                outcome.unheard = True
            return outcome
        if report.value < 0:
            return Again(self.claimed.id, self.claimed.claim, LATER_MS, False, "returned", begun=self.begun)
        if ended.ran_out(report, self.machine):
            outcome = ended.out_of_memory(self.claimed, self.machine, self.governing)
        else:
            outcome = ended.crashed(self.claimed, report, errors, self.task.rules.max_crashes)
        if outcome.error is not None:
            self.lines.numbers = itertools.count(self.last + 1)
            self.lines.add(
                "ERROR", "holdfast", f"Attempt {self.claimed.attempt}: {RunError.read(outcome.error).message}"
            )
            outcome.error = self.lines.hushed_json(outcome.error)
        return outcome


def usage_text(cpu: float, wall: float, memory: int) -> str:
    """What an attempt has used, as it is stored: seconds and bytes."""
    return codec.encode({"cpu_ms": round(cpu * 1000), "wall_ms": round(wall * 1000), "memory_bytes": memory})
