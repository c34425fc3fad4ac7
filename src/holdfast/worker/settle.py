"""Other people's code, run so that whatever it does comes back as a value.

    settle       await it; an exception of any kind is a result, too: SystemExit in a task of its own would end the loop
    in_thread    call it in a thread, in a copy of the caller's context whose changes come back
    finished     wait for it, but not for ever

Threads here are daemons made for one call: code that hangs keeps nobody else from a thread, and no process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple


class Settled(NamedTuple):
    """What came of a call: a value, or an error."""

    value: Any = None
    error: BaseException | None = None

    def get(self) -> Any:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


async def settle(fn: Callable[..., Awaitable[Any]], /, *args: Any) -> Settled:
    """Await what ``fn`` returns."""
    try:
        return Settled(await fn(*args))
    except BaseException as error:
        return Settled(None, error)


def settle_now(fn: Callable[..., Any], /, *args: Any) -> Settled:
    """Call ``fn``."""
    try:
        return Settled(fn(*args))
    except BaseException as error:
        return Settled(None, error)


def came_of(task: asyncio.Task[Settled]) -> Settled:
    """What a task made of `settle` came to; one that was cancelled before it began has not settled anything."""
    return Settled(None, asyncio.CancelledError()) if task.cancelled() else task.result()


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(type(fn), "__call__", None))  # noqa: B004


class Late(Exception):
    """A thread has not returned in time."""


async def in_thread(
    fn: Callable[..., Any], /, *args: Any, canceled: Callable[[], None] = lambda: None, seconds: float | None = None
) -> Any:
    """Call ``fn`` in a thread. A thread cannot be interrupted: when this is cancelled, ``canceled`` is called, and the
    cancellation goes on when the thread has returned. When it is cancelled again, the thread is left to itself; so it
    is after this many seconds, and ``Late`` is raised."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    answer: asyncio.Future[Settled] = loop.create_future()

    def work() -> None:
        settled = context.run(settle_now, fn, *args)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(deliver, answer, settled)

    threading.Thread(target=work, name="holdfast-hook", daemon=True).start()
    try:
        await asyncio.wait({answer}, timeout=seconds)
    except asyncio.CancelledError:
        canceled()
        await asyncio.wait({answer})
        raise
    if not answer.done():
        raise Late
    adopt(context)
    return answer.result().get()


async def finished(task: asyncio.Task[Settled], seconds: float | None) -> bool:
    """Whether a task ends within so many seconds. A cancellation of the caller waits for that, too."""
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=seconds)
        raise
    return task.done()


def deliver(answer: asyncio.Future[Settled], settled: Settled) -> None:
    if not answer.done():
        answer.set_result(settled)


def adopt(context: contextvars.Context) -> None:
    """Take over what was set in a copy of this context while code ran in it elsewhere."""
    here = contextvars.copy_context()
    for variable, value in context.items():
        if variable not in here or here[variable] is not value:
            variable.set(value)
