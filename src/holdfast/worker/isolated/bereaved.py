"""An attempt whose process has died: what is left of it are the hooks that hear of that, called in another process.

``catch_error`` is asked where the process was killed for its memory, as it is where code raises ``OutOfMemory``; a
crash is no end of an attempt that it could decide on. ``on_error`` is told of both. The hooks for the end of the run
are called when that is written down, as for every run that ends without a worker.
"""

from __future__ import annotations

import itertools
from typing import Any

from holdfast.model import RunError
from holdfast.task import Task
from holdfast.worker.hooks import Wrapping
from holdfast.worker.isolated import ended
from holdfast.worker.isolated.wire import Fallen
from holdfast.worker.live import Host
from holdfast.worker.outcome import Outcome
from holdfast.worker.settle import settle
from holdfast.worker.wrapped import Wrapped, retry_in


class Bereaved(Wrapped):
    """Its hooks, and what they decide."""

    __slots__ = ("fallen",)

    def __init__(self, fallen: Fallen, task: Task[Any, Any], host: Host, wrapping: Wrapping) -> None:
        super().__init__(fallen.job.claimed, task, host, wrapping)
        self.fallen = fallen
        self.lines.numbers = itertools.count(fallen.last + 1)
        self.settled = True  # whatever comes from outside now hurries its hooks, or comes too late
        self.decided = fallen.outcome

    async def conducted(self) -> Outcome | None:
        self.caller.share_context()
        await settle(self.load)
        error = RunError.read(self.fallen.outcome.error or "{}")
        outcome = self.fallen.outcome
        if self.fallen.out_of_memory:
            verdict = await self.caller.ask(self.told(None).failure(error))
            if verdict is not None:
                outcome = ended.decided(self.claimed, outcome, self.governing, verdict)
        await self.caller.tell("on_error", self.told(outcome).failure(error, None, retry_in(outcome)))
        return outcome


def hears(wrapping: Wrapping | None, *, out_of_memory: bool) -> bool:
    """Whether something is wrapped around a task that hears of such a death."""
    return wrapping is not None and bool(wrapping.of("on_error") or (out_of_memory and wrapping.of("catch_error")))
