"""Hooks at work: what is wrapped around the attempts of a task, and how a hook is called.

A hook has a time limit, after which it is cancelled; a ``def`` hook cannot be, and its thread is left behind. On the
way in, what a hook raises is the attempt's error. On the way out nothing that a hook does changes what has happened: it
is written to the run's log, and the next one is called.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from holdfast.depends import Plan, name_of
from holdfast.errors import AbortRun, HookTimedOut, RetryAfter
from holdfast.events import Event, Failure
from holdfast.hooks import Hook
from holdfast.model import RunError
from holdfast.task import Task
from holdfast.worker.capture import Lines
from holdfast.worker.outcome import Verdict
from holdfast.worker.settle import Settled, came_of, in_thread, is_async, settle

UNWIND_SECONDS: Final = 5.0  # for a hook that was cancelled
HURRY_SECONDS: Final = 1.0  # for what is left when the worker must end


class Step(NamedTuple):
    """A hook, and what has to be known to call it."""

    hook: Hook
    is_async: bool
    name: str


class Wrapping(NamedTuple):
    """What is wrapped around every attempt of a task: its hooks and the app's by kind, in order, and its providers."""

    steps: Mapping[str, tuple[Step, ...]]
    plan: Plan | None

    def of(self, kind: str) -> tuple[Step, ...]:
        return self.steps.get(kind, ())


def wrapping_of(task: Task[Any, Any]) -> Wrapping | None:
    """What is wrapped around a task's attempts; None if nothing is."""
    steps = {
        kind: tuple(Step(hook, is_async(hook), name_of(hook)) for hook in hooks)
        for kind, hooks in task.hooks_in_order().items()
    }
    plan = task.signature.plan
    return Wrapping(steps, plan) if steps or plan is not None else None


class Caller:
    """Calls the hooks of one run, one at a time, each within its time limit."""

    def __init__(self, wrapping: Wrapping, lines: Lines, seconds: float) -> None:
        self.wrapping, self.lines, self.seconds = wrapping, lines, seconds
        self.context: contextvars.Context | None = None
        self.current: asyncio.Task[Settled] | None = None
        self.hurried = False

    def share_context(self) -> None:
        """From now on hooks run in one context, a copy of this one: each sees what those before it have set."""
        self.context = contextvars.copy_context()

    async def call(self, kind: str, step: Step, event: Event[Any]) -> Any:
        """Call one hook; answers what it returns, raises what it raises.

        Raises:
            HookTimedOut: it took longer than the limit, and was cancelled.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(settle(invoke, step, event), context=self.context, name=f"{kind} {step.name}")
        self.current = task
        seconds = self.seconds
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            self.current = None
            if late := not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=min(UNWIND_SECONDS, self.seconds))
        if late:
            raise HookTimedOut(
                f"The {kind} hook {step.name} took longer than {seconds:g} s and was cancelled",
                do="Let it do less, or trigger a task for what takes long.",
            )
        return came_of(task).get()

    async def enter(self, kind: str, event: Event[Any]) -> None:
        """Call the hooks of a kind on the way in: the first that raises ends it."""
        for step in self.wrapping.of(kind):
            await self.call(kind, step, event)

    async def tell(self, kind: str, event: Event[Any]) -> None:
        """Call the hooks of a kind on the way out: all of them, whatever they do."""
        for step in self.wrapping.of(kind):
            try:
                await self.call(kind, step, event)
            except BaseException as error:
                if not self.ours(error):
                    raise
                self.complain(kind, step, error)

    async def ask(self, event: Failure[Any]) -> Verdict:
        """What the first ``catch_error`` hook decides that decides anything. Raising it is as good as returning it."""
        for step in self.wrapping.of("catch_error"):
            try:
                verdict = await self.call("catch_error", step, event)
            except (RetryAfter, AbortRun) as raised:
                return raised
            except BaseException as error:
                if not self.ours(error):
                    raise
                self.complain("catch_error", step, error)
                continue
            if isinstance(verdict, RetryAfter | AbortRun):
                return verdict
            if verdict is not None:
                self.say(f"catch_error returns RetryAfter, AbortRun or None, and {step.name} returned something else")
        return None

    def ours(self, error: BaseException) -> bool:
        """Whether an error came from a hook; if not, whoever calls the hooks is being cancelled."""
        current = asyncio.current_task()
        return not isinstance(error, asyncio.CancelledError) or current is None or not current.cancelling()

    def hurry(self) -> None:
        """The worker must end: stop the hook that runs, and give the others a moment each."""
        self.hurried = True
        self.seconds = min(self.seconds, HURRY_SECONDS)
        if self.current is not None:
            self.current.cancel()

    def complain(self, kind: str, step: Step, error: BaseException) -> None:
        if isinstance(error, HookTimedOut):
            self.say(str(error))
        elif self.hurried and isinstance(error, asyncio.CancelledError):
            self.say(f"The {kind} hook {step.name} was stopped: its worker had to end")
        else:
            self.say(f"The {kind} hook {step.name} failed: {in_full(error)}")

    def say(self, message: str) -> None:
        self.lines.add("ERROR", "holdfast", message)


async def invoke(step: Step, *args: Any) -> Any:
    if step.is_async:
        return await step.hook(*args)
    answer = await in_thread(step.hook, *args)
    return await answer if inspect.isawaitable(answer) else answer


def in_full(error: BaseException) -> str:
    """An exception for a log: its text, then its traceback."""
    described = RunError.of(error)
    return f"{described.type}: {described.message}\n{described.traceback}".rstrip()
